package rozofs

import (
	"context"
	"io/fs"
	"path"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Stat describes a file.
func (t *Tree) Stat(ctx context.Context, name string) (fs.FileInfo, error) {
	return t.stat(ctx, "stat", name, true)
}

// Lstat describes a file; if it is a symbolic link, the link.
func (t *Tree) Lstat(ctx context.Context, name string) (fs.FileInfo, error) {
	return t.stat(ctx, "lstat", name, trimSlashes(name) != name)
}

func (t *Tree) stat(ctx context.Context, op, name string, follow bool) (info fs.FileInfo, err error) {
	err = t.useFound(ctx, op, name, follow, func(p *found) error {
		info = fileInfo{path.Base(name), p.attr}
		return nil
	})
	return info, err
}

// Truncate sets a file's size.
func (t *Tree) Truncate(ctx context.Context, name string, size int64) error {
	return t.useFound(ctx, "truncate", name, true, func(p *found) error {
		switch {
		case p.attr.IsDir():
			return vocab.Errorf(vocab.IsDir, "%q", name)
		case !p.attr.IsRegular() || size < 0:
			return vocab.Errorf(vocab.Invalid, "truncate to %d", size)
		}
		_, err := t.c.SetAttr(ctx, t.who, p.attr.Ino, Change{Mask: wire.SetSize, Size: uint64(size)})
		return err
	})
}

// Chmod sets the permission bits, setuid, setgid and sticky.
func (t *Tree) Chmod(ctx context.Context, name string, mode fs.FileMode) error {
	return t.setAttr(ctx, "chmod", name, Change{Mask: wire.SetMode, Mode: modeBits(mode)})
}

// Chown sets owner and group; -1 leaves one as it is.
func (t *Tree) Chown(ctx context.Context, name string, uid, gid int) error {
	var ch Change
	if uid != -1 {
		ch.Mask, ch.UID = ch.Mask|wire.SetUID, uint32(uid)
	}
	if gid != -1 {
		ch.Mask, ch.GID = ch.Mask|wire.SetGID, uint32(gid)
	}
	return t.setAttr(ctx, "chown", name, ch)
}

// Chtimes sets the times of the last access and the last change of the content;
// a zero Time leaves one as it is.
func (t *Tree) Chtimes(ctx context.Context, name string, atime, mtime time.Time) error {
	var ch Change
	if !atime.IsZero() {
		ch.Mask, ch.Atime = ch.Mask|wire.SetAtime, vocab.Time(atime.UnixNano())
	}
	if !mtime.IsZero() {
		ch.Mask, ch.Mtime = ch.Mask|wire.SetMtime, vocab.Time(mtime.UnixNano())
	}
	return t.setAttr(ctx, "chtimes", name, ch)
}

func (t *Tree) setAttr(ctx context.Context, op, name string, ch Change) error {
	return t.useFound(ctx, op, name, true, func(p *found) error {
		_, err := t.c.SetAttr(ctx, t.who, p.attr.Ino, ch)
		return err
	})
}
