package storaged

import (
	"container/list"
	"errors"
	"sync"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// fileCache holds the slot files in use, each once, and up to limit idle ones
// with their descriptors. Idle ones that were written and not synced are kept
// longer than others, but not beyond the limit.
//
// BUG: when such a one is closed all the same, and the kernel then fails to
// write it back and drops the inode before a sync opens it again, that sync does
// not learn of it.
type fileCache struct {
	root  *root
	limit int

	mu    sync.Mutex // guards the rest and refs, idle of the slotFiles; never held during I/O
	files map[vocab.FID]*slotFile
	idle  list.List // of *slotFile without references, the latest used in front
}

// evictionScan bounds the search for an idle file that owes no sync.
const evictionScan = 16

func newFileCache(r *root, limit int) *fileCache {
	return &fileCache{root: r, limit: limit, files: map[vocab.FID]*slotFile{}}
}

// acquire returns the file's one slotFile with a reference. It opens nothing.
func (c *fileCache) acquire(fid vocab.FID) *slotFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.files[fid]
	if s == nil {
		s = &slotFile{root: c.root, fid: fid, mu: newDiskLock()}
		c.files[fid] = s
	}
	if s.idle != nil {
		c.idle.Remove(s.idle)
		s.idle = nil
	}
	s.refs++
	return s
}

// release drops a reference. Files that have nothing to keep are forgotten.
func (c *fileCache) release(s *slotFile) {
	c.mu.Lock()
	s.refs--
	if s.refs > 0 {
		c.mu.Unlock()
		return
	}
	var out *slotFile
	if s.kept.Load() {
		s.idle = c.idle.PushFront(s)
		out = c.evict()
	} else {
		delete(c.files, s.fid)
	}
	c.mu.Unlock()
	if out != nil {
		_ = out.close() // what it owes to a sync is still in the kernel: see BUG
	}
}

// evict takes out one idle file if there are too many. Needs mu.
func (c *fileCache) evict() *slotFile {
	if c.idle.Len() <= c.limit {
		return nil
	}
	at := c.idle.Back()
	for e, n := at, 0; e != nil && n < evictionScan; e, n = e.Prev(), n+1 {
		if !e.Value.(*slotFile).dirty.Load() {
			at = e
			break
		}
	}
	s := c.idle.Remove(at).(*slotFile)
	s.idle = nil
	delete(c.files, s.fid)
	return s
}

// close closes all files. Nobody may hold a reference.
func (c *fileCache) close() error {
	c.mu.Lock()
	files := c.files
	c.files = nil
	c.idle.Init()
	c.mu.Unlock()
	var errs []error
	for _, s := range files {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
