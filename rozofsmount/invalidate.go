package rozofsmount

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// maxInvalidations bounds the files waiting for the kernel to drop their pages.
const maxInvalidations = 4096

// invalidator tells the kernel to drop the pages of files whose lease was lost.
// The kernel waits for pages that are being read, and so for our own answers to
// READ; whoever lost the lease may be what that answer waits for. Hence a queue
// and a goroutine of its own.
//
// It is a help, not a safeguard: the kernel compares size and time before it
// trusts its pages, and a file opened anew keeps them only when
// Handle.KeepCache allows it. So when the queue is full a file is left out.
type invalidator struct {
	log    *slog.Logger
	queue  chan vocab.Ino
	quit   chan struct{}
	once   sync.Once
	done   sync.WaitGroup
	missed atomic.Uint64
}

func newInvalidator(log *slog.Logger) *invalidator {
	return &invalidator{log: log, queue: make(chan vocab.Ino, maxInvalidations), quit: make(chan struct{})}
}

// add never blocks; it may come before start and after stop.
func (v *invalidator) add(ino vocab.Ino) {
	select {
	case v.queue <- ino:
	default:
		if v.missed.Add(1) == 1 {
			v.log.Warn("too many leases lost at once: the kernel drops the pages of some files later", "limit", maxInvalidations)
		}
	}
}

// start begins to call notify; stop joins it.
func (v *invalidator) start(notify func(vocab.Ino) fuse.Status) {
	v.done.Go(func() {
		for {
			select {
			case <-v.quit:
				return
			case ino := <-v.queue:
				// ENOENT: the kernel knows no such file. ENODEV: unmounted.
				if st := notify(ino); !st.Ok() && st != fuse.ENOENT && st != fuse.ENODEV && st != fuse.EBADF {
					v.log.Warn("the kernel did not drop the pages of a file", "ino", uint64(ino), "status", st.String())
				}
			}
		}
	})
}

func (v *invalidator) stop() {
	v.once.Do(func() { close(v.quit) })
	v.done.Wait()
}
