package rozofs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// pathError wraps what went wrong with a path; nil, io.EOF and what is a
// *fs.PathError already stay as they are.
func pathError(op, name string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return err
	}
	return &fs.PathError{Op: op, Path: name, Err: osError{err}}
}

// osError lets an error also match those that programs written for package os
// ask for.
type osError struct{ error }

// Unwrap gives the error that carries the vocab.Kind.
func (e osError) Unwrap() error { return e.error }

// Is follows what package os does with errno.
func (e osError) Is(target error) bool {
	var kinds []vocab.Kind
	switch target {
	case fs.ErrNotExist:
		kinds = []vocab.Kind{vocab.NotFound}
	case fs.ErrExist:
		kinds = []vocab.Kind{vocab.Exists, vocab.NotEmpty}
	case fs.ErrPermission:
		kinds = []vocab.Kind{vocab.AccessDenied, vocab.NotPermitted}
	case errors.ErrUnsupported:
		kinds = []vocab.Kind{vocab.NotSupported}
	}
	for _, k := range kinds {
		if errors.Is(e.error, k) {
			return true
		}
	}
	return false
}

// fileInfo describes a file; Sys returns its vocab.Attr.
type fileInfo struct {
	name string
	attr vocab.Attr
}

var _ fs.FileInfo = fileInfo{}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return int64(i.attr.Size) }
func (i fileInfo) Mode() fs.FileMode  { return fileMode(i.attr.Mode) }
func (i fileInfo) ModTime() time.Time { return time.Unix(0, int64(i.attr.Mtime)) }
func (i fileInfo) IsDir() bool        { return i.attr.IsDir() }
func (i fileInfo) Sys() any           { return i.attr }
func (i fileInfo) String() string     { return fs.FormatFileInfo(i) }

// dirEntry is an entry of a directory as it was listed.
type dirEntry struct {
	t      *Tree
	ctx    context.Context // for Info
	dir    string
	parent vocab.Ino
	entry  wire.Entry // Attr has only Ino and the type
}

var _ fs.DirEntry = (*dirEntry)(nil)

func (e *dirEntry) Name() string      { return e.entry.Name }
func (e *dirEntry) IsDir() bool       { return e.entry.Attr.IsDir() }
func (e *dirEntry) Type() fs.FileMode { return fileMode(e.entry.Attr.Mode).Type() }
func (e *dirEntry) String() string    { return fs.FormatDirEntry(e) }

func (e *dirEntry) Info() (fs.FileInfo, error) {
	a, err := e.t.c.Lookup(e.ctx, e.t.who, e.parent, e.entry.Name)
	if errors.Is(err, vocab.Stale) { // the directory has gone
		err = vocab.Errorf(vocab.NotFound, "%v", err)
	}
	if err != nil {
		return nil, pathError("lstat", path.Join(e.dir, e.entry.Name), err)
	}
	return fileInfo{e.entry.Name, a}, nil
}

// The mode bits above the permissions, in both writings.
var (
	typeModes = map[uint32]fs.FileMode{
		vocab.ModeDir: fs.ModeDir, vocab.ModeSymlink: fs.ModeSymlink, vocab.ModeFIFO: fs.ModeNamedPipe,
		vocab.ModeSocket: fs.ModeSocket, vocab.ModeBlock: fs.ModeDevice, vocab.ModeChar: fs.ModeDevice | fs.ModeCharDevice,
	}
	specialModes = map[uint32]fs.FileMode{
		vocab.ModeSetUID: fs.ModeSetuid, vocab.ModeSetGID: fs.ModeSetgid, vocab.ModeSticky: fs.ModeSticky,
	}
)

// fileMode translates type and permission bits.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode)&fs.ModePerm | typeModes[mode&vocab.ModeType]
	for bit, special := range specialModes {
		if mode&bit != 0 {
			m |= special
		}
	}
	return m
}

// modeBits translates permission bits, setuid, setgid and sticky.
func modeBits(m fs.FileMode) uint32 {
	mode := uint32(m & fs.ModePerm)
	for bit, special := range specialModes {
		if m&special != 0 {
			mode |= bit
		}
	}
	return mode
}
