package rozofsmount

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFindMount(t *testing.T) {
	text := []byte(`22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
45 22 0:39 / /mnt/with\040blank rw,nosuid - fuse.rozofs rozofs:node1/srv/e rw,user_id=0
46 22 0:40 / /mnt/a rw - tmpfs tmpfs rw
47 22 0:41 / /mnt/a rw shared:3 master:1 - fuse.rozofs rozofs:node1/b\134c rw
broken line
`)
	for point, want := range map[string]mountEntry{
		"/":               {"254:0", "/", "ext4", "/dev/root"},
		"/mnt/with blank": {"0:39", "/mnt/with blank", "fuse.rozofs", "rozofs:node1/srv/e"},
		"/mnt/a":          {"0:41", "/mnt/a", "fuse.rozofs", `rozofs:node1/b\c`}, // the upper one
	} {
		got, ok := findMount(text, point)
		require.True(t, ok, point)
		require.Equal(t, want, got)
	}
	_, ok := findMount(text, "/mnt")
	require.False(t, ok)
}

func TestCheckMountpoint(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	require.NoError(t, os.Symlink(dir, link))

	got, err := checkMountpoint(link)
	require.NoError(t, err)
	require.Equal(t, dir, got)
	_, err = checkMountpoint(filepath.Join(dir, "none"))
	require.EqualError(t, err, "mount point "+dir+"/none does not exist: make it with mkdir -p "+dir+"/none")
	_, err = checkMountpoint(file)
	require.EqualError(t, err, "mount point "+file+" is not a directory")
	_, err = checkMountpoint("/proc")
	require.ErrorContains(t, err, "mount point /proc is busy: proc (proc) is mounted there; unmount it with umount /proc, or choose another directory")
}

func TestCheckDevice(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "fuse")
	require.EqualError(t, checkDevice(none), none+" is missing: run modprobe fuse, or give the container the device (docker run --device "+none+" --cap-add SYS_ADMIN)")
}

func TestUserAllowOther(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "fuse.conf")
	require.False(t, userAllowOther(conf))
	require.NoError(t, os.WriteFile(conf, []byte("#user_allow_other\nmount_max = 5\n"), 0o644))
	require.False(t, userAllowOther(conf))
	require.NoError(t, os.WriteFile(conf, []byte("mount_max = 5\n user_allow_other \n"), 0o644))
	require.True(t, userAllowOther(conf))
}
