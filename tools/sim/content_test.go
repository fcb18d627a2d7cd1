package sim

import (
	"encoding/binary"
	"fmt"
)

// A file is a row of cells, two to a block, so that some writes cover a block and others
// need what is there. A cell holds one value: 0, which is zeros, or a number that was
// written once, from which all of its bytes follow.
const (
	cellBytes     = blockBytes / cellsPerBlock
	cellsPerBlock = 2
)

type value uint32

func (v value) fill(cell []byte) {
	if v == 0 {
		clear(cell)
		return
	}
	x := uint64(v) * 0x9e3779b97f4a7c15
	for i := 0; i < len(cell); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(cell[i:], x)
	}
	binary.LittleEndian.PutUint64(cell, uint64(v))
}

// valueOf reads a cell. An error says that it is no value that was ever written, whole.
func valueOf(cell []byte) (value, error) {
	v := value(binary.LittleEndian.Uint32(cell))
	var want [cellBytes]byte
	v.fill(want[:])
	for i := range want {
		if want[i] != cell[i] {
			return v, fmt.Errorf("a cell that begins like value %d differs from it at byte %d", v, i)
		}
	}
	return v, nil
}

func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range []byte(s) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}
