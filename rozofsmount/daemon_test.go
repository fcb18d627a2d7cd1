package rozofsmount

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The command line, run as a process over a file system in memory.

// run returns the exit status and what was printed.
func run(t *testing.T, name string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := play(t, "command", name, args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); !exited {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

// mountpoint makes a directory, and unmounts it in the end.
func mountpoint(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() {
		if _, left, _ := mountAt(dir); left {
			unix.Unmount(dir, unix.MNT_DETACH|unix.MNT_FORCE)
		}
	})
	return dir
}

func TestUsageErrorsExitWith2(t *testing.T) {
	status, stdout, stderr := run(t, "rozofsmount", "-o", "bogus=1", "/a", "/b")
	require.Equal(t, exitUsage, status)
	require.Empty(t, stdout)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	require.Len(t, lines, 5)
	require.Contains(t, lines[0], `rozofsmount: option "bogus" is unknown; known are: `)
	require.Equal(t, []string{
		"rozofsmount: one MOUNTPOINT is wanted, found 2: /a /b",
		"rozofsmount: no exportd host is given: add -H HOST",
		"rozofsmount: no export is given: add -E EXPORTPATH",
		"rozofsmount -h tells more",
	}, lines[1:])
}

func TestHelp(t *testing.T) {
	status, stdout, stderr := run(t, "rozofsmount", "--help")
	require.Equal(t, exitOK, status)
	require.Equal(t, usageText, stdout)
	require.Empty(t, stderr)
	status, stdout, _ = run(t, "rozofsmount", "-V")
	require.Equal(t, exitOK, status)
	require.True(t, strings.HasPrefix(stdout, "rozofsmount "))
}

func TestRuntimeErrorsExitWith1AndOneLine(t *testing.T) {
	needFUSE(t)
	dir, log := mountpoint(t), filepath.Join(t.TempDir(), "log")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-H", "h", "-E", "/p", dir + "/none"}, "mount point " + dir + "/none does not exist: make it with mkdir -p " + dir + "/none"},
		{[]string{"-H", "h", "-E", "/p", "-f", dir + "/none"}, "mount point " + dir + "/none does not exist: make it with mkdir -p " + dir + "/none"},
		{[]string{"-H", "h", "-E", "/refused", "-o", "log=" + log, dir}, "connecting to exportd h:53000 for export /refused: not found: there is no export /refused"},
		{[]string{"-H", "h", "-E", "/p", "-o", "log=/none/x", dir}, "option log=/none/x: open /none/x: no such file or directory"},
	} {
		status, _, stderr := run(t, "rozofsmount", c.args...)
		require.Equal(t, exitFailure, status)
		require.Equal(t, "rozofsmount: "+c.want+"\n", stderr)
	}
}

func TestBackgroundMountIsReadyWhenTheCommandReturns(t *testing.T) {
	needFUSE(t)
	dir, log := mountpoint(t), filepath.Join(t.TempDir(), "log")
	status, stdout, stderr := run(t, "mount.rozofs", "rozofsmount", dir, "-v", "-o", "rw,exporthost=h,exportpath=/p,_netdev,instance=2,log="+log)
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, "rozofs:h/p mounted on "+dir+"\n", stdout)
	require.Equal(t, "mount.rozofs: warning: option instance has no effect: any number of mounts run side by side without it\n", stderr)
	require.Equal(t, "hello, world\n", read(t, filepath.Join(dir, "hello")))

	status, _, stderr = run(t, "rozofsmount", "-H", "h", "-E", "/p", dir)
	require.Equal(t, exitFailure, status)
	require.Contains(t, stderr, "is busy: rozofs:h/p (fuse.rozofs) is mounted there")

	require.NoError(t, unix.Unmount(dir, 0))
	require.Eventually(t, func() bool { return strings.Contains(read(t, log), "msg=unmounted") }, awaitBound, awaitTick)
	require.Contains(t, read(t, log), "msg=mounted source=rozofs:h/p")
}

func TestFakeMountMountsNothing(t *testing.T) {
	needFUSE(t)
	dir := mountpoint(t)
	status, _, stderr := run(t, "mount.rozofs", "h:/p", dir, "-f")
	require.Equal(t, exitOK, status, stderr)
	_, mounted, err := mountAt(dir)
	require.NoError(t, err)
	require.False(t, mounted)
}

func TestSIGTERMUnmounts(t *testing.T) {
	needFUSE(t)
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		dir := mountpoint(t)
		cmd := play(t, "command", "rozofsmount", "-f", "-H", "h", "-E", "/p", dir)
		log := &logBuffer{}
		cmd.Stderr = log
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { return strings.Contains(log.String(), "msg=mounted") }, awaitBound, awaitTick)
		write(t, filepath.Join(dir, "f"), "x")
		require.NoError(t, cmd.Process.Signal(signal))
		require.NoError(t, cmd.Wait(), log.String())
		_, mounted, err := mountAt(dir)
		require.NoError(t, err)
		require.False(t, mounted)
		require.Contains(t, log.String(), "msg=unmounted")
	}
}

func TestAMountWhoseDaemonDiedIsNamed(t *testing.T) {
	needFUSE(t)
	dir := mountpoint(t)
	cmd := play(t, "command", "rozofsmount", "-f", "-H", "h", "-E", "/p", dir)
	log := &logBuffer{}
	cmd.Stderr = log
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "msg=mounted") }, awaitBound, awaitTick)
	require.NoError(t, cmd.Process.Kill())
	cmd.Wait()
	status, _, stderr := run(t, "rozofsmount", "-H", "h", "-E", "/p", dir)
	require.Equal(t, exitFailure, status)
	require.Contains(t, stderr, "umount "+dir)
}
