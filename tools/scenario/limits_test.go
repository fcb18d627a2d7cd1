package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A file of 1 TiB that has data at its ends takes the room of these, reads zeros
// between them, and uncovers nothing old when it shrinks and grows.
func TestASparseFileOfATebibyte(t *testing.T) {
	const size = 1 << 40
	s := seed(t)
	c := start(t, options{})
	empty := usedOnStorages(t, c)
	head, tail := bytesOf(s, mib), bytesOf(s+1, mib)
	f, err := os.Create(c.path("sparse"))
	require.NoError(t, err)
	defer f.Close()
	writeAt(t, f, head, 0)
	writeAt(t, f, tail, size-mib)
	require.NoError(t, f.Sync())
	requireSize(t, f, size)
	require.Less(t, usedOnStorages(t, c)-empty, int64(16*mib), "bytes that 2 MiB of data take on four storages")

	choice := rand.New(generator(s + 2))
	same := func(when string) {
		require.NoError(t, dropCache(f))
		requireAt(t, f, head, 0, when)
		requireAt(t, f, tail, size-mib, when)
		for range scaled(16, 200) {
			requireZeros(t, f, mib+choice.Int64N(size-3*mib), mib, when)
		}
		requireZeros(t, f, mib, mib, when)
		requireZeros(t, f, size-2*mib, mib, when)
	}
	same("as it was written")
	requireHonestHoles(t, f, size, mib)
	require.NoError(t, f.Close())
	c.remount()
	f, err = os.OpenFile(c.path("sparse"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	requireSize(t, f, size)
	same("mounted anew")

	const cut = mib/2 + 1 // within a block
	require.NoError(t, f.Truncate(cut))
	require.NoError(t, f.Truncate(size))
	requireSize(t, f, size)
	when := "after it was cut to half a MiB and grown again"
	require.NoError(t, dropCache(f))
	requireAt(t, f, head[:cut], 0, when)
	requireZeros(t, f, cut, mib-cut, when)
	requireZeros(t, f, size-mib, mib, when)

	require.NoError(t, f.Close())
	require.NoError(t, os.Remove(c.path("sparse")))
	require.Eventually(t, func() bool { return usedOnStorages(t, c) < empty+mib/2 }, await, 10*time.Millisecond, "the room that it took is not given back")
}

func writeAt(t *testing.T, f *os.File, b []byte, at int64) {
	t.Helper()
	_, err := f.WriteAt(b, at)
	require.NoError(t, err, "at %d", at)
}

func requireSize(t *testing.T, f *os.File, size int64) {
	t.Helper()
	info, err := f.Stat()
	require.NoError(t, err)
	require.Equal(t, size, info.Size())
}

func requireAt(t *testing.T, f *os.File, want []byte, at int64, when string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := f.ReadAt(got, at)
	require.NoError(t, err, "at %d %s", at, when)
	require.True(t, bytes.Equal(want, got), "%d bytes at %d differ %s", len(want), at, when)
}

func requireZeros(t *testing.T, f *os.File, at, n int64, when string) {
	t.Helper()
	requireAt(t, f, make([]byte, n), at, when)
}

// requireHonestHoles: a file system may call a hole data, but not all of it, and never data
// a hole.
func requireHonestHoles(t *testing.T, f *os.File, size, ends int64) {
	t.Helper()
	first, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
	require.NoError(t, err)
	require.Zero(t, first, "data begin with the file")
	hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
	require.NoError(t, err)
	require.GreaterOrEqual(t, hole, ends)
	require.Less(t, hole, size)
	next, err := unix.Seek(int(f.Fd()), hole, unix.SEEK_DATA)
	require.NoError(t, err)
	require.Greater(t, next, hole)
	require.LessOrEqual(t, next, size-ends)
}

// usedOnStorages is what all that lies on the storages takes of their disks.
func usedOnStorages(t *testing.T, c *cluster) int64 {
	t.Helper()
	roots, err := filepath.Glob(filepath.Join(c.dir, "storage_*"))
	require.NoError(t, err)
	require.NotEmpty(t, roots)
	var used int64
	for _, root := range roots {
		err := filepath.WalkDir(root, func(_ string, e fs.DirEntry, err error) error {
			var info fs.FileInfo
			if err == nil {
				info, err = e.Info()
			}
			if errors.Is(err, fs.ErrNotExist) { // storaged has just removed it
				return nil
			}
			if err == nil {
				used += info.Sys().(*syscall.Stat_t).Blocks * 512
			}
			return err
		})
		require.NoError(t, err)
	}
	return used
}

// Many files in one directory, made through two mounts, are listed once each,
// also while others come and go there, and can all be deleted.
func TestAHundredThousandFilesInOneDirectory(t *testing.T) {
	n := scaled(3_000, 100_000)
	s := seed(t)
	c := start(t, options{})
	dir, there := c.path("many"), filepath.Join(c.secondMount().point, "many")
	require.NoError(t, os.Mkdir(dir, 0o755))
	name := func(i int) string { return fmt.Sprintf("file-%d", i) }
	each := func(do func(path string) error) { // a kernel makes one name at a time in a directory
		t.Helper()
		inParallel(t, 4, n, func(i int) error { return do(filepath.Join([]string{dir, there}[i%2], name(i))) })
	}
	each(createEmpty)
	want := map[string]bool{}
	for i := range n {
		want[name(i)] = true
	}
	stop := churn(t, dir)
	for range scaled(5, 3) {
		requireListed(t, dir, want)
		requireListed(t, there, want)
	}
	stop()
	choice := rand.New(generator(s))
	for range 200 {
		path := filepath.Join(dir, name(choice.IntN(n)))
		info, err := os.Lstat(path)
		require.NoError(t, err)
		require.True(t, info.Mode().IsRegular() && info.Size() == 0, "%s is %v of %d bytes", path, info.Mode(), info.Size())
	}
	require.ErrorIs(t, createEmpty(filepath.Join(dir, name(choice.IntN(n)))), syscall.EEXIST)
	require.ErrorIs(t, syscall.Rmdir(dir), syscall.ENOTEMPTY)

	each(os.Remove)
	requireListed(t, dir, nil)
	requireListed(t, there, nil)
	require.NoError(t, syscall.Rmdir(dir))
	require.NoDirExists(t, dir)
}

func createEmpty(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// inParallel calls do for 0 to n-1 from some goroutines.
func inParallel(t *testing.T, workers, n int, do func(i int) error) {
	t.Helper()
	errs := make([]error, workers)
	var joined sync.WaitGroup
	for w := range workers {
		joined.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = do(i)
			}
		})
	}
	joined.Wait()
	require.NoError(t, errors.Join(errs...))
}

// churned begins the names of files that come and go.
const churned = "churn-"

// churn makes and removes files in a directory until it is stopped.
func churn(t *testing.T, dir string) (stop func()) {
	ended, result := make(chan struct{}), make(chan error, 1)
	go func() { // stop waits for it
		for i := 0; ; i++ {
			select {
			case <-ended:
				result <- nil
				return
			default:
			}
			path := filepath.Join(dir, fmt.Sprintf("%s%d", churned, i%50))
			if err := errors.Join(createEmpty(path), os.Remove(path)); err != nil {
				result <- err
				return
			}
		}
	}()
	return sync.OnceFunc(func() { t.Helper(); close(ended); require.NoError(t, <-result) })
}

// requireListed reads a directory in pages. Names that come and go meanwhile may
// be there or not.
func requireListed(t *testing.T, dir string, want map[string]bool) {
	t.Helper()
	d, err := os.Open(dir)
	require.NoError(t, err)
	defer d.Close()
	seen := map[string]bool{}
	for {
		names, err := d.Readdirnames(1000)
		for _, name := range names {
			if strings.HasPrefix(name, churned) {
				continue
			}
			require.True(t, want[name], "%q is not among the files that were made", name)
			require.False(t, seen[name], "%q is listed twice", name)
			seen[name] = true
		}
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	require.Len(t, seen, len(want))
}
