package storaged

import (
	"context"
	"io"
	"math"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// diskBlock is in what pieces file systems keep files, mostly.
const diskBlock = 4096

// extents serves OpExtents.
func (s *Server) extents(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.BlocksRequest
	if err := r.Decode(&req); err != nil {
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
	if err := f.lockRead(); err != nil {
		return nil, wire.Bulk{}, err
	}
	defer f.mu.RUnlock()
	reply := &wire.ExtentsReply{Boot: s.boot}
	switch {
	case f.state == broken:
		return nil, wire.Bulk{}, f.brokenHeader()
	case f.isPartial() && !f.deleted:
		reply.Ranges = []wire.Range{{First: req.From, Count: math.MaxUint64 - req.From}}
		return reply, wire.Bulk{}, nil
	case f.state == formless:
		return reply, wire.Bulk{}, nil
	}
	reply.Ranges, reply.Next, err = f.ranges(req.From, wire.MaxRanges)
	return reply, wire.Bulk{}, err
}

// ranges lists where from a block on there may be something, in no more than most ranges;
// next is where it has not looked. What lies in place is not read, but at the edges of holes
// and where the journal has a discard of it.
func (s *slotFile) ranges(from uint64, most int) (ranges []wire.Range, next uint64, err error) {
	end := s.end()
	for _, c := range s.head.Cuts {
		if c.Version.Compare(s.newest) >= 0 {
			end = min(end, c.First)
		}
	}
	inPlace, err := s.someExtents(from, min(end, s.head.slotsIn(s.size)), most)
	if err != nil {
		return nil, 0, err
	}
	if len(inPlace) == most {
		next = inPlace[most-1].to
		end = next
	}
	for i := range inPlace {
		s.trimExtent(&inPlace[i])
	}
	discarded := s.discarded(from, end)
	for _, e := range s.withLogged(inPlace, from, end) {
		for e.from < e.to {
			to := e.to
			for len(discarded) > 0 && discarded[0] < e.from {
				discarded = discarded[1:]
			}
			if len(discarded) > 0 && discarded[0] < to {
				to = discarded[0]
			}
			if e.from < to {
				if len(ranges) == most {
					return ranges, e.from, nil
				}
				ranges = append(ranges, wire.Range{First: e.from, Count: to - e.from})
			}
			e.from = to
			if to < e.to {
				e.from++
			}
		}
	}
	return ranges, next, nil
}

// trimExtent takes absent slots from the ends of an extent: the disk's blocks are not ours.
func (s *slotFile) trimExtent(e *extent) {
	most := diskBlock/s.head.stride() + 1
	for i := int64(0); i < most && e.from < e.to; i++ {
		if _, state := s.peek(e.from); state != wire.SlotAbsent {
			break
		}
		e.from++
	}
	for i := int64(0); i < most && e.from < e.to; i++ {
		if _, state := s.peek(e.to - 1); state != wire.SlotAbsent {
			break
		}
		e.to--
	}
}

// discarded lists the blocks from from to to that the journal has something of and that are
// absent all the same.
func (s *slotFile) discarded(from, to uint64) (blocks []uint64) {
	var none vocab.Version
	for _, b := range s.log.within(from, to) {
		if e, _ := s.log.of(b, none); e.bytes > 0 && e.version.Compare(s.head.cutBy(b, none)) > 0 {
			continue
		}
		h, state := s.peek(b)
		if _, state = s.newestOf(b, none, &h, s.promised(b, state)); state == wire.SlotAbsent {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// peek is headerInPlace for who has mu for reading only.
func (s *slotFile) peek(block uint64) (h wire.SlotHeader, state wire.SlotState) {
	if s.f == nil || block >= s.head.slotsIn(s.size) {
		return h, wire.SlotAbsent
	}
	var b [wire.SlotHeaderBytes]byte
	n, err := s.f.ReadAt(b[:], s.head.offset(block))
	if err != nil && err != io.EOF {
		return h, wire.SlotBroken
	}
	state = s.check(&h, b[:n], block)
	return h, state
}
