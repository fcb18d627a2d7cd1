package scenario

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// maxName is NAME_MAX, in bytes.
const maxName = 255

// A name may have 255 bytes, whatever characters they make, and no more.
func TestNamesOf255Bytes(t *testing.T) {
	c := start(t, options{})
	require.NoError(t, createEmpty(c.path("old")))
	for what, make := range makers(c) {
		t.Run(what, func(t *testing.T) {
			for _, character := range []string{"n", "é", "€", "😀", "\xff"} {
				fits := strings.Repeat(character, maxName/len(character))
				fits += strings.Repeat("x", maxName-len(fits))
				require.NoError(t, make(c.path(fits)), "%d bytes of %q", len(fits), character)
				require.Contains(t, names(t, c.mnt), fits)
				tooLong := fits + "x"
				require.ErrorIs(t, make(c.path(tooLong)), syscall.ENAMETOOLONG, "%d bytes of %q", len(tooLong), character)
				require.NoError(t, os.Remove(c.path(fits)))
			}
		})
	}
	for _, look := range []func(path string) error{lstat, os.Remove, func(path string) error { return syscall.Rename(path, c.path("new")) }} {
		require.ErrorIs(t, look(c.path(strings.Repeat("n", maxName+1))), syscall.ENAMETOOLONG)
	}
	require.Equal(t, []string{"old"}, names(t, c.mnt))
}

// makers are the ways to make a name.
func makers(c *cluster) map[string]func(path string) error {
	return map[string]func(string) error{
		"file":      createEmpty,
		"directory": func(path string) error { return os.Mkdir(path, 0o755) },
		"symlink":   func(path string) error { return os.Symlink("x", path) },
		"link":      func(path string) error { return os.Link(c.path("old"), path) },
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"renamed": func(path string) error {
			if err := createEmpty(c.path("before")); err != nil {
				return err
			}
			err := syscall.Rename(c.path("before"), path)
			if err != nil {
				_ = os.Remove(c.path("before"))
			}
			return err
		},
	}
}

func lstat(path string) error { _, err := os.Lstat(path); return err }

// names lists a directory, sorted.
func names(t *testing.T, dir string) []string {
	t.Helper()
	d, err := os.Open(dir)
	require.NoError(t, err)
	defer d.Close()
	all, err := d.Readdirnames(0)
	require.NoError(t, err)
	slices.Sort(all)
	return all
}

// oddNames are bytes to a file system: it neither composes nor folds them.
var oddNames = []string{
	"caf\u00e9", "cafe\u0301", // NFC and NFD of one word
	"\u212b", "\u00c5", "A\u030a", // three ways to write Å
	"ﬁ", "fi", "ẞ", "ß", "ss", "I", "i", "ı", "İ", // what folding of case would merge
	"😀", "👩‍👩‍👧", "🇫🇷", "日本語", "한글", "العربية", "\u202eabc", "\u200b", "\ufeffbom",
	" ", " leading", "trailing ", ".hidden", "...", "-rf", "*", "?", "~", "#", "'\"`$(x)", `back\slash`, "a:b", "CON",
	"new\nline", "tab\t", "\r", "\x01", "\x1b[31m", "\x7f",
	"\xff", "\xfe\xff", "\xc3", "\xc3\x28", "\xed\xa0\x80", "a\x80b", "\xf4\x90\x80\x80", // no UTF-8
}

// Odd names come back from a listing as they were given, each for its own file,
// on this mount, on another, and after a restart.
func TestNamesAreBytes(t *testing.T) {
	c := start(t, options{})
	for _, name := range oddNames {
		require.NoError(t, os.WriteFile(c.path(name), []byte(name), 0o644), "%q", name)
		require.ErrorIs(t, createEmpty(c.path(name)), syscall.EEXIST, "%q", name)
	}
	want := slices.Sorted(slices.Values(oddNames))
	same := func(dir, when string) {
		require.Equal(t, want, names(t, dir), when)
		for _, name := range oddNames {
			got, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err, "%q %s", name, when)
			require.Equal(t, name, string(got), when)
		}
	}
	same(c.mnt, "where they were made")
	same(c.secondMount().point, "on another mount")
	require.NoError(t, c.mounts[0].end())
	c.down()
	c.up()
	same(c.mnt, "after a restart")
	for _, name := range oddNames {
		require.NoError(t, os.Remove(c.path(name)), "%q", name)
	}
	require.Empty(t, names(t, c.mnt))
}

// Directories lie 200 deep in one another, also where the path is longer than
// the system lets anybody write down.
func TestPathsOf200Directories(t *testing.T) {
	const depth = 200
	short := func(level int) string { return strconv.Itoa(100 + level) }
	long := func(level int) string { return strings.Repeat("d", 190) + strconv.Itoa(level) }
	c := start(t, options{})
	for _, name := range []func(level int) string{short, long} {
		fd := openDir(t, c.mnt)
		for level := range depth {
			require.NoError(t, unix.Mkdirat(fd, name(level), 0o755), "level %d", level)
			fd = descend(t, fd, name(level))
		}
		writeIn(t, fd, "file", "at the bottom")
	}
	c.remount()
	path := c.mnt
	for level := range depth {
		path = filepath.Join(path, short(level))
	}
	got, err := os.ReadFile(filepath.Join(path, "file"))
	require.NoError(t, err)
	require.Equal(t, "at the bottom", string(got))
	fd := openDir(t, c.mnt)
	for level := range depth {
		fd = descend(t, fd, long(level))
	}
	require.Equal(t, "at the bottom", readIn(t, fd, "file"))
	require.Equal(t, 2*depth, strings.Count(run(t, c.mnt, "find", ".", "-mindepth", "1", "-type", "d", "-printf", "x"), "x"))
	run(t, c.mnt, "rm", "-r", short(0), long(0))
	require.Empty(t, names(t, c.mnt))
}

func openDir(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	require.NoError(t, err)
	return fd
}

// descend opens a directory in another and closes that.
func descend(t *testing.T, fd int, name string) int {
	t.Helper()
	next, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	return next
}

// writeIn makes a file in an open directory, which it closes.
func writeIn(t *testing.T, fd int, name, content string) {
	t.Helper()
	file, err := unix.Openat(fd, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644)
	require.NoError(t, err)
	_, err = unix.Write(file, []byte(content))
	require.NoError(t, err)
	require.NoError(t, unix.Close(file))
	require.NoError(t, unix.Close(fd))
}

// readIn reads a small file in an open directory, which it closes.
func readIn(t *testing.T, fd int, name string) string {
	t.Helper()
	defer unix.Close(fd)
	file, err := unix.Openat(fd, name, unix.O_RDONLY, 0)
	require.NoError(t, err)
	defer unix.Close(file)
	b := make([]byte, 100)
	n, err := unix.Read(file, b)
	require.NoError(t, err)
	return string(b[:n])
}

// A symbolic link may lead to 4095 bytes of anything.
func TestSymlinkTargetsOf4095Bytes(t *testing.T) {
	const maxTarget = 4095
	c := start(t, options{})
	other := c.secondMount()
	for i, target := range []string{"x", "/", "..", "no\xffUTF-8\n", strings.Repeat("y", 255), strings.Repeat("0123456789abcde/", 256)[:maxTarget]} {
		name := strconv.Itoa(i)
		require.NoError(t, os.Symlink(target, c.path(name)), "%d bytes", len(target))
		for _, path := range []string{c.path(name), filepath.Join(other.point, name)} {
			got, err := os.Readlink(path)
			require.NoError(t, err)
			require.Equal(t, target, got)
			info, err := os.Lstat(path)
			require.NoError(t, err)
			require.Equal(t, os.ModeSymlink, info.Mode().Type())
			require.EqualValues(t, len(target), info.Size(), "the size of a link is that of its target")
		}
	}
	require.ErrorIs(t, os.Symlink(strings.Repeat("x", maxTarget+1), c.path("long")), syscall.ENAMETOOLONG)
	require.ErrorIs(t, os.Symlink("", c.path("nowhere")), syscall.ENOENT)
	// The kernel follows what it can.
	require.NoError(t, os.WriteFile(c.path("file"), []byte("content"), 0o644))
	require.NoError(t, os.Symlink(strings.Repeat("./", (maxTarget-len("file"))/2)+"file", c.path("detour")))
	got, err := os.ReadFile(c.path("detour"))
	require.NoError(t, err)
	require.Equal(t, "content", string(got))
	require.NoError(t, os.Symlink("loop", c.path("loop")))
	_, err = os.ReadFile(c.path("loop"))
	require.ErrorIs(t, err, syscall.ELOOP)
}
