package scenario

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A write through a descriptor that is O_SYNC or O_DSYNC, or that an fsync or fdatasync
// follows, is there when everything is killed the moment it returns.
func TestSyncedWritesOutliveEverything(t *testing.T) {
	c := start(t, options{})
	c.shortenLeases()
	for i, x := range []struct {
		name  string
		flags int
		sync  func(fd int) error
	}{
		{"O_SYNC", unix.O_SYNC, nil},
		{"O_DSYNC", unix.O_DSYNC, nil},
		{"O_APPEND and O_DSYNC", unix.O_APPEND | unix.O_DSYNC, nil},
		{"O_DIRECT and O_SYNC", unix.O_DIRECT | unix.O_SYNC, nil},
		{"fsync", 0, unix.Fsync},
		{"fdatasync", 0, unix.Fdatasync},
	} {
		t.Run(x.name, func(t *testing.T) {
			want := bytesOf(uint64(i), 3*mib)
			name := c.path("synced-" + x.name)
			fd, err := unix.Open(name, unix.O_CREAT|unix.O_RDWR|x.flags, 0o644)
			require.NoError(t, err)
			for at := 0; at < len(want); {
				n, err := unix.Write(fd, want[at:min(len(want), at+2*mib+4096)])
				require.NoError(t, err)
				at += n
			}
			if x.sync != nil {
				require.NoError(t, x.sync(fd))
			}
			killAll(processesUnder(c.base))
			_ = unix.Close(fd) // its mount is gone
			c.down()
			c.up()
			got, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Equal(t, len(want), len(got))
			require.True(t, string(want) == string(got), "the content differs")
		})
	}
}
