package wire

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// SlotHeaderBytes is the size of the header before each projection's bytes.
const SlotHeaderBytes = 64

const (
	slotMagic   = 0x4a505a52 // "RZPJ"
	slotVersion = 1
)

// castagnoli is the polynomial of CRC32C, which CPUs compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is CRC32C.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// SlotHeader is the header of a slot, the record of one projection of one
// block. It is written by the client, verified by storaged and kept by it as it
// came. Little endian:
//
//	0  u32 magic "RZPJ"
//	4  u8  format version, 1
//	5  u8  flags, 0
//	6  u8  projection
//	7  u8  0
//	8  u32 payload bytes
//	12 u32 CRC32C of the payload
//	16 [16] fid
//	32 u64 block
//	40 u64 epoch of the version
//	48 u64 counter of the version
//	56 u32 bytes of user data in the block
//	60 u32 CRC32C of the 60 bytes before
type SlotHeader struct {
	Projection   uint8
	PayloadBytes uint32
	PayloadCRC   uint32
	FID          vocab.FID
	Block        uint64
	Version      vocab.Version
	BlockBytes   uint32 // user data; the payload codes it padded to a whole number of columns
}

// Put writes the header, its checksum included, to b[:SlotHeaderBytes].
func (h *SlotHeader) Put(b []byte) {
	_ = b[SlotHeaderBytes-1]
	le := binary.LittleEndian
	le.PutUint32(b[0:], slotMagic)
	b[4], b[5], b[6], b[7] = slotVersion, 0, h.Projection, 0
	le.PutUint32(b[8:], h.PayloadBytes)
	le.PutUint32(b[12:], h.PayloadCRC)
	copy(b[16:32], h.FID[:])
	le.PutUint64(b[32:], h.Block)
	le.PutUint64(b[40:], uint64(h.Version.Epoch))
	le.PutUint64(b[48:], h.Version.Counter)
	le.PutUint32(b[56:], h.BlockBytes)
	le.PutUint32(b[60:], Checksum(b[:60]))
}

// SlotState is what the first bytes of a slot tell.
type SlotState uint8

const (
	SlotAbsent  SlotState = iota // all zeros: never written
	SlotPresent                  // a header whose checksum holds
	SlotBroken                   // neither
)

// Parse reads a header from b, which may be shorter than a header at the end of
// a file.
func (h *SlotHeader) Parse(b []byte) SlotState {
	if len(b) < SlotHeaderBytes {
		for _, x := range b {
			if x != 0 {
				return SlotBroken
			}
		}
		return SlotAbsent
	}
	le := binary.LittleEndian
	if le.Uint32(b) != slotMagic || b[4] != slotVersion || Checksum(b[:60]) != le.Uint32(b[60:]) {
		if [SlotHeaderBytes]byte(b) == [SlotHeaderBytes]byte{} {
			return SlotAbsent
		}
		return SlotBroken
	}
	*h = SlotHeader{
		Projection:   b[6],
		PayloadBytes: le.Uint32(b[8:]),
		PayloadCRC:   le.Uint32(b[12:]),
		FID:          vocab.FID(b[16:32]),
		Block:        le.Uint64(b[32:]),
		Version:      vocab.Version{Epoch: vocab.Epoch(le.Uint64(b[40:])), Counter: le.Uint64(b[48:])},
		BlockBytes:   le.Uint32(b[56:]),
	}
	return SlotPresent
}

// ParseSlot reads a whole slot from b, checks that it is the one of fid and
// block and that its payload is intact, and returns the payload, a part of b.
func ParseSlot(b []byte, fid vocab.FID, block uint64) (SlotHeader, []byte, SlotState) {
	var h SlotHeader
	if s := h.Parse(b); s != SlotPresent {
		return h, nil, s
	}
	if h.FID != fid || h.Block != block || int64(h.PayloadBytes) > int64(len(b)-SlotHeaderBytes) {
		return h, nil, SlotBroken
	}
	payload := b[SlotHeaderBytes : SlotHeaderBytes+int(h.PayloadBytes)]
	if Checksum(payload) != h.PayloadCRC {
		return h, nil, SlotBroken
	}
	return h, payload, SlotPresent
}
