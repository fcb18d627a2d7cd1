package rozofsmount

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// Lookup finds the file of a name.
func (f *face) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if tooLong(name) {
		return statusNameTooLong
	}
	ctx, end := f.begin(cancel, h.Pid)
	defer end()
	parent := f.ino(h.NodeId)
	if name == "." { // the file of a handle, from before this mount perhaps: open_by_handle_at, nfsd
		return f.lookupSelf(ctx, parent, out)
	}
	asked := f.bare.asking()
	attr, err := f.fs.Lookup(ctx, callerOf(h), parent, name)
	if err != nil {
		// Names that are not there are never cached, whatever the entry timeout:
		// a file made on another machine shows at once.
		return f.fail("lookup", parent, err)
	}
	f.bare.told(&attr, asked)
	return f.entry(out, &attr)
}

func (f *face) lookupSelf(ctx context.Context, ino vocab.Ino, out *fuse.EntryOut) fuse.Status {
	attr, err := f.fs.GetAttr(ctx, ino)
	if err != nil {
		return f.failInode("lookup", ino, err)
	}
	return f.entry(out, &attr)
}

// Mknod makes a regular file, FIFO, socket or device.
func (f *face) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.mknod(cancel, &in.InHeader, name, in.Mode, in.Rdev, in.Umask, out)
}

// Mkdir makes a directory.
func (f *face) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.mknod(cancel, &in.InHeader, name, vocab.ModeDir|in.Mode&vocab.ModePerm, 0, in.Umask, out)
}

func (f *face) mknod(cancel <-chan struct{}, h *fuse.InHeader, name string, mode, rdev, umask uint32, out *fuse.EntryOut) fuse.Status {
	if tooLong(name) {
		return statusNameTooLong
	}
	ctx, end := f.begin(cancel, h.Pid)
	defer end()
	parent := f.ino(h.NodeId)
	attr, err := f.fs.Mknod(ctx, makerOf(h, umask), parent, name, mode, rdev)
	if err != nil {
		return f.fail("mknod", parent, err)
	}
	return f.entry(out, &attr)
}

// Symlink makes a symbolic link.
func (f *face) Symlink(cancel <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if tooLong(name) || len(target) > vocab.MaxSymlinkBytes {
		return statusNameTooLong
	}
	ctx, end := f.begin(cancel, h.Pid)
	defer end()
	parent := f.ino(h.NodeId)
	attr, err := f.fs.Symlink(ctx, callerOf(h), parent, name, target)
	if err != nil {
		return f.fail("symlink", parent, err)
	}
	return f.entry(out, &attr)
}

// Readlink returns where a symbolic link points to.
func (f *face) Readlink(cancel <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	ctx, end := f.begin(cancel, h.Pid)
	defer end()
	ino := f.ino(h.NodeId)
	target, err := f.fs.Readlink(ctx, ino)
	if err != nil {
		return nil, f.failInode("readlink", ino, err)
	}
	return []byte(target), fuse.OK
}

// Link gives a file one more name.
func (f *face) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if tooLong(name) {
		return statusNameTooLong
	}
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	ino := f.ino(in.Oldnodeid)
	attr, err := f.fs.Link(ctx, callerOf(&in.InHeader), ino, f.ino(in.NodeId), name)
	if err != nil {
		return f.fail("link", ino, err)
	}
	return f.entry(out, &attr)
}

// Unlink removes a name of a file that is not a directory.
func (f *face) Unlink(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if tooLong(name) {
		return statusNameTooLong
	}
	ctx, end := f.begin(cancel, h.Pid)
	defer end()
	parent := f.ino(h.NodeId)
	return f.fail("unlink", parent, f.fs.Unlink(ctx, callerOf(h), parent, name))
}

// Rmdir removes an empty directory.
func (f *face) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if tooLong(name) {
		return statusNameTooLong
	}
	ctx, end := f.begin(cancel, h.Pid)
	defer end()
	parent := f.ino(h.NodeId)
	return f.fail("rmdir", parent, f.fs.Rmdir(ctx, callerOf(h), parent, name))
}

// Rename moves a name, with the flags of renameat2 but RENAME_WHITEOUT.
func (f *face) Rename(cancel <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	if tooLong(name) || tooLong(newName) {
		return statusNameTooLong
	}
	flags, e := renameFlags(in.Flags)
	if e != 0 {
		return fuse.Status(e)
	}
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	parent := f.ino(in.NodeId)
	return f.fail("rename", parent, f.fs.Rename(ctx, callerOf(&in.InHeader), parent, name, f.ino(in.Newdir), newName, flags))
}
