package storaged

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// versions serves OpVersions.
func (s *Server) versions(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.VersionsRequest
	if err := r.Decode(&req); err != nil {
		return nil, wire.Bulk{}, err
	}
	if err := notFromClient(r); err != nil {
		return nil, wire.Bulk{}, err
	}
	rt, err := s.target(r, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	leave, err := rt.work(ctx)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	defer leave()
	f := rt.files.acquire(req.FID)
	defer rt.files.release(f)
	reply := &wire.VersionsReply{Boot: s.boot}
	return reply, wire.Bulk{}, f.versions(req.First, reply)
}

func (s *slotFile) versions(first uint64, reply *wire.VersionsReply) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	switch s.state {
	case formless:
		return nil
	case broken:
		return vocab.Errorf(vocab.Corrupt, "file %v: the header of its slot file is broken", s.fid)
	}
	reply.Final = s.head.Final
	extents, _, err := s.dataExtents(first, s.head.slotsIn(s.size))
	if err != nil {
		return err
	}
	for _, e := range s.withLogged(extents, first, s.end()) {
		for b := e.from; b < e.to; b++ {
			if b >= first+wire.VersionsBlocks {
				reply.Next = b // perhaps absent after all
				return nil
			}
			h, state, err := s.newestHeader(b)
			if err != nil {
				return err
			}
			switch state {
			case wire.SlotPresent:
				reply.Blocks = append(reply.Blocks, wire.BlockVersion{Block: b, Version: h.Version, Projection: h.Projection})
			case wire.SlotBroken:
				reply.Blocks = append(reply.Blocks, wire.BlockVersion{Block: b})
			}
		}
	}
	return nil
}

// newestHeader is the header of the newest version of a block.
func (s *slotFile) newestHeader(block uint64) (h wire.SlotHeader, state wire.SlotState, err error) {
	cut := s.head.cutBy(block, vocab.Version{})
	h, state = s.headerInPlace(block)
	if state == wire.SlotBroken && block >= s.head.Covered {
		state = wire.SlotAbsent
	}
	if e, ok := s.log.of(block, vocab.Version{}); ok && (state != wire.SlotPresent || e.version.Compare(h.Version) >= 0) {
		if e.bytes == 0 {
			return h, wire.SlotAbsent, nil
		}
		b := s.scratch[:]
		n, err := e.read(b)
		if err != nil {
			return h, state, s.root.failure("read the journal", err)
		}
		state = s.check(&h, b[:n], block)
	}
	if state == wire.SlotPresent && h.Version.Compare(cut) <= 0 {
		state = wire.SlotAbsent
	}
	return h, state, nil
}
