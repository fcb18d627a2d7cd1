package exportd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

func (c *client) setXattr(ino vocab.Ino, name string, value []byte, flags wire.XattrFlags) (vocab.Attr, error) {
	var r wire.AttrReply
	err := c.raw(wire.OpSetXattr, &wire.SetXattrRequest{Head: c.change(), Ino: ino, Name: name, Value: value, Flags: flags}, &r)
	return r.Attr, err
}

func (c *client) removeXattr(ino vocab.Ino, name string) (vocab.Attr, error) {
	var r wire.AttrReply
	err := c.raw(wire.OpRemoveXattr, &wire.XattrRequest{Head: c.change(), Ino: ino, Name: name}, &r)
	return r.Attr, err
}

func (c *client) xattr(ino vocab.Ino, name string) (string, error) {
	var r wire.XattrReply
	err := c.raw(wire.OpGetXattr, &wire.XattrRequest{Head: c.head(), Ino: ino, Name: name}, &r)
	return string(r.Value), err
}

func (c *client) xattrs(ino vocab.Ino) []string {
	c.t.Helper()
	var r wire.XattrNamesReply
	require.NoError(c.t, c.raw(wire.OpListXattr, &wire.InoRequest{Head: c.head(), Ino: ino}, &r))
	return r.Names
}

func TestExtendedAttributes(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	d, err := c.mkdir(c.root(), "d")
	require.NoError(t, err)
	require.Empty(t, c.xattrs(d.Ino))
	_, err = c.xattr(d.Ino, "user.a")
	require.ErrorIs(t, err, vocab.NoData)

	a, err := c.setXattr(d.Ino, "user.b", []byte("B"), 0)
	require.NoError(t, err)
	require.Equal(t, d.Mode|vocab.ModeXattr, a.Mode)
	require.Greater(t, a.Ctime, d.Ctime)
	require.Equal(t, d.Mtime, a.Mtime)
	for name, value := range map[string]string{"user.a": "A\x00A", "trusted.t": "", "security.s": "S"} {
		_, err = c.setXattr(d.Ino, name, []byte(value), wire.XattrCreate)
		require.NoError(t, err)
	}
	_, err = c.setXattr(d.Ino, "user.a", nil, wire.XattrCreate)
	require.ErrorIs(t, err, vocab.Exists)
	_, err = c.setXattr(d.Ino, "user.none", nil, wire.XattrReplace)
	require.ErrorIs(t, err, vocab.NoData)
	_, err = c.setXattr(d.Ino, "user.b", []byte("BB"), wire.XattrReplace)
	require.NoError(t, err)
	w.check()

	w.crash()
	require.NoError(t, c.resume())
	_, err = c.reclaim(true)
	require.NoError(t, err)
	require.Equal(t, []string{"security.s", "trusted.t", "user.a", "user.b"}, c.xattrs(d.Ino))
	for name, want := range map[string]string{"user.a": "A\x00A", "user.b": "BB", "trusted.t": ""} {
		got, err := c.xattr(d.Ino, name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err = c.removeXattr(d.Ino, "user.none")
	require.ErrorIs(t, err, vocab.NoData)
	for _, name := range c.xattrs(d.Ino) {
		a, err = c.removeXattr(d.Ino, name)
		require.NoError(t, err)
	}
	require.Equal(t, d.Mode, a.Mode, "there are none any more")
	require.Empty(t, c.xattrs(d.Ino))
	w.check()

	_, err = c.setXattr(d.Ino, "user.gone", []byte("with the file"), 0)
	require.NoError(t, err)
	require.NoError(t, c.rmdir(c.root(), "d"))
	_, err = c.xattr(d.Ino, "user.gone")
	require.ErrorIs(t, err, vocab.Stale)
	w.check()
}

func TestExtendedAttributesAreBounded(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	d, err := c.mkdir(c.root(), "d")
	require.NoError(t, err)
	for name, want := range map[string]error{
		"user.": vocab.NotSupported, "user": vocab.NotSupported, "": vocab.NotSupported, "system.other": vocab.NotSupported,
		"user.\x00": vocab.Invalid, "user." + strings.Repeat("n", 251): vocab.NameTooLong, "user." + strings.Repeat("n", 250): nil,
	} {
		_, err := c.setXattr(d.Ino, name, nil, 0)
		require.ErrorIs(t, err, want, "%q", name)
	}
	_, err = c.setXattr(d.Ino, "user.x", nil, wire.XattrCreate|wire.XattrReplace)
	require.ErrorIs(t, err, vocab.Invalid)
	_, err = c.setXattr(d.Ino, "user.x", nil, 8)
	require.ErrorIs(t, err, vocab.Invalid)
	big := bytes.Repeat([]byte("v"), vocab.MaxXattrBytes)
	_, err = c.setXattr(d.Ino, "user.big", append(big, 'v'), 0)
	require.ErrorIs(t, err, vocab.TooLarge)
	_, err = c.setXattr(d.Ino, "user.big", big, 0)
	require.NoError(t, err)
	_, err = c.setXattr(d.Ino, "user.big2", big, 0)
	require.ErrorIs(t, err, vocab.NoSpace)
	_, err = c.setXattr(d.Ino, "user.small", []byte("v"), 0)
	require.NoError(t, err)
	w.check()
}

// Who writes to a file must see without asking that it has capabilities, which end then.
func TestCapabilitiesShowInTheMode(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	f, err := c.mknod(c.root(), "f", vocab.ModeRegular|0o755)
	require.NoError(t, err)
	_, err = c.setXattr(f.Ino, "user.x", nil, 0)
	require.NoError(t, err)
	a, err := c.setXattr(f.Ino, vocab.XattrCapability, []byte("x"), 0)
	require.NoError(t, err)
	require.Equal(t, f.Mode|vocab.ModeXattr|vocab.ModeCapability, a.Mode)
	w.check()
	a, err = c.removeXattr(f.Ino, vocab.XattrCapability)
	require.NoError(t, err)
	require.Equal(t, f.Mode|vocab.ModeXattr, a.Mode)
	w.check()
}

// Whoever holds a lease on a file has its attributes, and that it has none that are extended.
func TestAnExtendedAttributeRecallsLeases(t *testing.T) {
	w := newWorld(t)
	a, b := w.client("one"), w.client("one")
	a.obey(0)
	f, err := a.create(a.root(), "f", wire.LeaseRead)
	require.NoError(t, err)
	_, err = b.setXattr(f.Attr.Ino, "user.x", []byte("x"), 0)
	require.NoError(t, err)
	require.Len(t, a.recalls, 1)
	require.Equal(t, f.Attr.Ino, (<-a.recalls).Ino)
}

func TestAnACLAndPermissionBitsAgree(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	f, err := c.mknod(c.root(), "f", vocab.ModeRegular|0o6644)
	require.NoError(t, err)
	a, err := c.setXattr(f.Ino, vocab.XattrAccessACL, perms(7, 5, 1).encode(), 0)
	require.NoError(t, err)
	require.EqualValues(t, vocab.ModeRegular|0o6751, a.Mode, "it says no more than the bits")
	require.Empty(t, c.xattrs(f.Ino))

	a, err = c.setXattr(f.Ino, vocab.XattrAccessACL, shared(6).encode(), wire.XattrDropsSetGroup)
	require.NoError(t, err)
	require.EqualValues(t, vocab.ModeXattr|vocab.ModeRegular|0o4760, a.Mode)
	a, err = c.setattr(wire.SetAttrRequest{Ino: f.Ino, Mask: wire.SetMode, Mode: 0o541})
	require.NoError(t, err)
	require.EqualValues(t, vocab.ModeXattr|vocab.ModeRegular|0o541, a.Mode)
	want := shared(4)
	want.chmod(0o541)
	got, err := c.xattr(f.Ino, vocab.XattrAccessACL)
	require.NoError(t, err)
	require.Equal(t, string(want.encode()), got)
	w.check()

	_, err = c.setXattr(f.Ino, vocab.XattrAccessACL, []byte("nonsense"), 0)
	require.ErrorIs(t, err, vocab.Invalid)
	_, err = c.setXattr(f.Ino, vocab.XattrDefaultACL, shared(7).encode(), 0)
	require.ErrorIs(t, err, vocab.AccessDenied)
	a, err = c.setXattr(f.Ino, vocab.XattrAccessACL, acl{}.encode(), 0)
	require.NoError(t, err)
	require.EqualValues(t, vocab.ModeRegular|0o541, a.Mode)
	require.NoError(t, c.raw(wire.OpSymlink, &wire.SymlinkRequest{Head: c.change(), Parent: c.root(), Name: "s", Target: "x"}, nil))
	s, err := c.lookup(c.root(), "s")
	require.NoError(t, err)
	_, err = c.setXattr(s.Ino, vocab.XattrAccessACL, shared(7).encode(), 0)
	require.ErrorIs(t, err, vocab.NotSupported)
	w.check()
}

func TestNewFilesInheritTheDefaultACL(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	d, err := c.mkdir(c.root(), "d")
	require.NoError(t, err)
	make := func(name string, mode uint32) vocab.Attr {
		var r wire.AttrReply
		require.NoError(t, c.raw(wire.OpMknod, &wire.MknodRequest{Head: c.change(), Parent: d.Ino, Name: name, Mode: mode &^ 0o077, Masked: mode & 0o077}, &r))
		return r.Attr
	}
	require.EqualValues(t, vocab.ModeFIFO|0o600, make("masked", vocab.ModeFIFO|0o666).Mode, "the umask counts where there is no default ACL")
	_, err = c.setXattr(d.Ino, vocab.XattrDefaultACL, shared(7).encode(), 0)
	require.NoError(t, err)

	sub := make("sub", vocab.ModeDir|0o777)
	require.EqualValues(t, vocab.ModeXattr|vocab.ModeDir|0o770, sub.Mode)
	require.Equal(t, []string{vocab.XattrAccessACL, vocab.XattrDefaultACL}, c.xattrs(sub.Ino))
	got, err := c.xattr(sub.Ino, vocab.XattrDefaultACL)
	require.NoError(t, err)
	require.Equal(t, string(shared(7).encode()), got)

	var r wire.OpenReply
	require.NoError(t, c.raw(wire.OpCreate, &wire.CreateRequest{Head: c.change(), Parent: sub.Ino, Name: "f", Mode: 0, Masked: 0o644}, &r))
	require.EqualValues(t, vocab.ModeXattr|vocab.ModeRegular|0o640, r.Attr.Mode)
	want, _ := shared(7).inherit(0o644)
	got, err = c.xattr(r.Attr.Ino, vocab.XattrAccessACL)
	require.NoError(t, err)
	require.Equal(t, string(want.encode()), got)
	require.Equal(t, []string{vocab.XattrAccessACL}, c.xattrs(r.Attr.Ino))

	_, err = c.setXattr(d.Ino, vocab.XattrDefaultACL, perms(7, 5, 0).encode(), 0)
	require.NoError(t, err)
	plain := make("plain", vocab.ModeFIFO|0o666)
	require.EqualValues(t, vocab.ModeFIFO|0o640, plain.Mode, "a minimal one says no more than the bits")
	require.Empty(t, c.xattrs(plain.Ino))
	require.NoError(t, c.raw(wire.OpSymlink, &wire.SymlinkRequest{Head: c.change(), Parent: d.Ino, Name: "s", Target: "x"}, nil))
	s, err := c.lookup(d.Ino, "s")
	require.NoError(t, err)
	require.EqualValues(t, vocab.ModeSymlink|0o777, s.Mode)
	w.check()
}

func (c *client) tmpfile(parent vocab.Ino, exclusive bool) (wire.OpenReply, error) {
	var r wire.OpenReply
	err := c.raw(wire.OpTmpfile, &wire.CreateRequest{Head: c.change(), Parent: parent, Mode: 0o644, Masked: 0o022, Exclusive: exclusive, Want: wire.LeaseWrite}, &r)
	return r, err
}

func TestAFileWithoutANameIsNamedOrGoes(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	d, err := c.mkdir(c.root(), "d")
	require.NoError(t, err)
	f, err := c.tmpfile(d.Ino, false)
	require.NoError(t, err)
	require.Equal(t, wire.LeaseWrite, f.Lease.Kind)
	require.Zero(t, f.Attr.Nlink)
	require.EqualValues(t, vocab.ModeRegular|0o644, f.Attr.Mode)
	require.Empty(t, c.list(d.Ino, 10, true))
	w.check()
	require.NoError(t, c.closeAll(f.Attr.Ino, f.Lease))
	_, err = c.getattr(f.Attr.Ino)
	require.ErrorIs(t, err, vocab.Stale)

	f, err = c.tmpfile(d.Ino, false)
	require.NoError(t, err)
	w.restart()
	require.NoError(t, c.resume())
	_, err = c.reclaim(true, wire.Held{Ino: f.Attr.Ino, Generation: f.Attr.Generation, Lease: f.Lease})
	require.NoError(t, err)
	require.NoError(t, c.link(f.Attr.Ino, d.Ino, "f"))
	a, err := c.lookup(d.Ino, "f")
	require.NoError(t, err)
	require.EqualValues(t, 1, a.Nlink)
	w.check()
	require.NoError(t, c.unlink(d.Ino, "f"))
	require.ErrorIs(t, c.link(f.Attr.Ino, d.Ino, "again"), vocab.NotFound, "it had a name")
	require.NoError(t, c.closeAll(f.Attr.Ino, f.Lease))
	w.check()

	f, err = c.tmpfile(d.Ino, true)
	require.NoError(t, err)
	require.ErrorIs(t, c.link(f.Attr.Ino, d.Ino, "f"), vocab.NotFound, "O_EXCL forbids it")
	require.NoError(t, c.rmdir(c.root(), "d"))
	_, err = c.tmpfile(d.Ino, false)
	require.Error(t, err)
	require.NoError(t, c.closeAll(f.Attr.Ino, f.Lease))
	w.check()
}

// A kernel that has a handle of a file asks for it by ".", also when it is no directory.
func TestAnyFileIsFoundByItself(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	f, err := c.mknod(c.root(), "f", vocab.ModeFIFO|0o600)
	require.NoError(t, err)
	a, err := c.lookup(f.Ino, ".")
	require.NoError(t, err)
	require.Equal(t, f, a)
	_, err = c.lookup(f.Ino, "..")
	require.ErrorIs(t, err, vocab.NotDir)
}

func TestPrivilegesEnd(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	f, err := c.mknod(c.root(), "f", vocab.ModeRegular|0o6755)
	require.NoError(t, err)
	set := func(m wire.SetAttrRequest) uint32 {
		m.Ino = f.Ino
		a, err := c.setattr(m)
		require.NoError(t, err)
		return a.Mode & vocab.ModePerm
	}
	require.EqualValues(t, 0o755, set(wire.SetAttrRequest{Mask: wire.SetGID, Group: 3}), "also when root changes the group")
	require.EqualValues(t, 0o6745, set(wire.SetAttrRequest{Mask: wire.SetMode, Mode: 0o6745}))
	require.EqualValues(t, 0o2745, set(wire.SetAttrRequest{Mask: wire.SetNoPrivilege}), "the group may not run it")
	require.EqualValues(t, 0o2755, set(wire.SetAttrRequest{Mask: wire.SetMode, Mode: 0o2755}))
	require.EqualValues(t, 0o755, set(wire.SetAttrRequest{Mask: wire.SetNoPrivilege}))
	require.EqualValues(t, 0o4755, set(wire.SetAttrRequest{Mask: wire.SetMode | wire.SetUID, Mode: 0o4755}))
	d, err := c.mknod(c.root(), "d", vocab.ModeDir|0o2775)
	require.NoError(t, err)
	d, err = c.setattr(wire.SetAttrRequest{Ino: d.Ino, Mask: wire.SetGID, Group: 3})
	require.NoError(t, err)
	require.EqualValues(t, 0o2775, d.Mode&vocab.ModePerm, "a directory hands its group on still")
}
