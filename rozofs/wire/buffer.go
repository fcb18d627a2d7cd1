package wire

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Buffer is a pooled byte slice, counted by reference, so that a frame queued
// towards a slow peer keeps its bytes while the caller goes on. B starts on a
// page boundary from 32 KiB up.
type Buffer struct {
	B     []byte
	refs  atomic.Int32
	class int
}

const (
	minClass = 12 // 4 KiB
	maxClass = 23 // 8 MiB
)

var pools [maxClass + 1]sync.Pool

// NewBuffer returns a buffer with len(B) == n and one reference. Its content is
// undefined.
func NewBuffer(n int) *Buffer {
	class := max(minClass, bits.Len(uint(max(n, 1)-1)))
	if class > maxClass {
		b := &Buffer{B: make([]byte, n), class: -1}
		b.refs.Store(1)
		return b
	}
	b, _ := pools[class].Get().(*Buffer)
	if b == nil {
		b = &Buffer{B: make([]byte, 1<<class), class: class}
	}
	b.B = b.B[:n]
	b.refs.Store(1)
	return b
}

// Retain adds a reference.
func (b *Buffer) Retain() *Buffer { b.refs.Add(1); return b }

// Release drops a reference; the last one returns the buffer to its pool.
// Releasing a nil buffer does nothing.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	switch n := b.refs.Add(-1); {
	case n < 0:
		panic("wire: Buffer released twice")
	case n == 0 && b.class >= 0:
		b.B = b.B[:cap(b.B)]
		pools[b.class].Put(b)
	}
}
