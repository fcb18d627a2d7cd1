package rozofsmount

import "github.com/hanwen/go-fuse/v2/fuse"

// GetAttr answers stat and fstat.
func (f *face) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	ino := f.ino(in.NodeId)
	asked := f.bare.asking()
	attr, err := f.fs.GetAttr(ctx, ino)
	if err != nil {
		return f.failInode("getattr", ino, err)
	}
	f.bare.told(&attr, asked)
	out.SetTimeout(f.attrTimeout)
	fillAttr(&out.Attr, &attr)
	return fuse.OK
}

// SetAttr answers chmod, chown, truncate and utimensat.
func (f *face) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	ino := f.ino(in.NodeId)
	attr, err := f.fs.SetAttr(ctx, callerOf(&in.InHeader), ino, changeOf(in))
	if err != nil {
		return f.failInode("setattr", ino, err)
	}
	out.SetTimeout(f.attrTimeout)
	fillAttr(&out.Attr, &attr)
	return fuse.OK
}

// StatFs answers statfs.
func (f *face) StatFs(cancel <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	ctx, end := f.begin(cancel, h.Pid)
	defer end()
	space, err := f.fs.StatFS(ctx)
	if err != nil {
		return f.fail("statfs", f.root, err)
	}
	fillStatFS(out, &space)
	return fuse.OK
}
