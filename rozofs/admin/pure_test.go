package admin

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMountinfoIsUnderstood(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mountinfo")
	require.NoError(t, os.WriteFile(name, []byte(`22 1 8:1 / / rw,relatime - ext4 /dev/root rw
40 22 0:36 / /mnt/a\040b rw - fuse.rozofs rozofs rw
41 22 0:37 / /mnt/x rw shared:1 master:2 - tmpfs tmpfs rw
42 41 0:38 / /mnt/x rw - fuse.rozofs rozofs rw
bad line
`), 0o644))
	m := &machine{mountinfo: name}
	for path, want := range map[string]string{"/": "ext4", "/mnt/a b": "fuse.rozofs", "/mnt/x": "fuse.rozofs", "/mnt": "", "/mnt/a": ""} {
		got, err := m.mounted(path)
		require.NoError(t, err)
		require.Equal(t, want, got, path)
	}
	require.Equal(t, `a\09\b`, unescape(`a\09\b`))
}

func TestCanonicalResolvesWhatExists(t *testing.T) {
	dir := canonical(t.TempDir())
	require.NoError(t, os.Mkdir(dir+"/real", 0o755))
	require.NoError(t, os.Symlink("real", dir+"/link"))
	require.Equal(t, dir+"/real", canonical(dir+"/link"))
	require.Equal(t, dir+"/real/new/x", canonical(dir+"/link/new/./x"))
}

func TestTailGivesTheLastLinesOfThisStart(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(name, []byte("old\nnew\nnewer\n"), 0o644))
	require.Equal(t, "  new\n  newer", tail(name, 4))
	require.Equal(t, "  (it printed nothing)", tail(name, 14))
}

func TestFormatBytes(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 8192: "8 KiB", 1536: "1.5 KiB", 5 << 30: "5 GiB", 3 << 60: "3072 PiB"} {
		require.Equal(t, want, formatBytes(n))
	}
}

func TestPortsAreFreeAndDistinct(t *testing.T) {
	ports, err := freePorts(20)
	require.NoError(t, err)
	seen := map[int]bool{}
	for _, p := range ports {
		require.False(t, seen[p])
		require.GreaterOrEqual(t, p, firstPort)
		require.LessOrEqual(t, p, lastPort)
		seen[p] = true
	}
}

// A process of which only the first thread has ended still has its ports.
func TestAProcessRunsAsLongAsAThreadOfIt(t *testing.T) {
	dying := filepath.Join(t.TempDir(), "dying")
	test, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(test, dying))
	out, err := exec.CommandContext(t.Context(), "sh", "-c", dying+" > "+dying+".port 2>&1 & echo $!").Output() // no child of ours
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(string(out), &pid)
	require.NoError(t, err)
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	p, err := processOf(pid)
	require.NoError(t, err)
	require.Eventually(t, func() bool { state, _, err := stat(pid); return err == nil && state == 'Z' }, 30*time.Second, time.Millisecond)
	b, err := os.ReadFile(dying + ".port")
	require.NoError(t, err)
	var port int
	_, err = fmt.Sscan(string(b), &port)
	require.NoError(t, err)
	c := &Cluster{ended: map[process]string{}}
	require.Error(t, tryPort(port))
	require.True(t, c.alive(p))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.Eventually(t, func() bool { return !c.alive(p) }, 30*time.Second, time.Millisecond)
	require.NoError(t, tryPort(port))
}
