package storaged

import (
	"context"
	"io"
	"math"

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
	plan, err := f.planRead(ctx, &req.Run, req.Below)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	if plan.nothing() {
		if plan.partial {
			reply.Pieces = allUnknown(req.Count)
		}
		return reply, wire.Bulk{}, nil
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
	partial  bool   // what it does not hold nobody knows
	below    vocab.Version
}

func (p *readPlan) nothing() bool { return p.from >= p.to && !p.unknown }

// planRead bounds what a read takes. Slots that are added to the file between
// plan and read were absent during the read, and so are left out.
func (s *slotFile) planRead(ctx context.Context, run *wire.Run, below vocab.Version) (readPlan, error) {
	p := readPlan{run: *run, below: below}
	leave, err := s.root.work(ctx)
	if err != nil {
		return p, err
	}
	defer leave()
	if err := s.lockRead(); err != nil {
		return p, err
	}
	defer s.mu.RUnlock()
	p.partial = s.isPartial() && !s.deleted
	switch {
	case s.state == formless || run.Count == 0:
		return p, nil
	case s.state == broken:
		p.unknown = true
		return p, nil
	}
	n := s.end()
	p.from, p.to = min(run.First, n), min(run.First+uint64(run.Count), n)
	p.bytes = int(min(int64(p.to-p.from)*s.head.stride(), wire.MaxBulk))
	return p, s.checkGeneration(run.Generation)
}

// end is the block behind the last that has a slot.
func (s *slotFile) end() uint64 {
	n := s.head.slotsIn(s.size)
	if s.log != nil {
		n = max(n, s.log.end)
	}
	return n
}

// bytesOf is the size of the slots in place from from to to as far as the file goes.
func (s *slotFile) bytesOf(from, to uint64) int64 {
	if from >= to {
		return 0
	}
	return max(0, min(s.head.offset(to), s.size)-s.head.offset(from))
}

// extent is a range of slots.
type extent struct {
	from, to uint64
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
	switch s.state {
	case formless:
		return wire.Bulk{}, nil // deleted meanwhile
	case broken:
		reply.Pieces = allUnknown(p.run.Count)
		return wire.Bulk{}, nil
	}
	if p.partial || s.isPartial() { // also of one that became whole meanwhile
		defer noneAbsent(reply, p.run.Count)
	}
	reply.PayloadBytes = s.head.PayloadBytes
	inPlace, err := s.dataExtents(p.from, min(p.to, s.head.slotsIn(s.size)))
	if err != nil {
		return wire.Bulk{}, err
	}
	all := s.withLogged(inPlace, p.from, p.to)
	stride, slots := int(s.head.stride()), 0
	for _, e := range all {
		slots += int(e.to - e.from)
	}
	if slots*stride > wire.MaxBulk {
		return wire.Bulk{}, vocab.Errorf(vocab.TooLarge, "read of %d bytes in %d blocks: at most %d blocks of this file fit a reply",
			slots*stride, p.run.Count, wire.MaxBulk/stride)
	}
	buf := wire.NewBuffer(slots * stride)
	parts := s.classify(&p, all, s.fill(inPlace, all, buf.B), buf.B, reply)
	if len(parts) == 0 {
		buf.Release()
		return wire.Bulk{}, nil
	}
	return wire.Bulk{Parts: parts, Done: buf.Release}, nil
}

// withLogged adds the blocks from from to to that the journal has slots of.
func (s *slotFile) withLogged(inPlace []extent, from, to uint64) []extent {
	logged := s.log.within(from, to)
	if len(logged) == 0 {
		return inPlace
	}
	var all []extent
	add := func(e extent) {
		if k := len(all) - 1; k >= 0 && all[k].to == e.from {
			all[k].to = e.to
			return
		}
		all = append(all, e)
	}
	next := inPlace
	for _, b := range logged {
		for len(next) > 0 && next[0].from <= b {
			add(next[0])
			next = next[1:]
		}
		if len(all) == 0 || b >= all[len(all)-1].to {
			add(extent{b, b + 1})
		}
	}
	for _, e := range next {
		add(e)
	}
	return all
}

// dataExtents lists what of the slots from to to is not a hole, without looking
// for holes in a file that has none.
func (s *slotFile) dataExtents(from, to uint64) (all []extent, err error) {
	return s.someExtents(from, to, math.MaxInt)
}

// someExtents is dataExtents for no more than most of them.
func (s *slotFile) someExtents(from, to uint64, most int) (all []extent, err error) {
	if from >= to || s.f == nil {
		return nil, nil
	}
	_, allocated, err := s.f.Stat()
	if err != nil {
		return nil, s.root.failure("stat a slot file", err)
	}
	if allocated >= s.size {
		return []extent{{from, to}}, nil
	}
	for from < to && len(all) < most {
		at, err := s.f.NextData(s.head.offset(from))
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, s.root.failure("seek in a slot file", err)
		}
		if from = max(from, s.head.blockAt(at)); from >= to {
			break
		}
		end, err := s.f.NextHole(max(at, s.head.offset(from)))
		if err != nil && err != io.EOF {
			return nil, s.root.failure("seek in a slot file", err)
		}
		next := to
		if err == nil {
			next = min(to, s.head.slotsIn(end))
		}
		next = max(next, from+1)
		all = append(all, extent{from, next})
		from = next
	}
	return all, nil
}

// fill reads what is in place of the ranges all into b, where they lie one after the
// other, a stride for each slot, and zeros between. It tells which blocks cannot be read.
func (s *slotFile) fill(inPlace, all []extent, b []byte) (unreadable map[uint64]bool) {
	stride := int(s.head.stride())
	k, at := 0, 0 // the range of all that holds the extent, and where it begins in b
	filled := 0
	for _, e := range inPlace {
		for all[k].to <= e.from {
			at += int(all[k].to-all[k].from) * stride
			k++
		}
		off := at + int(e.from-all[k].from)*stride
		part := b[off : off+int(e.to-e.from)*stride]
		clear(b[filled:off]) // a pooled buffer holds what others have read
		filled = off + len(part)
		n := int(s.bytesOf(e.from, e.to))
		if got, err := s.f.ReadAt(part[:n], s.head.offset(e.from)); err != nil && (err != io.EOF || got < n) {
			s.root.log.Warn("slots cannot be read", "fid", s.fid.String(), "block", e.from, "count", e.to-e.from, "err", err)
			if unreadable == nil {
				unreadable = map[uint64]bool{}
			}
			for block := e.from; block < e.to; block++ {
				unreadable[block] = true
			}
		}
		clear(part[n:])
	}
	clear(b[filled:])
	return unreadable
}

// classify puts newer slots of the journal over those in place, describes the run to the
// reply, and gathers the present slots.
func (s *slotFile) classify(p *readPlan, all []extent, unreadable map[uint64]bool, b []byte, reply *wire.ReadReply) (parts [][]byte) {
	next, stride, length := p.run.First, int(s.head.stride()), 0
	from, off := 0, 0 // the present slots not yet in parts
	flush := func() {
		if from < off {
			parts = append(parts, b[from:off])
		}
	}
	for _, e := range all {
		reply.Pieces = appendPiece(reply.Pieces, e.from-next, wire.SlotAbsent)
		next = e.to
		for block := e.from; block < e.to; block++ {
			state, n := s.readNewest(p, block, unreadable[block], b[off:off+stride])
			reply.Pieces = appendPiece(reply.Pieces, 1, state)
			if state == wire.SlotPresent {
				length = n
				off += stride
				continue
			}
			flush()
			off += stride
			from = off
		}
	}
	flush()
	if k := len(parts) - 1; k >= 0 { // the very last is not padded
		parts[k] = parts[k][:len(parts[k])-stride+length]
	}
	if k := len(reply.Pieces) - 1; k >= 0 && reply.Pieces[k].State == wire.SlotAbsent {
		reply.Pieces = reply.Pieces[:k]
	}
	return parts
}

// readNewest finds the newest version of a block below the plan's bound. slot holds what is
// in place, and gets what is in the journal if that is newer; n is its length.
func (s *slotFile) readNewest(p *readPlan, block uint64, unreadable bool, slot []byte) (state wire.SlotState, n int) {
	var h wire.SlotHeader
	state = wire.SlotBroken
	if !unreadable {
		h, state = s.stateOf(slot, block)
		state = s.promised(block, state)
	}
	e, state := s.newestOf(block, p.below, &h, state)
	if e.bytes > 0 {
		got, err := e.read(slot)
		if err != nil {
			s.root.log.Warn("a slot in the journal cannot be read", "fid", s.fid.String(), "block", block, "err", err)
			return wire.SlotBroken, 0
		}
		clear(slot[got:])
		h, state = s.stateOf(slot, block)
	}
	return state, wire.SlotHeaderBytes + int(h.PayloadBytes)
}

// promised takes a slot in place that does not check for absent if no sync has covered it.
func (s *slotFile) promised(block uint64, state wire.SlotState) wire.SlotState {
	if state == wire.SlotBroken && block >= s.head.Covered {
		return wire.SlotAbsent
	}
	return state
}

// newestOf decides which is the newest version of a block below a bound, absent for none:
// the slot in place, whose header and state are given, or the entry that is returned.
func (s *slotFile) newestOf(block uint64, below vocab.Version, h *wire.SlotHeader, state wire.SlotState) (entry, wire.SlotState) {
	if !below.Absent() && state == wire.SlotPresent && h.Version.Compare(below) >= 0 {
		state = wire.SlotAbsent
	}
	cut := s.head.cutBy(block, below)
	if e, ok := s.log.of(block, below); ok && (state != wire.SlotPresent || e.version.Compare(h.Version) >= 0) {
		if e.bytes == 0 || e.version.Compare(cut) <= 0 {
			return entry{}, wire.SlotAbsent
		}
		return e, wire.SlotPresent
	}
	if state == wire.SlotPresent && h.Version.Compare(cut) <= 0 ||
		state == wire.SlotBroken && !cut.Absent() && cut.Compare(s.newest) >= 0 {
		state = wire.SlotAbsent
	}
	return entry{}, state
}

// stateOf looks at the header alone: the payload's checksum is the reader's.
func (s *slotFile) stateOf(slot []byte, block uint64) (h wire.SlotHeader, state wire.SlotState) {
	state = s.check(&h, slot, block)
	if state == wire.SlotPresent && wire.SlotHeaderBytes+int(h.PayloadBytes) > len(slot) {
		state = wire.SlotBroken
	}
	return h, state
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
