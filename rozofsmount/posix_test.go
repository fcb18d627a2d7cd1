package rozofsmount

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func TestFilesAreWrittenAndRead(t *testing.T) {
	s := mountMem(t, nil)
	big := strings.Repeat("0123456789abcdef", 200_000) // 3.2 MB: several requests
	write(t, s.path("f"), big)
	require.Equal(t, big, read(t, s.path("f")))
	require.Equal(t, big, s.mem.content("f"))

	st := stat(t, s.path("f"))
	require.EqualValues(t, vocab.ModeRegular|0o644, st.Mode)
	require.EqualValues(t, len(big), st.Size)
	require.EqualValues(t, (len(big)+511)/512, st.Blocks)
	require.EqualValues(t, preferredIOBytes, st.Blksize)

	file, err := os.OpenFile(s.path("f"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer file.Close()
	_, err = file.WriteAt([]byte("XY"), 1<<20-1)
	require.NoError(t, err)
	got := make([]byte, 4)
	_, err = file.ReadAt(got, 1<<20-2)
	require.NoError(t, err)
	require.Equal(t, "eXY1", string(got))
	require.NoError(t, file.Sync())
	end, err := file.Seek(0, 2)
	require.NoError(t, err)
	require.EqualValues(t, len(big), end)
}

func TestTruncation(t *testing.T) {
	s := mountMem(t, nil)
	write(t, s.path("f"), "0123456789")
	require.NoError(t, os.Truncate(s.path("f"), 4))
	require.Equal(t, "0123", read(t, s.path("f")))
	require.NoError(t, os.Truncate(s.path("f"), 6))
	require.Equal(t, "0123\x00\x00", read(t, s.path("f")))
	write(t, s.path("f"), "new") // O_TRUNC
	require.Equal(t, "new", read(t, s.path("f")))
	require.EqualValues(t, 3, stat(t, s.path("f")).Size)

	file, err := os.OpenFile(s.path("f"), os.O_RDWR|os.O_TRUNC, 0)
	require.NoError(t, err)
	defer file.Close()
	st, err := file.Stat()
	require.NoError(t, err)
	require.Zero(t, st.Size())
	require.NoError(t, file.Truncate(2))
	require.Equal(t, "\x00\x00", s.mem.content("f"))
}

func TestKindsOfFiles(t *testing.T) {
	s := mountMem(t, nil)
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	require.NoError(t, os.Mkdir(s.path("d"), 0o777))
	require.EqualValues(t, vocab.ModeDir|0o750, stat(t, s.path("d")).Mode, "the umask holds")
	require.NoError(t, unix.Mkfifo(s.path("fifo"), 0o666))
	require.EqualValues(t, vocab.ModeFIFO|0o640, stat(t, s.path("fifo")).Mode)
	dev := unix.Mkdev(259, 70000)
	require.NoError(t, unix.Mknod(s.path("dev"), vocab.ModeBlock|0o600, int(dev)))
	require.EqualValues(t, vocab.ModeBlock|0o600, stat(t, s.path("dev")).Mode)
	require.EqualValues(t, dev, stat(t, s.path("dev")).Rdev)
	require.NoError(t, unix.Mknod(s.path("sock"), vocab.ModeSocket|0o600, 0))
	require.EqualValues(t, vocab.ModeSocket|0o600, stat(t, s.path("sock")).Mode)

	target := strings.Repeat("long/", 800) // 4000 bytes
	require.NoError(t, os.Symlink(target, s.path("d", "link")))
	got, err := os.Readlink(s.path("d", "link"))
	require.NoError(t, err)
	require.Equal(t, target, got)
	require.EqualValues(t, len(target), stat(t, s.path("d", "link")).Size)
}

func TestRootHasItsOwnNumber(t *testing.T) {
	s := mountMem(t, nil)
	require.EqualValues(t, memRoot, stat(t, s.dir).Ino)
	require.NoError(t, os.Mkdir(s.path("d"), 0o755))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(s.path("d", ".."), &st))
	require.EqualValues(t, memRoot, st.Ino)
}

func TestAttributesAreSet(t *testing.T) {
	s := mountMem(t, nil)
	write(t, s.path("f"), "x")
	require.NoError(t, os.Chmod(s.path("f"), 0o751))
	require.NoError(t, os.Chown(s.path("f"), 1234, 5678))
	a, m := time.Unix(1_600_000_000, 123456789), time.Unix(-5, 7)
	require.NoError(t, os.Chtimes(s.path("f"), a, m))
	st := stat(t, s.path("f"))
	require.EqualValues(t, vocab.ModeRegular|0o751, st.Mode)
	require.EqualValues(t, []uint32{1234, 5678}, []uint32{st.Uid, st.Gid})
	require.Equal(t, a.UnixNano(), st.Atim.Nano())
	require.Equal(t, m.UnixNano(), st.Mtim.Nano())
	require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, s.path("f"), []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_NOW}}, 0))
	st = stat(t, s.path("f"))
	require.Equal(t, a.UnixNano(), st.Atim.Nano())
	require.Greater(t, st.Mtim.Sec, int64(1_700_000_000))
}

func TestLinks(t *testing.T) {
	s := mountMem(t, nil)
	write(t, s.path("f"), "content")
	require.NoError(t, os.Link(s.path("f"), s.path("g")))
	require.Equal(t, stat(t, s.path("f")).Ino, stat(t, s.path("g")).Ino)
	require.EqualValues(t, 2, stat(t, s.path("f")).Nlink)
	require.ErrorIs(t, os.Link(s.path("f"), s.path("g")), syscall.EEXIST)
	require.NoError(t, os.Remove(s.path("f")))
	require.Equal(t, "content", read(t, s.path("g")))
}

func TestUnlinkedButOpen(t *testing.T) {
	s := mountMem(t, nil)
	file, err := os.Create(s.path("f"))
	require.NoError(t, err)
	defer file.Close()
	_, err = file.WriteString("still here")
	require.NoError(t, err)
	require.NoError(t, os.Remove(s.path("f")))
	require.NoFileExists(t, s.path("f"))
	got := make([]byte, 10)
	_, err = file.ReadAt(got, 0)
	require.NoError(t, err)
	require.Equal(t, "still here", string(got))
}

func TestRename(t *testing.T) {
	s := mountMem(t, nil)
	write(t, s.path("a"), "A")
	write(t, s.path("b"), "B")
	require.NoError(t, os.Mkdir(s.path("d"), 0o755))
	rename := func(from, to string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, s.path(from), unix.AT_FDCWD, s.path(to), flags)
	}
	require.ErrorIs(t, rename("a", "b", unix.RENAME_NOREPLACE), syscall.EEXIST)
	require.ErrorIs(t, rename("a", "b", unix.RENAME_WHITEOUT), syscall.EINVAL)
	require.ErrorIs(t, rename("a", "none", unix.RENAME_EXCHANGE), syscall.ENOENT)
	require.NoError(t, rename("a", "b", unix.RENAME_EXCHANGE))
	require.Equal(t, "B", read(t, s.path("a")))
	require.Equal(t, "A", read(t, s.path("b")))
	require.NoError(t, rename("a", "d/a", unix.RENAME_NOREPLACE))
	require.Equal(t, "B", read(t, s.path("d", "a")))
	require.NoError(t, rename("b", "d/a", 0))
	require.Equal(t, "A", read(t, s.path("d", "a")))
	require.NoFileExists(t, s.path("b"))
}

func TestErrorsOfNames(t *testing.T) {
	s := mountMem(t, nil)
	write(t, s.path("f"), "")
	require.NoError(t, os.Mkdir(s.path("d"), 0o755))
	write(t, s.path("d", "g"), "")
	_, err := os.Stat(s.path("none"))
	require.ErrorIs(t, err, syscall.ENOENT)
	require.ErrorIs(t, os.Mkdir(s.path("f"), 0o755), syscall.EEXIST)
	require.ErrorIs(t, syscall.Rmdir(s.path("d")), syscall.ENOTEMPTY)
	require.ErrorIs(t, syscall.Rmdir(s.path("f")), syscall.ENOTDIR)
	require.ErrorIs(t, syscall.Unlink(s.path("d")), syscall.EISDIR)
	_, err = os.OpenFile(s.path("f"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	require.ErrorIs(t, err, syscall.EEXIST)
}

func TestLongNames(t *testing.T) {
	s := mountMem(t, nil)
	longest := strings.Repeat("n", vocab.MaxNameBytes)
	unicode := strings.Repeat("é", 127)
	for _, name := range []string{longest, unicode, "a\nb\tc", "-o", "日本語"} {
		write(t, s.path(name), name)
		require.Equal(t, name, read(t, s.path(name)))
	}
	list, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, list, 5)

	long := s.path(longest + "n")
	_, err = os.Stat(long)
	require.ErrorIs(t, err, syscall.ENAMETOOLONG)
	require.ErrorIs(t, os.Mkdir(long, 0o755), syscall.ENAMETOOLONG)
	require.ErrorIs(t, os.Symlink("x", long), syscall.ENAMETOOLONG)
	require.ErrorIs(t, syscall.Rename(s.path("-o"), long), syscall.ENAMETOOLONG)
	require.ErrorIs(t, syscall.Link(s.path("-o"), long), syscall.ENAMETOOLONG)
}

func TestDeepPaths(t *testing.T) {
	s := mountMem(t, nil)
	fd, err := unix.Open(s.dir, unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	for range 200 { // one by one: a whole path each time would be 20,000 steps
		require.NoError(t, unix.Mkdirat(fd, "d", 0o755))
		next, err := unix.Openat(fd, "d", unix.O_DIRECTORY, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
		fd = next
	}
	require.NoError(t, unix.Close(fd))
	file := s.path(strings.Repeat("d/", 200) + "f")
	write(t, file, "deep")
	require.Equal(t, "deep", read(t, file))
	require.NoError(t, os.RemoveAll(s.path("d")))
}

func TestFallocate(t *testing.T) {
	const kept = unix.FALLOC_FL_KEEP_SIZE
	for _, tc := range []struct {
		name   string
		mode   uint32
		off, n int64
		want   string
	}{
		{"allocate", 0, 8, 4, "0123456789\x00\x00"},
		{"allocate what is there", 0, 2, 4, "0123456789"},
		{"reserve", kept, 8, 4, "0123456789"},
		{"punch", unix.FALLOC_FL_PUNCH_HOLE | kept, 2, 4, "01\x00\x00\x00\x006789"},
		{"punch beyond the end", unix.FALLOC_FL_PUNCH_HOLE | kept, 8, 40, "01234567\x00\x00"},
		{"zero", unix.FALLOC_FL_ZERO_RANGE, 8, 4, "01234567\x00\x00\x00\x00"},
		{"zero and keep the size", unix.FALLOC_FL_ZERO_RANGE | kept, 8, 4, "01234567\x00\x00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := mountMem(t, nil)
			write(t, s.path("f"), "0123456789")
			require.Equal(t, "0123456789", read(t, s.path("f")), "the kernel has it cached")
			file, err := os.OpenFile(s.path("f"), os.O_RDWR, 0)
			require.NoError(t, err)
			defer file.Close()
			require.NoError(t, unix.Fallocate(int(file.Fd()), tc.mode, tc.off, tc.n))
			require.Equal(t, tc.want, read(t, s.path("f")))
			info, err := file.Stat()
			require.NoError(t, err)
			require.EqualValues(t, len(tc.want), info.Size())
			require.Equal(t, tc.want, s.mem.content("f"))
		})
	}
}

func TestFallocateTellsWhatFailed(t *testing.T) {
	s := mountMem(t, nil)
	write(t, s.path("f"), "0123456789")
	s.mem.on("punch:f", func(context.Context) error { return vocab.Errorf(vocab.Unavailable, "test") })
	file, err := os.OpenFile(s.path("f"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer file.Close()
	require.ErrorIs(t, unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4), syscall.EIO)
	require.Equal(t, "0123456789", read(t, s.path("f")))
}

func TestSeekDataAndHole(t *testing.T) {
	s := mountMem(t, nil)
	write(t, s.path("f"), "0123\x00\x00\x00\x00\x00\x00\x00\x00cdef\x00\x00")
	file, err := os.OpenFile(s.path("f"), os.O_RDONLY, 0)
	require.NoError(t, err)
	defer file.Close()
	for _, tc := range []struct {
		off, data, hole int64 // -1: none
	}{
		{0, 0, 4}, {3, 3, 4}, {4, 12, 4}, {7, 12, 7}, {13, 13, 16}, {16, -1, 16}, {17, -1, 17}, {18, -1, -1}, {100, -1, -1},
	} {
		for whence, want := range map[int]int64{unix.SEEK_DATA: tc.data, unix.SEEK_HOLE: tc.hole} {
			at, err := unix.Seek(int(file.Fd()), tc.off, whence)
			if want < 0 {
				require.ErrorIs(t, err, syscall.ENXIO, "from %d", tc.off)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, want, at, "from %d", tc.off)
		}
	}
}

func TestWhatIsNotOfferedSaysSo(t *testing.T) {
	s := mountMem(t, nil)
	write(t, s.path("f"), "0123456789")
	file, err := os.OpenFile(s.path("f"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer file.Close()
	for _, mode := range []uint32{unix.FALLOC_FL_COLLAPSE_RANGE, unix.FALLOC_FL_INSERT_RANGE, unix.FALLOC_FL_UNSHARE_RANGE} {
		require.ErrorIs(t, unix.Fallocate(int(file.Fd()), mode, 0, 4096), syscall.EOPNOTSUPP)
	}

	// The kernel does this by itself.
	to, err := os.Create(s.path("copy"))
	require.NoError(t, err)
	defer to.Close()
	n, err := unix.CopyFileRange(int(file.Fd()), new(int64), int(to.Fd()), nil, 10, 0)
	require.NoError(t, err)
	require.Equal(t, 10, n)
	require.Equal(t, "0123456789", read(t, s.path("copy")))
	require.NoError(t, unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

func TestWithoutExtendedAttributes(t *testing.T) {
	s := mountMem(t, func(o *Options) { o.NoXattr = true })
	write(t, s.path("f"), "")
	require.ErrorIs(t, unix.Setxattr(s.path("f"), "user.x", nil, 0), syscall.EOPNOTSUPP)
	_, err := unix.Getxattr(s.path("f"), "user.x", nil)
	require.ErrorIs(t, err, syscall.EOPNOTSUPP)
}

func TestStatfs(t *testing.T) {
	s := mountMem(t, nil)
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(s.dir, &st))
	require.EqualValues(t, 1<<40/8192, st.Blocks)
	require.EqualValues(t, 1<<39/8192, st.Bavail)
	require.EqualValues(t, 255, st.Namelen)
}

func TestWriteErrorsAreReportedAtClose(t *testing.T) {
	s := mountMem(t, nil)
	file, err := os.Create(s.path("f"))
	require.NoError(t, err)
	s.mem.on("flush:f", failWith(vocab.Errorf(vocab.NoSpace, "the storages are full")))
	require.ErrorIs(t, file.Close(), syscall.ENOSPC)

	s.mem.on("flush:f", nil)
	s.mem.on("sync:f", failWith(vocab.Errorf(vocab.Unavailable, "2 of 4 storages answer")))
	file, err = os.OpenFile(s.path("f"), os.O_WRONLY, 0)
	require.NoError(t, err)
	require.ErrorIs(t, file.Sync(), syscall.EIO)
	require.Contains(t, s.log.String(), "2 of 4 storages answer")
	s.mem.on("sync:f", nil)
	require.NoError(t, file.Close())
}

func TestDirectIO(t *testing.T) {
	s := mountMem(t, nil)
	block, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	defer unix.Munmap(block)
	fd, err := unix.Open(s.path("f"), unix.O_CREAT|unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0o644)
	require.NoError(t, err)
	defer unix.Close(fd)
	copy(block, "direct")
	_, err = unix.Pwrite(fd, block, 4096)
	require.NoError(t, err)
	clear(block)
	n, err := unix.Pread(fd, block, 4096)
	require.NoError(t, err)
	require.Equal(t, 4096, n)
	require.Equal(t, "direct", string(block[:6]))
}
