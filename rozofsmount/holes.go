package rozofsmount

import (
	"math"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The modes of fallocate(2) that are served. Others are EOPNOTSUPP: to collapse or insert
// a range would move blocks.
const (
	keepSize  = unix.FALLOC_FL_KEEP_SIZE
	punchHole = unix.FALLOC_FL_PUNCH_HOLE | keepSize
	zeroRange = unix.FALLOC_FL_ZERO_RANGE
)

// Fallocate frees ranges or makes the file longer. It reserves no space: what has no
// content takes none, and a later write may find the storages full.
func (f *face) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	open, ok := f.files.get(in.Fh)
	if !ok {
		return statusBadHandle
	}
	if in.Offset > math.MaxInt64 || in.Length > math.MaxInt64 || in.Length == 0 {
		return fuse.EINVAL
	}
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	off, n := int64(in.Offset), int64(in.Length)
	var err error
	switch in.Mode {
	case 0:
		err = open.Allocate(ctx, off, n)
	case keepSize: // there is nothing to reserve
	case punchHole:
		err = open.Punch(ctx, off, n)
	case zeroRange, zeroRange | keepSize:
		err = open.Zero(ctx, off, n, in.Mode&keepSize != 0)
	default:
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	return f.failInode("fallocate", open.ino, err)
}

// Lseek answers SEEK_DATA and SEEK_HOLE; the kernel does the others.
func (f *face) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	open, ok := f.files.get(in.Fh)
	if !ok {
		return statusBadHandle
	}
	if in.Offset > math.MaxInt64 {
		return fuse.EINVAL
	}
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	seek := open.SeekData
	switch in.Whence {
	case unix.SEEK_DATA:
	case unix.SEEK_HOLE:
		seek = open.SeekHole
	default:
		return fuse.EINVAL
	}
	at, found, err := seek(ctx, int64(in.Offset))
	if err != nil {
		return f.failInode("lseek", open.ino, err)
	}
	if !found {
		return fuse.Status(syscall.ENXIO)
	}
	out.Offset = uint64(at)
	return fuse.OK
}
