package rozofsmount

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// file is an open regular file.
type file struct {
	Handle
	ino      vocab.Ino
	appendTo bool
}

const statusBadHandle = fuse.EBADF

// Open opens a regular file. O_TRUNC is among the flags: CAP_ATOMIC_O_TRUNC
// saves the SETATTR that the kernel would send after it.
func (f *face) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	ino := f.ino(in.NodeId)
	h, err := f.fs.OpenFile(ctx, callerOf(&in.InHeader), ino, int(in.Flags))
	if err != nil {
		return f.failInode("open", ino, err)
	}
	if in.Mode&fuse.OPEN_KILL_SUIDGID != 0 {
		if err := f.endPrivilege(ctx, callerOf(&in.InHeader), h, ino, false); err != nil {
			f.closeFile(&file{Handle: h, ino: ino})
			return f.failInode("open", ino, err)
		}
	}
	return f.opened(h, ino, in.Flags, out)
}

// createTries bounds how often Create meets a file that is gone a moment later.
const createTries = 8

// Create makes a file and opens it. The kernel asks when the name was not there
// a moment ago, and takes the file for new: it checks no permission on it. So a
// file that another machine has made in between must not be opened here. ESTALE
// makes the kernel look the name up again and then open what it finds, with all
// checks; with O_EXCL it is EEXIST.
func (f *face) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if tooLong(name) {
		return statusNameTooLong
	}
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	parent, who := f.ino(in.NodeId), makerOf(&in.InHeader, in.Umask)
	for range createTries {
		h, attr, err := f.fs.CreateFile(ctx, who, parent, name, in.Mode&vocab.ModePerm, int(in.Flags)|syscall.O_EXCL)
		if err == nil {
			return f.created(h, &attr, in.Flags, out)
		}
		if in.Flags&syscall.O_EXCL != 0 || !errors.Is(err, vocab.Exists) {
			return f.fail("create", parent, err)
		}
		if _, err := f.fs.Lookup(ctx, who, parent, name); !errors.Is(err, vocab.NotFound) {
			break
		}
	}
	return fuse.Status(syscall.ESTALE)
}

// Tmpfile makes and opens a regular file without a name: open(2) with O_TMPFILE.
func (f *face) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	dir := f.ino(in.NodeId)
	h, attr, err := f.fs.CreateUnnamed(ctx, makerOf(&in.InHeader, in.Umask), dir, in.Mode&vocab.ModePerm, int(in.Flags))
	if err != nil {
		return f.failInode("tmpfile", dir, err)
	}
	return f.created(h, &attr, in.Flags, out)
}

func (f *face) created(h Handle, attr *vocab.Attr, flags uint32, out *fuse.CreateOut) fuse.Status {
	if st := f.entry(&out.EntryOut, attr); !st.Ok() {
		f.closeFile(&file{Handle: h, ino: attr.Ino})
		return st
	}
	return f.opened(h, attr.Ino, flags, &out.OpenOut)
}

// opened enters the handle into the table and tells the kernel how to cache.
//
// A handle that appends is DIRECT_IO: for a cached write the kernel chooses the
// offset, by the size that it last heard of, and puts the data into its pages
// there; when another machine has appended in the meantime the pages would show
// them in the wrong place. The price: mmap(MAP_SHARED) of such a handle is
// ENODEV, and a write(2) of more than 1 MiB is atomic in pieces of 1 MiB only.
func (f *face) opened(h Handle, ino vocab.Ino, flags uint32, out *fuse.OpenOut) fuse.Status {
	open := &file{Handle: h, ino: ino, appendTo: flags&syscall.O_APPEND != 0 && flags&syscall.O_ACCMODE != syscall.O_RDONLY}
	fh, err := f.files.add(open)
	if err != nil {
		f.closeFile(open)
		return f.fail("open", ino, err)
	}
	*out = fuse.OpenOut{Fh: fh}
	switch {
	case open.appendTo:
		out.OpenFlags = fuse.FOPEN_DIRECT_IO
	case h.KeepCache():
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	}
	return fuse.OK
}

// Read fills buf; it is short at the end of the file only.
func (f *face) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	open, ok := f.files.get(in.Fh)
	if !ok {
		return nil, statusBadHandle
	}
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	n, err := open.ReadAt(ctx, buf[:min(int(in.Size), len(buf))], int64(in.Offset))
	if err != nil {
		return nil, f.failInode("read", open.ino, err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Write writes data; the kernel reuses the buffer afterwards. Pages written
// through a mapping come here as well, with WRITE_CACHE set.
func (f *face) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	open, ok := f.files.get(in.Fh)
	if !ok {
		return 0, statusBadHandle
	}
	if open.appendTo && in.WriteFlags&fuse.WRITE_CACHE != 0 {
		// A page has a place, which a handle that appends would not respect. The
		// kernel refuses such mappings (see opened), so this is never reached.
		return 0, f.fail("write", open.ino, vocab.Errorf(vocab.Internal, "the kernel sent a mapped page to a file opened with O_APPEND"))
	}
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	n, err := open.WriteAt(ctx, data, int64(in.Offset))
	mayKeep := in.WriteFlags&fuse.WRITE_KILL_SUIDGID == 0
	if err == nil && (!mayKeep || open.appendTo) { // capabilities of others, the kernel ends but with DIRECT_IO
		err = f.endPrivilege(ctx, callerOf(&in.InHeader), open, open.ino, mayKeep)
	}
	if err != nil && n == 0 {
		return 0, f.failInode("write", open.ino, err)
	}
	return uint32(n), fuse.OK // a short count makes the program come again and meet the error
}

// endPrivilege takes from a file whose content the handle has changed what it may do as a
// program: most often that is nothing. Capabilities end with any change, set-user-id and
// set-group-id if who made it may not keep them.
func (f *face) endPrivilege(ctx context.Context, who Caller, h Handle, ino vocab.Ino, mayKeep bool) error {
	mode := h.Mode()
	if mode&vocab.ModeCapability != 0 {
		if err := f.fs.RemoveXattr(ctx, who, ino, vocab.XattrCapability); err != nil && !errors.Is(err, vocab.NoData) {
			return err
		}
	}
	const group = vocab.ModeSetGID | 0o010
	if mayKeep || mode&vocab.ModeSetUID == 0 && mode&group != group {
		return nil
	}
	_, err := f.fs.SetAttr(ctx, who, ino, Change{Mask: wire.SetNoPrivilege})
	return err
}

// Flush answers each close(2), also of duplicated descriptors.
func (f *face) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	open, ok := f.files.get(in.Fh)
	if !ok {
		return statusBadHandle
	}
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	err := open.Flush(ctx)
	return f.failInode("flush", open.ino, errors.Join(err, open.ReleaseLocks(ctx, in.LockOwner)))
}

// Fsync answers fsync and fdatasync; size and times go with the data.
func (f *face) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	open, ok := f.files.get(in.Fh)
	if !ok {
		return statusBadHandle
	}
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	return f.failInode("fsync", open.ino, open.Sync(ctx))
}

// Release ends an open file. No one waits for it and none can be told of an
// error, and it is not interrupted by the end of the mount.
func (f *face) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if open, ok := f.files.remove(in.Fh); ok {
		f.closeFile(open)
	}
}

func (f *face) closeFile(open *file) {
	if err := open.Close(f.base); err != nil {
		f.log.Warn("closing a file failed", "ino", uint64(open.ino), "err", err)
	}
}

// syncAll makes durable what open files have written.
func (f *face) syncAll(ctx context.Context) error {
	var errs []error
	for _, open := range f.files.all() {
		errs = append(errs, open.Sync(ctx))
	}
	return errors.Join(errs...)
}
