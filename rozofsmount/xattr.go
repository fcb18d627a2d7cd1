package rozofsmount

import (
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/rozofs-go/rozo/rozofs/wire"
)

// The kernel has seen to who may use which class of names, and enforces the ACLs, which
// it reads as attributes.

const statusRange = fuse.Status(syscall.ERANGE)

// GetXAttr copies the value into dest, or tells how long it is.
func (f *face) GetXAttr(cancel <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	ctx, end := f.begin(cancel, h.Pid)
	defer end()
	ino := f.ino(h.NodeId)
	if f.bare.has(ino) {
		return 0, fuse.ENODATA
	}
	value, err := f.fs.GetXattr(ctx, ino, name)
	if err != nil {
		return 0, f.failInode("getxattr", ino, err)
	}
	return copyXattr(dest, string(value))
}

// copyXattr answers a buffer that is too short with what it should hold.
func copyXattr(dest []byte, value string) (uint32, fuse.Status) {
	n := uint32(len(value))
	if len(value) > len(dest) {
		return n, statusRange
	}
	copy(dest, value)
	return n, fuse.OK
}

// ListXAttr lists the names. Those of class trusted are root's.
func (f *face) ListXAttr(cancel <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	ctx, end := f.begin(cancel, h.Pid)
	defer end()
	ino := f.ino(h.NodeId)
	if f.bare.has(ino) {
		return 0, fuse.OK
	}
	names, err := f.fs.ListXattr(ctx, ino)
	if err != nil {
		return 0, f.failInode("listxattr", ino, err)
	}
	var list strings.Builder
	for _, name := range names {
		if h.Uid == 0 || !strings.HasPrefix(name, "trusted.") {
			list.WriteString(name + "\x00")
		}
	}
	return copyXattr(dest, list.String())
}

// SetXAttr sets an attribute.
func (f *face) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	flags := wire.XattrFlags(in.Flags)
	if in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0 {
		flags |= wire.XattrDropsSetGroup
	}
	ino := f.ino(in.NodeId)
	defer f.bare.changed(ino)
	return f.failInode("setxattr", ino, f.fs.SetXattr(ctx, callerOf(&in.InHeader), ino, name, value, flags))
}

// RemoveXAttr removes an attribute.
func (f *face) RemoveXAttr(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	ctx, end := f.begin(cancel, h.Pid)
	defer end()
	ino := f.ino(h.NodeId)
	defer f.bare.changed(ino)
	return f.failInode("removexattr", ino, f.fs.RemoveXattr(ctx, callerOf(h), ino, name))
}
