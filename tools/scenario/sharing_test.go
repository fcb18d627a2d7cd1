package scenario

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
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

// Files of all sizes are written from both sides at the same time; when one is
// closed, it reads identical on the side that has not written it.
func TestTwoMountsWriteManyFilesAtOnce(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	sides := []string{c.mnt, c.secondMount().point}
	ended := make(chan error, len(sides))
	for i := range sides {
		go func() { ended <- writeHereReadThere(sides[i], sides[1-i], s+uint64(i)<<32, scaled(25, 500)) }()
	}
	for range sides {
		require.NoError(t, <-ended)
	}
	require.Len(t, names(t, sides[0]), 2*scaled(25, 500))
	require.Equal(t, names(t, sides[0]), names(t, sides[1]))
}

// writeHereReadThere overwrites every fourth file by another, which may be shorter.
func writeHereReadThere(here, there string, s uint64, n int) error {
	choice := rand.New(generator(s))
	for i := range n {
		name := fmt.Sprintf("%x", s+uint64(i))
		for version := range 1 + i%4/3 {
			content := bytesOf(s+uint64(i+version*n), choice.IntN(1<<choice.IntN(24))%(5*mib+1))
			if err := os.WriteFile(filepath.Join(here, name), content, 0o644); err != nil {
				return err
			}
			got, err := os.ReadFile(filepath.Join(there, name))
			if err != nil {
				return err
			}
			if !bytes.Equal(content, got) {
				return fmt.Errorf("%s, version %d: %d bytes written, other %d bytes read", name, version, len(content), len(got))
			}
		}
	}
	return nil
}

// Both sides append by turns to a file that each keeps open.
func TestTwoMountsAppendByTurns(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	var sides []*os.File
	for _, dir := range []string{c.mnt, c.secondMount().point} {
		f, err := os.OpenFile(filepath.Join(dir, "file"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
		require.NoError(t, err)
		defer f.Close()
		sides = append(sides, f)
	}
	choice := rand.New(generator(s))
	var want []byte
	for turn := range scaled(40, 1000) {
		here, there := sides[turn%2], sides[1-turn%2]
		added := bytesOf(s+uint64(turn), 1+choice.IntN(20_000))
		_, err := here.Write(added)
		require.NoError(t, err)
		info, err := there.Stat()
		require.NoError(t, err)
		require.EqualValues(t, len(want)+len(added), info.Size(), "turn %d", turn)
		got := make([]byte, len(added))
		_, err = there.ReadAt(got, int64(len(want)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(added, got), "turn %d", turn)
		want = append(want, added...)
	}
	for _, f := range sides {
		got, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), f.Name())
	}
}

// A reader keeps a file open while the other side overwrites, shortens and
// removes it: its next read sees that, and the removed file stays its own.
func TestTwoMountsReplaceWhatTheOtherReads(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	a, b := c.path("file"), filepath.Join(c.secondMount().point, "file")
	require.NoError(t, os.WriteFile(a, nil, 0o644))
	f, err := os.Open(a)
	require.NoError(t, err)
	defer f.Close()
	reads := func(want []byte, when string, round int) {
		t.Helper()
		got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "%s, round %d: %d bytes wanted, %d read", when, round, len(want), len(got))
	}
	var content []byte
	for round := range scaled(6, 60) {
		content = bytesOf(s+uint64(round), 30_000-round*211)
		require.NoError(t, os.WriteFile(b, content, 0o644))
		reads(content, "overwritten", round)
		require.NoError(t, os.Truncate(b, 9_000))
		reads(content[:9_000], "shortened", round)
		require.NoError(t, os.Truncate(b, 17_000))
		content = append(bytes.Clone(content[:9_000]), make([]byte, 8_000)...)
		reads(content, "lengthened", round)
	}
	require.NoError(t, os.Remove(b))
	require.NoFileExists(t, a)
	reads(content, "removed", 0)
	require.NoError(t, os.WriteFile(b, []byte("another"), 0o644))
	reads(content, "made anew", 0)
	got, err := os.ReadFile(a)
	require.NoError(t, err)
	require.Equal(t, "another", string(got))
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
