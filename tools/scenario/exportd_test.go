package scenario

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// exportd is killed again and again while a tree is copied: cp waits and goes on.
func TestExportdIsKilledDuringACopy(t *testing.T) {
	goroot := goSource(t)
	c := start(t, options{})
	copied := make(chan error, 1)
	var out string
	source := filepath.Join(goroot, scaled("net", "."))
	go func() {
		var err error
		out, err = try(".", "cp", "-a", source, c.path("copy"))
		copied <- err
	}()
	kills := 0
	for done := false; !done; {
		at := entries(c.path("copy"))
		require.Eventually(t, func() bool { // some more is copied, or all
			select {
			case err := <-copied:
				require.NoError(t, err, "cp after %d kills of exportd: %s", kills, out)
				done = true
			default:
			}
			return done || entries(c.path("copy")) > at+5
		}, await, 5*time.Millisecond)
		if !done && kills < scaled(4, 20) {
			c.kill("exportd")
			c.start("exportd")
			kills++
		}
	}
	require.Positive(t, kills, "the copy has ended before exportd was killed once")
	run(t, ".", "diff", "-r", "--no-dereference", source, c.path("copy"))
	require.Equal(t, attributes(t, source), attributes(t, c.path("copy")))
	c.down()
	c.up()
	run(t, ".", "diff", "-r", "--no-dereference", source, c.path("copy"))
}

// entries counts those of a directory and of its subdirectories.
func entries(dir string) int {
	list, _ := os.ReadDir(dir)
	n := len(list)
	for _, e := range list {
		if e.IsDir() {
			sub, _ := os.ReadDir(filepath.Join(dir, e.Name()))
			n += len(sub)
		}
	}
	return n
}

func goSource(t *testing.T) string {
	t.Helper()
	out, err := try(".", "go", "env", "GOROOT")
	require.NoError(t, err)
	return filepath.Join(out[:len(out)-1], "src")
}

// Files that are open when exportd is killed go on to be read and written.
func TestOpenFilesOutliveExportd(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	content := bytesOf(s, 3*mib)
	f, err := os.OpenFile(c.path("file"), os.O_RDWR|os.O_CREATE, 0o644)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Write(content[:mib])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(c.path("gone"), content, 0o644))
	gone, err := os.Open(c.path("gone"))
	require.NoError(t, err)
	defer gone.Close()
	require.NoError(t, os.Remove(c.path("gone")))
	c.kill("exportd")
	c.start("exportd")
	_, err = f.Write(content[mib:])
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, dropCache(f))
	_, err = f.Seek(0, io.SeekStart)
	require.NoError(t, err)
	got, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, content, got)
	require.NoError(t, dropCache(gone))
	got, err = io.ReadAll(gone)
	require.NoError(t, err, "a file without a name, open when exportd was killed")
	require.Equal(t, content, got)
	require.NoError(t, f.Close())
	require.NoError(t, gone.Close())
	c.remount()
	got, err = os.ReadFile(c.path("file"))
	require.NoError(t, err)
	require.Equal(t, content, got)
	require.NoFileExists(t, c.path("gone"))
}

// While exportd is down, a request waits for it instead of failing.
func TestClientsWaitForExportd(t *testing.T) {
	c := start(t, options{})
	c.kill("exportd")
	made := make(chan error, 1)
	go func() { made <- os.Mkdir(c.path("dir"), 0o755) }()
	select {
	case err := <-made:
		require.FailNow(t, "mkdir did not wait for exportd", "%v", err)
	case <-time.After(time.Second): // nothing is to happen in it
	}
	c.start("exportd")
	require.NoError(t, <-made)
	require.DirExists(t, c.path("dir"))
}

// SIGTERM to rozofsmount keeps what was written and never synced, in files that
// are still open too.
func TestUnmountingWritesEverything(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	closed, open := bytesOf(s, 8*mib+5), bytesOf(s+1, 8*mib+7)
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, os.WriteFile(c.path(name), closed, 0o644))
	}
	c.remount()
	for _, name := range []string{"a", "b", "c"} {
		got, err := os.ReadFile(c.path(name))
		require.NoError(t, err)
		require.Equal(t, closed, got)
	}
	f, err := os.Create(c.path("open"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Write(open)
	require.NoError(t, err)
	c.remount()
	got, err := os.ReadFile(c.path("open"))
	require.NoError(t, err)
	require.Equal(t, open, got)
	_, err = f.Write(open)
	require.Error(t, err, "the file was cut off")
}
