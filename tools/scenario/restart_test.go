package scenario

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDataAreStillThereAfterDownAndUp(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	require.True(t, c.status().Healthy)
	content := map[string][]byte{"empty": {}, "small": bytesOf(s, 10), "block": bytesOf(s+1, 8192), "dir/large": bytesOf(s+2, 5*mib+17)}
	require.NoError(t, os.Mkdir(c.path("dir"), 0o750))
	for name, b := range content {
		require.NoError(t, os.WriteFile(c.path(name), b, 0o640))
	}
	require.NoError(t, os.Symlink("dir/large", c.path("link")))
	before := listing(t, c.mnt)
	for range 2 {
		c.down()
		entries, err := os.ReadDir(c.mnt)
		require.NoError(t, err)
		require.Empty(t, entries, "what was written must not lie under the mount point")
		c.up()
		require.Equal(t, before, listing(t, c.mnt))
		for name, b := range content {
			got, err := os.ReadFile(c.path(name))
			require.NoError(t, err)
			require.Equal(t, b, got, name)
		}
	}
	require.NoError(t, os.Remove(c.path("small")))
	c.down()
	c.up()
	require.NoFileExists(t, c.path("small"))
}

func TestTheDirectoryOfAClusterMayBeMoved(t *testing.T) {
	c := start(t, options{})
	require.NoError(t, os.WriteFile(c.path("file"), []byte("content"), 0o644))
	c.down()
	moved := filepath.Join(c.base, "moved")
	require.NoError(t, os.Rename(c.dir, moved))
	c.dir, c.mnt = moved, filepath.Join(c.base, "elsewhere")
	c.up()
	got, err := os.ReadFile(c.path("file"))
	require.NoError(t, err)
	require.Equal(t, "content", string(got))
}

// listing describes a tree but for the content of its files.
func listing(t *testing.T, dir string) string {
	t.Helper()
	return run(t, dir, "sh", "-c", `find . -printf '%P %y %m %U:%G %s %T@ %n %l\n' | sort`)
}
