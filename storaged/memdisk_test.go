package storaged

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
)

// memDisk is a disk in memory that can lose its power: of what was not synced, any part
// may be there afterwards, sector by sector.
type memDisk struct {
	mu    sync.Mutex // guards all, also of the files
	dirs  map[string]*memDir
	dead  bool // the power is off for those who have it open
	locks map[*memNode]bool
}

type memDir struct {
	now, durable map[string]*memNode // a file's name → file; nil node: a directory
}

// memNode is a file: what is durable, what is there now, and what led from one to the other.
type memNode struct {
	durable, now []byte
	changes      []memChange
}

// memChange is a write, or with no bytes a truncation to off; hole bytes are zeroed.
type memChange struct {
	off  int64
	b    []byte
	hole int64
}

func newMemDisk() *memDisk {
	return &memDisk{dirs: map[string]*memDir{".": {now: map[string]*memNode{}, durable: map[string]*memNode{}}}, locks: map[*memNode]bool{}}
}

const sector = 512

func (c memChange) apply(b []byte) []byte {
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
func (c memChange) torn(r *rand.Rand) (parts []memChange) {
	if c.b == nil {
		if r.IntN(2) == 0 {
			return []memChange{c}
		}
		return nil
	}
	for at := int64(0); at < int64(len(c.b)); {
		n := min(int64(len(c.b))-at, sector-(c.off+at)%sector)
		if r.IntN(3) > 0 {
			parts = append(parts, memChange{off: c.off + at, b: c.b[at : at+n]})
		}
		at += n
	}
	return parts
}

// losePower returns the disk as it is when the power is back.
func (d *memDisk) losePower(r *rand.Rand) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	after := newMemDisk()
	for _, name := range slices.Sorted(maps.Keys(d.dirs)) {
		dir, kept := d.dirs[name], map[string]*memNode{}
		for _, file := range slices.Sorted(maps.Keys(dir.durable)) {
			if _, still := dir.now[file]; still || r.IntN(2) == 0 {
				kept[file] = dir.durable[file]
			}
		}
		for _, file := range slices.Sorted(maps.Keys(dir.now)) {
			if _, was := dir.durable[file]; !was && r.IntN(2) == 0 {
				kept[file] = dir.now[file]
			}
		}
		after.dirs[name] = &memDir{now: kept, durable: maps.Clone(kept)}
	}
	for name := range after.dirs { // a directory without an entry is not there
		if _, there := after.dirs[path.Dir(name)].now[path.Base(name)]; name != "." && !there {
			delete(after.dirs, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after.dirs)) {
		dir := after.dirs[name]
		for _, file := range slices.Sorted(maps.Keys(dir.now)) {
			if n := dir.now[file]; n != nil {
				dir.now[file] = n.afterwards(r)
				dir.durable[file] = dir.now[file]
			}
		}
	}
	return after
}

func (n *memNode) afterwards(r *rand.Rand) *memNode {
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
	return &memNode{durable: b, now: slices.Clone(b)}
}

var errNoPower = errors.New("the power is off")

// do runs f under the lock, unless the power is off.
func (d *memDisk) do(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errNoPower
	}
	return f()
}

func (d *memDisk) open(name string, flag int) (file, error) {
	var f *memFile
	err := d.do(func() error {
		dir := d.dirs[path.Dir(name)]
		if dir == nil {
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		n, ok := dir.now[path.Base(name)]
		switch {
		case ok && flag&os.O_EXCL != 0:
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
		case !ok && flag&os.O_CREATE == 0:
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case !ok:
			n = &memNode{}
			dir.now[path.Base(name)] = n
		}
		f = &memFile{d, n}
		if flag&os.O_TRUNC != 0 {
			n.change(memChange{})
		}
		return nil
	})
	return f, err
}

func (d *memDisk) mkdir(name string) error {
	return d.do(func() error {
		if d.dirs[name] != nil {
			return fs.ErrExist
		}
		if d.dirs[path.Dir(name)] == nil {
			return fs.ErrNotExist
		}
		d.dirs[name] = &memDir{now: map[string]*memNode{}, durable: map[string]*memNode{}}
		d.dirs[path.Dir(name)].now[path.Base(name)] = nil
		return nil
	})
}

func (d *memDisk) names(dir string) (all []string, err error) {
	return all, d.do(func() error {
		for name := range d.dirs[dir].now {
			all = append(all, name)
		}
		return nil
	})
}

func (d *memDisk) remove(name string) error {
	return d.do(func() error {
		dir := d.dirs[path.Dir(name)]
		if dir == nil || dir.now[path.Base(name)] == nil {
			return fs.ErrNotExist
		}
		delete(dir.now, path.Base(name))
		return nil
	})
}

func (d *memDisk) rename(from, to string) error {
	return d.do(func() error {
		dir := d.dirs[path.Dir(from)]
		dir.now[path.Base(to)] = dir.now[path.Base(from)]
		delete(dir.now, path.Base(from))
		return nil
	})
}

func (d *memDisk) syncDir(name string) error {
	return d.do(func() error {
		if d.dirs[name] == nil {
			return fs.ErrNotExist
		}
		d.dirs[name].durable = maps.Clone(d.dirs[name].now)
		return nil
	})
}

func (d *memDisk) space() (total, free uint64, err error) { return 1 << 40, 1 << 39, nil }
func (d *memDisk) close() error                           { return nil }

type memFile struct {
	d *memDisk
	n *memNode
}

func (n *memNode) change(c memChange) {
	c.b = slices.Clone(c.b)
	n.now = c.apply(n.now)
	n.changes = append(n.changes, c)
}

func (f *memFile) ReadAt(b []byte, off int64) (n int, err error) {
	return n, f.d.do(func() error {
		if off < int64(len(f.n.now)) {
			n = copy(b, f.n.now[off:])
		}
		if n < len(b) {
			return io.EOF
		}
		return nil
	})
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	return len(b), f.d.do(func() error { f.n.change(memChange{off: off, b: b}); return nil })
}

func (f *memFile) writeVec(parts [][]byte, off int64) error {
	_, err := f.WriteAt([]byte(strings.Join(stringsOf(parts), "")), off)
	return err
}

func stringsOf(parts [][]byte) (all []string) {
	for _, p := range parts {
		all = append(all, string(p))
	}
	return all
}

func (f *memFile) stat() (size, allocated int64, err error) {
	return size, 0, f.d.do(func() error { size = int64(len(f.n.now)); return nil })
}

func (f *memFile) nextData(off int64) (at int64, err error) {
	return at, f.d.do(func() error {
		for at = off; at < int64(len(f.n.now)); at++ {
			if f.n.now[at] != 0 {
				return nil
			}
		}
		return io.EOF
	})
}

func (f *memFile) nextHole(off int64) (at int64, err error) {
	return at, f.d.do(func() error { at = int64(len(f.n.now)); return nil })
}

func (f *memFile) truncate(size int64) error {
	return f.d.do(func() error { f.n.change(memChange{off: size}); return nil })
}

func (f *memFile) punch(off, n int64) error {
	return f.d.do(func() error { f.n.change(memChange{off: off, hole: n}); return nil })
}

func (f *memFile) datasync() error {
	return f.d.do(func() error {
		f.n.durable, f.n.changes = slices.Clone(f.n.now), nil
		return nil
	})
}

func (f *memFile) lock() error {
	return f.d.do(func() error {
		if f.d.locks[f.n] {
			return errLocked
		}
		f.d.locks[f.n] = true
		return nil
	})
}

func (f *memFile) Close() error { f.d.mu.Lock(); delete(f.d.locks, f.n); f.d.mu.Unlock(); return nil }
