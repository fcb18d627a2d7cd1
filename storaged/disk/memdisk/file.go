package memdisk

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/rozofs-go/rozo/storaged/disk"
)

const sector = 512

// node is a file: what is durable, what is there now, and what led from one to the other.
type node struct {
	durable, now []byte
	changes      []change
}

// change is a write, or with no bytes a truncation to off; hole bytes are zeroed.
type change struct {
	off  int64
	b    []byte
	hole int64
}

func (c change) apply(b []byte) []byte {
	switch {
	case c.b != nil:
		if n := c.off + int64(len(c.b)); n > int64(len(b)) {
			b = append(b, make([]byte, n-int64(len(b)))...)
		}
		copy(b[c.off:], c.b)
	case c.hole > 0:
		if c.off < int64(len(b)) {
			clear(b[c.off:min(int64(len(b)), c.off+c.hole)])
		}
	case c.off <= int64(len(b)):
		clear(b[c.off:])
		b = b[:c.off]
	default:
		b = append(b, make([]byte, c.off-int64(len(b)))...)
	}
	return b
}

// torn are the parts of a change that reached the disk.
func (c change) torn(r *rand.Rand) (parts []change) {
	if c.b == nil {
		if r.IntN(2) == 0 {
			return []change{c}
		}
		return nil
	}
	for at := int64(0); at < int64(len(c.b)); {
		n := min(int64(len(c.b))-at, sector-(c.off+at)%sector)
		if r.IntN(3) > 0 {
			parts = append(parts, change{off: c.off + at, b: c.b[at : at+n]})
		}
		at += n
	}
	return parts
}

// afterwards is the file when the power was lost.
func (n *node) afterwards(r *rand.Rand) *node {
	b := slices.Clone(n.durable)
	all := r.IntN(4) == 0
	for _, c := range n.changes {
		if all {
			b = c.apply(b)
			continue
		}
		for _, p := range c.torn(r) {
			b = p.apply(b)
		}
	}
	return &node{durable: b, now: slices.Clone(b)}
}

func (n *node) change(c change) {
	c.b = slices.Clone(c.b)
	n.now = c.apply(n.now)
	n.changes = append(n.changes, c)
}

// file is an open file.
type file struct {
	d    *Disk
	n    *node
	name string
}

var _ disk.File = (*file)(nil)

func (f *file) ReadAt(b []byte, off int64) (n int, err error) {
	return n, f.d.do("read", f.name, func() error {
		if off < int64(len(f.n.now)) {
			n = copy(b, f.n.now[off:])
		}
		if n < len(b) {
			return io.EOF
		}
		return nil
	})
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	c := f.d.begin("write", f.name)
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.outcome(c); err != nil {
		if half := b[:len(b)/2]; len(half) > 0 && !f.d.dead {
			f.n.change(change{off: off, b: half})
		}
		return 0, err
	}
	if len(b) > 0 {
		f.n.change(change{off: off, b: b})
	}
	return len(b), nil
}

func (f *file) WriteVec(parts [][]byte, off int64) error {
	_, err := f.WriteAt(bytes.Join(parts, nil), off)
	return err
}

// Stat says that nothing is allocated, so that holes are looked for.
func (f *file) Stat() (size, allocated int64, err error) {
	return size, 0, f.d.do("stat", f.name, func() error { size = int64(len(f.n.now)); return nil })
}

// NextData takes zeros for holes.
func (f *file) NextData(off int64) (at int64, err error) {
	return at, f.d.do("seek", f.name, func() error {
		for at = off; at < int64(len(f.n.now)); at++ {
			if f.n.now[at] != 0 {
				return nil
			}
		}
		return io.EOF
	})
}

func (f *file) NextHole(int64) (at int64, err error) {
	return at, f.d.do("seek", f.name, func() error { at = int64(len(f.n.now)); return nil })
}

func (f *file) Truncate(size int64) error {
	return f.d.do("truncate", f.name, func() error { f.n.change(change{off: size}); return nil })
}

func (f *file) Punch(off, n int64) error {
	return f.d.do("punch", f.name, func() error { f.n.change(change{off: off, hole: n}); return nil })
}

func (f *file) Datasync() error {
	return f.d.do("datasync", f.name, func() error {
		for _, c := range f.n.changes {
			f.n.durable = c.apply(f.n.durable)
		}
		f.n.changes = nil
		return nil
	})
}

func (f *file) Lock() error {
	return f.d.do("lock", f.name, func() error {
		if f.d.locks[f.n] {
			return disk.ErrLocked
		}
		f.d.locks[f.n] = true
		return nil
	})
}

// Close gives up the lock too. Other uses of a closed file still work.
func (f *file) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	delete(f.d.locks, f.n)
	return nil
}
