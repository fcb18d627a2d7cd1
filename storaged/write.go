package storaged

import (
	"context"
	"fmt"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// write serves OpWrite.
func (s *Server) write(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.WriteRequest
	if err := r.Decode(&req); err != nil {
		return nil, wire.Bulk{}, err
	}
	rt, err := s.target(r, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	var bulk []byte
	if r.Bulk != nil {
		bulk = r.Bulk.B
	}
	release, err := s.reserve(ctx, r.Conn, len(bulk))
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	defer release()
	in, err := checkSlots(&req, bulk)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	leave, err := rt.enter(ctx, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	defer leave()
	f := rt.files.acquire(req.FID)
	defer rt.files.release(f)
	if err := f.write(&in); err != nil {
		return nil, wire.Bulk{}, err
	}
	return &wire.WriteReply{Boot: s.boot}, wire.Bulk{}, nil
}

// incoming is a run of slots that has been checked.
type incoming struct {
	wire.Run
	payloadBytes    uint32
	bulk            []byte
	lowest, highest vocab.Version
}

func (in *incoming) stride() int { return wire.SlotHeaderBytes + int(in.payloadBytes) }

// slots is the part of the bulk that holds the slots i to j of the run.
func (in *incoming) slots(i, j int) []byte {
	return in.bulk[i*in.stride() : min(j*in.stride(), len(in.bulk))]
}

// checkSlots verifies every slot of the bulk: that it is sound and that it is
// the one that the request says.
func checkSlots(req *wire.WriteRequest, bulk []byte) (incoming, error) {
	in := incoming{Run: req.Run, payloadBytes: req.PayloadBytes, bulk: bulk}
	if req.Count == 0 || req.PayloadBytes == 0 || req.PayloadBytes > maxPayloadBytes {
		return in, vocab.Errorf(vocab.Invalid, "write of %d blocks of %d bytes", req.Count, req.PayloadBytes)
	}
	stride, count := in.stride(), int(req.Count)
	if len(bulk) > count*stride || len(bulk) < (count-1)*stride+wire.SlotHeaderBytes {
		return in, vocab.Errorf(vocab.Invalid, "write of %d blocks with a stride of %d and %d bytes of bulk", count, stride, len(bulk))
	}
	for i := range count {
		h, err := checkSlot(req, in.slots(i, i+1), req.First+uint64(i))
		if err != nil {
			return in, err
		}
		if i == 0 || h.Version.Compare(in.lowest) < 0 {
			in.lowest = h.Version
		}
		if i == 0 || h.Version.Compare(in.highest) > 0 {
			in.highest = h.Version
		}
	}
	return in, nil
}

func checkSlot(req *wire.WriteRequest, b []byte, block uint64) (wire.SlotHeader, error) {
	var h wire.SlotHeader
	switch {
	case h.Parse(b) != wire.SlotPresent:
		return h, vocab.Errorf(vocab.Corrupt, "block %d: the slot header fails its checksum", block)
	case h.FID != req.FID || h.Block != block:
		return h, vocab.Errorf(vocab.Invalid, "block %d of file %v: the slot says block %d of file %v", block, req.FID, h.Block, h.FID)
	case int64(h.PayloadBytes) > int64(len(b)-wire.SlotHeaderBytes):
		return h, vocab.Errorf(vocab.Invalid, "block %d: a payload of %d bytes in a slot of %d", block, h.PayloadBytes, len(b))
	case h.Version.Absent() || h.Version.Epoch > req.Epoch:
		return h, vocab.Errorf(vocab.Invalid, "block %d: version %v under epoch %d", block, h.Version, uint64(req.Epoch))
	case wire.Checksum(b[wire.SlotHeaderBytes:wire.SlotHeaderBytes+int(h.PayloadBytes)]) != h.PayloadCRC:
		return h, vocab.Errorf(vocab.Corrupt, "block %d: the payload fails its checksum", block)
	}
	return h, nil
}

// write stores the slots that are newer than what lies there.
func (s *slotFile) write(in *incoming) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted {
		return vocab.Errorf(vocab.Stale, "file %v was deleted", s.fid)
	}
	if err := s.open(); err != nil {
		return err
	}
	if err := s.accepts(in); err != nil {
		return err
	}
	runs, err := s.newer(in)
	if err != nil || len(runs) == 0 {
		return err
	}
	if s.f == nil {
		if err := s.create(); err != nil {
			return err
		}
	}
	s.dirty.Store(true)
	head, err := s.raiseHead(in)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if err := s.put(in, r, head); err != nil {
			return err
		}
		head = nil
	}
	return nil
}

// accepts checks a write against the file's header.
func (s *slotFile) accepts(in *incoming) error {
	switch {
	case s.state == broken:
		return vocab.Errorf(vocab.Corrupt, "file %v: the header of its slot file is broken", s.fid)
	case s.state == formed && s.head.PayloadBytes != in.payloadBytes:
		return vocab.Errorf(vocab.Invalid, "file %v has payloads of %d bytes on this storage, not %d", s.fid, s.head.PayloadBytes, in.payloadBytes)
	}
	return s.checkGeneration(in.Generation)
}

// span is the slots from to to of an incoming run; fresh ones were absent.
type span struct {
	from, to int
	fresh    bool
}

// newer returns the maximal spans that are to be written. The headers that lie
// there are read only when it is not known that all of the run is newer.
func (s *slotFile) newer(in *incoming) ([]span, error) {
	count := int(in.Count)
	if s.state != formed {
		return []span{{0, count, true}}, nil
	}
	there := 0 // slots of the run within the file
	if n := s.head.slotsIn(s.size); n > in.First {
		there = int(min(uint64(count), n-in.First))
	}
	if in.lowest.Compare(s.newest) > 0 {
		return appendSpan(appendSpan(nil, span{0, there, false}), span{there, count, true}), nil
	}
	old := s.region(in.First, there)
	defer old.Release()
	var spans []span
	for i := range count {
		write, fresh, err := s.isNewer(in, i, i < there, old)
		if err != nil {
			return nil, err
		}
		if write {
			spans = appendSpan(spans, span{i, i + 1, fresh})
		}
	}
	return spans, nil
}

// Reading a header alone costs a system call, reading all costs copying: where
// slots are small and many one read of the whole region is cheaper.
const (
	regionMinSlots    = 5
	regionMaxSlotSize = 16 << 10
)

// region reads the slots that lie under a run, or returns nil when their headers
// are better read one by one, also because some of it cannot be read.
func (s *slotFile) region(first uint64, slots int) *wire.Buffer {
	if slots < regionMinSlots || s.head.stride() > regionMaxSlotSize {
		return nil
	}
	off := s.head.offset(first)
	b := wire.NewBuffer(int(min(int64(slots)*s.head.stride(), s.size-off)))
	if n, err := s.f.ReadAt(b.B, off); n < len(b.B) && err != nil {
		b.Release()
		return nil
	}
	return b
}

// isNewer compares one slot. An equal version is written again if it is the same
// slot: its payload may have been torn by a crash. A broken slot gives way to
// any version.
func (s *slotFile) isNewer(in *incoming, i int, there bool, region *wire.Buffer) (write, fresh bool, err error) {
	var h, old wire.SlotHeader
	block := in.First + uint64(i)
	b := in.slots(i, i+1)
	h.Parse(b)
	if s.head.cutOff(block, h.Version) {
		return false, false, nil
	}
	state := wire.SlotAbsent
	switch {
	case there && region != nil:
		at := min(i*in.stride(), len(region.B))
		state = s.check(&old, region.B[at:], block)
	case there:
		old, state = s.slotHeader(block)
	}
	if state != wire.SlotPresent {
		return true, state == wire.SlotAbsent, nil
	}
	switch c := h.Version.Compare(old.Version); {
	case c == 0 && h != old:
		return false, false, vocab.Errorf(vocab.Invalid, "block %d of file %v: another slot of version %v lies there", block, s.fid, h.Version)
	default:
		return c >= 0, false, nil
	}
}

// appendSpan joins spans of the same kind that touch and leaves out empty ones.
func appendSpan(all []span, n span) []span {
	if n.from == n.to {
		return all
	}
	if k := len(all) - 1; k >= 0 && all[k].to == n.from && all[k].fresh == n.fresh {
		all[k].to = n.to
		return all
	}
	return append(all, n)
}

// raiseHead brings the header up to the run. It returns the header's bytes when
// they can go together with the slots, and has written them when they cannot.
func (s *slotFile) raiseHead(in *incoming) ([]byte, error) {
	h := s.head
	if s.state != formed {
		h = fileHeader{FID: s.fid, PayloadBytes: in.payloadBytes}
	}
	h.Generation = max(h.Generation, in.Generation)
	h.MaxEpoch = max(h.MaxEpoch, in.highest.Epoch)
	if s.state == formed && h.Generation == s.head.Generation && h.MaxEpoch == s.head.MaxEpoch {
		s.raiseNewest(in.highest)
		return nil, nil
	}
	b := h.marshal()
	if s.state != formed && in.First == 0 {
		s.head = h // put forms the file
		s.newest = in.highest
		return b, nil
	}
	return nil, s.writeHead(h, in.highest)
}

func (s *slotFile) raiseNewest(v vocab.Version) {
	if v.Compare(s.newest) > 0 {
		s.newest = v
	}
}

// writeHead replaces the header; highest is the version that comes next.
func (s *slotFile) writeHead(h fileHeader, highest vocab.Version) error {
	if _, err := s.f.WriteAt(h.marshal(), 0); err != nil {
		err = s.root.failure(fmt.Sprintf("write header of %v", s.fid), err)
		return s.unform(err)
	}
	if s.state != formed {
		s.newest = highest
	}
	s.head, s.state, s.size = h, formed, max(s.size, slotFileHeader)
	s.raiseNewest(highest)
	return nil
}

// unform drops a file whose first write failed, and returns err.
func (s *slotFile) unform(err error) error {
	if s.state == formed {
		return err
	}
	_ = s.root.disk.remove(slotFileName(s.fid)) // if it stays it holds nothing: formless or broken
	_ = s.forget()
	return err
}

// put writes one span straight out of the bulk, after head if that is not nil.
func (s *slotFile) put(in *incoming, r span, head []byte) error {
	b := in.slots(r.from, r.to)
	off := s.head.offset(in.First + uint64(r.from))
	var err error
	if head != nil {
		off = 0
		err = s.f.writeVec([][]byte{head, b}, 0)
	} else {
		_, err = s.f.WriteAt(b, off)
	}
	if err != nil {
		err = s.root.failure(fmt.Sprintf("write %v", s.fid), err)
		if s.state != formed {
			return s.unform(err)
		}
		s.takeBack(r, off, len(b))
		return err
	}
	s.state = formed
	s.size = max(s.size, off+int64(len(head)+len(b)))
	return nil
}

// takeBack frees what a failed write took where nothing was before. A slot that
// it tears all the same fails its checksum, and so is lost to nobody.
func (s *slotFile) takeBack(r span, off int64, n int) {
	if !r.fresh {
		return
	}
	var err error
	if off >= s.size {
		err = s.f.truncate(s.size)
	} else {
		err = s.f.punch(off, int64(n))
	}
	if err != nil {
		s.root.log.Warn("a failed write could not be taken back", "fid", s.fid.String(), "err", err)
	}
}
