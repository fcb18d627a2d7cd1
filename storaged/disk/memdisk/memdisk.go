package memdisk

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rozofs-go/rozo/storaged/disk"
)

// Disk is a disk in memory. It outlives the servers that open it: Close does nothing.
type Disk struct {
	mu    sync.Mutex // guards all, also of the files
	dirs  map[string]*dir
	dead  bool // the power is off for those who have it open
	locks map[*node]bool
	fault func(Call) error
	delay func(Call) time.Duration
	calls int
}

var _ disk.Disk = (*Disk)(nil)

// Call is one call of a disk or of a file on it.
type Call struct {
	Op   string // "open", "mkdir", "remove", "rename", "syncdir", "read", "write", "truncate", "punch", "datasync"
	Name string // of the file or directory, as it was opened
	N    int    // the disk's N-th call, from 1 on
}

type dir struct {
	now, durable map[string]*node // a file's name → file; nil node: a directory
}

// New gives an empty disk.
func New() *Disk {
	return &Disk{dirs: map[string]*dir{".": newDir()}, locks: map[*node]bool{}}
}

func newDir() *dir { return &dir{now: map[string]*node{}, durable: map[string]*node{}} }

// SetFault has f asked before each call: what it returns is the outcome, nil being
// success. A write that fails has written half. f runs under the lock of the disk.
func (d *Disk) SetFault(f func(Call) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// SetDelay has f asked before each call how long that takes; nil: no time. f runs under the
// lock of the disk, the call waits without it.
func (d *Disk) SetDelay(f func(Call) time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = f
}

// LosePower returns the disk as it is when the power is back, without faults, delays and locks. On
// the old one every call fails from now on.
func (d *Disk) LosePower(r *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	after := New()
	for _, name := range slices.Sorted(maps.Keys(d.dirs)) {
		old, kept := d.dirs[name], map[string]*node{}
		for _, file := range slices.Sorted(maps.Keys(old.durable)) {
			if _, still := old.now[file]; still || r.IntN(2) == 0 {
				kept[file] = old.durable[file]
			}
		}
		for _, file := range slices.Sorted(maps.Keys(old.now)) {
			if _, was := old.durable[file]; !was && r.IntN(2) == 0 {
				kept[file] = old.now[file]
			}
		}
		after.dirs[name] = &dir{now: kept, durable: maps.Clone(kept)}
	}
	for _, name := range slices.Sorted(maps.Keys(after.dirs)) { // a directory without an entry is not there
		there := name == "."
		if up := after.dirs[path.Dir(name)]; up != nil && !there {
			_, there = up.now[path.Base(name)]
		}
		if !there {
			delete(after.dirs, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after.dirs)) {
		kept := after.dirs[name]
		for _, file := range slices.Sorted(maps.Keys(kept.now)) {
			if n := kept.now[file]; n != nil {
				kept.now[file] = n.afterwards(r)
				kept.durable[file] = kept.now[file]
			}
		}
	}
	return after
}

// Flip turns one bit of what lies durably in a file, and tells which byte's. ok is false
// if nothing lies there.
func (d *Disk) Flip(name string, r *rand.Rand) (off int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	up := d.dirs[path.Dir(name)]
	if up == nil || up.durable[path.Base(name)] == nil {
		return 0, false
	}
	n := up.durable[path.Base(name)]
	size := min(len(n.durable), len(n.now))
	if size == 0 {
		return 0, false
	}
	off = r.IntN(size)
	bit := byte(1) << r.IntN(8)
	n.durable[off] ^= bit
	n.now[off] ^= bit
	return off, true
}

// Files lists the files below a directory that have a durable name, sorted.
func (d *Disk) Files(below string) (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, in := range d.dirs {
		if name != below && !strings.HasPrefix(name, below+"/") {
			continue
		}
		for file, n := range in.durable {
			if n != nil {
				all = append(all, path.Join(name, file))
			}
		}
	}
	slices.Sort(all)
	return all
}

var errNoPower = errors.New("the power is off")

// do runs f under the lock, unless the power is off or the call is to fail.
func (d *Disk) do(op, name string, f func() error) error {
	c := d.begin(op, name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.outcome(c); err != nil {
		return err
	}
	return f()
}

// begin numbers a call and waits as long as it takes.
func (d *Disk) begin(op, name string) Call {
	d.mu.Lock()
	d.calls++
	c, delay := Call{op, name, d.calls}, time.Duration(0)
	if d.delay != nil {
		delay = d.delay(c)
	}
	d.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	return c
}

// outcome is called with mu held.
func (d *Disk) outcome(c Call) error {
	if d.dead {
		return errNoPower
	}
	if d.fault == nil {
		return nil
	}
	if err := d.fault(c); err != nil {
		return &fs.PathError{Op: c.Op, Path: c.Name, Err: err}
	}
	return nil
}

// Open implements disk.Disk.
func (d *Disk) Open(name string, flag int) (disk.File, error) {
	var f *file
	err := d.do("open", name, func() error {
		in := d.dirs[path.Dir(name)]
		if in == nil {
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		n, ok := in.now[path.Base(name)]
		switch {
		case ok && flag&os.O_EXCL != 0:
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
		case !ok && flag&os.O_CREATE == 0:
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case !ok:
			n = &node{}
			in.now[path.Base(name)] = n
		}
		f = &file{d, n, name}
		if flag&os.O_TRUNC != 0 {
			n.change(change{})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Mkdir implements disk.Disk.
func (d *Disk) Mkdir(name string) error {
	return d.do("mkdir", name, func() error {
		if d.dirs[name] != nil {
			return fs.ErrExist
		}
		up := d.dirs[path.Dir(name)]
		if up == nil {
			return fs.ErrNotExist
		}
		d.dirs[name] = newDir()
		up.now[path.Base(name)] = nil
		return nil
	})
}

// Names implements disk.Disk.
func (d *Disk) Names(name string) (all []string, err error) {
	return all, d.do("names", name, func() error {
		in := d.dirs[name]
		if in == nil {
			return fs.ErrNotExist
		}
		all = slices.Sorted(maps.Keys(in.now))
		return nil
	})
}

// Remove implements disk.Disk.
func (d *Disk) Remove(name string) error {
	return d.do("remove", name, func() error {
		in := d.dirs[path.Dir(name)]
		if in == nil || in.now[path.Base(name)] == nil {
			return fs.ErrNotExist
		}
		delete(in.now, path.Base(name))
		return nil
	})
}

// Rename implements disk.Disk. Both names are in one directory.
func (d *Disk) Rename(from, to string) error {
	return d.do("rename", from, func() error {
		in := d.dirs[path.Dir(from)]
		if in == nil || in.now[path.Base(from)] == nil {
			return fs.ErrNotExist
		}
		in.now[path.Base(to)] = in.now[path.Base(from)]
		delete(in.now, path.Base(from))
		return nil
	})
}

// SyncDir implements disk.Disk.
func (d *Disk) SyncDir(name string) error {
	return d.do("syncdir", name, func() error {
		if d.dirs[name] == nil {
			return fs.ErrNotExist
		}
		d.dirs[name].durable = maps.Clone(d.dirs[name].now)
		return nil
	})
}

// Space implements disk.Disk: there is plenty.
func (d *Disk) Space() (total, free uint64, err error) { return 1 << 40, 1 << 39, nil }

// Close implements disk.Disk.
func (d *Disk) Close() error { return nil }
