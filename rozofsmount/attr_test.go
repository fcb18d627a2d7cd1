package rozofsmount

import (
	"math"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

func TestTimesGoBothWays(t *testing.T) {
	for _, ns := range []vocab.Time{0, 1, 999_999_999, 1_000_000_000, -1, -1_000_000_000, -1_000_000_001, 1764000000123456789, math.MaxInt64 - 1e9} {
		sec, nsec := splitTime(ns)
		require.Less(t, nsec, uint32(1e9))
		require.Equal(t, ns, joinTime(sec, nsec), "%d", ns)
	}
	const year3000 = 32503680000
	require.EqualValues(t, math.MaxInt64, joinTime(year3000, 5))
	before := int64(-year3000)
	require.EqualValues(t, math.MinInt64, joinTime(uint64(before), 5))
}

func TestChangeOf(t *testing.T) {
	for _, c := range []struct {
		valid uint32
		want  Change
	}{
		{0, Change{Mask: wire.SetNoPrivilege}}, // chown with -1 and -1
		{fuse.FATTR_MODE, Change{Mask: wire.SetMode}},
		{fuse.FATTR_UID | fuse.FATTR_GID, Change{Mask: wire.SetUID | wire.SetGID}},
		{fuse.FATTR_SIZE | fuse.FATTR_FH, Change{Mask: wire.SetSize}},
		{fuse.FATTR_ATIME | fuse.FATTR_MTIME, Change{Mask: wire.SetAtime | wire.SetMtime, Atime: 1_000_000_002, Mtime: 3_000_000_004}},
		{fuse.FATTR_ATIME | fuse.FATTR_ATIME_NOW, Change{Mask: wire.SetAtimeNow}},
		{fuse.FATTR_MTIME | fuse.FATTR_MTIME_NOW, Change{Mask: wire.SetMtimeNow}},
		{fuse.FATTR_SIZE | fuse.FATTR_CTIME | fuse.FATTR_LOCKOWNER | fuse.FATTR_KILL_SUIDGID, Change{Mask: wire.SetSize | wire.SetNoPrivilege}},
	} {
		in := &fuse.SetAttrIn{}
		in.Valid, in.Mode, in.Uid, in.Gid, in.Size = c.valid, vocab.ModeRegular|0o4751, 11, 12, 13
		in.Atime, in.Atimensec, in.Mtime, in.Mtimensec = 1, 2, 3, 4
		c.want.Mode, c.want.UID, c.want.GID, c.want.Size = 0o4751, 11, 12, 13
		require.Equal(t, c.want, changeOf(in))
	}
}

func TestRenameFlags(t *testing.T) {
	for flags, want := range map[uint32]syscall.Errno{0: 0, 1: 0, 2: 0, 3: syscall.EINVAL, 4: syscall.EINVAL, 5: syscall.EINVAL, 1 << 31: syscall.EINVAL} {
		got, e := renameFlags(flags)
		require.Equal(t, want, e, "%d", flags)
		if e == 0 {
			require.EqualValues(t, flags, got)
		}
	}
}

func TestStatFSCountsInBlocks(t *testing.T) {
	var out fuse.StatfsOut
	fillStatFS(&out, &wire.StatFSReply{TotalBytes: 80 << 20, FreeBytes: 16 << 20, Files: 5, BlockBytes: 8192})
	require.Equal(t, fuse.StatfsOut{Blocks: 10240, Bfree: 2048, Bavail: 2048, Files: 2053, Ffree: 2048, Bsize: 8192, Frsize: 8192, NameLen: 255}, out)
	fillStatFS(&out, &wire.StatFSReply{TotalBytes: 1024})
	require.EqualValues(t, 2, out.Blocks)
}

func TestInodeNumbersThatNoFileHasAreRefused(t *testing.T) {
	f := newFace(newMemFS(), discardLog, 0, 0)
	defer f.close()
	var out fuse.EntryOut
	for _, ino := range []vocab.Ino{0, 1, math.MaxUint64} {
		require.Equal(t, fuse.EIO, f.entry(&out, &vocab.Attr{Ino: ino}))
	}
	require.Equal(t, fuse.OK, f.entry(&out, &vocab.Attr{Ino: memRoot, Generation: 9}))
	require.EqualValues(t, fuse.FUSE_ROOT_ID, out.NodeId)
	require.Equal(t, memRoot, f.ino(out.NodeId))
}

// The kernel knows nothing of the bits above those of POSIX.
func TestModesAreThoseOfPOSIX(t *testing.T) {
	var out fuse.Attr
	fillAttr(&out, &vocab.Attr{Mode: vocab.ModeCapability | vocab.ModeXattr | vocab.ModeRegular | 0o4755})
	require.EqualValues(t, vocab.ModeRegular|0o4755, out.Mode)
}
