package storaged

import (
	"context"
	"io"
	"math"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// unsettled serves OpUnsettled: it lists blocks until the reply is full.
func (s *Server) unsettled(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	reply := &wire.UnsettledReply{Boot: s.boot}
	return reply, wire.Bulk{}, s.inspect(ctx, r, func(f *slotFile, req *wire.BlocksRequest) error {
		if f.state == broken {
			return f.brokenHeader()
		}
		return f.eachBlock(req.From, func(b uint64) (bool, error) {
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
	})
}

// versions serves OpVersions.
func (s *Server) versions(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	reply := &wire.VersionsReply{Boot: s.boot}
	return reply, wire.Bulk{}, s.inspect(ctx, r, func(f *slotFile, req *wire.BlocksRequest) error {
		reply.Final, reply.Condition, reply.Marked = f.head.Final, f.condition(), f.head.Partial
		if f.state == broken {
			return nil
		}
		final := req.Final
		if f.head.Final.Compare(final) > 0 {
			final = f.head.Final
		}
		return f.eachBlock(req.From, func(b uint64) (bool, error) {
			if b >= req.From+wire.VersionsBlocks {
				reply.Next = b // perhaps absent after all
				return false, nil
			}
			for _, below := range []vocab.Version{{}, next(final)} {
				v, ok, err := f.blockVersion(b, below, final, req.Verify)
				if err != nil {
					return false, err
				}
				if ok {
					reply.Blocks = append(reply.Blocks, v)
				}
				if v.Version.Compare(final) <= 0 {
					break
				}
			}
			return true, nil
		})
	})
}

// blockVersion is the newest version of a block below a bound, or the newest discard unless
// that is final; ok is false if there is neither.
func (s *slotFile) blockVersion(block uint64, below, final vocab.Version, verify bool) (v wire.BlockVersion, ok bool, err error) {
	v.Block = block
	h, state, err := s.newestHeader(block, below, verify)
	switch {
	case err != nil:
		return v, false, err
	case state == wire.SlotPresent:
		v.Version, v.Projection = h.Version, h.Projection
	case state == wire.SlotAbsent:
		d := s.head.cutBy(block, below)
		if e, ok := s.log.of(block, below); ok && e.bytes == 0 && e.version.Compare(d) > 0 {
			d = e.version
		}
		if d.Compare(final) <= 0 {
			return v, false, nil
		}
		v.Version, v.Projection = d, wire.Discarded
	}
	return v, true, nil
}

// next is the version after v.
func next(v vocab.Version) vocab.Version {
	if v.Counter == math.MaxUint64 {
		return vocab.Version{Epoch: v.Epoch + 1}
	}
	return vocab.Version{Epoch: v.Epoch, Counter: v.Counter + 1}
}

func (s *slotFile) condition() wire.FileCondition {
	switch {
	case s.state == broken:
		return wire.FileBroken
	case s.isPartial() && !s.deleted:
		return wire.FilePartial
	case s.state == formed:
		return wire.FileWhole
	}
	return wire.FileAbsent
}

// inspect calls do for the file of a BlocksRequest, locked.
func (s *Server) inspect(ctx context.Context, r *wire.Request, do func(f *slotFile, req *wire.BlocksRequest) error) error {
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
	return do(f, &req)
}

// eachBlock calls each for the blocks from one on that are not holes, in order, until it
// returns false.
func (s *slotFile) eachBlock(from uint64, each func(block uint64) (more bool, err error)) error {
	if s.state != formed {
		return nil
	}
	extents, err := s.dataExtents(from, s.head.slotsIn(s.size))
	if err != nil {
		return err
	}
	for _, e := range s.withLogged(extents, from, s.end()) {
		for b := e.from; b < e.to; b++ {
			if more, err := each(b); err != nil || !more {
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

// newestHeader is the header of the newest version of a block below a bound, if there is
// one. With verify the whole slot is checked.
func (s *slotFile) newestHeader(block uint64, below vocab.Version, verify bool) (h wire.SlotHeader, state wire.SlotState, err error) {
	h, state = s.headerInPlace(block)
	if verify && state == wire.SlotPresent && !s.isSound(block) {
		state = wire.SlotBroken
	}
	e, state := s.newestOf(block, below, &h, s.promised(block, state))
	if e.bytes == 0 {
		return h, state, nil
	}
	b := make([]byte, e.bytes)
	if !verify {
		b = s.scratch[:]
	}
	n, err := e.read(b)
	if err != nil && err != io.EOF {
		return h, state, s.root.failure("read the journal", err)
	}
	state = s.check(&h, b[:n], block)
	if verify && state == wire.SlotPresent {
		_, _, state = wire.ParseSlot(b[:n], s.fid, block)
	}
	return h, state, nil
}
