package scenario

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A storage that was down while a file was overwritten gets what it missed when it is back:
// then any other may be missing.
func TestAStorageReturns(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	size := scaled(4*mib, 512*mib) + 1234
	require.NoError(t, os.WriteFile(c.path("file"), bytesOf(s, size), 0o644))
	used := usedOnStorages(t, c)
	for round, down := range []string{"storaged-1", "storaged-2", "storaged-3", "storaged-4"} {
		c.kill(down)
		content := bytesOf(s+uint64(round)+1, size)
		f, err := os.OpenFile(c.path("file"), os.O_WRONLY, 0)
		require.NoError(t, err)
		writeAt(t, f, content, 0)
		require.NoError(t, f.Sync())
		require.NoError(t, f.Close())
		c.start(down)
		c.remount() // which gives the file up
		require.Eventually(t, func() bool { return c.status().Degraded == 0 }, await, tick)
		for _, d := range c.status().Daemons[1:] {
			c.kill(d.Name)
			c.remount()
			requireSum(t, c.path("file"), sumOfBytes(content), "without "+d.Name+" after "+down+" was away")
			c.start(d.Name)
		}
		require.Eventually(t, func() bool { return c.status().Degraded == 0 }, await, tick)
	}
	t.Logf("%d MiB on the storages at first, %d now", used/mib, usedOnStorages(t, c)/mib)
}
