package rozofs_test

import (
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func TestATreeIsUsedLikePackageOS(t *testing.T) {
	m := startCluster(t, form{layout: "0"}).mount(t)
	ctx := t.Context()

	t.Run("directories and files are made, listed and removed", func(t *testing.T) {
		require.NoError(t, m.MkdirAll(ctx, "/a/b/../c", 0o755))
		require.NoError(t, m.MkdirAll(ctx, "a/b/c/", 0o750))
		require.NoError(t, m.MkdirAll(ctx, "a/b/c", 0o755), "it is there")
		m.write("a/file", []byte("content"))
		require.ErrorIs(t, m.MkdirAll(ctx, "a/file/x", 0o755), vocab.NotDir)
		require.ErrorIs(t, m.MkdirAll(ctx, "a/file", 0o755), vocab.NotDir)
		require.ErrorIs(t, m.Mkdir(ctx, "a/b/", 0o755), fs.ErrExist)
		require.ErrorIs(t, m.Mkdir(ctx, "nowhere/b", 0o755), fs.ErrNotExist)
		require.ErrorIs(t, m.Mkdir(ctx, "/", 0o755), fs.ErrExist)
		require.Equal(t, []string{"b/", "c/", "file"}, names(t, m, "a"))
		require.Equal(t, names(t, m, "a"), names(t, m, "a/b/../."))
		info, err := m.Stat(ctx, "a/b/c")
		require.NoError(t, err)
		require.Equal(t, fs.ModeDir|0o750, info.Mode())
		require.ErrorIs(t, m.Remove(ctx, "a"), vocab.NotEmpty)
		require.ErrorIs(t, m.Remove(ctx, "a/b/."), vocab.Invalid)
		require.ErrorIs(t, m.Remove(ctx, "a/file/"), vocab.NotDir)
		require.NoError(t, m.Remove(ctx, "a/b/c/"))
		require.NoError(t, m.RemoveAll(ctx, "a"))
		require.NoError(t, m.RemoveAll(ctx, "a"))
		_, err = m.Stat(ctx, "a")
		require.ErrorIs(t, err, fs.ErrNotExist)
		var pe *fs.PathError
		require.ErrorAs(t, err, &pe)
		require.Equal(t, [2]string{"stat", "a"}, [2]string{pe.Op, pe.Path})
	})

	t.Run("names are resolved", func(t *testing.T) {
		require.NoError(t, m.MkdirAll(ctx, "r/dir/sub", 0o755))
		m.write("r/dir/f", []byte("f"))
		for link, target := range map[string]string{
			"r/relative": "dir/f", "r/absolute": "/r/dir/f", "r/updown": "dir/sub/../f", "r/todir": "dir", "r/chain": "todir/f",
			"r/nothing": "new", "r/dir/sub/up": "../../dir", "r/loop1": "loop2", "r/loop2": "loop1", "r/slash": "dir/",
		} {
			require.NoError(t, m.Symlink(ctx, target, link))
		}
		for _, name := range []string{
			"r/dir/f", "/r/dir/f", "../../r/dir/f", "r/./dir//f", "r/relative", "r/absolute", "r/updown", "r/chain", "r/todir/f",
			"r/todir/sub/up/f", "r/dir/sub/up/../todir/f", "r/todir/../relative", "r/slash/f",
		} {
			m.holds(name, []byte("f"))
		}
		_, err := m.ReadFile(ctx, "r/loop1")
		require.ErrorContains(t, err, "more than 40 symbolic links")
		for name, want := range map[string]error{
			"": vocab.NotFound, "r/dir/f/": vocab.NotDir, "r/relative/": vocab.NotDir, "r/dir/f/x": vocab.NotDir, "r/nothing": vocab.NotFound,
			"r/dir": vocab.IsDir, "r/" + strings.Repeat("n", 256): vocab.NameTooLong, strings.Repeat("d/", 3000): vocab.NameTooLong,
		} {
			_, err := m.ReadFile(ctx, name)
			require.ErrorIs(t, err, want, "%.20q", name)
		}
		info, err := m.Lstat(ctx, "r/relative")
		require.NoError(t, err)
		require.Equal(t, fs.ModeSymlink, info.Mode().Type())
		info, err = m.Lstat(ctx, "r/todir/")
		require.NoError(t, err)
		require.True(t, info.IsDir(), "a trailing slash follows the link")
		target, err := m.Readlink(ctx, "r/absolute")
		require.NoError(t, err)
		require.Equal(t, "/r/dir/f", target)
		_, err = m.Readlink(ctx, "r/dir")
		require.ErrorIs(t, err, vocab.Invalid)

		require.ErrorIs(t, m.MkdirAll(ctx, "r/nothing", 0o755), fs.ErrExist, "a link to nothing is in the way")
		require.NoError(t, m.MkdirAll(ctx, "r/todir/made", 0o755))
		m.write("r/nothing", []byte("new"))
		m.holds("r/new", []byte("new"))
		require.NoError(t, m.Remove(ctx, "r/todir"))
		m.holds("r/dir/f", []byte("f"))
		require.NoError(t, m.RemoveAll(ctx, "r"))
	})

	t.Run("flags of OpenFile are honoured", func(t *testing.T) {
		m.write("o", []byte("old content"))
		_, err := m.OpenFile(ctx, "o", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		require.ErrorIs(t, err, fs.ErrExist)
		require.NoError(t, m.Symlink(ctx, "nowhere", "dangling"))
		_, err = m.OpenFile(ctx, "dangling", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		require.ErrorIs(t, err, fs.ErrExist)
		_, err = m.OpenFile(ctx, "x/", os.O_RDWR|os.O_CREATE, 0o644)
		require.ErrorIs(t, err, vocab.IsDir)
		_, err = m.OpenFile(ctx, "/", os.O_RDWR, 0)
		require.ErrorIs(t, err, vocab.IsDir)
		_, err = m.Open(ctx, "x")
		require.ErrorIs(t, err, fs.ErrNotExist)

		f := m.open("o", os.O_RDWR|os.O_APPEND)
		_, err = f.WriteString(", more")
		require.NoError(t, err)
		at, err := f.Seek(0, io.SeekCurrent)
		require.NoError(t, err)
		require.Equal(t, int64(17), at)
		_, err = f.WriteAt([]byte("x"), 0)
		require.ErrorIs(t, err, vocab.Invalid)
		require.NoError(t, f.Close())
		m.holds("o", []byte("old content, more"))

		f = m.open("o", os.O_WRONLY|os.O_TRUNC|os.O_SYNC)
		_, err = f.WriteString("new")
		require.NoError(t, err)
		_, err = f.Read(make([]byte, 1))
		require.ErrorIs(t, err, vocab.Invalid)
		require.NoError(t, f.Close())
		m.holds("o", []byte("new"))
		_, err = m.open("o", os.O_RDONLY).WriteString("x")
		require.ErrorIs(t, err, vocab.Invalid)
	})

	t.Run("attributes are set", func(t *testing.T) {
		m.write("attr", random(1, 20_000))
		require.NoError(t, m.Chown(ctx, "attr", 5, -1))
		then := time.Unix(1_000_000_000, 987_654_321)
		require.NoError(t, m.Chtimes(ctx, "attr", time.Time{}, then))
		require.NoError(t, m.Truncate(ctx, "attr", 12_345))
		require.NoError(t, m.Chmod(ctx, "attr", 0o711|fs.ModeSetgid))
		require.NoError(t, m.Chtimes(ctx, "attr", then, then))
		info, err := m.Stat(ctx, "attr")
		require.NoError(t, err)
		require.Equal(t, fs.ModeSetgid|0o711, info.Mode())
		require.Equal(t, int64(12_345), info.Size())
		require.True(t, info.ModTime().Equal(then))
		a := info.Sys().(vocab.Attr)
		require.Equal(t, [2]uint32{5, 100}, [2]uint32{a.UID, a.GID})
		m.holds("attr", random(1, 20_000)[:12_345])
		require.ErrorIs(t, m.Truncate(ctx, "/", 0), vocab.IsDir)
	})

	t.Run("files get other and further names", func(t *testing.T) {
		m.write("one", []byte("1"))
		m.write("two", []byte("2"))
		require.NoError(t, m.Mkdir(ctx, "box", 0o755))
		require.NoError(t, m.Rename(ctx, "one", "box/one"))
		require.NoError(t, m.Rename(ctx, "two", "box/one"))
		m.holds("box/one", []byte("2"))
		require.NoError(t, m.Link(ctx, "box/one", "again"))
		require.ErrorIs(t, m.Link(ctx, "box/one", "again"), fs.ErrExist)
		require.ErrorIs(t, m.Link(ctx, "none", "other"), fs.ErrNotExist)
		require.ErrorIs(t, m.Rename(ctx, "again", "box"), vocab.IsDir)
		require.ErrorIs(t, m.Rename(ctx, "again", "elsewhere/"), vocab.NotDir)
		require.ErrorIs(t, m.Rename(ctx, "box", "box/in"), vocab.Invalid)
		err := m.Rename(ctx, "again", "nowhere/x")
		var pe *fs.PathError
		require.ErrorAs(t, err, &pe)
		require.Equal(t, "nowhere/x", pe.Path)
		m.write("again", []byte("through the other name"))
		m.holds("box/one", []byte("through the other name"))
		require.NoError(t, m.Rename(ctx, "box/", "chest/"))
		require.Equal(t, []string{"one"}, names(t, m, "chest"))
	})

	t.Run("a file is read, written and sought", func(t *testing.T) {
		data := random(2, 3_000_000)
		f, err := m.Create(ctx, "seek")
		require.NoError(t, err)
		n, err := io.Copy(f, struct{ io.Reader }{strings.NewReader(string(data))})
		require.NoError(t, err)
		require.Equal(t, int64(len(data)), n)
		at, err := f.Seek(-10, io.SeekEnd)
		require.NoError(t, err)
		require.Equal(t, int64(len(data)-10), at)
		p := make([]byte, 20)
		k, err := f.Read(p)
		require.NoError(t, err)
		requireBytes(t, data[len(data)-10:], p[:k])
		_, err = f.Read(p)
		require.Equal(t, io.EOF, err)
		k, err = f.ReadAt(p, int64(len(data)-5))
		require.Equal(t, io.EOF, err)
		require.Equal(t, 5, k)
		_, err = f.Seek(-1, io.SeekStart)
		require.ErrorIs(t, err, vocab.Invalid)
		_, err = f.Seek(1_000_000, io.SeekStart)
		require.NoError(t, err)
		var rest strings.Builder
		_, err = io.Copy(&rest, f)
		require.NoError(t, err)
		requireBytes(t, data[1_000_000:], []byte(rest.String()))
		require.NoError(t, f.Close())
		require.ErrorIs(t, f.Close(), fs.ErrClosed)
		_, err = f.Read(p)
		require.ErrorIs(t, err, fs.ErrClosed)
		_, err = f.Stat()
		require.ErrorIs(t, err, fs.ErrClosed)
	})

	t.Run("an unlinked file lives until it is closed", func(t *testing.T) {
		f, err := m.Create(ctx, "gone")
		require.NoError(t, err)
		require.NoError(t, m.Remove(ctx, "gone"))
		_, err = f.WriteString("still here")
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		p := make([]byte, 10)
		_, err = f.ReadAt(p, 0)
		require.NoError(t, err)
		require.Equal(t, "still here", string(p))
		require.NoError(t, f.Close())
	})
}

// names lists a directory; those of directories end in a slash.
func names(t *testing.T, m *mount, dir string) (all []string) {
	t.Helper()
	entries, err := m.ReadDir(t.Context(), dir)
	require.NoError(t, err)
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		all = append(all, name)
	}
	return all
}

func TestATreeIsAnFS(t *testing.T) {
	m := startCluster(t, form{layout: "0"}).mount(t)
	ctx := t.Context()
	require.NoError(t, m.MkdirAll(ctx, "dir/sub/deep", 0o755))
	require.NoError(t, m.Mkdir(ctx, "empty", 0o755))
	m.write("hello.txt", []byte("hello"))
	m.write("dir/sub/big", random(3, 100_000))
	m.write("dir/none", nil)
	m.write("dir/sub/ünïcode 🙂", []byte("x"))
	require.NoError(t, m.Symlink(ctx, "dir/sub/big", "link"))
	require.NoError(t, fstest.TestFS(m.FS(ctx), "hello.txt", "dir/sub/big", "dir/none", "dir/sub/deep", "empty", "link"))

	_, err := m.FS(ctx).Open("/hello.txt")
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestLongDirectoriesAreListedWhole(t *testing.T) {
	m := startCluster(t, form{layout: "0"}).mount(t)
	const files = 300
	want := map[string]bool{}
	for i := range files {
		name := strings.Repeat("n", i%250) + string(rune('a'+i%26)) + string(rune('a'+i/26))
		want[name] = true
		require.NoError(t, m.Symlink(t.Context(), "t", name))
	}
	f := m.open(".", os.O_RDONLY)
	got := map[string]bool{}
	for {
		entries, err := f.ReadDir(7)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		for _, e := range entries {
			require.False(t, got[e.Name()], "twice")
			got[e.Name()] = true
		}
	}
	require.Equal(t, want, got)
	_, err := f.Seek(0, io.SeekStart)
	require.NoError(t, err)
	all, err := f.ReadDir(-1)
	require.NoError(t, err)
	require.Len(t, all, len(want))
	require.NoError(t, f.Close())
	require.NoError(t, m.RemoveAll(t.Context(), "aa"))
}

func TestMountNamesWhatIsWrong(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	_, err := rozofs.Mount(t.Context(), rozofs.Config{})
	require.ErrorContains(t, err, "no exportd host is given")
	require.ErrorContains(t, err, "no export is named")
	_, err = rozofs.Mount(t.Context(), rozofs.Config{Hosts: []string{c.export.addr}, Export: "other"})
	require.ErrorIs(t, err, vocab.NotFound)
	require.ErrorContains(t, err, `"other"`)
}
