package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func testSlot() (SlotHeader, []byte) {
	payload := []byte("the bytes of one projection, whatever they mean")
	h := SlotHeader{
		Projection: 2, PayloadBytes: uint32(len(payload)), PayloadCRC: Checksum(payload),
		FID: vocab.MakeFID(1, 2, 3, 4), Block: 5, Version: vocab.Version{Epoch: 6, Counter: 7}, BlockBytes: 8,
	}
	b := make([]byte, SlotHeaderBytes, SlotHeaderBytes+len(payload))
	h.Put(b)
	return h, append(b, payload...)
}

func TestASlotHasTheBytesOfTheFormat(t *testing.T) {
	_, b := testSlot()
	require.Equal(t, "RZPJ", string(b[:4]))
	require.Equal(t, []byte{1, 0, 2, 0}, b[4:8])
	require.Equal(t, []byte{47, 0, 0, 0}, b[8:12])
	require.Equal(t, []byte{0, 1, 0, 0, 0, 2, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4}, b[16:32])
	require.Equal(t, []byte{5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0}, b[32:60])
}

func TestTheChecksumIsCRC32C(t *testing.T) {
	require.EqualValues(t, 0xe3069283, Checksum([]byte("123456789"))) // the check value of the polynomial
}

func TestASlotComesBack(t *testing.T) {
	want, b := testSlot()
	for name, b := range map[string][]byte{"exact": b, "padded": append(bytes.Clone(b), 0, 0, 9)} {
		t.Run(name, func(t *testing.T) {
			h, payload, state := ParseSlot(b, want.FID, want.Block)
			require.Equal(t, SlotPresent, state)
			require.Equal(t, want, h)
			require.Equal(t, "the bytes of one projection, whatever they mean", string(payload))
		})
	}
}

func TestASlotWithAnyBitFlippedIsBroken(t *testing.T) {
	h, good := testSlot()
	for i := range len(good) * 8 {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		_, payload, state := ParseSlot(b, h.FID, h.Block)
		require.Equal(t, SlotBroken, state, "bit %d of byte %d", i%8, i/8)
		require.Nil(t, payload)
	}
}

func TestATornSlotIsNeverPresent(t *testing.T) {
	h, good := testSlot()
	for n := range len(good) {
		_, _, state := ParseSlot(good[:n], h.FID, h.Block)
		require.NotEqual(t, SlotPresent, state, "cut to %d bytes", n)
		torn := append(bytes.Clone(good[:n]), make([]byte, len(good)-n)...)
		_, _, state = ParseSlot(torn, h.FID, h.Block)
		require.NotEqual(t, SlotPresent, state, "zeros from byte %d on", n)
		torn = append(make([]byte, n), good[n:]...)
		if n > 0 {
			_, _, state = ParseSlot(torn, h.FID, h.Block)
			require.NotEqual(t, SlotPresent, state, "zeros up to byte %d", n)
		}
	}
}

func TestASlotOfAnotherFileOrBlockIsBroken(t *testing.T) {
	h, b := testSlot()
	_, payload, state := ParseSlot(b, vocab.FID{1}, h.Block)
	require.Equal(t, SlotBroken, state)
	require.Nil(t, payload)
	_, _, state = ParseSlot(b, h.FID, h.Block+1)
	require.Equal(t, SlotBroken, state)
}

func TestASlotThatClaimsMoreThanThereIsIsBroken(t *testing.T) {
	h, b := testSlot()
	for _, n := range []uint32{h.PayloadBytes + 1, 1 << 31, 1<<32 - 1} {
		claim := h
		claim.PayloadBytes = n
		claim.Put(b)
		_, _, state := ParseSlot(b, h.FID, h.Block)
		require.Equal(t, SlotBroken, state)
	}
}

func TestZerosAreAnAbsentSlot(t *testing.T) {
	zeros := make([]byte, SlotHeaderBytes+10)
	for n := range len(zeros) + 1 {
		_, _, state := ParseSlot(zeros[:n], vocab.FID{}, 0)
		require.Equal(t, SlotAbsent, state, "%d zeros", n)
	}
	for i := range SlotHeaderBytes { // one byte that is not zero, short and whole
		b := make([]byte, SlotHeaderBytes)
		b[i] = 1
		var h SlotHeader
		require.Equal(t, SlotBroken, h.Parse(b))
		require.Equal(t, SlotBroken, h.Parse(b[:i+1]))
		require.Equal(t, SlotHeader{}, h, "nothing is taken from a broken header")
	}
}
