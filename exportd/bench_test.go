package exportd

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

// The benchmarks go over a loopback connection and a real disk.
func benchWorld(b *testing.B) *client {
	dir, err := os.MkdirTemp("", "exportd-bench")
	require.NoError(b, err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	w := newWorld(b, func(c *Config) { c.FS, c.Dir = vfs.Default, filepath.Join(dir, "meta") })
	return w.client("one")
}

func benchCallers(b *testing.B, prepare func(*client), op func(c *client, i uint64) error) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			c := benchWorld(b)
			if prepare != nil {
				prepare(c)
			}
			var next, failed atomic.Uint64
			var joined sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range callers {
				joined.Go(func() {
					for {
						i := next.Add(1)
						if i > uint64(b.N) {
							return
						}
						if op(c, i) != nil {
							failed.Add(1)
						}
					}
				})
			}
			joined.Wait()
			b.StopTimer()
			require.Zero(b, failed.Load())
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}

func BenchmarkCreate(b *testing.B) {
	benchCallers(b, nil, func(c *client, i uint64) error {
		h := c.head()
		h.RequestID = i
		if i > 1000 {
			h.Done = i - 1000
		}
		return c.raw(wire.OpCreate, &wire.CreateRequest{Head: h, Parent: c.root(), Name: fmt.Sprint("file", i), Mode: 0o644, Want: wire.LeaseWrite}, &wire.OpenReply{})
	})
}

const benchFiles = 1000

func benchPrepare(c *client) {
	for i := range benchFiles {
		_, err := c.mknod(c.root(), fmt.Sprint("file", i), vocab.ModeRegular|0o644)
		require.NoError(c.t, err)
	}
}

func BenchmarkLookup(b *testing.B) {
	benchCallers(b, benchPrepare, func(c *client, i uint64) error {
		_, err := c.lookup(c.root(), fmt.Sprint("file", i%benchFiles))
		return err
	})
}

func BenchmarkGetAttr(b *testing.B) {
	benchCallers(b, nil, func(c *client, _ uint64) error {
		_, err := c.getattr(c.root())
		return err
	})
}
