package storaged

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// unsettled serves OpUnsettled.
func (s *Server) unsettled(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.UnsettledRequest
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
	reply := &wire.UnsettledReply{Boot: s.boot}
	return reply, wire.Bulk{}, f.unsettled(req.From, reply)
}

// unsettled lists blocks from one on until the reply is full.
func (s *slotFile) unsettled(from uint64, reply *wire.UnsettledReply) error {
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
	extents, _, err := s.dataExtents(from, s.head.slotsIn(s.size))
	if err != nil {
		return err
	}
	for _, e := range s.withLogged(extents, from, s.end()) {
		for b := e.from; b < e.to; b++ {
			if !s.isUnsettled(b) {
				continue
			}
			if k := len(reply.Ranges) - 1; k >= 0 && reply.Ranges[k].First+reply.Ranges[k].Count == b {
				reply.Ranges[k].Count++
			} else if len(reply.Ranges) == wire.MaxRanges {
				reply.Next = b
				return nil
			} else {
				reply.Ranges = append(reply.Ranges, wire.Range{First: b, Count: 1})
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
	if block < s.head.Settled || s.f == nil || block >= s.head.slotsIn(s.size) {
		return false
	}
	h, state := s.slotHeader(block)
	return state == wire.SlotPresent && h.Version.Compare(final) > 0
}
