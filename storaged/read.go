package storaged

import (
	"context"
	"io"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// read serves OpRead.
func (s *Server) read(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.ReadRequest
	if err := r.Decode(&req); err != nil {
		return nil, wire.Bulk{}, err
	}
	rt, err := s.target(r, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	f := rt.files.acquire(req.FID)
	defer rt.files.release(f)
	reply := &wire.ReadReply{Boot: s.boot}
	plan, err := f.planRead(ctx, &req.Run)
	if err != nil || plan.nothing() {
		return reply, wire.Bulk{}, err
	}
	// No thread is held here: waiting for room must keep nobody from the disk.
	release, err := s.reserve(ctx, r.Conn, plan.bytes)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	bulk, err := f.read(ctx, plan, reply)
	if err != nil || bulk.Done == nil {
		release()
		return reply, wire.Bulk{}, err
	}
	free := bulk.Done
	bulk.Done = func() { free(); release() }
	return reply, bulk, nil
}

// readPlan is what a read will find at most.
type readPlan struct {
	run      wire.Run
	from, to uint64 // the slots of the run that the file has
	bytes    int    // that they take, at most
	unknown  bool   // what the file holds nobody knows
}

func (p *readPlan) nothing() bool { return p.from >= p.to && !p.unknown }

// planRead bounds what a read takes. Slots that are added to the file between
// plan and read were absent during the read, and so are left out.
func (s *slotFile) planRead(ctx context.Context, run *wire.Run) (readPlan, error) {
	p := readPlan{run: *run}
	leave, err := s.root.work(ctx)
	if err != nil {
		return p, err
	}
	defer leave()
	if err := s.lockRead(); err != nil {
		return p, err
	}
	defer s.mu.RUnlock()
	switch {
	case s.f == nil || s.state == formless || run.Count == 0:
		return p, nil
	case s.state == broken:
		p.unknown = true
		return p, nil
	}
	n := s.head.slotsIn(s.size)
	p.from, p.to = min(run.First, n), min(run.First+uint64(run.Count), n)
	p.bytes = int(min(int64(p.to-p.from)*s.head.stride(), wire.MaxBulk))
	return p, s.checkGeneration(run.Generation)
}

// bytesOf is the size of the slots from to to as far as the file goes.
func (s *slotFile) bytesOf(from, to uint64) int64 {
	if from >= to {
		return 0
	}
	return min(s.head.offset(to), s.size) - s.head.offset(from)
}

// extent is a range of slots that holds data, and its bytes once read.
type extent struct {
	from, to uint64
	b        []byte // nil: unreadable
}

// read fills the reply and returns the slots that are present, in a pooled
// buffer of no more than the plan's bytes.
func (s *slotFile) read(ctx context.Context, p readPlan, reply *wire.ReadReply) (wire.Bulk, error) {
	leave, err := s.root.work(ctx)
	if err != nil {
		return wire.Bulk{}, err
	}
	defer leave()
	if err := s.lockRead(); err != nil {
		return wire.Bulk{}, err
	}
	defer s.mu.RUnlock()
	switch {
	case s.f == nil || s.state == formless:
		return wire.Bulk{}, nil // deleted meanwhile
	case s.state == broken:
		reply.Pieces = []wire.Piece{{Count: p.run.Count, State: wire.SlotBroken}}
		return wire.Bulk{}, nil
	}
	reply.PayloadBytes = s.head.PayloadBytes
	extents, bytes, err := s.dataExtents(p.from, min(p.to, s.head.slotsIn(s.size)))
	if err != nil {
		return wire.Bulk{}, err
	}
	if bytes > wire.MaxBulk {
		return wire.Bulk{}, vocab.Errorf(vocab.TooLarge, "read of %d bytes in %d blocks: at most %d blocks of this file fit a reply",
			bytes, p.run.Count, wire.MaxBulk/s.head.stride())
	}
	buf := wire.NewBuffer(int(bytes))
	s.fill(extents, buf.B)
	parts := s.classify(p.run.First, extents, reply)
	if len(parts) == 0 {
		buf.Release()
		return wire.Bulk{}, nil
	}
	return wire.Bulk{Parts: parts, Done: buf.Release}, nil
}

// dataExtents lists what of the slots from to to is not a hole, without looking
// for holes in a file that has none.
func (s *slotFile) dataExtents(from, to uint64) (all []extent, bytes int64, err error) {
	if from >= to {
		return nil, 0, nil
	}
	_, allocated, err := s.f.stat()
	if err != nil {
		return nil, 0, s.root.failure("stat a slot file", err)
	}
	if allocated >= s.size {
		return []extent{{from: from, to: to}}, s.bytesOf(from, to), nil
	}
	for from < to {
		at, err := s.f.nextData(s.head.offset(from))
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, 0, s.root.failure("seek in a slot file", err)
		}
		if from = max(from, s.head.blockAt(at)); from >= to {
			break
		}
		end, err := s.f.nextHole(max(at, s.head.offset(from)))
		if err != nil && err != io.EOF {
			return nil, 0, s.root.failure("seek in a slot file", err)
		}
		next := to
		if err == nil {
			next = min(to, s.head.slotsIn(end))
		}
		next = max(next, from+1)
		all = append(all, extent{from: from, to: next})
		bytes += s.bytesOf(from, next)
		from = next
	}
	return all, bytes, nil
}

// fill reads the extents one after the other into b.
func (s *slotFile) fill(extents []extent, b []byte) {
	for i := range extents {
		e := &extents[i]
		n := int(s.bytesOf(e.from, e.to))
		if got, err := s.f.ReadAt(b[:n], s.head.offset(e.from)); err != nil && (err != io.EOF || got < n) {
			s.root.log.Warn("slots cannot be read", "fid", s.fid.String(), "block", e.from, "count", e.to-e.from, "err", err)
		} else {
			e.b = b[:n]
		}
		b = b[n:]
	}
}

// classify describes the run to the reply and gathers the present slots.
func (s *slotFile) classify(first uint64, extents []extent, reply *wire.ReadReply) (parts [][]byte) {
	at := first
	stride := int(s.head.stride())
	for _, e := range extents {
		reply.Pieces = appendPiece(reply.Pieces, e.from-at, wire.SlotAbsent)
		at = e.to
		if e.b == nil {
			reply.Pieces = appendPiece(reply.Pieces, e.to-e.from, wire.SlotBroken)
			continue
		}
		start := -1 // of the present slots not yet in parts
		for off := 0; off < len(e.b); off += stride {
			slot := e.b[off:min(off+stride, len(e.b))]
			state := s.stateOf(slot, e.from+uint64(off/stride))
			reply.Pieces = appendPiece(reply.Pieces, 1, state)
			switch {
			case state == wire.SlotPresent && start < 0:
				start = off
			case state != wire.SlotPresent && start >= 0:
				parts = append(parts, e.b[start:off])
				start = -1
			}
		}
		if start >= 0 {
			parts = append(parts, e.b[start:])
		}
	}
	if k := len(reply.Pieces) - 1; k >= 0 && reply.Pieces[k].State == wire.SlotAbsent {
		reply.Pieces = reply.Pieces[:k]
	}
	return parts
}

// stateOf looks at the header alone: the payload's checksum is the reader's.
func (s *slotFile) stateOf(slot []byte, block uint64) wire.SlotState {
	var h wire.SlotHeader
	state := s.check(&h, slot, block)
	if state == wire.SlotPresent && wire.SlotHeaderBytes+int(h.PayloadBytes) > len(slot) {
		return wire.SlotBroken
	}
	return state
}

// appendPiece joins pieces of the same state.
func appendPiece(all []wire.Piece, n uint64, state wire.SlotState) []wire.Piece {
	if n == 0 {
		return all
	}
	if k := len(all) - 1; k >= 0 && all[k].State == state {
		all[k].Count += uint32(n)
		return all
	}
	return append(all, wire.Piece{Count: uint32(n), State: state})
}
