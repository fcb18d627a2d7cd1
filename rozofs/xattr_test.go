package rozofs_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Under a lease a client knows that a file has no extended attributes, until another mount,
// or itself, sets one; what it has written and not yet told exportd stays.
func TestExtendedAttributesAndLeases(t *testing.T) {
	cl := startCluster(t, form{layout: "0"})
	a, b := cl.mount(t), cl.mount(t)
	ctx, who := t.Context(), rozofs.Caller{UID: 1000}
	f := a.open("f", os.O_CREATE|os.O_RDWR)
	defer f.Close()
	_, err := f.Write([]byte("written, not synced"))
	require.NoError(t, err)
	ino := f.Handle().Ino()

	_, err = a.client.GetXattr(ctx, ino, "user.x")
	require.ErrorIs(t, err, vocab.NoData)
	cl.export.stop()
	_, err = a.client.GetXattr(ctx, ino, "user.x")
	require.ErrorIs(t, err, vocab.NoData, "exportd is not needed to say so")
	names, err := a.client.ListXattr(ctx, ino)
	require.NoError(t, err)
	require.Empty(t, names)
	cl.export.start()

	require.NoError(t, a.client.SetXattr(ctx, who, ino, "user.x", []byte("a"), wire.XattrCreate))
	value, err := a.client.GetXattr(ctx, ino, "user.x")
	require.NoError(t, err)
	require.Equal(t, "a", string(value))
	attr, err := f.Handle().Attr(ctx)
	require.NoError(t, err)
	require.EqualValues(t, len("written, not synced"), attr.Size)
	require.NotZero(t, attr.Mode&vocab.ModeXattr)
	require.Equal(t, attr.Mode, f.Handle().Mode())
	require.NoError(t, a.client.RemoveXattr(ctx, who, ino, "user.x"))
	_, err = a.client.GetXattr(ctx, ino, "user.x")
	require.ErrorIs(t, err, vocab.NoData)

	require.NoError(t, b.client.SetXattr(ctx, who, ino, "user.y", []byte("b"), 0))
	names, err = a.client.ListXattr(ctx, ino)
	require.NoError(t, err)
	require.Equal(t, []string{"user.y"}, names)
	a.holds("f", []byte("written, not synced"))
}

// A file without a name is written like any other, and given one by a link.
func TestAFileWithoutAName(t *testing.T) {
	cl := startCluster(t, form{layout: "0"})
	a, b := cl.mount(t), cl.mount(t)
	ctx, who := t.Context(), rozofs.Caller{UID: 1000, Umask: 0o022}
	info, err := a.Stat(ctx, ".")
	require.NoError(t, err)
	root := info.Sys().(vocab.Attr).Ino
	h, attr, err := a.client.CreateUnnamed(ctx, who, root, 0o666, os.O_RDWR)
	require.NoError(t, err)
	require.Zero(t, attr.Nlink)
	require.EqualValues(t, vocab.ModeRegular|0o644, attr.Mode)
	_, err = h.WriteAt(ctx, []byte("content"), 0)
	require.NoError(t, err)
	attr, err = a.client.Link(ctx, who, attr.Ino, root, "f")
	require.NoError(t, err)
	require.EqualValues(t, 1, attr.Nlink)
	require.NoError(t, h.Close(ctx))
	b.holds("f", []byte("content"))
}
