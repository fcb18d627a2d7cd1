package rozofs

import (
	"bytes"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// minZeros is how many bytes of zeros between other data are worth a request of their own,
// that discards them. Fewer are sent as they are; a run of nothing else never is.
const minZeros = 64 << 10

// stretch is consecutive blocks to be sent as one run; zeros tells that all of them were
// zeros when it was looked.
type stretch struct {
	first uint64
	count int
	zeros bool
}

// stretches divides n blocks by whether they are zeros.
func (f *file) stretches(first uint64, n int) []stretch {
	f.mu.Lock()
	defer f.mu.Unlock()
	least := max(1, minZeros/f.coder.BlockBytes())
	var all []stretch
	add := func(count int, zeros bool) {
		if k := len(all) - 1; k >= 0 && all[k].zeros == zeros {
			all[k].count += count
		} else if count > 0 {
			all = append(all, stretch{first, count, zeros})
		}
		first += uint64(count)
	}
	for i := 0; i < n; {
		from := i
		for i < n && f.isZeroPage(first+uint64(i-from)) {
			i++
		}
		if i-from >= least || i-from == n {
			add(i-from, true)
			continue
		}
		if i < n {
			i++ // the one that is not
		}
		add(i-from, false)
	}
	return all
}

// isZeroPage is called with mu held.
func (f *file) isZeroPage(b uint64) bool {
	pg := f.pages[b]
	return pg != nil && isZero(pg.buf.B[:f.coder.BlockBytes()])
}

// allZeros is called with mu held.
func (f *file) allZeros(r *run) bool {
	for _, pg := range r.pages {
		if !isZero(pg.buf.B[:f.coder.BlockBytes()]) {
			return false
		}
	}
	return true
}

// forgetZeros drops the pages of a run where nothing lies, and so nothing need be
// discarded; mu is held.
func (f *file) forgetZeros(r *run) {
	for i := range r.pages {
		f.dropPage(r.first + uint64(i))
	}
}

var zeros [vocab.MaxBlockBytes]byte

// isZero tells whether all bytes of a block are zero. Mostly the first ones tell.
func isZero(b []byte) bool {
	n := min(len(b), 16)
	return bytes.Equal(b[:n], zeros[:n]) && bytes.Equal(b, zeros[:len(b)])
}
