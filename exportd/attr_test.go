package exportd

import (
	"testing"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

func TestNewFilesFollowSetGIDDirectories(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	dir, err := c.mkdir(c.root(), "d")
	require.NoError(t, err)
	_, err = c.setattr(wire.SetAttrRequest{Ino: dir.Ino, Mask: wire.SetMode | wire.SetGID, Mode: vocab.ModeSetGID | 0o775, Group: 77})
	require.NoError(t, err)
	sub, err := c.mkdir(dir.Ino, "sub")
	require.NoError(t, err)
	require.EqualValues(t, 77, sub.GID)
	require.NotZero(t, sub.Mode&vocab.ModeSetGID)
	f, err := c.create(dir.Ino, "f", wire.LeaseNone)
	require.NoError(t, err)
	require.EqualValues(t, 77, f.Attr.GID)
	require.Zero(t, f.Attr.Mode&vocab.ModeSetGID)
}

func TestSetAttr(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	f, err := c.create(c.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	ino := f.Attr.Ino
	a, err := c.setattr(wire.SetAttrRequest{Ino: ino, Mask: wire.SetMode, Mode: vocab.ModeDir | 0o6755})
	require.NoError(t, err)
	require.EqualValues(t, vocab.ModeRegular|0o6755, a.Mode, "the type stays")
	require.Greater(t, a.Ctime, f.Attr.Ctime)
	require.Equal(t, f.Attr.Mtime, a.Mtime)

	m := wire.SetAttrRequest{Ino: ino, Mask: wire.SetUID, Owner: 5}
	m.Head = c.change()
	m.UID = 5
	var r wire.AttrReply
	require.NoError(t, c.raw(wire.OpSetAttr, &m, &r))
	require.EqualValues(t, vocab.ModeRegular|0o755, r.Attr.Mode, "privileges go with a change of owner")
	require.EqualValues(t, 5, r.Attr.UID)

	a, err = c.setattr(wire.SetAttrRequest{Ino: ino, Mask: wire.SetSize | wire.SetAtime, Size: 1 << 40, Atime: 3, Epoch: f.Lease.Epoch})
	require.NoError(t, err)
	require.EqualValues(t, 1<<40, a.Size)
	require.EqualValues(t, 3, a.Atime)
	require.Equal(t, a.Ctime, a.Mtime)
	a, err = c.setattr(wire.SetAttrRequest{Ino: ino, Mask: wire.SetSize | wire.SetMtime | wire.SetAtimeNow, Mtime: -1, Epoch: f.Lease.Epoch})
	require.NoError(t, err)
	require.EqualValues(t, -1, a.Mtime)
	require.Equal(t, a.Ctime, a.Atime)
	w.check()
}

func TestHardQuotaStopsGrowth(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Exports[0].HardQuota = 1000 })
	c := w.client("one")
	f, err := c.create(c.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	_, err = c.setattr(wire.SetAttrRequest{Ino: f.Attr.Ino, Mask: wire.SetSize, Size: 1001, Epoch: f.Lease.Epoch})
	require.ErrorIs(t, err, vocab.OverQuota)
	_, err = c.setattr(wire.SetAttrRequest{Ino: f.Attr.Ino, Mask: wire.SetSize, Size: 1000, Epoch: f.Lease.Epoch})
	require.NoError(t, err)
	_, err = c.create(c.root(), "g", wire.LeaseWrite)
	require.ErrorIs(t, err, vocab.OverQuota)
	var st wire.StatFSReply
	h := c.head()
	require.NoError(t, c.raw(wire.OpStatFS, &h, &st))
	require.EqualValues(t, 1000, st.TotalBytes)
	require.Zero(t, st.FreeBytes)
	require.NoError(t, c.unlink(c.root(), "f"))
	require.NoError(t, c.closeAll(f.Attr.Ino, f.Lease))
	_, err = c.create(c.root(), "g", wire.LeaseWrite)
	require.NoError(t, err)
	w.check()
}

func TestLinkLimit(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	f, err := c.mknod(c.root(), "f", vocab.ModeFIFO)
	require.NoError(t, err)
	sub, err := c.mkdir(c.root(), "d")
	require.NoError(t, err)
	require.NoError(t, w.srv.own(w.srv.exports[1], func(t *tx) error {
		for _, ino := range []vocab.Ino{f.Ino, sub.Ino} {
			n, err := t.edit(ino)
			if err != nil {
				return err
			}
			n.attr.Nlink = vocab.MaxLinks
		}
		return nil
	}))
	require.ErrorIs(t, c.link(f.Ino, c.root(), "g"), vocab.TooManyLinks)
	_, err = c.mkdir(sub.Ino, "x")
	require.ErrorIs(t, err, vocab.TooManyLinks)
	_, err = c.mkdir(c.root(), "mover")
	require.NoError(t, err)
	require.ErrorIs(t, c.rename(c.root(), "mover", sub.Ino, "x", 0), vocab.TooManyLinks)
}

func TestUnlinkedButOpenLivesUntilTheLastClose(t *testing.T) {
	w := newWorld(t)
	a, b := w.client("one"), w.client("one")
	a.obey(0)
	f, err := a.create(a.root(), "f", wire.LeaseNone)
	require.NoError(t, err)
	_, err = b.open(f.Attr.Ino, wire.LeaseNone)
	require.NoError(t, err)
	require.NoError(t, a.unlink(a.root(), "f"))
	require.NoError(t, a.closeAll(f.Attr.Ino, f.Lease))
	attr, err := b.getattr(f.Attr.Ino)
	require.NoError(t, err)
	require.Zero(t, attr.Nlink)
	require.ErrorIs(t, b.link(f.Attr.Ino, b.root(), "again"), vocab.NotFound)
	w.check()
	require.NoError(t, b.closeAll(f.Attr.Ino, wire.Lease{}))
	_, err = b.getattr(f.Attr.Ino)
	require.ErrorIs(t, err, vocab.Stale)
	w.check()
}

func TestRemovedDirectoryTakesNoNames(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	d, err := c.mkdir(c.root(), "d")
	require.NoError(t, err)
	_, err = c.open(d.Ino, wire.LeaseRead)
	require.NoError(t, err)
	require.NoError(t, c.rmdir(c.root(), "d"))
	_, err = c.mkdir(d.Ino, "x")
	require.ErrorIs(t, err, vocab.NotFound)
	_, err = c.create(d.Ino, "x", wire.LeaseNone)
	require.ErrorIs(t, err, vocab.NotFound)
	require.Empty(t, c.list(d.Ino, 10, true))
	_, err = c.mkdir(c.root(), "e")
	require.NoError(t, err)
	require.ErrorIs(t, c.rename(c.root(), "e", d.Ino, "x", 0), vocab.NotFound)
	w.check()
	require.NoError(t, c.closeAll(d.Ino, wire.Lease{}))
	w.check()
}
