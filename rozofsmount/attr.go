package rozofsmount

import (
	"math"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// preferredIOBytes is st_blksize of regular files: what stdio and cp read and
// write at once. With attributes that the kernel does not cache every read(2)
// costs a GETATTR, so the 4 KiB that FUSE would tell are dear.
const preferredIOBytes = 128 << 10

// fillAttr converts attributes. Mode has the same bits everywhere; Rdev is the
// kernel's 32-bit encoding of major and minor, which FUSE passes both ways, so
// both are taken as they are.
func fillAttr(out *fuse.Attr, a *vocab.Attr) {
	*out = fuse.Attr{
		Ino:    uint64(a.Ino),
		Size:   a.Size,
		Blocks: (a.Size + 511) / 512, // holes are not told apart
		Mode:   a.Mode & (vocab.ModeType | vocab.ModePerm),
		Nlink:  a.Nlink,
		Owner:  fuse.Owner{Uid: a.UID, Gid: a.GID},
		Rdev:   a.Rdev,
	}
	if a.IsRegular() {
		out.Blksize = preferredIOBytes
	}
	out.Atime, out.Atimensec = splitTime(a.Atime)
	out.Mtime, out.Mtimensec = splitTime(a.Mtime)
	out.Ctime, out.Ctimensec = splitTime(a.Ctime)
}

// splitTime gives seconds, rounded down, and nanoseconds. The kernel reads the
// seconds as signed.
func splitTime(t vocab.Time) (sec uint64, nsec uint32) {
	s, n := int64(t)/1e9, int64(t)%1e9
	if n < 0 {
		s, n = s-1, n+1e9
	}
	return uint64(s), uint32(n)
}

// joinTime is the reverse; times beyond the years 1677 and 2262 are cut off there.
func joinTime(sec uint64, nsec uint32) vocab.Time {
	const limit = math.MaxInt64 / int64(time.Second)
	switch s := int64(sec); {
	case s >= limit:
		return math.MaxInt64
	case s < -limit:
		return math.MinInt64
	default:
		return vocab.Time(s*int64(time.Second) + int64(nsec))
	}
}

// changeOf reads what a SETATTR asks for.
func changeOf(in *fuse.SetAttrIn) Change {
	ch := Change{Mode: in.Mode & vocab.ModePerm, UID: in.Uid, GID: in.Gid, Size: in.Size}
	bits := []struct {
		valid uint32
		mask  wire.SetMask
	}{
		{fuse.FATTR_MODE, wire.SetMode},
		{fuse.FATTR_UID, wire.SetUID},
		{fuse.FATTR_GID, wire.SetGID},
		{fuse.FATTR_SIZE, wire.SetSize},
		{fuse.FATTR_KILL_SUIDGID, wire.SetNoPrivilege},
	}
	for _, b := range bits {
		if in.Valid&b.valid != 0 {
			ch.Mask |= b.mask
		}
	}
	switch {
	case in.Valid&fuse.FATTR_ATIME_NOW != 0:
		ch.Mask |= wire.SetAtimeNow
	case in.Valid&fuse.FATTR_ATIME != 0:
		ch.Mask |= wire.SetAtime
		ch.Atime = joinTime(in.Atime, in.Atimensec)
	}
	switch {
	case in.Valid&fuse.FATTR_MTIME_NOW != 0:
		ch.Mask |= wire.SetMtimeNow
	case in.Valid&fuse.FATTR_MTIME != 0:
		ch.Mask |= wire.SetMtime
		ch.Mtime = joinTime(in.Mtime, in.Mtimensec)
	}
	if ch.Mask == 0 { // chown with -1 and -1
		ch.Mask = wire.SetNoPrivilege
	}
	return ch
}

// fillStatFS converts the space of the export. The number of files is not
// limited; df -i needs one, so it gets a file for each free block.
func fillStatFS(out *fuse.StatfsOut, s *wire.StatFSReply) {
	block := max(uint64(s.BlockBytes), 512)
	free := s.FreeBytes / block
	*out = fuse.StatfsOut{
		Blocks:  s.TotalBytes / block,
		Bfree:   free,
		Bavail:  free,
		Files:   s.Files + free,
		Ffree:   free,
		Bsize:   uint32(block),
		Frsize:  uint32(block),
		NameLen: vocab.MaxNameBytes,
	}
}

// renameFlags refuses what is not offered: RENAME_WHITEOUT and newer ones.
func renameFlags(flags uint32) (wire.RenameFlags, syscall.Errno) {
	f := wire.RenameFlags(flags)
	if f&^(wire.RenameNoReplace|wire.RenameExchange) != 0 || f == wire.RenameNoReplace|wire.RenameExchange {
		return 0, syscall.EINVAL
	}
	return f, 0
}
