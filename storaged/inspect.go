package storaged

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// unsettled serves OpUnsettled: it lists blocks until the reply is full.
func (s *Server) unsettled(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	reply := &wire.UnsettledReply{Boot: s.boot}
	return reply, wire.Bulk{}, s.inspect(ctx, r, func(f *slotFile, _, b uint64) (bool, error) {
		if !f.isUnsettled(b) {
			return true, nil
		}
		if k := len(reply.Ranges) - 1; k >= 0 && reply.Ranges[k].First+reply.Ranges[k].Count == b {
			reply.Ranges[k].Count++
		} else if len(reply.Ranges) == wire.MaxRanges {
			reply.Next = b
			return false, nil
		} else {
			reply.Ranges = append(reply.Ranges, wire.Range{First: b, Count: 1})
		}
		return true, nil
	})
}

// versions serves OpVersions.
func (s *Server) versions(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	reply := &wire.VersionsReply{Boot: s.boot}
	return reply, wire.Bulk{}, s.inspect(ctx, r, func(f *slotFile, from, b uint64) (bool, error) {
		reply.Final = f.head.Final
		if b >= from+wire.VersionsBlocks {
			reply.Next = b // perhaps absent after all
			return false, nil
		}
		h, state, err := f.newestHeader(b)
		switch {
		case err != nil:
			return false, err
		case state == wire.SlotPresent:
			reply.Blocks = append(reply.Blocks, wire.BlockVersion{Block: b, Version: h.Version, Projection: h.Projection})
		case state == wire.SlotBroken:
			reply.Blocks = append(reply.Blocks, wire.BlockVersion{Block: b})
		}
		return true, nil
	})
}

// inspect calls each for the blocks of a BlocksRequest that are not holes, in order, until
// it returns false.
func (s *Server) inspect(ctx context.Context, r *wire.Request, each func(f *slotFile, from, block uint64) (more bool, err error)) error {
	var req wire.BlocksRequest
	if err := r.Decode(&req); err != nil {
		return err
	}
	rt, err := s.target(r, &req.Target)
	if err != nil {
		return err
	}
	leave, err := rt.work(ctx)
	if err != nil {
		return err
	}
	defer leave()
	f := rt.files.acquire(req.FID)
	defer rt.files.release(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.open(); err != nil {
		return err
	}
	switch f.state {
	case formless:
		return nil
	case broken:
		return f.brokenHeader()
	}
	extents, err := f.dataExtents(req.From, f.head.slotsIn(f.size))
	if err != nil {
		return err
	}
	for _, e := range f.withLogged(extents, req.From, f.end()) {
		for b := e.from; b < e.to; b++ {
			if more, err := each(f, req.From, b); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// isUnsettled tells whether a block's newest version, or discard, is not final.
func (s *slotFile) isUnsettled(block uint64) bool {
	final := s.head.Final
	if s.head.cutBy(block, vocab.Version{}).Compare(final) > 0 {
		return true
	}
	if e, ok := s.log.of(block, vocab.Version{}); ok && e.version.Compare(final) > 0 {
		return true
	}
	if block < s.head.Settled {
		return false
	}
	h, state := s.headerInPlace(block)
	return state == wire.SlotPresent && h.Version.Compare(final) > 0
}

// newestHeader is the header of the newest version of a block.
func (s *slotFile) newestHeader(block uint64) (h wire.SlotHeader, state wire.SlotState, err error) {
	h, state = s.headerInPlace(block)
	e, state := s.newestOf(block, vocab.Version{}, &h, s.promised(block, state))
	if e.bytes == 0 {
		return h, state, nil
	}
	b := s.scratch[:]
	n, err := e.read(b)
	if err != nil {
		return h, state, s.root.failure("read the journal", err)
	}
	return h, s.check(&h, b[:n], block), nil
}
