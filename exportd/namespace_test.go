package exportd

import (
	"strings"
	"testing"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

func TestNamespaceStory(t *testing.T) {
	w := newWorld(t)
	c := w.client("/srv/one")
	dir, err := c.mkdir(c.root(), "dir")
	require.NoError(t, err)
	require.EqualValues(t, 2, dir.Nlink)
	f, err := c.create(dir.Ino, "file", wire.LeaseWrite)
	require.NoError(t, err)
	require.True(t, f.Created)
	require.Equal(t, wire.LeaseWrite, f.Lease.Kind)
	require.Len(t, f.Placement.Distribution.SIDs, 4)
	require.NoError(t, c.raw(wire.OpCommit, &wire.CommitRequest{Head: c.change(), Commit: wire.Commit{Ino: f.Attr.Ino, Epoch: f.Lease.Epoch, Size: 12345, Mtime: 7}}, &wire.AttrReply{}))
	require.ErrorIs(t, c.raw(wire.OpCommit, &wire.CommitRequest{Head: c.change(), Commit: wire.Commit{Ino: f.Attr.Ino, Epoch: f.Lease.Epoch - 1, Size: 1}}, &wire.AttrReply{}), vocab.Fenced)
	require.NoError(t, c.closeAll(f.Attr.Ino, f.Lease))
	a, err := c.lookup(dir.Ino, "file")
	require.NoError(t, err)
	require.EqualValues(t, 12345, a.Size)
	require.EqualValues(t, 7, a.Mtime)
	root, err := c.getattr(c.root())
	require.NoError(t, err)
	require.EqualValues(t, 3, root.Nlink)
	up, err := c.lookup(dir.Ino, "..")
	require.NoError(t, err)
	require.Equal(t, root, up)

	var st wire.StatFSReply
	h := c.head()
	require.NoError(t, c.raw(wire.OpStatFS, &h, &st))
	require.InDelta(t, float64(testTotal)*4/3*2, float64(st.TotalBytes), 8)
	require.EqualValues(t, 2, st.Files)
	w.check()

	w.restart()
	require.NoError(t, c.resume())
	_, err = c.reclaim(true)
	require.NoError(t, err)
	a2, err := c.lookup(dir.Ino, "file")
	require.NoError(t, err)
	require.Equal(t, a, a2)

	require.NoError(t, c.unlink(dir.Ino, "file"))
	_, err = c.getattr(f.Attr.Ino)
	require.ErrorIs(t, err, vocab.Stale)
	for _, fake := range w.fakes {
		eventually(t, func() bool {
			fake.mu.Lock()
			defer fake.mu.Unlock()
			return fake.deleted[fake.roots[0].ID][f.Placement.FID]
		}, "every storage is told of the deletion")
	}
	require.NoError(t, c.rmdir(c.root(), "dir"))
	w.check()
}

func TestNamesAreChecked(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	long := strings.Repeat("n", vocab.MaxNameBytes)
	for _, x := range []struct {
		name string
		want error
	}{
		{"", vocab.NotFound},
		{".", vocab.Exists},
		{"..", vocab.Exists},
		{"a/b", vocab.Invalid},
		{"a\x00b", vocab.Invalid},
		{long + "n", vocab.NameTooLong},
		{long, nil},
		{"ünï\xff", nil},
	} {
		_, err := c.mkdir(c.root(), x.name)
		require.ErrorIs(t, err, x.want, "%q", x.name)
		if x.want == nil {
			_, err = c.lookup(c.root(), x.name)
			require.NoError(t, err)
		}
	}
	require.ErrorIs(t, c.rmdir(c.root(), "."), vocab.Invalid)
	require.ErrorIs(t, c.rmdir(c.root(), ".."), vocab.NotEmpty)
	err := c.raw(wire.OpSymlink, &wire.SymlinkRequest{Head: c.change(), Parent: c.root(), Name: "s", Target: strings.Repeat("x", 4096)}, nil)
	require.ErrorIs(t, err, vocab.NameTooLong)
	require.NoError(t, c.raw(wire.OpSymlink, &wire.SymlinkRequest{Head: c.change(), Parent: c.root(), Name: "s", Target: "x"}, nil))
	w.check()
}
