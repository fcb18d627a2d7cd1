package scenario

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// statusUsage is the exit status of a command line that no cluster can have.
const statusUsage = 2

// A new cluster that cannot come up says why, starts and makes nothing, and
// comes up once that is mended.
func TestANewClusterThatCannotComeUpLeavesNothing(t *testing.T) {
	c := planned(t)
	require.Contains(t, c.refused(statusUsage, "--storages", "3", "--layout", "0"), "layout 2,3,4 needs at least 4, its safe")
	require.Contains(t, c.refused(statusUsage, "--layout", "7"), "--layout: ")
	require.Contains(t, c.refused(statusUsage, "--layout", "4,3,2"), "--layout: ")

	require.NoError(t, os.WriteFile(c.mnt, nil, 0o644))
	require.Contains(t, c.refused(1), "--mount "+c.mnt+" is not a directory")
	require.NoError(t, os.Remove(c.mnt))

	require.NoError(t, os.Mkdir(c.mnt, 0o755))
	require.NoError(t, unix.Mount("scenario", c.mnt, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(c.mnt, unix.MNT_DETACH) }) // when the test fails before it does
	text, status := c.tryUp()
	require.Equal(t, 1, status, text)
	require.Contains(t, text, "--mount "+c.mnt+" is busy: a file system of type tmpfs is mounted on it")
	require.NoError(t, unix.Unmount(c.mnt, 0))

	// In a mount namespace of its own, so that others keep the device.
	need(t, "unshare", "util-linux")
	text, status = c.try("unshare", "-m", "sh", "-c", "mount -t tmpfs scenario /dev && exec \"$@\"", "sh", program(t, "rozo"), "up", "--dir", c.dir, "--mount", c.mnt)
	require.Equal(t, 1, status, text)
	require.Contains(t, text, "/dev/fuse is missing: load the kernel's module with `modprobe fuse`")
	text, status = c.try("unshare", "-m", "sh", "-c", "mount --bind /etc/hostname /dev/fuse && exec \"$@\"", "sh", program(t, "rozo"), "up", "--dir", c.dir, "--mount", c.mnt)
	require.Equal(t, 1, status, text)
	require.Contains(t, text, "/dev/fuse is not a character device")

	c.requireNothing()
	require.NoDirExists(t, c.dir)
	c.up()
	require.NoError(t, writeAndRead(c.path("file"), bytesOf(1, 100*kib)))
}

// A cluster keeps its ports: another program that has taken one is told, all of
// them when there are several, and nothing is started.
func TestAPortTakenIsToldAndNothingStarted(t *testing.T) {
	c := start(t, options{})
	content := bytesOf(seed(t), 300*kib)
	require.NoError(t, os.WriteFile(c.path("file"), content, 0o644))
	daemons := c.status().Daemons
	c.down()
	var want []string
	var taken []net.Listener
	free := func() {
		for _, l := range taken {
			l.Close()
		}
	}
	defer free() // before the cluster is taken down
	for _, d := range []int{0, 3} {
		l, err := net.Listen("tcp", daemons[d].Address)
		require.NoError(t, err)
		taken = append(taken, l)
		_, port, err := net.SplitHostPort(daemons[d].Address)
		require.NoError(t, err)
		want = append(want, "port "+port+" of "+daemons[d].Name+" is taken by ")
		text := c.refused(1)
		for _, w := range want {
			require.Contains(t, text, w)
		}
	}
	free()
	c.up()
	requireContent(t, c.path("file"), string(content))
}

// A second rozo up on the same directory changes nothing; another directory is
// another cluster beside it. down and status may be said at any time.
func TestClustersSideBySideAndCommandsSaidTwice(t *testing.T) {
	c := start(t, options{})
	before := c.pids()
	text, status := c.tryUp()
	require.Equal(t, 1, status, text)
	require.Contains(t, text, "the cluster in "+c.dir+" is up already")
	require.Equal(t, before, c.pids())
	require.True(t, c.status().Healthy)

	other := start(t, options{})
	require.NoError(t, os.WriteFile(c.path("file"), []byte("one"), 0o644))
	require.NoError(t, os.WriteFile(other.path("file"), []byte("two"), 0o644))
	require.NotEqual(t, c.status().Cluster, other.status().Cluster)

	c.down()
	require.Contains(t, c.rozo("down"), "nothing of the cluster in "+c.dir+" was running")
	s := c.status()
	require.False(t, s.Healthy)
	for _, d := range s.Daemons {
		require.Equal(t, "stopped", string(d.State), d.Name)
	}
	require.Equal(t, "stopped", string(s.Mount.State))

	requireContent(t, other.path("file"), "two")
	c.up()
	requireContent(t, c.path("file"), "one")
}

// Ctrl-C on rozo up in the foreground stops all in order: the mount first, so
// that nothing is written any more, exportd last.
func TestInterruptStopsAllInOrderAndKeepsTheData(t *testing.T) {
	c := planned(t)
	f := c.foreground()
	text, status := c.tryUp() // a second one, of another terminal
	require.Equal(t, 1, status, text)
	require.Contains(t, text, "is up already")
	require.NoError(t, os.WriteFile(c.path("file"), []byte("kept"), 0o644))
	require.NoError(t, f.cmd.Process.Signal(os.Interrupt))
	f.requireEnd(0)
	c.requireNothing()
	said := f.said()
	at := -1
	for _, line := range []string{"ready ", "stopped   rozofsmount (", "stopped   storaged-", "stopped   exportd (", "down "} {
		next := strings.Index(said, line)
		require.Greater(t, next, at, "%q\n%s", line, said)
		at = next
	}
	require.Less(t, strings.LastIndex(said, "stopped   storaged-"), strings.Index(said, "stopped   exportd ("), said)
	c.up()
	requireContent(t, c.path("file"), "kept")
}

// rozo up in the foreground may be killed: the daemons go on, as after
// --detach, and the next rozo up says so. When all are killed with it, as by a
// crash of the machine, the next rozo up clears up what they left.
func TestARozoUpThatWasKilledIsFollowedByAnother(t *testing.T) {
	c := planned(t)
	f := c.foreground()
	require.NoError(t, os.WriteFile(c.path("file"), []byte("kept"), 0o644))
	require.NoError(t, f.cmd.Process.Kill())
	f.requireEnd(-1)
	require.True(t, c.status().Healthy)
	requireContent(t, c.path("file"), "kept")
	text, status := c.tryUp()
	require.Equal(t, 1, status, text)
	require.Contains(t, text, "`rozo down --dir "+c.dir+"` stops all")
	c.down()

	f = c.foreground()
	requireContent(t, c.path("file"), "kept")
	fd, err := unix.Open(c.path("file"), unix.O_RDONLY, 0)
	require.NoError(t, err)
	require.NoError(t, f.cmd.Process.Kill())
	f.requireEnd(-1)
	for _, pid := range c.pids() {
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	require.Eventually(t, func() bool { return len(processesUnder(c.base)) == 0 }, await, tick)
	require.Len(t, mountsUnder(c.base), 1, "a dead mount is left")
	c.up()
	_ = unix.Close(fd)
	requireContent(t, c.path("file"), "kept")
}

// Who is not root can have a cluster too, given fusermount3.
func TestNotRootNeedsFusermountOnly(t *testing.T) {
	needMounts(t)
	need(t, "fusermount3", "fuse3")
	need(t, "setpriv", "util-linux")
	need(t, "unshare", "util-linux")
	c := planned(t)
	bin, dir := filepath.Join(c.base, "bin"), filepath.Dir(program(t, "rozo"))
	require.NoError(t, os.CopyFS(bin, os.DirFS(dir))) // the original may lie where others cannot go
	require.NoError(t, os.Chmod(bin, 0o755))
	home := filepath.Join(c.base, "home")
	require.NoError(t, os.Mkdir(home, 0o755))
	const nobody = 65534
	require.NoError(t, os.Chown(home, nobody, nobody))
	c.dir, c.mnt = filepath.Join(home, "cluster"), filepath.Join(home, "mnt")
	device := filepath.Join(c.base, "fuse") // with the permissions that udev gives it
	if err := unix.Mknod(device, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))); err != nil {
		missing(t, "a device file cannot be made, as in a container without the capability MKNOD: %v", err)
	}
	require.NoError(t, os.Chmod(device, 0o666))
	asNobody := func(script string) (string, int) {
		return c.try("unshare", "-m", "sh", "-c", "mount --bind "+device+" /dev/fuse && cd "+home+
			" && exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c \"$1\"", "sh", script)
	}
	rozo := filepath.Join(bin, "rozo")
	text, status := asNobody("PATH=/nowhere exec " + rozo + " up --detach --dir " + c.dir + " --mount " + c.mnt)
	require.Equal(t, 1, status, text)
	require.Contains(t, text, "mounting needs root or the program fusermount3, and neither is here: run as root, or install it (Debian: apt-get install fuse3)")
	c.requireNothing()
	require.NoDirExists(t, c.dir)

	flags := " --dir " + c.dir
	text, status = asNobody("set -e; rozo=" + rozo + "; trap '$rozo down" + flags + "' EXIT\n" +
		"$rozo up --detach" + flags + " --mount " + c.mnt + "\n" +
		"echo written by nobody > " + c.mnt + "/file; cat " + c.mnt + "/file; stat -c 'owner %u' " + c.mnt + "/file\n" +
		"$rozo status" + flags + "\n" +
		"$rozo down" + flags + "\n" +
		"$rozo up --detach" + flags + "; cat " + c.mnt + "/file")
	require.Equal(t, 0, status, text)
	require.Equal(t, 2, strings.Count(text, "\nwritten by nobody\n"), text)
	require.Contains(t, text, "\nowner 65534\n")
	c.requireNothing()
}

// planned is a cluster that is not made yet.
func planned(t *testing.T) *cluster {
	t.Helper()
	needMounts(t)
	base := diskDir(t)
	c := &cluster{t: t, base: base, dir: filepath.Join(base, "cluster"), mnt: filepath.Join(base, "mnt")}
	c.guard()
	return c
}

// try runs a program to its end, whatever that is.
func (c *cluster) try(name string, args ...string) (text string, status int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*await)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.base
	out, err := cmd.CombinedOutput()
	require.NotNil(c.t, cmd.ProcessState, "%v", err)
	return string(out), cmd.ProcessState.ExitCode()
}

func (c *cluster) tryUp(flags ...string) (text string, status int) {
	c.t.Helper()
	return c.try(program(c.t, "rozo"), append([]string{"up", "--detach", "--dir", c.dir, "--mount", c.mnt}, flags...)...)
}

// refused runs a rozo up that must fail and leave nothing that runs.
func (c *cluster) refused(status int, flags ...string) string {
	c.t.Helper()
	text, got := c.tryUp(flags...)
	require.Equal(c.t, status, got, text)
	require.NotContains(c.t, text, "started")
	c.requireNothing()
	return text
}

func (c *cluster) requireNothing() {
	c.t.Helper()
	require.Empty(c.t, processesUnder(c.base))
	require.Empty(c.t, mountsUnder(c.base))
}

func requireContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(got), path)
}

// front is a rozo up in the foreground.
type front struct {
	c     *cluster
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when Wait has returned
}

// foreground brings the cluster up so, and waits until it is ready.
func (c *cluster) foreground() *front {
	c.t.Helper()
	f := c.launch()
	f.await("\nready ")
	return f
}

func (c *cluster) launch() *front {
	c.t.Helper()
	f := &front{c: c, log: filepath.Join(c.base, "up.log"), ended: make(chan struct{})}
	log, err := os.Create(f.log)
	require.NoError(c.t, err)
	defer log.Close()
	f.cmd = exec.Command(program(c.t, "rozo"), "up", "--dir", c.dir, "--mount", c.mnt)
	f.cmd.Stdout, f.cmd.Stderr = log, log
	require.NoError(c.t, f.cmd.Start())
	go func() { _ = f.cmd.Wait(); close(f.ended) }() // requireEnd waits for it
	c.t.Cleanup(func() { _ = f.cmd.Process.Kill(); <-f.ended })
	return f
}

// await waits until it has printed a text.
func (f *front) await(text string) {
	f.c.t.Helper()
	require.Eventually(f.c.t, func() bool { return strings.Contains(f.said(), text) }, await, tick, "%q in %s", text, f.log)
}

// said is what it has printed.
func (f *front) said() string {
	text, err := os.ReadFile(f.log)
	require.NoError(f.c.t, err)
	return string(text)
}

// requireEnd waits for the end, with a status that is -1 for a signal.
func (f *front) requireEnd(status int) {
	f.c.t.Helper()
	require.Eventually(f.c.t, func() bool {
		select {
		case <-f.ended:
			return true
		default:
			return false
		}
	}, await, tick, "rozo up does not end")
	require.Equal(f.c.t, status, f.cmd.ProcessState.ExitCode(), f.said())
}
