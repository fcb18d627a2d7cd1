package storaged

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

const (
	slotsDir = "slots"
	buckets  = 4096
	// inosPerBucket consecutive inodes share a bucket, so that files that are
	// made or deleted together cost few syncs of directories.
	inosPerBucket = 64
)

// bucketOf spreads files over the buckets.
func bucketOf(f vocab.FID) int {
	return int((uint64(f.Ino())/inosPerBucket + uint64(f.Export())*1021 + uint64(f.Group())*509) % buckets)
}

func bucketName(b int) string { return fmt.Sprintf("%s/%03x", slotsDir, b) }

func slotFileName(f vocab.FID) string { return bucketName(bucketOf(f)) + "/" + f.String() }

// directory counts changes of a directory's entries and those that are durable.
type directory struct {
	changed, synced atomic.Uint64
	group           syncGroup
}

// makeBucket makes the bucket's directory if it is not there.
func (r *root) makeBucket(b int) error {
	err := r.disk.Mkdir(bucketName(b))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		r.dirs[buckets].changed.Add(1)
	}
	return err
}

// syncBucket makes the entries of a bucket durable, and its own entry.
func (r *root) syncBucket(b int) error {
	if err := r.syncDir(b, bucketName(b)); err != nil {
		return err
	}
	return r.syncDir(buckets, slotsDir)
}

func (r *root) syncDir(i int, name string) error {
	d := &r.dirs[i]
	if d.synced.Load() >= d.changed.Load() {
		return nil
	}
	return d.group.do(func() error {
		defer r.syncer()()
		n := d.changed.Load()
		if err := r.disk.SyncDir(name); err != nil && !isNotExist(err) { // no bucket, no entries
			return r.fail("sync directory "+name, err)
		}
		d.synced.Store(n) // rounds of a group follow one another: it only grows
		return nil
	})
}

// syncGroup lets callers share syncs of one thing. A sync that has begun covers
// nobody who comes later; those wait for the next one and share it.
type syncGroup struct {
	mu    sync.Mutex // guards the rest
	begun *round     // the latest
	next  *round     // not begun yet
}

type round struct {
	done chan struct{} // closed when err is set
	err  error
}

// do returns the outcome of a call of sync that began after do was called.
func (g *syncGroup) do(sync func() error) error {
	g.mu.Lock()
	r, before, leads := g.next, g.begun, g.next == nil
	if leads {
		r = &round{done: make(chan struct{})}
		g.next = r
	}
	g.mu.Unlock()
	if !leads {
		<-r.done
		return r.err
	}
	if before != nil {
		<-before.done
	}
	g.mu.Lock()
	g.begun, g.next = r, nil // whoever comes now is for the round after this
	g.mu.Unlock()
	r.err = sync()
	close(r.done)
	return r.err
}
