package scenario

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What was written and closed on one mount reads identical on the other at once.
func TestTwoMountsSeeEachOthersFiles(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	sides := []string{c.mnt, c.secondMount().point}
	sizes := []int{0, 1, 100, 8191, 8192, 8193, 100_000, mib, 5*mib + 3}
	for round := range scaled(4, 20) {
		for i, size := range sizes {
			here, there := sides[(round+i)%2], sides[(round+i+1)%2]
			name := fmt.Sprintf("file%d", i) // overwritten in each round
			content := bytesOf(s+uint64(round*len(sizes)+i), size)
			require.NoError(t, os.WriteFile(filepath.Join(here, name), content, 0o644))
			got, err := os.ReadFile(filepath.Join(there, name))
			require.NoError(t, err)
			require.True(t, bytes.Equal(content, got), "%s of %d bytes, round %d", name, size, round)
		}
	}
}

func TestTwoMountsSeeEachOthersNames(t *testing.T) {
	c := start(t, options{})
	a, b := c.mnt, c.secondMount().point
	for round := range scaled(3, 20) {
		require.NoError(t, os.Mkdir(filepath.Join(a, "dir"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(b, "dir", "one"), []byte("one"), 0o644))
		require.NoError(t, os.Rename(filepath.Join(a, "dir", "one"), filepath.Join(a, "dir", "two")))
		require.Equal(t, []string{"two"}, names(t, filepath.Join(b, "dir")))
		require.NoError(t, os.Chmod(filepath.Join(b, "dir", "two"), 0o600))
		info, err := os.Stat(filepath.Join(a, "dir", "two"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		require.NoError(t, os.Truncate(filepath.Join(a, "dir", "two"), int64(round)))
		info, err = os.Stat(filepath.Join(b, "dir", "two"))
		require.NoError(t, err)
		require.EqualValues(t, round, info.Size())
		require.NoError(t, os.Link(filepath.Join(b, "dir", "two"), filepath.Join(b, "dir", "three")))
		require.NoError(t, os.Remove(filepath.Join(a, "dir", "two")))
		require.NoFileExists(t, filepath.Join(b, "dir", "two"))
		require.Equal(t, []string{"three"}, names(t, filepath.Join(a, "dir")))
		require.NoError(t, os.RemoveAll(filepath.Join(b, "dir")))
		require.NoDirExists(t, filepath.Join(a, "dir"))
	}
}

// A file that is open on both sides: what one has written and not yet synced, the
// other sees; what the other replaces, the first reads.
func TestTwoMountsShareAnOpenFile(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	a, b := c.path("file"), filepath.Join(c.secondMount().point, "file")
	f, err := os.Create(a)
	require.NoError(t, err)
	defer f.Close()
	for round := range scaled(5, 50) {
		content := bytesOf(s+uint64(2*round), 20_000+round)
		_, err = f.WriteAt(content, 0)
		require.NoError(t, err)
		info, err := os.Stat(b)
		require.NoError(t, err)
		require.EqualValues(t, len(content), info.Size())
		got, err := os.ReadFile(b)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got), "written here, round %d", round)

		content = bytesOf(s+uint64(2*round+1), 15_000+round)
		require.NoError(t, os.WriteFile(b, content, 0o644))
		got, err = io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got), "written there, round %d", round)
	}
}
