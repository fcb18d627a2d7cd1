package scenario

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mmapErrand does one thing to a file by mapping it:
//
//	sum PATH          prints the SHA-256 of what the mapping shows
//	fill PATH SEED    writes content of the file's size through the mapping, and msyncs
//	leave PATH SEED   the same without msync
func mmapErrand(args []string) error {
	what, path := args[0], args[1]
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	if what == "sum" {
		sum := sha256.Sum256(m)
		fmt.Println(hex.EncodeToString(sum[:]))
		return unix.Munmap(m)
	}
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	copy(m, bytesOf(seed, len(m)))
	if what == "fill" {
		err = unix.Msync(m, unix.MS_SYNC)
	}
	return errors.Join(err, unix.Munmap(m))
}

// mapped is the sum that another process sees in a mapping of the file.
func mapped(t *testing.T, path string) string {
	t.Helper()
	out, err := errand(t, "mmap", "sum", path).Output()
	require.NoError(t, err, "%s", stderrOf(err))
	return strings.TrimSpace(string(out))
}

func stderrOf(err error) []byte {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.Stderr
	}
	return nil
}

func sumOfBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// What one process writes through a shared mapping others read, by mapping and
// by read, on this mount, on another, and after a restart; with msync at once,
// without it when the process has unmapped the file.
func TestSharedMappingsAreWrittenAndRead(t *testing.T) {
	size := scaled(8*mib, 256*mib) + 1234 // ends within a page, and within a block
	s := seed(t)
	c := start(t, options{})
	other := c.secondMount()
	there := filepath.Join(other.point, "file")
	require.NoError(t, os.WriteFile(c.path("file"), nil, 0o644))
	require.NoError(t, os.Truncate(c.path("file"), int64(size)))
	require.Equal(t, sumOfBytes(make([]byte, size)), mapped(t, c.path("file")), "a hole")
	for i, how := range []string{"fill", "leave", "fill"} {
		want := sumOfBytes(bytesOf(s+uint64(i), size))
		path := []string{c.path("file"), there}[i%2]
		out, err := errand(t, "mmap", how, path, strconv.FormatUint(s+uint64(i), 10)).CombinedOutput()
		require.NoError(t, err, "%s", out)
		when := fmt.Sprintf("after round %d (%s) through %s", i, how, path)
		require.Equal(t, want, mapped(t, c.path("file")), when)
		require.Equal(t, want, mapped(t, there), when)
		requireSum(t, c.path("file"), want, when)
		requireSum(t, there, want, when)
	}
	require.NoError(t, other.end())
	c.down()
	c.up()
	require.Equal(t, sumOfBytes(bytesOf(s+2, size)), mapped(t, c.path("file")), "after a restart")
}

// A mapping and write(2) in one process show each other's bytes at once, also
// those by which the file grows under the mapping.
func TestAMappingSeesTheFileGrow(t *testing.T) {
	const size, room = mib + 100, 4 * mib
	s := seed(t)
	c := start(t, options{})
	content := bytesOf(s, room)
	f, err := os.OpenFile(c.path("file"), os.O_RDWR|os.O_CREATE, 0o644)
	require.NoError(t, err)
	defer f.Close()
	writeAt(t, f, content[:size], 0)
	m, err := unix.Mmap(int(f.Fd()), 0, room, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content[:size], m[:size]))
	page := os.Getpagesize()
	end := (size + page - 1) / page * page
	require.Equal(t, make([]byte, end-size), m[size:end], "the rest of the last page")

	for at := size; at < room; { // by appending what is no multiple of anything
		n := min(100_003, room-at)
		writeAt(t, f, content[at:at+n], int64(at))
		at += n
		require.True(t, bytes.Equal(content[:at], m[:at]), "the mapping when %d bytes are written", at)
	}
	copy(m[size:], "by the mapping")
	got := make([]byte, 14)
	_, err = f.ReadAt(got, size)
	require.NoError(t, err)
	require.Equal(t, "by the mapping", string(got))
	require.NoError(t, unix.Msync(m, unix.MS_SYNC))
	require.NoError(t, unix.Munmap(m))
	copy(content[size:], "by the mapping")
	require.NoError(t, f.Close())
	c.remount()
	requireSum(t, c.path("file"), sumOfBytes(content), "mounted anew")
}

// A mapping that stays while the file is written on another mount shows what was
// written there, soon: the kernel is told to drop its pages when the lease goes.
func TestAMappingFollowsAnotherMount(t *testing.T) {
	const size = mib
	s := seed(t)
	c := start(t, options{})
	there := filepath.Join(c.secondMount().point, "file")
	require.NoError(t, os.WriteFile(c.path("file"), bytesOf(s, size), 0o644))
	f, err := os.OpenFile(c.path("file"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Munmap(m)) }()
	require.True(t, bytes.Equal(bytesOf(s, size), m))
	for round := range uint64(scaled(5, 100)) {
		content := bytesOf(s+1+round, size)
		other, err := os.OpenFile(there, os.O_WRONLY, 0)
		require.NoError(t, err)
		writeAt(t, other, content, 0)
		require.NoError(t, other.Close())
		require.Eventually(t, func() bool { return bytes.Equal(content, m) }, await, time.Millisecond, "round %d", round)
		at := round * 4096 // and the other way
		copy(m[at:], "by the mapping")
		require.NoError(t, unix.Msync(m, unix.MS_SYNC))
		copy(content[at:], "by the mapping")
		requireSum(t, there, sumOfBytes(content), "msynced here, read there")
	}
}

// What is written through a private mapping, or behind the end of the file,
// stays out of the file.
func TestMappingsThatLeaveTheFileAlone(t *testing.T) {
	const size = 3*8192 + 1000
	s := seed(t)
	c := start(t, options{})
	content := bytesOf(s, size)
	require.NoError(t, os.WriteFile(c.path("file"), content, 0o644))
	f, err := os.OpenFile(c.path("file"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	private, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	require.NoError(t, err)
	require.Equal(t, content, private)
	clear(private)
	require.NoError(t, unix.Munmap(private))

	page := os.Getpagesize()
	end := (size + page - 1) / page * page
	shared, err := unix.Mmap(int(f.Fd()), 0, end, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	copy(shared[size:], "behind the end")
	require.NoError(t, unix.Msync(shared, unix.MS_SYNC))
	require.NoError(t, unix.Munmap(shared))
	requireSize(t, f, size)
	require.NoError(t, f.Truncate(size+100))
	require.NoError(t, f.Close())
	c.remount()
	got, err := os.ReadFile(c.path("file"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(append(content, make([]byte, 100)...), got))
}

// A program that lies on the mount runs, and cannot be written meanwhile.
func TestAProgramRunsFromTheMount(t *testing.T) {
	c := start(t, options{})
	source, err := os.ReadFile(program(t, "rozo"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(c.path("rozo"), source, 0o755))
	want := run(t, ".", program(t, "rozo"), "--help")
	require.Equal(t, want, run(t, c.mnt, "./rozo", "--help"))
	c.remount()
	require.Equal(t, want, run(t, c.mnt, "./rozo", "--help"), "mounted anew")

	self, err := os.Executable()
	require.NoError(t, err)
	run(t, ".", "cp", self, c.path("errand"))
	require.NoError(t, os.WriteFile(c.path("file"), nil, 0o644))
	cmd := errand(t, "append", c.path("file"), "0", "1")
	cmd.Path = c.path("errand")
	a := launch(t, cmd)
	a.requireLine(t, "open")
	require.ErrorIs(t, openToWrite(c.path("errand")), syscall.ETXTBSY)
	require.NoError(t, a.stdin.Close())
	require.NoError(t, a.wait())
	requireRecords(t, c.path("file"), 1, 1)
	require.NoError(t, openToWrite(c.path("errand")))
}

func openToWrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
