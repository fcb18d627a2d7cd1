package rozofs

import (
	"context"
	"io"
	"io/fs"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// copyBytes is the piece in which ReadFrom and WriteTo copy, far more than
// io.Copy would: a full run.
const copyBytes = runBytes

// content refuses what has none.
func (f *File) content() error {
	switch {
	case f.closed.Load():
		return fs.ErrClosed
	case f.h == nil:
		return vocab.Errorf(vocab.IsDir, "it has no content to read or write")
	}
	return nil
}

// Read reads from the offset on; at the end of the file it returns io.EOF.
func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.readAt(f.ctx, p, f.off)
	f.off += int64(n)
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, f.failed("read", err)
}

// ReadAt reads at an offset; n < len(p) comes with an error, io.EOF at the end of
// the file.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.ReadAtContext(f.ctx, p, off) }

// ReadAtContext is ReadAt that ends with ctx.
func (f *File) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := f.readAt(ctx, p, off)
	return n, f.failed("read", err)
}

func (f *File) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := f.content(); err != nil {
		return 0, err
	}
	n, err := f.h.ReadAt(ctx, p, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// readAll returns the whole content.
func (f *File) readAll(ctx context.Context) ([]byte, error) {
	if err := f.content(); err != nil {
		return nil, f.failed("read", err)
	}
	a, err := f.h.Attr(ctx)
	if err != nil {
		return nil, f.failed("read", err)
	}
	data := make([]byte, 0, a.Size+1) // one more, to see the end
	for {
		n, err := f.readAt(ctx, data[len(data):cap(data)], int64(len(data)))
		data = data[:len(data)+n]
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return data, f.failed("read", err)
		}
		data = append(data, 0)[:len(data)] // it has grown meanwhile
	}
}

// Write writes at the offset, or with O_APPEND at the end of the file.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.write(p)
	return n, f.failed("write", err)
}

// WriteString is Write of a string.
func (f *File) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

// write is called with mu held.
func (f *File) write(p []byte) (int, error) {
	if err := f.content(); err != nil {
		return 0, err
	}
	n, err := f.h.WriteAt(f.ctx, p, f.off)
	f.off += int64(n)
	if f.h.append && n > 0 {
		a, aerr := f.h.Attr(f.ctx)
		if aerr == nil {
			f.off = int64(a.Size)
		} else if err == nil {
			err = aerr
		}
	}
	return n, err
}

// WriteAt writes at an offset. It is refused on a file opened with O_APPEND.
func (f *File) WriteAt(p []byte, off int64) (int, error) { return f.WriteAtContext(f.ctx, p, off) }

// WriteAtContext is WriteAt that ends with ctx.
func (f *File) WriteAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if err := f.content(); err != nil {
		return 0, f.failed("write", err)
	}
	if f.h.append {
		return 0, f.failed("write", vocab.Errorf(vocab.Invalid, "WriteAt of a file opened with O_APPEND: use Write"))
	}
	n, err := f.h.WriteAt(ctx, p, off)
	return n, f.failed("write", err)
}

// Seek sets the offset of the next Read or Write. A directory can only be begun
// anew.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.h == nil && !f.closed.Load() {
		if offset != 0 || whence != io.SeekStart {
			return 0, f.failed("seek", vocab.Errorf(vocab.Invalid, "a directory is read from its start"))
		}
		f.entries, f.cookie, f.last = nil, 0, false
		return 0, nil
	}
	if err := f.content(); err != nil {
		return 0, f.failed("seek", err)
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.off
	case io.SeekEnd:
		a, err := f.h.Attr(f.ctx)
		if err != nil {
			return 0, f.failed("seek", err)
		}
		offset += int64(a.Size)
	default:
		return 0, f.failed("seek", vocab.Errorf(vocab.Invalid, "whence %d", whence))
	}
	if offset < 0 {
		return 0, f.failed("seek", vocab.Errorf(vocab.Invalid, "offset %d", offset))
	}
	f.off = offset
	return offset, nil
}

// ReadFrom writes all that r yields at the offset.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, make([]byte, copyBytes))
}

// WriteTo writes the content from the offset on to w.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{f}, make([]byte, copyBytes))
}
