package rozofsmount

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func TestExtendedAttributes(t *testing.T) {
	s := mountMem(t, nil)
	write(t, s.path("f"), "")
	f := s.path("f")
	buf := make([]byte, 100)
	_, err := unix.Getxattr(f, "user.a", buf)
	require.ErrorIs(t, err, syscall.ENODATA)
	require.NoError(t, unix.Setxattr(f, "user.a", []byte("A\x00A"), unix.XATTR_CREATE))
	require.ErrorIs(t, unix.Setxattr(f, "user.a", nil, unix.XATTR_CREATE), syscall.EEXIST)
	require.ErrorIs(t, unix.Setxattr(f, "user.b", nil, unix.XATTR_REPLACE), syscall.ENODATA)
	require.NoError(t, unix.Setxattr(f, "trusted.t", nil, 0))

	n, err := unix.Getxattr(f, "user.a", nil)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	_, err = unix.Getxattr(f, "user.a", buf[:2])
	require.ErrorIs(t, err, syscall.ERANGE)
	n, err = unix.Getxattr(f, "user.a", buf[:3])
	require.NoError(t, err)
	require.Equal(t, "A\x00A", string(buf[:n]))
	n, err = unix.Getxattr(f, "trusted.t", buf)
	require.NoError(t, err)
	require.Zero(t, n)

	n, err = unix.Listxattr(f, nil)
	require.NoError(t, err)
	require.Equal(t, len("trusted.t\x00user.a\x00"), n)
	_, err = unix.Listxattr(f, buf[:5])
	require.ErrorIs(t, err, syscall.ERANGE)
	n, err = unix.Listxattr(f, buf)
	require.NoError(t, err)
	require.Equal(t, "trusted.t\x00user.a\x00", string(buf[:n]))

	big := strings.Repeat("v", vocab.MaxXattrBytes)
	require.NoError(t, unix.Setxattr(f, "user.a", []byte(big), 0))
	wide := make([]byte, len(big))
	n, err = unix.Getxattr(f, "user.a", wide)
	require.NoError(t, err)
	require.Equal(t, big, string(wide[:n]))
	require.NoError(t, unix.Removexattr(f, "user.a"))
	require.ErrorIs(t, unix.Removexattr(f, "user.a"), syscall.ENODATA)
}

func TestAFileWithoutAName(t *testing.T) {
	s := mountMem(t, nil)
	fd, err := unix.Open(s.dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
	require.NoError(t, err)
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte("content"))
	require.NoError(t, err)
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(fd, &st))
	require.Zero(t, st.Nlink)
	require.NoError(t, unix.Linkat(fd, "", unix.AT_FDCWD, s.path("f"), unix.AT_EMPTY_PATH))
	require.Equal(t, "content", read(t, s.path("f")))
}

// A handle of a file leads to it also when the kernel knows nothing of it any more.
func TestHandlesSurviveARemount(t *testing.T) {
	s := mountMem(t, nil)
	require.NoError(t, unix.Mkdir(s.path("d"), 0o755))
	write(t, s.path("d/f"), "content")
	handles := map[string]unix.FileHandle{}
	for _, name := range []string{"", "d", "d/f"} {
		h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, s.path(name), 0)
		require.NoError(t, err)
		handles[name] = h
	}
	gone, _, err := unix.NameToHandleAt(unix.AT_FDCWD, s.path("d/f"), 0)
	require.NoError(t, err)
	require.NoError(t, s.Unmount())

	again := mountMem(t, func(o *Options) {
		o.Connect = func(context.Context, *Options, func(vocab.Ino)) (FileSystem, error) { return s.mem, nil }
	})
	at := openDir(t, again.dir)
	for name, h := range handles {
		fd, err := unix.OpenByHandleAt(at, h, unix.O_RDONLY)
		require.NoError(t, err, "%q", name)
		var st unix.Stat_t
		require.NoError(t, unix.Fstat(fd, &st))
		require.NoError(t, unix.Close(fd))
		require.Equal(t, stat(t, again.path(name)).Ino, st.Ino, "%q", name)
	}
	require.NoError(t, unix.Unlink(again.path("d/f")))
	_, err = unix.OpenByHandleAt(at, gone, unix.O_RDONLY)
	require.ErrorIs(t, err, syscall.ESTALE)
}

func openDir(t *testing.T, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// What is written by someone who is not root does not run as its owner any more.
func TestAWriteEndsPrivileges(t *testing.T) {
	s := mountMem(t, nil)
	for name, change := range map[string]func(fd int) error{
		"write":     func(fd int) error { _, err := unix.Write(fd, []byte("x")); return err },
		"truncate":  func(fd int) error { return unix.Ftruncate(fd, 1) },
		"fallocate": func(fd int) error { return unix.Fallocate(fd, 0, 0, 10) },
	} {
		write(t, s.path(name), "content")
		fd, err := unix.Open(s.path(name), unix.O_RDWR|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Fchmod(fd, 0o6777))
		require.NoError(t, change(fd))
		require.EqualValues(t, 0o6777, stat(t, s.path(name)).Mode&vocab.ModePerm, "%s by root", name)
		require.NoError(t, asNobody(func() error { return change(fd) }))
		require.NoError(t, unix.Close(fd))
		require.EqualValues(t, 0o777, stat(t, s.path(name)).Mode&vocab.ModePerm, name)
	}
	require.NoError(t, unix.Chmod(filepath.Dir(s.dir), 0o755)) // for the others
	require.NoError(t, unix.Chmod(s.path("write"), 0o6777))
	require.NoError(t, asNobody(func() error {
		fd, err := unix.Open(s.path("write"), unix.O_WRONLY|unix.O_TRUNC, 0)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}))
	require.EqualValues(t, 0o777, stat(t, s.path("write")).Mode&vocab.ModePerm, "O_TRUNC")
}

// A program that was changed does not have its capabilities any more, whoever changed it.
func TestAWriteEndsCapabilities(t *testing.T) {
	s := mountMem(t, nil)
	for name, change := range map[string]func(fd int) error{
		"write":     func(fd int) error { _, err := unix.Write(fd, []byte("x")); return err },
		"append":    func(fd int) error { _, err := unix.Write(fd, []byte("x")); return err },
		"truncate":  func(fd int) error { return unix.Ftruncate(fd, 1) },
		"fallocate": func(fd int) error { return unix.Fallocate(fd, 0, 0, 10) },
	} {
		write(t, s.path(name), "content")
		v2 := make([]byte, 20) // VFS_CAP_REVISION_2, nothing granted
		v2[3] = 2
		require.NoError(t, unix.Setxattr(s.path(name), vocab.XattrCapability, v2, 0))
		flags := unix.O_RDWR
		if name == "append" {
			flags |= unix.O_APPEND
		}
		fd, err := unix.Open(s.path(name), flags, 0)
		require.NoError(t, err)
		require.NoError(t, change(fd), name)
		require.NoError(t, unix.Close(fd))
		_, err = unix.Getxattr(s.path(name), vocab.XattrCapability, v2)
		require.ErrorIs(t, err, syscall.ENODATA, name)
	}
}

// asNobody runs f as another user, in a thread of its own.
func asNobody(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		const nobody = 65534
		for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
			if _, _, e := unix.RawSyscall(call, nobody, nobody, nobody); e != 0 {
				done <- e
				return
			}
		}
		done <- f()
	}()
	return <-done
}
