package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Storages run full: the error is ENOSPC, what was synced stays, daemons that are killed come
// back, files are overwritten and deleted, and then there is room again.
func TestAFullClusterLosesNothingAndCanBeEmptied(t *testing.T) {
	s := seed(t)
	c := start(t, options{storages: 4, smallRoots: scaled[int64](64*mib, 1024*mib)})
	kept := bytesOf(s, 3*mib+1234)
	writeSynced := func(name string, data []byte) error {
		f, err := os.Create(c.path(name))
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Sync(), f.Close())
	}
	require.NoError(t, writeSynced("kept", kept))
	name := func(i int) string { return fmt.Sprint("f", i) }
	var sizes []int
	content := func(i int) []byte { return bytesOf(s+uint64(i)+1, sizes[i]) }
	for _, size := range []int{1_000_000, 30_000, 100} { // the last bit too
		for full := false; !full; {
			sizes = append(sizes, size+len(sizes)%7)
			n := len(sizes) - 1
			if err := writeSynced(name(n), content(n)); err != nil {
				require.ErrorIs(t, err, syscall.ENOSPC)
				if err := os.Remove(c.path(name(n))); err != nil {
					require.ErrorIs(t, err, fs.ErrNotExist) // it was not even made
				}
				sizes, full = sizes[:n], true
			}
		}
	}
	n := len(sizes)
	t.Logf("%d files", n)
	same := func() {
		t.Helper()
		requireSame(t, c.path("kept"), kept)
		for i := range n {
			requireSame(t, c.path(name(i)), content(i))
		}
	}
	c.remount()
	same()
	for _, daemon := range []string{"storaged-1", "exportd", "storaged-3"} {
		c.kill(daemon)
		c.start(daemon)
	}
	c.kill("storaged-2")
	same()
	c.start("storaged-2")

	for i := range n {
		if i%2 == 0 {
			require.NoError(t, os.Remove(c.path(name(i))))
		}
	}
	require.NoError(t, os.Truncate(c.path(name(1)), 100))
	again := bytesOf(s, int(scaled[int64](10*mib, 200*mib)))
	for name, data := range map[string][]byte{"kept": kept, "again": again} {
		require.Eventually(t, func() bool {
			err := writeSynced(name, data)
			if err != nil {
				require.ErrorIs(t, err, syscall.ENOSPC)
			}
			return err == nil
		}, await, 50*tick, "there is room for %s", name)
	}
	c.remount()
	requireSame(t, c.path("again"), again)
	requireSame(t, c.path("kept"), kept)
	requireSame(t, c.path(name(1)), content(1)[:100])
	for i := 3; i < n; i += 2 {
		requireSame(t, c.path(name(i)), content(i))
	}
	_, err := os.Stat(c.path(name(0)))
	require.ErrorIs(t, err, fs.ErrNotExist)
	for range 2 {
		done := c.task("scrub", "scrub", "start")
		require.Zero(t, done.Lost+done.Broken)
	}
}

func requireSame(t *testing.T, name string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "%s differs", name)
}
