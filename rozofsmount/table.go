package rozofsmount

import (
	"sync"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// maxOpen bounds the open files, and likewise the open directories, of a mount.
const maxOpen = 1 << 20

// table gives numbers to what the kernel has open. Numbers start at 1 and are
// not used again.
type table[T any] struct {
	mu   sync.RWMutex // guards all below; nothing is called under it
	last uint64
	open map[uint64]T
}

// add fails with TooManyOpen at maxOpen.
func (t *table[T]) add(v T) (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) >= maxOpen {
		return 0, vocab.Errorf(vocab.TooManyOpen, "%d files or directories are open through this mount, the most it allows", maxOpen)
	}
	if t.open == nil {
		t.open = make(map[uint64]T)
	}
	t.last++
	t.open[t.last] = v
	return t.last, nil
}

func (t *table[T]) get(fh uint64) (T, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v, ok := t.open[fh]
	return v, ok
}

func (t *table[T]) remove(fh uint64) (T, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.open[fh]
	delete(t.open, fh)
	return v, ok
}

// all returns what is open now.
func (t *table[T]) all() []T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	open := make([]T, 0, len(t.open))
	for _, v := range t.open {
		open = append(open, v)
	}
	return open
}

// drain empties the table and returns what was in it.
func (t *table[T]) drain() []T {
	open := t.all()
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.open)
	return open
}
