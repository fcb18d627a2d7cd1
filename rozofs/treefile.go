package rozofs

import (
	"context"
	"io"
	"io/fs"
	"path"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// File is an open file of a Tree, or an open directory, of which only ReadDir,
// Stat, Seek to the start and Close are of use. It is used like an *os.File. The
// methods without a context work under the client's lifetime.
//
// Written data are seen by all readers of every mount at once; they are durable
// after Sync.
type File struct {
	t    *Tree
	ctx  context.Context // of methods that have none: the client's lifetime, or that of FS
	name string
	ino  vocab.Ino
	h    *Handle // nil: a directory

	closed atomic.Bool

	mu      sync.Mutex // guards all below, while reading and writing at the offset too
	off     int64
	entries []wire.Entry // listed and not yet returned
	cookie  uint64
	last    bool // entries are the last ones
}

var (
	_ io.ReadWriteSeeker = (*File)(nil)
	_ io.ReaderAt        = (*File)(nil)
	_ io.WriterAt        = (*File)(nil)
	_ io.ReaderFrom      = (*File)(nil)
	_ io.WriterTo        = (*File)(nil)
	_ io.StringWriter    = (*File)(nil)
	_ fs.ReadDirFile     = (*File)(nil)
)

// Open opens a file or directory for reading.
func (t *Tree) Open(ctx context.Context, name string) (*File, error) {
	return t.OpenFile(ctx, name, syscall.O_RDONLY, 0)
}

// Create makes a file, or empties the one that is there, for reading and writing.
func (t *Tree) Create(ctx context.Context, name string) (*File, error) {
	return t.OpenFile(ctx, name, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC, 0o666)
}

// OpenFile opens a file by the O_ flags of package os: O_CREATE, O_EXCL, O_TRUNC,
// O_APPEND and O_SYNC are honoured. perm is that of a new file.
func (t *Tree) OpenFile(ctx context.Context, name string, flag int, perm fs.FileMode) (f *File, err error) {
	const mustMake = syscall.O_CREAT | syscall.O_EXCL
	follow := flag&mustMake != mustMake
	err = t.use(ctx, "open", name, follow, func(p *found) (err error) {
		f = &File{t: t, ctx: t.c.ctx, name: name, ino: p.attr.Ino}
		switch {
		case !p.there && flag&syscall.O_CREAT == 0:
			return vocab.Errorf(vocab.NotFound, "%q", p.name)
		case !p.there && p.mustBe:
			return vocab.Errorf(vocab.IsDir, "a name with a trailing slash is a directory's")
		case !p.there:
			var a vocab.Attr
			f.h, a, err = t.c.CreateFile(ctx, t.who, p.parent, p.name, modeBits(perm), flag)
			f.ino = a.Ino
			return err
		case !follow:
			return vocab.Errorf(vocab.Exists, "%q", p.name)
		case p.attr.IsDir():
			if flag&(syscall.O_ACCMODE|syscall.O_CREAT) != 0 {
				return vocab.Errorf(vocab.IsDir, "a directory is opened for reading only")
			}
			return nil
		case p.mustBe:
			return vocab.Errorf(vocab.NotDir, "%q", p.name)
		case !p.attr.IsRegular():
			return vocab.Errorf(vocab.NotSupported, "%v: only files and directories can be opened", fileMode(p.attr.Mode))
		}
		f.h, err = t.c.OpenFile(ctx, t.who, p.attr.Ino, flag)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Name is the name that the file was opened with.
func (f *File) Name() string { return f.name }

// Stat describes the file.
func (f *File) Stat() (fs.FileInfo, error) {
	if f.closed.Load() {
		return nil, f.failed("stat", fs.ErrClosed)
	}
	a, err := f.t.c.GetAttr(f.ctx, f.ino)
	if err != nil {
		return nil, f.failed("stat", err)
	}
	return fileInfo{path.Base(f.name), a}, nil
}

func (f *File) failed(op string, err error) error { return pathError(op, f.name, err) }

// Truncate sets the file's size; the offset stays.
func (f *File) Truncate(size int64) error {
	err := f.content()
	if err == nil {
		err = f.h.Truncate(f.ctx, size)
	}
	return f.failed("truncate", err)
}

// Sync makes content, size and times durable. Of directories all is durable at
// once.
func (f *File) Sync() error {
	if f.closed.Load() {
		return f.failed("sync", fs.ErrClosed)
	}
	if f.h == nil {
		return nil
	}
	return f.failed("sync", f.h.Sync(f.ctx))
}

// Close ends the use of the file. It reports what an earlier Write could not do.
func (f *File) Close() error { return f.CloseContext(f.ctx) }

// CloseContext is Close that waits no longer than ctx for the storages to take
// what was written. The file is closed also when it returns an error.
func (f *File) CloseContext(ctx context.Context) error {
	if f.closed.Swap(true) {
		return f.failed("close", fs.ErrClosed)
	}
	if f.h == nil {
		return nil
	}
	return f.failed("close", f.h.Close(ctx))
}

// ReadDir returns the next n entries of a directory, and io.EOF when there are no
// more; with n <= 0 all that are left. They are in no order.
func (f *File) ReadDir(n int) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed.Load() {
		return nil, f.failed("readdir", fs.ErrClosed)
	}
	if f.h != nil {
		return nil, f.failed("readdir", vocab.Errorf(vocab.NotDir, "%q", f.name))
	}
	var list []fs.DirEntry
	for n <= 0 || len(list) < n {
		if len(f.entries) == 0 {
			if f.last {
				break
			}
			if err := f.readEntries(); err != nil {
				return list, f.failed("readdir", err)
			}
			continue
		}
		list = append(list, &dirEntry{t: f.t, ctx: f.ctx, dir: f.name, parent: f.ino, entry: f.entries[0]})
		f.entries = f.entries[1:]
	}
	if n > 0 && len(list) == 0 {
		return nil, io.EOF
	}
	return list, nil
}

// readEntries asks for the next entries; mu is held.
func (f *File) readEntries() error {
	reply, err := f.t.c.ReadDir(f.ctx, f.ino, f.cookie, wire.MaxEntries, false)
	if err != nil {
		return err
	}
	f.entries, f.last = reply.Entries, reply.Last || len(reply.Entries) == 0
	if n := len(f.entries); n > 0 {
		f.cookie = f.entries[n-1].Cookie
	}
	return nil
}

// ReadFile returns the content of a file.
func (t *Tree) ReadFile(ctx context.Context, name string) ([]byte, error) {
	f, err := t.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	data, err := f.readAll(ctx)
	if cerr := f.CloseContext(ctx); err == nil {
		err = cerr
	}
	return data, err
}

// WriteFile makes data the content of a file, which is made if it is not there.
// When it returns every reader sees them; they are durable a few seconds later, or
// at once if the file is opened with O_SYNC or synced instead.
func (t *Tree) WriteFile(ctx context.Context, name string, data []byte, perm fs.FileMode) error {
	f, err := t.OpenFile(ctx, name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.WriteAtContext(ctx, data, 0)
	if cerr := f.CloseContext(ctx); err == nil {
		err = cerr
	}
	return err
}
