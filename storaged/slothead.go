package storaged

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	slotFileMagic   = 0x46535a52 // "RZSF"
	slotFileVersion = 2
	slotFileHeader  = 192 // bytes before slot 0

	maxCuts = 3
	// maxPayloadBytes keeps one slot within a frame.
	maxPayloadBytes = wire.MaxBulk - wire.SlotHeaderBytes
)

// cut is a tombstone: the blocks from First on were discarded by Version, so
// that nothing of that version or older may come back by arriving late.
type cut struct {
	First   uint64
	Version vocab.Version
}

// fileHeader begins a slot file, and goes through the journal before it does.
// Little endian:
//
//	0   u32 magic "RZSF"
//	4   u8  format version, 2
//	5   u8  cuts, 0 to 3
//	6   u16 1: partial, else 0
//	8   u32 payload bytes: the stride of slots is 64 more
//	12  u32 highest generation of the distribution seen
//	16  [16] fid
//	32  u64 epoch: no slot and no cut of the file is of a higher one
//	40  3 × (u64 first block, u64 epoch, u64 counter) cuts, then 0
//	112 u64 covered: the slots in place below this block have been synced
//	120 u64 epoch, u64 counter of the final version
//	136 u64 settled: the slots in place below this block are of final versions
//	144 u64 epoch, u64 counter of the forgotten version
//	160 [28] 0
//	188 u32 CRC32C of the 188 bytes before
//
// After a crash epoch and final version may be too low for what no sync covered.
type fileHeader struct {
	FID          vocab.FID
	PayloadBytes uint32
	Generation   uint32
	MaxEpoch     vocab.Epoch
	Cuts         []cut // at most maxCuts
	Covered      uint64
	Settled      uint64
	Final        vocab.Version // versions up to it are durable on forward storages, or replaced by such
	Partial      bool          // blocks of which the file has nothing are unknown
	Forgotten    vocab.Version // no discard above it was forgotten; it is final
}

func (h *fileHeader) marshal() []byte {
	b := make([]byte, slotFileHeader)
	le := binary.LittleEndian
	le.PutUint32(b[0:], slotFileMagic)
	b[4], b[5] = slotFileVersion, byte(len(h.Cuts))
	if h.Partial {
		b[6] = 1
	}
	le.PutUint32(b[8:], h.PayloadBytes)
	le.PutUint32(b[12:], h.Generation)
	copy(b[16:32], h.FID[:])
	le.PutUint64(b[32:], uint64(h.MaxEpoch))
	for i, c := range h.Cuts {
		at := b[40+24*i:]
		le.PutUint64(at, c.First)
		le.PutUint64(at[8:], uint64(c.Version.Epoch))
		le.PutUint64(at[16:], c.Version.Counter)
	}
	le.PutUint64(b[112:], h.Covered)
	le.PutUint64(b[120:], uint64(h.Final.Epoch))
	le.PutUint64(b[128:], h.Final.Counter)
	le.PutUint64(b[136:], h.Settled)
	le.PutUint64(b[144:], uint64(h.Forgotten.Epoch))
	le.PutUint64(b[152:], h.Forgotten.Counter)
	le.PutUint32(b[188:], wire.Checksum(b[:188]))
	return b
}

// clone gives a copy that shares nothing.
func (h *fileHeader) clone() fileHeader {
	c := *h
	c.Cuts = slices.Clone(h.Cuts)
	return c
}

// parseFileHeader tells by ok whether b is a header of the file.
func parseFileHeader(b []byte, fid vocab.FID) (h fileHeader, ok bool) {
	if len(b) < slotFileHeader {
		return h, false
	}
	le := binary.LittleEndian
	if le.Uint32(b) != slotFileMagic || b[4] != slotFileVersion || wire.Checksum(b[:188]) != le.Uint32(b[188:]) {
		return h, false
	}
	h = fileHeader{
		FID:          vocab.FID(b[16:32]),
		PayloadBytes: le.Uint32(b[8:]),
		Generation:   le.Uint32(b[12:]),
		MaxEpoch:     vocab.Epoch(le.Uint64(b[32:])),
		Covered:      le.Uint64(b[112:]),
		Settled:      le.Uint64(b[136:]),
		Final:        vocab.Version{Epoch: vocab.Epoch(le.Uint64(b[120:])), Counter: le.Uint64(b[128:])},
		Partial:      b[6] == 1,
		Forgotten:    vocab.Version{Epoch: vocab.Epoch(le.Uint64(b[144:])), Counter: le.Uint64(b[152:])},
	}
	if h.FID != fid || b[5] > maxCuts || h.PayloadBytes == 0 || h.PayloadBytes > maxPayloadBytes {
		return fileHeader{}, false
	}
	for i := range int(b[5]) {
		at := b[40+24*i:]
		h.Cuts = append(h.Cuts, cut{le.Uint64(at), vocab.Version{Epoch: vocab.Epoch(le.Uint64(at[8:])), Counter: le.Uint64(at[16:])}})
	}
	return h, true
}

// stride is the distance of slots.
func (h *fileHeader) stride() int64 { return wire.SlotHeaderBytes + int64(h.PayloadBytes) }

// offset is where the slot of a block begins. It cannot overflow: blocks stay
// below 2^38 and a run more, strides below 2^22.
func (h *fileHeader) offset(block uint64) int64 { return slotFileHeader + int64(block)*h.stride() }

// blockAt is the block whose slot the offset lies in; offsets within the header
// count to block 0.
func (h *fileHeader) blockAt(off int64) uint64 {
	return uint64(max(off-slotFileHeader, 0) / h.stride())
}

// slotsIn counts the slots, the last perhaps short, in a file of the size.
func (h *fileHeader) slotsIn(size int64) uint64 {
	return uint64((max(size-slotFileHeader, 0) + h.stride() - 1) / h.stride())
}

// newest is the least version that is known to be below no slot or cut.
func (h *fileHeader) newest() vocab.Version {
	return vocab.Version{Epoch: h.MaxEpoch, Counter: math.MaxUint64}
}

// cutBy gives the newest discard of a block below a bound, which is absent for none.
func (h *fileHeader) cutBy(block uint64, below vocab.Version) (v vocab.Version) {
	for _, c := range h.Cuts {
		if block >= c.First && c.Version.Compare(v) > 0 && (below.Absent() || c.Version.Compare(below) < 0) {
			v = c.Version
		}
	}
	return v
}

// cutOff tells whether a version of a block was discarded.
func (h *fileHeader) cutOff(block uint64, v vocab.Version) bool {
	return v.Compare(h.cutBy(block, vocab.Version{})) <= 0
}

// addCut keeps the cuts that say something of their own. When there are more
// than maxCuts the oldest goes, and is forgotten. ok is false when that is not final, and
// still says what is to be read.
func (h *fileHeader) addCut(n cut) (ok bool) {
	kept := make([]cut, 0, maxCuts+1)
	oldest := 0
	for _, c := range h.Cuts {
		switch {
		case c.First <= n.First && c.Version.Compare(n.Version) >= 0:
			return true // n says nothing new
		case n.First <= c.First && n.Version.Compare(c.Version) >= 0:
			continue // n says it all
		}
		kept = append(kept, c)
	}
	kept = append(kept, n)
	for i, c := range kept {
		if c.Version.Compare(kept[oldest].Version) < 0 {
			oldest = i
		}
	}
	if len(kept) > maxCuts {
		if kept[oldest].Version.Compare(h.Final) > 0 {
			return false
		}
		h.forget(kept[oldest].Version)
		kept = append(kept[:oldest], kept[oldest+1:]...)
	}
	h.Cuts = kept
	return true
}

// forget takes note that a discard, which is final, leaves no other trace. What a client
// wrote before it and that comes late is not needed: it is durable elsewhere, or replaced.
func (h *fileHeader) forget(v vocab.Version) {
	if v.Compare(h.Forgotten) > 0 {
		h.Forgotten = v
	}
}
