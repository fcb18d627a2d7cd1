package rozofsmount

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// begin starts a process that uses the mount and waits until it says "open".
func begin(t *testing.T, cmd *exec.Cmd) (in io.WriteCloser, out *bufio.Reader) {
	t.Helper()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	out = bufio.NewReader(stdout)
	line, err := out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "open\n", line)
	return in, out
}

func TestMappedFiles(t *testing.T) {
	s := mountMem(t, nil)
	s.mem.put("f", "read me"+strings.Repeat("\x00", 2*os.Getpagesize()-7))
	out, err := play(t, "mmap", "mmap", s.path("f")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	got := s.mem.content("f")
	require.True(t, strings.HasPrefix(got, "WRITTEN"))
	require.Equal(t, "second page", got[os.Getpagesize():][:11])
	require.Equal(t, "without msync", got[os.Getpagesize()+100:][:13])
	require.Len(t, got, 2*os.Getpagesize())
}

func TestAMappedAppendingFileIsRefused(t *testing.T) {
	s := mountMem(t, nil)
	file, err := os.OpenFile(s.path("f"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, file.Truncate(4096))
	_, err = unix.Mmap(int(file.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.ErrorIs(t, err, syscall.ENODEV)
}

// hang blocks until the request's context ends or release is closed.
func hang(entered chan<- struct{}, release <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		entered <- struct{}{}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-release:
			return nil
		}
	}
}

func TestAKilledCallerEndsItsRequest(t *testing.T) {
	s := mountMem(t, nil)
	s.mem.put("f", "content")
	entered := make(chan struct{}, 10)
	s.mem.on("read:f", hang(entered, nil))
	cmd := play(t, "read", "read", s.path("f"))
	begin(t, cmd)
	<-entered
	require.NoError(t, cmd.Process.Kill())
	err := cmd.Wait() // hangs, if the read does not end
	require.ErrorContains(t, err, "killed")
}

func TestOtherSignalsLeaveARequestAlone(t *testing.T) {
	s := mountMem(t, nil)
	s.mem.put("f", "content")
	entered, release := make(chan struct{}, 10), make(chan struct{})
	s.mem.on("read:f", hang(entered, release))
	cmd := play(t, "read", "read", s.path("f"))
	_, out := begin(t, cmd)
	<-entered
	for range 3 {
		require.NoError(t, cmd.Process.Signal(syscall.SIGUSR1))
	}
	close(release)
	line, err := out.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, `"content" <nil>`)
	require.NoError(t, cmd.Wait())
}

func TestTheMountDescribesItself(t *testing.T) {
	s := mountMem(t, func(o *Options) { o.MountFlags = []string{"noexec", "noatime"} })
	e, ok, err := mountAt(s.dir)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "rozofs:node1/srv/export", e.source)
	require.Equal(t, "fuse.rozofs", e.fsType)
	ahead, err := os.ReadFile("/sys/class/bdi/" + e.device + "/read_ahead_kb")
	require.NoError(t, err)
	require.Equal(t, "1024\n", string(ahead))
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(s.dir, &st))
	require.NotZero(t, st.Flags&unix.ST_NOEXEC)
	require.NotZero(t, st.Flags&unix.ST_NOSUID)
	require.NotZero(t, st.Flags&unix.ST_NOATIME)
}

func TestReadOnlyMount(t *testing.T) {
	s := mountMem(t, func(o *Options) { o.MountFlags = []string{"ro"} })
	s.mem.put("f", "x")
	require.Equal(t, "x", read(t, s.path("f")))
	require.ErrorIs(t, os.Remove(s.path("f")), syscall.EROFS)
	require.ErrorIs(t, os.WriteFile(s.path("g"), nil, 0o600), syscall.EROFS)
}

func TestPermissionsAreChecked(t *testing.T) {
	s := mountMem(t, nil)
	write(t, s.path("secret"), "x")
	require.NoError(t, os.Chmod(s.path("secret"), 0o600))
	require.NoError(t, os.Chmod(s.dir, 0o777))
	require.NoError(t, os.Chmod(filepath.Dir(s.dir), 0o755))
	cmd := exec.Command("cat", s.path("secret"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "Permission denied")

	cmd = exec.Command("touch", s.path("mine"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.EqualValues(t, 65534, stat(t, s.path("mine")).Uid)
}

func TestUnmountClosesTheClient(t *testing.T) {
	s := mountMem(t, nil)
	write(t, s.path("f"), "x")
	require.NoError(t, s.Unmount())
	opens, _, closed := s.mem.counts()
	require.Zero(t, opens)
	require.True(t, closed)
	require.NoError(t, s.Unmount(), "once more does no harm")
}

func TestUnmountedByOthers(t *testing.T) {
	s := mountMem(t, nil)
	require.NoError(t, unix.Unmount(s.dir, 0))
	require.NoError(t, s.Wait())
	_, _, closed := s.mem.counts()
	require.True(t, closed)
}

func TestUnmountWhileInUse(t *testing.T) {
	s := mountMem(t, nil)
	in, out := begin(t, play(t, "hold", "hold", s.path("f")))
	require.NoError(t, s.Unmount())
	_, mounted, err := mountAt(s.dir)
	require.NoError(t, err)
	require.False(t, mounted)
	require.Equal(t, "held", s.mem.content("f"))
	require.Contains(t, s.log.String(), "the mount is in use")
	opens, _, closed := s.mem.counts()
	require.Zero(t, opens)
	require.True(t, closed)
	require.NoError(t, in.Close())
	line, err := out.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "transport endpoint is not connected")
}

func TestUnmountUnderAnotherMountIsRefused(t *testing.T) {
	s := mountMem(t, nil)
	require.NoError(t, unix.Mount("none", s.dir, "tmpfs", 0, ""))
	require.ErrorContains(t, s.Unmount(), "something else is mounted on top of it")
	require.NoError(t, unix.Unmount(s.dir, 0))
}

func TestMountErrors(t *testing.T) {
	needFUSE(t)
	dir := t.TempDir()
	o := Options{Mountpoint: dir, Hosts: []string{"h:1", "i:2"}, Export: "/p", Log: discardLog}
	o.Connect = func(context.Context, *Options, func(vocab.Ino)) (FileSystem, error) {
		return nil, errors.New("no route to host")
	}
	_, err := Mount(t.Context(), o)
	require.EqualError(t, err, "connecting to exportd h:1, i:2 for export /p: no route to host")
	_, err = Mount(t.Context(), Options{})
	require.EqualError(t, err, "mounting needs an exportd host, an export path and a mount point")

	s := mountMem(t, nil)
	o.Mountpoint = s.dir
	_, err = Mount(t.Context(), o)
	require.ErrorContains(t, err, "mount point "+s.dir+" is busy: rozofs:node1/srv/export (fuse.rozofs) is mounted there")
}

func TestAPanicIsAnIOError(t *testing.T) {
	s := mountMem(t, nil)
	s.mem.put("f", "x")
	s.mem.on("open:f", func(context.Context) error { panic("for a test") })
	_, err := os.Open(s.path("f"))
	require.ErrorIs(t, err, syscall.EIO)
	require.Contains(t, s.log.String(), `panic="for a test"`)
	s.mem.on("open:f", nil)
	require.Equal(t, "x", read(t, s.path("f")))
}
