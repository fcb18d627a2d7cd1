package storaged

import (
	"context"
	"fmt"
	"io"

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
	client := r.Conn.Peer().Role == wire.RoleClient
	if client {
		leave, err := s.beginWrite(r.Conn)
		if err != nil {
			return nil, wire.Bulk{}, err
		}
		defer leave()
	}
	// What settles a file makes room, and so does not wait for it.
	if client || !req.Final.Absent() {
		if err := rt.journal.awaitRoom(ctx); err != nil {
			return nil, wire.Bulk{}, err
		}
	}
	release, err := s.reserve(ctx, r.Conn, len(bulk))
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	defer release()
	in, err := checkSlots(&req, bulk, client)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	if err := rt.room.take(len(bulk), client); err != nil {
		return nil, wire.Bulk{}, rt.failure("ask for free space", err)
	}
	leave, err := rt.enterUnder(ctx, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	f := rt.files.acquire(req.FID)
	defer rt.files.release(f)
	err = f.write(&in)
	leave()
	if err == nil && req.Sync {
		err = rt.syncFiles(ctx, []vocab.FID{req.FID})
	}
	if err != nil {
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
	final, seen     vocab.Version // as in wire.WriteRequest
	client          bool
}

func (in *incoming) stride() int { return wire.SlotHeaderBytes + int(in.payloadBytes) }

// slots is the part of the bulk that holds the slots i to j of the run.
func (in *incoming) slots(i, j int) []byte {
	return in.bulk[i*in.stride() : min(j*in.stride(), len(in.bulk))]
}

// checkSlots verifies every slot of the bulk: that it is sound and that it is
// the one that the request says.
func checkSlots(req *wire.WriteRequest, bulk []byte, client bool) (incoming, error) {
	in := incoming{Run: req.Run, payloadBytes: req.PayloadBytes, bulk: bulk, final: req.Final, seen: req.Seen, client: client}
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
	if client && in.lowest.Compare(req.Final) <= 0 {
		return in, vocab.Errorf(vocab.Invalid, "version %v is said to be final before it is written", in.lowest)
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

// write keeps the slots that say something new: large spans where nothing was, and no
// sync has been, in place, all others in the journal.
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
	if err := s.finalize(in.final); err != nil {
		return err
	}
	spans, err := s.news(in)
	if err != nil || len(spans) == 0 {
		return err
	}
	if err := s.clearFormless(); err != nil {
		return err
	}
	h, changed := s.headFor(in.Generation, in.highest.Epoch, in.payloadBytes)
	if s.state != formed {
		h.Final = in.final
	}
	var records []*record
	if changed {
		records = append(records, headRecord(h))
	}
	for _, r := range spans {
		if !s.isDirect(in, r) {
			records = append(records, slotsRecord(s.fid, in.First+uint64(r.from), in.payloadBytes, in.versions(r), in.slots(r.from, r.to)))
		}
	}
	if len(records) > 0 {
		if err := s.record(records...); err != nil {
			return err
		}
	}
	s.raiseNewest(in.highest)
	for _, r := range spans {
		if s.isDirect(in, r) {
			if err := s.put(in, r); err != nil {
				return err
			}
		}
	}
	s.root.journal.foldSoon()
	return nil
}

// minDirect is the least span that is written in place: a smaller one costs more to
// sync there than to write twice.
const minDirect = 64 << 10

// isDirect decides by what does not change while the run is written.
func (s *slotFile) isDirect(in *incoming, r span) bool {
	return r.fresh && in.First+uint64(r.from) >= s.direct && (r.to-r.from)*in.stride() >= minDirect
}

// versions gives those of the slots of a span, which have been checked.
func (in *incoming) versions(r span) []vocab.Version {
	var h wire.SlotHeader
	all := make([]vocab.Version, 0, r.to-r.from)
	for i := r.from; i < r.to; i++ {
		h.Parse(in.slots(i, i+1))
		all = append(all, h.Version)
	}
	return all
}

// accepts checks a write against the file's header.
func (s *slotFile) accepts(in *incoming) error {
	switch {
	case s.state == broken:
		return s.brokenHeader()
	case s.state == formed && s.head.PayloadBytes != in.payloadBytes:
		return vocab.Errorf(vocab.Invalid, "file %v has payloads of %d bytes on this storage, not %d", s.fid, s.head.PayloadBytes, in.payloadBytes)
	case !in.client && in.lowest.Compare(s.head.Forgotten) <= 0 && s.head.Forgotten.Compare(in.seen) > 0:
		return vocab.Errorf(vocab.Busy, "file %v: blocks were discarded since it was looked at", s.fid)
	}
	if err := s.checkLease(in.client, in.highest.Epoch); err != nil {
		return err
	}
	return s.checkGeneration(in.Generation)
}

// span is the slots from to to of an incoming run; fresh ones were absent.
type span struct {
	from, to int
	fresh    bool
}

// news returns the maximal spans that are to be written. The headers that lie
// there are read only when it is not known that all of the run is newer.
func (s *slotFile) news(in *incoming) ([]span, error) {
	count := int(in.Count)
	if s.state != formed {
		return []span{{0, count, true}}, nil
	}
	there := 0 // slots of the run within the file in place
	if n := s.head.slotsIn(s.size); s.f != nil && n > in.First {
		there = int(min(uint64(count), n-in.First))
	}
	logged := s.log != nil && in.First < s.log.end
	newest := in.lowest.Compare(s.newest) > 0
	if newest && !logged {
		return appendSpan(appendSpan(nil, span{0, there, false}), span{there, count, true}), nil
	}
	var old *wire.Buffer
	if !newest {
		old = s.region(in.First, there)
		defer old.Release()
	}
	var spans []span
	for i := range count {
		n := news{wanted: true, fresh: i >= there && !s.isLogged(in.First+uint64(i))}
		if !newest {
			var err error
			if n, err = s.newsOf(in, i, i < there, old); err != nil {
				return nil, err
			}
		}
		if n.wanted {
			spans = appendSpan(spans, span{i, i + 1, n.fresh})
		}
	}
	return spans, nil
}

func (s *slotFile) isLogged(block uint64) bool { return s.log != nil && len(s.log.blocks[block]) > 0 }

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

// news is what a slot that has come means to what is there.
type news struct {
	wanted bool
	fresh  bool // there is nothing, and it lies beyond all that is in place: a sync under way covers that whole
}

// newsOf compares one slot. It is wanted if it is above the newest final version that is
// there: what lies between may be what an interrupted writer's last complete version
// needs. An equal one is written again when what lies in place has rotted.
func (s *slotFile) newsOf(in *incoming, i int, there bool, region *wire.Buffer) (n news, err error) {
	var h, old wire.SlotHeader
	block := in.First + uint64(i)
	h.Parse(in.slots(i, i+1))
	if s.head.cutOff(block, h.Version) {
		return n, nil
	}
	state := wire.SlotAbsent
	switch {
	case there && region != nil:
		at := min(i*in.stride(), len(region.B))
		state = s.check(&old, region.B[at:], block)
	case there:
		old, state = s.slotHeader(block)
	}
	var base vocab.Version // the newest final one
	if in.client {
		base = s.head.Forgotten
	}
	if state == wire.SlotPresent {
		switch {
		case old.Version == h.Version && old != h:
			return n, s.twice(block, h.Version)
		case old.Version == h.Version && s.isSound(block):
			return n, nil
		case old.Version != h.Version && old.Version.Compare(s.head.Final) <= 0 && old.Version.Compare(base) > 0:
			base = old.Version
		}
	}
	if s.log != nil {
		for _, e := range s.log.blocks[block] {
			switch {
			case e.version == h.Version:
				again, err := s.hasRotted(block, e, &h)
				return news{wanted: again}, err
			case e.version.Compare(s.head.Final) <= 0 && e.version.Compare(base) > 0:
				base = e.version
			}
		}
	}
	return news{wanted: h.Version.Compare(base) > 0, fresh: !there && !s.isLogged(block)}, nil
}

func (s *slotFile) twice(block uint64, v vocab.Version) error {
	return vocab.Errorf(vocab.Invalid, "block %d of file %v: another slot of version %v lies there", block, s.fid, v)
}

// isSound reads the whole slot in place.
func (s *slotFile) isSound(block uint64) bool {
	b := wire.NewBuffer(int(s.head.stride()))
	defer b.Release()
	n, err := s.f.ReadAt(b.B, s.head.offset(block))
	if err != nil && err != io.EOF {
		return false
	}
	_, _, state := wire.ParseSlot(b.B[:n], s.fid, block)
	return state == wire.SlotPresent
}

// hasRotted tells whether the slot of the same version in the journal fails its checksums,
// and refuses one that differs from it.
func (s *slotFile) hasRotted(block uint64, e entry, h *wire.SlotHeader) (bool, error) {
	b := make([]byte, e.bytes)
	n, err := e.read(b)
	if err != nil {
		return false, s.root.failure("read the journal", err)
	}
	old, _, state := wire.ParseSlot(b[:n], s.fid, block)
	if state == wire.SlotPresent && old != *h {
		return false, s.twice(block, h.Version)
	}
	return e.bytes > 0 && state != wire.SlotPresent, nil
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

// headFor is the header that a change needs, and whether it is another than that which is
// there.
func (s *slotFile) headFor(generation uint32, epoch vocab.Epoch, payloadBytes uint32) (h fileHeader, changed bool) {
	h = s.head.clone()
	if s.state != formed {
		h = fileHeader{FID: s.fid, PayloadBytes: payloadBytes}
	}
	h.Generation = max(h.Generation, generation)
	h.MaxEpoch = max(h.MaxEpoch, epoch)
	return h, s.state != formed || h.Generation != s.head.Generation || h.MaxEpoch != s.head.MaxEpoch
}

func (s *slotFile) raiseNewest(v vocab.Version) {
	if v.Compare(s.newest) > 0 {
		s.newest = v
	}
}

// clearFormless takes away what lies in place without a header, for good: an earlier run
// of storaged has written it, and no sync.
func (s *slotFile) clearFormless() error {
	if s.state == formed || s.f == nil || s.size == 0 {
		return nil
	}
	err := s.f.Truncate(0)
	if err == nil {
		err = s.f.Datasync()
	}
	if err != nil {
		return s.root.fail(fmt.Sprintf("clear %v", s.fid), err)
	}
	s.size = 0
	return nil
}

// put writes one span in place, straight out of the bulk.
func (s *slotFile) put(in *incoming, r span) error {
	if err := s.create(); err != nil {
		return err
	}
	b := in.slots(r.from, r.to)
	off := s.head.offset(in.First + uint64(r.from))
	if _, err := s.f.WriteAt(b, off); err != nil {
		err = s.root.failure(fmt.Sprintf("write %v", s.fid), err)
		s.takeBack(off, len(b))
		return err
	}
	s.owes = true
	s.dirty.Store(true)
	if in.highest.Compare(s.highest) > 0 {
		s.highest = in.highest
	}
	s.size = max(s.size, off+int64(len(b)))
	s.settleInPlace() // what repair writes is final
	return nil
}

// takeBack frees what a failed write took where nothing was before. A slot that
// it tears all the same fails its checksum, and so is lost to nobody.
func (s *slotFile) takeBack(off int64, n int) {
	var err error
	if off >= s.size {
		err = s.f.Truncate(s.size)
	} else {
		err = s.f.Punch(off, int64(n))
	}
	if err != nil {
		s.root.log.Warn("a failed write could not be taken back", "fid", s.fid.String(), "err", err)
	}
}
