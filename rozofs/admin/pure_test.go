package admin

import (
	"os"
	"path/filepath"
	"testing"

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
