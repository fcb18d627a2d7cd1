package storaged

import (
	"encoding/binary"
	"io"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	recordMagic   = 0x524a5a52 // "RZJR"
	recordVersion = 1
	recordHeader  = 64
	recordAlign   = 64 // records begin at multiples of it
)

// recordKind says what a record of the journal holds.
type recordKind uint8

const (
	recordStart recordKind = 1 // begins a segment; no body
	recordSlots recordKind = 2 // slots of consecutive blocks of a file, as on the wire
	recordHead  recordKind = 3 // the header of a slot file
	recordGone  recordKind = 4 // the file was deleted: earlier records of it mean nothing; no body
	recordVoid  recordKind = 5 // blocks were discarded; the body is epoch u64 and counter u64 of the version and their CRC32C
)

// record is one record of the journal: a header, and a body that has checksums of its
// own. Little endian:
//
//	0  u32 magic "RZJR"
//	4  u8  format version, 1
//	5  u8  kind
//	6  u16 0
//	8  u32 bytes of body; the next record begins at the next multiple of 64
//	12 u32 payload bytes of the slots: their stride is 64 more, the last may be shorter;
//	       of a void, of the slots that the file has
//	16 [16] fid
//	32 u64 first block
//	40 u64 bytes of the segment that a sync had covered when this was written; in a
//	       start, of the segment before
//	48 u64 number of the segment
//	56 u32 slots; of a void, blocks
//	60 u32 CRC32C of the 60 bytes before
type record struct {
	kind         recordKind
	fid          vocab.FID
	first        uint64
	payloadBytes uint32
	covered      int64
	body         int

	bulk     []byte          // the body, when it is written
	versions []vocab.Version // of the slots
	head     *fileHeader     // of recordHead
	damaged  bool            // some of the body fails its checksum
}

// usable tells whether a damaged record still says which versions its slots have. A
// slot that does not is taken to be of the highest version of the others.
func (r *record) usable() bool { return r.kind == recordSlots && !r.versions[0].Absent() }

func slotsRecord(fid vocab.FID, first uint64, payloadBytes uint32, versions []vocab.Version, slots []byte) *record {
	return &record{kind: recordSlots, fid: fid, first: first, payloadBytes: payloadBytes, body: len(slots), bulk: slots, versions: versions}
}

func headRecord(h fileHeader) *record {
	b := h.marshal()
	return &record{kind: recordHead, fid: h.FID, body: len(b), bulk: b, head: &h}
}

// voidRecord discards the blocks of a run.
func voidRecord(run *wire.Run, payloadBytes uint32, v vocab.Version) *record {
	b := binary.LittleEndian.AppendUint64(nil, uint64(v.Epoch))
	b = binary.LittleEndian.AppendUint64(b, v.Counter)
	b = binary.LittleEndian.AppendUint32(b, wire.Checksum(b))
	r := &record{kind: recordVoid, fid: run.FID, first: run.First, payloadBytes: payloadBytes, body: len(b), bulk: b}
	r.setVersions(v, int(run.Count))
	return r
}

func (r *record) setVersions(v vocab.Version, n int) {
	r.versions = make([]vocab.Version, n)
	for i := range r.versions {
		r.versions[i] = v
	}
}

const voidBytes = 20

// owed is what a record will free when it is folded: a discarded block is taken for as
// large as its slot, so that discards are folded as soon as overwrites would be.
func (r *record) owed() int64 {
	if r.kind != recordVoid {
		return 0
	}
	return int64(len(r.versions)) * (wire.SlotHeaderBytes + int64(r.payloadBytes))
}

func (r *record) padding() int  { return (recordAlign - r.body%recordAlign) % recordAlign }
func (r *record) length() int64 { return int64(recordHeader + r.body + r.padding()) }

// marshal gives the header.
func (r *record) marshal(seq uint64) []byte {
	b := make([]byte, recordHeader)
	le := binary.LittleEndian
	le.PutUint32(b[0:], recordMagic)
	b[4], b[5] = recordVersion, byte(r.kind)
	le.PutUint32(b[8:], uint32(r.body))
	le.PutUint32(b[12:], r.payloadBytes)
	copy(b[16:32], r.fid[:])
	le.PutUint64(b[32:], r.first)
	le.PutUint64(b[40:], uint64(r.covered))
	le.PutUint64(b[48:], seq)
	le.PutUint32(b[56:], uint32(len(r.versions)))
	le.PutUint32(b[60:], wire.Checksum(b[:60]))
	return b
}

// parseRecord reads a header; slots is how many its body has. ok tells that it is one
// of this segment, with a body that may be read.
func parseRecord(b []byte, seq uint64) (r record, slots int, ok bool) {
	le := binary.LittleEndian
	if len(b) < recordHeader || le.Uint32(b) != recordMagic || b[4] != recordVersion || wire.Checksum(b[:60]) != le.Uint32(b[60:]) || le.Uint64(b[48:]) != seq {
		return r, 0, false
	}
	r = record{
		kind: recordKind(b[5]), fid: vocab.FID(b[16:32]), first: le.Uint64(b[32:]),
		payloadBytes: le.Uint32(b[12:]), covered: int64(le.Uint64(b[40:])), body: int(le.Uint32(b[8:])),
	}
	slots = int(le.Uint32(b[56:]))
	if r.covered < 0 {
		return r, 0, false
	}
	stride := wire.SlotHeaderBytes + int(r.payloadBytes)
	switch r.kind {
	case recordStart, recordGone:
		ok = r.body == 0 && slots == 0
	case recordHead:
		ok = r.body == slotFileHeader && slots == 0
	case recordVoid:
		ok = r.body == voidBytes && slots > 0 && slots <= wire.MaxRunBlocks && r.first <= 2*wire.MaxBlockIndex
	case recordSlots:
		ok = slots > 0 && slots <= wire.MaxRunBlocks && r.payloadBytes > 0 && r.payloadBytes <= maxPayloadBytes && r.first <= 2*wire.MaxBlockIndex &&
			r.body <= slots*stride && r.body >= (slots-1)*stride+wire.SlotHeaderBytes
	}
	return r, slots, ok
}

// readRecord reads the record at off of a segment of the length; nil when there is no
// sound one.
func readRecord(f io.ReaderAt, off, length int64, seq uint64) (*record, error) {
	if off+recordHeader > length {
		return nil, nil
	}
	var b [recordHeader]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		return nil, err
	}
	r, slots, ok := parseRecord(b[:], seq)
	if !ok || off+r.length() > length {
		return nil, nil
	}
	buf := wire.NewBuffer(r.body)
	defer buf.Release()
	if _, err := f.ReadAt(buf.B, off+recordHeader); err != nil && r.body > 0 {
		return nil, err
	}
	switch r.kind {
	case recordHead:
		h, ok := parseFileHeader(buf.B, r.fid)
		r.head, r.damaged = &h, !ok
	case recordVoid:
		le := binary.LittleEndian
		r.setVersions(vocab.Version{Epoch: vocab.Epoch(le.Uint64(buf.B)), Counter: le.Uint64(buf.B[8:])}, slots)
		r.damaged = wire.Checksum(buf.B[:16]) != le.Uint32(buf.B[16:])
	case recordSlots:
		r.readVersions(buf.B, slots)
	}
	return &r, nil
}

// readVersions looks at the slots of the body.
func (r *record) readVersions(body []byte, slots int) {
	stride := wire.SlotHeaderBytes + int(r.payloadBytes)
	var highest vocab.Version
	for i := range slots {
		b := body[i*stride : min((i+1)*stride, r.body)]
		h, _, state := wire.ParseSlot(b, r.fid, r.first+uint64(i))
		if state != wire.SlotPresent {
			r.damaged = true
			if h.Parse(b) != wire.SlotPresent {
				h.Version = vocab.Version{}
			}
		}
		r.versions = append(r.versions, h.Version)
		if h.Version.Compare(highest) > 0 {
			highest = h.Version
		}
	}
	for i, v := range r.versions {
		if v.Absent() {
			r.versions[i] = highest
		}
	}
}

// coveredBehind looks behind a bad record for later ones, and tells how much of the
// segment they know to be synced.
func coveredBehind(f io.ReaderAt, off, length int64, seq uint64) (covered int64, err error) {
	buf := wire.NewBuffer(1 << 20)
	defer buf.Release()
	for off = (off + recordAlign - 1) / recordAlign * recordAlign; off < length; off += int64(len(buf.B)) {
		n, err := f.ReadAt(buf.B, off)
		if err != nil && err != io.EOF {
			return 0, err
		}
		for at := 0; at+recordHeader <= n; at += recordAlign {
			if r, _, ok := parseRecord(buf.B[at:n], seq); ok && r.kind != recordStart {
				covered = max(covered, r.covered)
			}
		}
	}
	return covered, nil
}
