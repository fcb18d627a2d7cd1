package rozofs

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// maxSymlinks bounds the symbolic links followed for one name.
const maxSymlinks = 40

// maxRaces bounds how often a name is looked up again because the file that it
// named was replaced or removed before it could be used.
const maxRaces = 16

// Tree is a Client's export by path, for Go programs: what package os is to the
// local file system.
//
// Names are slash-separated and count from the export's root, with or without a
// leading slash; "." and ".." are resolved, and ".." of the root is the root.
// Symbolic links are followed, at most 40; an absolute target counts from the
// export's root. A trailing slash demands a directory.
//
// Errors are *fs.PathError. They match a vocab.Kind and, where it fits,
// fs.ErrNotExist, fs.ErrExist, fs.ErrPermission or errors.ErrUnsupported.
//
// Permission bits are stored and returned but not checked: whoever has the Client
// may do everything. There is no umask.
type Tree struct {
	c   *Client
	who Caller
}

// Tree returns the export by path. What is created belongs to who.
func (c *Client) Tree(who Caller) *Tree { return &Tree{c: c, who: who} }

// use resolves a name and lets f act on what was found, once more if the file
// vanished in between.
func (t *Tree) use(ctx context.Context, op, name string, follow bool, f func(p *found) error) error {
	var err error
	for range maxRaces {
		var p *found
		if p, err = t.resolve(ctx, name, follow); err == nil {
			err = f(p)
		}
		if !errors.Is(err, vocab.Stale) {
			break
		}
	}
	return pathError(op, name, err)
}

// useFound is use for names that must be there.
func (t *Tree) useFound(ctx context.Context, op, name string, follow bool, f func(p *found) error) error {
	return t.use(ctx, op, name, follow, func(p *found) error {
		if err := p.mustExist(); err != nil {
			return err
		}
		return f(p)
	})
}

// useVacant is use for names that must be free; a trailing slash does not count.
func (t *Tree) useVacant(ctx context.Context, op, name string, f func(p *found) error) error {
	return t.use(ctx, op, trimSlashes(name), false, func(p *found) error {
		if p.there {
			return vocab.Errorf(vocab.Exists, "%q", p.name)
		}
		return f(p)
	})
}

// Mkdir makes a directory.
func (t *Tree) Mkdir(ctx context.Context, name string, perm fs.FileMode) error {
	return t.useVacant(ctx, "mkdir", name, func(p *found) error {
		_, err := t.c.Mknod(ctx, t.who, p.parent, p.name, vocab.ModeDir|modeBits(perm), 0)
		return err
	})
}

// MkdirAll makes a directory and those above it that are not there. It is no
// error if the directory is there.
func (t *Tree) MkdirAll(ctx context.Context, name string, perm fs.FileMode) error {
	mode := vocab.ModeDir | modeBits(perm)
	mkdir := func(parent vocab.Ino, name string) (vocab.Attr, error) {
		a, err := t.c.Mknod(ctx, t.who, parent, name, mode, 0)
		if errors.Is(err, vocab.Exists) { // someone was faster
			return t.c.Lookup(ctx, t.who, parent, name)
		}
		return a, err
	}
	var err error
	for range maxRaces {
		w := t.newWalk(ctx, name, true)
		w.missing = mkdir
		var p *found
		if p, err = w.run(); err == nil && !p.attr.IsDir() {
			err = vocab.Errorf(vocab.NotDir, "%q", p.name)
		}
		if !errors.Is(err, vocab.Stale) {
			break
		}
	}
	return pathError("mkdir", name, err)
}

// Remove removes a file or an empty directory; of a symbolic link, the link.
func (t *Tree) Remove(ctx context.Context, name string) error {
	return t.useFound(ctx, "remove", name, false, func(p *found) error {
		if err := p.mustHaveName(); err != nil {
			return err
		}
		if p.attr.IsDir() {
			return t.c.Rmdir(ctx, t.who, p.parent, p.name)
		}
		return t.c.Unlink(ctx, t.who, p.parent, p.name)
	})
}

// RemoveAll removes a file, or a directory with all that is in it. It is no error
// if there is none. After an error part of the content may be gone.
func (t *Tree) RemoveAll(ctx context.Context, name string) error {
	return t.use(ctx, "removeall", trimSlashes(name), false, func(p *found) error {
		if !p.there {
			return nil
		}
		if err := p.mustHaveName(); err != nil {
			return err
		}
		return t.removeAll(ctx, p.parent, p.name, p.attr)
	})
}

// removeAll removes one name with all below it. That others put names into a
// directory meanwhile is overcome a few times.
func (t *Tree) removeAll(ctx context.Context, parent vocab.Ino, name string, a vocab.Attr) error {
	if !a.IsDir() {
		return except(t.c.Unlink(ctx, t.who, parent, name), vocab.NotFound)
	}
	err := t.c.Rmdir(ctx, t.who, parent, name)
	for range maxRaces {
		if !errors.Is(err, vocab.NotEmpty) {
			break
		}
		if err = t.empty(ctx, a.Ino); err != nil {
			break
		}
		err = t.c.Rmdir(ctx, t.who, parent, name)
	}
	return except(err, vocab.NotFound)
}

// empty removes the content of a directory.
func (t *Tree) empty(ctx context.Context, dir vocab.Ino) error {
	return t.list(ctx, dir, func(e wire.Entry) error {
		return t.removeAll(ctx, dir, e.Name, e.Attr)
	})
}

// except turns an error of one kind into none.
func except(err error, k vocab.Kind) error {
	if errors.Is(err, k) {
		return nil
	}
	return err
}

// Rename moves a file or directory. What has the new name is replaced atomically
// if it is of the same sort and, as a directory, empty.
func (t *Tree) Rename(ctx context.Context, oldName, newName string) error {
	return t.useFound(ctx, "rename", oldName, false, func(from *found) error {
		if err := from.mustHaveName(); err != nil {
			return err
		}
		to, err := t.resolve(ctx, trimSlashes(newName), false)
		if err == nil {
			err = to.mustHaveName()
		}
		if err == nil && !from.attr.IsDir() && trimSlashes(newName) != newName {
			err = vocab.Errorf(vocab.NotDir, "%q is not a directory, %q must be one", from.name, newName)
		}
		if err != nil {
			return pathError("rename", newName, err)
		}
		return t.c.Rename(ctx, t.who, from.parent, from.name, to.parent, to.name, 0)
	})
}

// Link makes newName another name of the file oldName, which is not followed if
// it is a symbolic link.
func (t *Tree) Link(ctx context.Context, oldName, newName string) error {
	return t.useFound(ctx, "link", oldName, false, func(from *found) error {
		return t.useVacant(ctx, "link", newName, func(to *found) error {
			_, err := t.c.Link(ctx, t.who, from.attr.Ino, to.parent, to.name)
			return err
		})
	})
}

// Symlink makes newName a symbolic link to oldName, which need not exist.
func (t *Tree) Symlink(ctx context.Context, oldName, newName string) error {
	return t.useVacant(ctx, "symlink", newName, func(p *found) error {
		_, err := t.c.Symlink(ctx, t.who, p.parent, p.name, oldName)
		return err
	})
}

// Readlink returns where a symbolic link points.
func (t *Tree) Readlink(ctx context.Context, name string) (target string, err error) {
	err = t.useFound(ctx, "readlink", name, false, func(p *found) (err error) {
		target, err = t.c.Readlink(ctx, p.attr.Ino)
		return err
	})
	return target, err
}

// ReadDir lists a directory, sorted by name. An entry's Info asks exportd, under
// the client's lifetime; it is fs.ErrNotExist when the name has gone since.
func (t *Tree) ReadDir(ctx context.Context, name string) ([]fs.DirEntry, error) {
	return t.readDir(ctx, t.c.ctx, name)
}

func (t *Tree) readDir(ctx, infoCtx context.Context, name string) (all []fs.DirEntry, err error) {
	err = t.useFound(ctx, "readdir", name, true, func(p *found) error {
		if !p.attr.IsDir() {
			return vocab.Errorf(vocab.NotDir, "%q", name)
		}
		all = nil
		return t.list(ctx, p.attr.Ino, func(e wire.Entry) error {
			all = append(all, &dirEntry{t: t, ctx: infoCtx, dir: name, parent: p.attr.Ino, entry: e})
			return nil
		})
	})
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all, err
}

// list calls f for each entry of a directory.
func (t *Tree) list(ctx context.Context, dir vocab.Ino, f func(wire.Entry) error) error {
	for cookie := uint64(0); ; {
		reply, err := t.c.ReadDir(ctx, dir, cookie, wire.MaxEntries, false)
		if err != nil {
			return err
		}
		for _, e := range reply.Entries {
			if err := f(e); err != nil {
				return err
			}
			cookie = e.Cookie
		}
		if reply.Last || len(reply.Entries) == 0 {
			return nil
		}
	}
}
