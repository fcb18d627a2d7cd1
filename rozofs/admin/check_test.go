package admin

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/conf"
)

// Everything that keeps a new cluster from coming up is told, and nothing is
// made or started.
func TestUpReportsWhatIsWrongAndStartsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s *site)
		want  string // {dir}, {mnt}, {bin} and {site} stand for paths
	}{
		"no FUSE": {
			func(s *site) { s.machine.devFuse = s.dir + "/fuse" },
			"{site}/fuse is missing: load the kernel's module with `modprobe fuse`; in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN",
		},
		"no device": {func(s *site) { s.machine.devFuse = s.machine.mountinfo }, "{bin}/mountinfo is not a character device"},
		"not root": {
			func(s *site) { s.machine.root = false },
			"mounting needs root or the program fusermount3, and neither is here: run as root, or install it (Debian: apt-get install fuse3)",
		},
		"no programs": {
			func(s *site) { os.Remove(s.bin("storaged")); os.Remove(s.bin("rozofsmount")) },
			"no program storaged, rozofsmount in {bin}: build them with `make build`, which puts all programs into one directory",
		},
		"dir is a file":    {func(s *site) { s.write(s.options.Dir, "") }, "--dir {dir} is not a directory: name a directory, or a name that is free"},
		"dir below a file": {func(s *site) { s.write(s.dir+"/f", ""); s.options.Dir = s.dir + "/f/x/y" }, "--dir {site}/f/x/y is not a directory: name a directory, or a name that is free"},
		"dir with others": {
			func(s *site) { os.Mkdir(s.options.Dir, 0o755); s.write(s.options.Dir+"/x", "") },
			"--dir {dir} holds other files and no cluster: name a new or empty directory",
		},
		"mount is a file": {func(s *site) { s.write(s.options.Mount, "") }, "--mount {mnt} is not a directory: name an empty directory, or a name that is free"},
		"mount is full": {
			func(s *site) { os.Mkdir(s.options.Mount, 0o755); s.write(s.options.Mount+"/x", "") },
			"--mount {mnt} is not empty, and mounting would hide what is in it: name an empty directory, or a name that is free",
		},
		"mount is busy": {func(s *site) {
			os.Mkdir(s.options.Mount, 0o755)
			require.NoError(s.t, addMount(s.machine.mountinfo, s.options.Mount, "tmpfs", os.Getpid()))
		}, "--mount {mnt} is busy: a file system of type tmpfs is mounted on it: unmount it, or name another"},
		"mount of another cluster": {func(s *site) {
			os.Mkdir(s.options.Mount, 0o755)
			require.NoError(s.t, addMount(s.machine.mountinfo, s.options.Mount, mountType, os.Getpid()))
		}, "--mount {mnt} is busy: a file system of type fuse.rozofs is mounted on it: unmount it, or name another"},
		"mount over dir": {func(s *site) { s.options.Mount = s.dir }, "--mount {site} would hide the cluster's own directory {dir}: name another"},
		"mount in dir":   {func(s *site) { s.options.Mount = s.options.Dir + "/log" }, "--mount {dir}/log lies among the cluster's own files: name another"},
		"several": {func(s *site) {
			s.options.Layout, s.options.Storages = "1", 7
			s.write(s.options.Mount, "")
			s.machine.root = false
		}, "--storages 7: layout 4,6,8 needs at least 8, its safe: give more, or a smaller --layout\n" +
			"mounting needs root or the program fusermount3, and neither is here: run as root, or install it (Debian: apt-get install fuse3)\n" +
			"--mount {mnt} is not a directory: name an empty directory, or a name that is free"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			paths := strings.NewReplacer("{dir}", s.options.Dir, "{mnt}", s.options.Mount, "{bin}", s.options.Bin, "{site}", s.dir)
			c.spoil(s)
			_, err := s.up()
			require.EqualError(t, err, paths.Replace(c.want))
			require.Empty(t, s.events())
			require.NoFileExists(t, filepath.Join(s.options.Dir, recordName))
		})
	}
}

func TestUpReportsTakenPorts(t *testing.T) {
	s := newSite(t)
	c := s.mustUp()
	require.NoError(t, c.Down(s.ctx(), &s.out))
	c.Close()
	s.events()
	d := c.byRole(RoleStoraged)[1]
	l, err := net.Listen("tcp", d.Addr)
	require.NoError(t, err)
	defer l.Close()
	_, err = s.up()
	require.ErrorContains(t, err, "port "+strings.Split(d.Addr, ":")[1]+" of storaged-2 is taken by admin.test (pid ")
	require.ErrorContains(t, err, "): stop what uses it, or set another port in cluster.json, export.conf, storage-2.conf (listen tcp "+d.Addr+": bind: address already in use)")
	require.Empty(t, s.events())
	require.ErrorContains(t, s.open().Start(s.ctx(), "storaged-2", &s.out), "of storaged-2 is taken")
	require.Empty(t, s.events())
}

func TestUpReportsProblemsOfEditedFilesAndLostDirectories(t *testing.T) {
	s := newSite(t)
	c := s.mustUp()
	require.NoError(t, c.Down(s.ctx(), &s.out))
	c.Close()
	s.events()
	s.write(c.path("export.conf"), "volumes = ();\nbanana = 1;\n")
	require.NoError(t, os.RemoveAll(c.storageRoot(3)))
	require.NoError(t, os.RemoveAll(c.path("meta")))
	_, err := s.up()
	require.ErrorContains(t, err, c.path("export.conf")+":2: ")
	require.ErrorContains(t, err, c.path("storage-3.conf")+":")
	require.ErrorContains(t, err, "does not exist: create it, or mount its disk")
	require.ErrorContains(t, err, c.path("meta")+", exportd's metadata, is missing: restore it from a backup, or make a new cluster in another --dir")
	require.Empty(t, s.events())
}

func TestEditedFilesStayUntilTheDirectoryMoves(t *testing.T) {
	s := newSite(t)
	c := s.mustUp()
	require.NoError(t, c.Down(s.ctx(), &s.out))
	c.Close()
	e, _, err := conf.LoadExport(c.path("export.conf"))
	require.NoError(t, err)
	e.Exports[0].HardQuota = 1 << 30
	require.NoError(t, conf.WriteFile(c.path("export.conf"), e.Format()))
	c = s.mustUp()
	require.NoError(t, c.Down(s.ctx(), &s.out))
	c.Close()
	e, _, err = conf.LoadExport(c.path("export.conf"))
	require.NoError(t, err)
	require.EqualValues(t, 1<<30, e.Exports[0].HardQuota)

	old := s.options.Dir
	s.options.Dir = s.dir + "/elsewhere"
	require.NoError(t, os.Rename(old, s.options.Dir))
	_, err = open(s.options.Dir, s.options.Bin, s.machine)
	require.EqualError(t, err, "the cluster in "+s.options.Dir+" was last up in "+old+": bring it up here once with `rozo up --dir "+s.options.Dir+"`")
	c = s.mustUp()
	s.requireOutput("moved     from " + old)
	e, _, err = conf.LoadExport(c.path("export.conf"))
	require.NoError(t, err)
	require.Equal(t, c.path("meta"), e.Meta)
	require.NoError(t, c.Down(s.ctx(), &s.out))
}

func TestCreatableLooksAtTheNearestDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, checkCreatable("--x", dir+"/a/b/c"))
	require.NoError(t, os.WriteFile(dir+"/f", nil, 0o644))
	err := checkCreatable("--x", dir+"/f/b")
	require.EqualError(t, err, "--x "+dir+"/f/b cannot be made in "+dir+"/f (not a directory): name another place")
}
