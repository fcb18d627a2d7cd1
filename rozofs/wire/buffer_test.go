package wire

import (
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestABufferHasTheLengthAskedFor(t *testing.T) {
	for _, n := range []int{0, 1, 4095, 4096, 4097, 32 << 10, 1 << 20, 8 << 20, 8<<20 + 1} {
		b := NewBuffer(n)
		require.Len(t, b.B, n)
		if n >= 32<<10 {
			require.Zero(t, uintptr(unsafe.Pointer(&b.B[0]))%4096, "%d bytes begin on a page", n)
		}
		b.Release()
		again := NewBuffer(max(n-1, 0)) // of the pool, perhaps; shorter, and whole again after
		again.Release()
		whole := NewBuffer(n)
		require.Len(t, whole.B, n)
		whole.Release()
	}
}

func TestABufferLivesUntilItsLastReferenceIsReleased(t *testing.T) {
	b := NewBuffer(10)
	require.Same(t, b, b.Retain())
	b.Release()
	require.EqualValues(t, 1, b.refs.Load())
	require.Len(t, b.B, 10, "not given back yet")
	b.Release()
	require.Zero(t, b.refs.Load())
}

func TestReleasingTwiceIsAProgrammersMistake(t *testing.T) {
	b := NewBuffer(maxBufferBytes + 1) // never pooled, so that nobody else has it by now
	b.Release()
	require.PanicsWithValue(t, "wire: Buffer released twice", b.Release)
}

const maxBufferBytes = 1 << maxClass

func TestReleasingNoBufferDoesNothing(t *testing.T) {
	var none *Buffer
	require.NotPanics(t, none.Release)
}

func TestBuffersAreNotSharedBetweenHolders(t *testing.T) {
	var joined sync.WaitGroup
	mixed := make(chan bool, 8)
	for i := range 8 {
		joined.Go(func() {
			ok := true
			for n := range 300 {
				b := NewBuffer(1 + n*37)
				for j := range b.B {
					b.B[j] = byte(i)
				}
				b.Retain()
				b.Release()
				for j := range b.B {
					ok = ok && b.B[j] == byte(i)
				}
				b.Release()
			}
			mixed <- !ok
		})
	}
	joined.Wait()
	for range 8 {
		require.False(t, <-mixed)
	}
}
