package storaged

import (
	"context"
	"math"

	"golang.org/x/sync/semaphore"
)

// diskLock is a lock for readers and writers that is held during I/O. Those who want it
// wait on a channel, not on a mutex: in a bubble of testing/synctest time goes on meanwhile,
// so that disks can be slow there.
type diskLock struct{ places *semaphore.Weighted }

func newDiskLock() diskLock { return diskLock{semaphore.NewWeighted(math.MaxInt64)} }

func (l diskLock) Lock()    { l.take(math.MaxInt64) }
func (l diskLock) Unlock()  { l.places.Release(math.MaxInt64) }
func (l diskLock) RLock()   { l.take(1) }
func (l diskLock) RUnlock() { l.places.Release(1) }

// take cannot fail: n is not more than there are, and the context does not end.
func (l diskLock) take(n int64) { _ = l.places.Acquire(context.Background(), n) }
