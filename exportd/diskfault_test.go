package exportd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/rozofs-go/rozo/exportd/memfs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

// TestADiskThatFailsToSyncEndsTheServer has a sync of the log fail, and all after it, while
// many callers work. Nothing is answered any more, also no error, and what was acknowledged
// before is there on the next start.
func TestADiskThatFailsToSyncEndsTheServer(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 3))
		disk := memfs.New()
		w := newWorld(t, func(c *Config) { c.FS = disk })
		c := w.client("one")
		var left atomic.Int64
		left.Store(5 + rng.Int64N(60))
		disk.SetFault(func(op errorfs.Op) error {
			isSync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
			if isSync && path.Ext(op.Path) == ".log" && left.Add(-1) < 0 {
				return syscall.EIO
			}
			return nil
		})
		var mu sync.Mutex // guards acked
		acked := map[string]vocab.Attr{}
		var joined sync.WaitGroup
		for worker := range 8 {
			joined.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("f%d.%d", worker, i)
					o, err := c.create(c.root(), name, wire.LeaseWrite)
					if err == nil {
						mu.Lock()
						acked[name] = o.Attr
						mu.Unlock()
						_, err = c.lookup(c.root(), name) // which waits for what is not durable
					}
					if err != nil {
						if !isKind(err, vocab.Unavailable) {
							t.Errorf("%v is told, not that the connection is lost", err)
						}
						return
					}
				}
			})
		}
		joined.Wait()
		require.ErrorContains(t, <-w.done, "the metadata store failed")
		_ = w.srv.Close() // of a disk that fails
		w.cfg.FS = disk.LosePower(rng)
		w.start()
		require.NoError(t, c.resume())
		for name, attr := range acked {
			a, err := c.lookup(c.root(), name)
			require.NoError(t, err, name)
			require.Equal(t, attr, a)
		}
		w.check()
		w.stop()
		require.Empty(t, checkDirectoryOn(context.Background(), w.cfg.Dir, w.cfg.FS))
	}
}
