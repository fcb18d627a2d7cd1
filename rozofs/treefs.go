package rozofs

import (
	"context"
	"io/fs"
)

// FS returns the tree as an fs.FS, to be read by whatever takes one. Its calls,
// and those of the files opened through it, end with ctx. It also implements
// fs.ReadDirFS, fs.ReadFileFS, fs.ReadLinkFS and fs.StatFS.
func (t *Tree) FS(ctx context.Context) fs.FS { return treeFS{t, ctx} }

type treeFS struct {
	t   *Tree
	ctx context.Context
}

var (
	_ fs.ReadDirFS  = treeFS{}
	_ fs.ReadFileFS = treeFS{}
	_ fs.ReadLinkFS = treeFS{}
	_ fs.StatFS     = treeFS{}
)

// valid refuses what the io/fs package does not take for a name.
func valid(op, name string) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return nil
}

func (f treeFS) Open(name string) (fs.File, error) {
	if err := valid("open", name); err != nil {
		return nil, err
	}
	file, err := f.t.Open(f.ctx, name)
	if err != nil {
		return nil, err
	}
	file.ctx = f.ctx
	return file, nil
}

func (f treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := valid("readdir", name); err != nil {
		return nil, err
	}
	return f.t.readDir(f.ctx, f.ctx, name)
}

func (f treeFS) ReadFile(name string) ([]byte, error) {
	if err := valid("readfile", name); err != nil {
		return nil, err
	}
	return f.t.ReadFile(f.ctx, name)
}

func (f treeFS) ReadLink(name string) (string, error) {
	if err := valid("readlink", name); err != nil {
		return "", err
	}
	return f.t.Readlink(f.ctx, name)
}

func (f treeFS) Stat(name string) (fs.FileInfo, error) {
	if err := valid("stat", name); err != nil {
		return nil, err
	}
	return f.t.Stat(f.ctx, name)
}

func (f treeFS) Lstat(name string) (fs.FileInfo, error) {
	if err := valid("lstat", name); err != nil {
		return nil, err
	}
	return f.t.Lstat(f.ctx, name)
}
