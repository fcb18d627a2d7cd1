package exportd

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// maxDepth bounds the walk up to the root: deeper nesting than this is refused
// as a target of renames of directories.
const maxDepth = 1 << 16

func (s *Server) rename(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.RenameRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	for _, name := range []string{m.Name, m.NewName} {
		if err := checkName(name); err != nil {
			return nil, err
		}
		if isDot(name) {
			return nil, vocab.Errorf(vocab.Busy, "%q cannot be renamed or replaced", name)
		}
	}
	switch m.Flags {
	case 0, wire.RenameNoReplace, wire.RenameExchange:
	default:
		return nil, vocab.Errorf(vocab.Invalid, "rename with flags %#x", uint32(m.Flags))
	}
	return s.call(ctx, r, &m.Head, changes, func(t *tx) (wire.Message, error) {
		return &wire.Empty{}, t.rename(&m)
	})
}

func (t *tx) rename(m *wire.RenameRequest) error {
	from, err := t.named(m.Parent, m.Name)
	if err != nil {
		return err
	}
	dir, err := t.directory(m.NewParent)
	if err != nil {
		return err
	}
	e, there, err := t.find(m.NewParent, m.NewName)
	if err != nil {
		return err
	}
	var to *inode
	if there {
		if to, err = t.inode(e.ino); err != nil {
			return err
		}
	}
	if err := t.renameAllowed(m, from, to, dir); err != nil {
		return err
	}
	if to != nil && to.attr.Ino == from.attr.Ino {
		return nil // two names of one file: POSIX leaves both
	}
	if err := t.protect(from, wire.LeaseWrite); err != nil {
		return err
	}
	if to != nil {
		if err := t.protect(to, wire.LeaseWrite); err != nil {
			return err
		}
	}
	if m.Flags == wire.RenameExchange {
		return t.exchange(m, from, to)
	}
	return t.move(m, from, to)
}

// renameAllowed checks the cases of POSIX and of renameat2.
func (t *tx) renameAllowed(m *wire.RenameRequest, from, to, dir *inode) error {
	exchange := m.Flags == wire.RenameExchange
	if err := dir.alive(); err != nil {
		return err
	}
	switch {
	case to == nil && exchange:
		return errNoName(m.NewName)
	case to != nil && m.Flags == wire.RenameNoReplace:
		return vocab.Errorf(vocab.Exists, "%q", m.NewName)
	case to != nil && to.attr.Ino == from.attr.Ino:
		return nil
	}
	if from.attr.IsDir() {
		if err := t.notWithin(m.NewParent, from.attr.Ino); err != nil {
			return err
		}
	}
	if exchange {
		if to.attr.IsDir() {
			if err := t.notWithin(m.Parent, to.attr.Ino); err != nil {
				return err
			}
		}
		return t.roomForDirs(m, from, to)
	}
	switch {
	case to == nil:
	case from.attr.IsDir() && !to.attr.IsDir():
		return vocab.Errorf(vocab.NotDir, "%q", m.NewName)
	case !from.attr.IsDir() && to.attr.IsDir():
		return vocab.Errorf(vocab.IsDir, "%q", m.NewName)
	case to.entries > 0:
		return vocab.Errorf(vocab.NotEmpty, "%q has %d entries", m.NewName, to.entries)
	}
	return t.roomForDirs(m, from, to)
}

// roomForDirs checks the link counts of the directories afterwards.
func (t *tx) roomForDirs(m *wire.RenameRequest, from, to *inode) error {
	if m.Parent == m.NewParent {
		return nil
	}
	fromDir, toDir := from.attr.IsDir(), to != nil && to.attr.IsDir()
	full := func(ino vocab.Ino) error {
		n, err := t.inode(ino)
		if err == nil && n.attr.Nlink >= vocab.MaxLinks {
			err = vocab.Errorf(vocab.TooManyLinks, "directory %d has %d directories in it", uint64(ino), n.attr.Nlink-2)
		}
		return err
	}
	if fromDir && !toDir {
		return full(m.NewParent)
	}
	if toDir && !fromDir && m.Flags == wire.RenameExchange {
		return full(m.Parent)
	}
	return nil
}

// notWithin refuses to move a directory into itself.
func (t *tx) notWithin(at, dir vocab.Ino) error {
	for range maxDepth {
		if at == dir {
			return vocab.Errorf(vocab.Invalid, "directory %d would come to lie within itself", uint64(dir))
		}
		n, err := t.inode(at)
		if err != nil {
			return err
		}
		if n.parent == at || n.attr.Nlink == 0 {
			return nil
		}
		at = n.parent
	}
	return vocab.Errorf(vocab.TooLarge, "directories are nested over %d deep", maxDepth)
}

// move takes from to its new name, in the place of to if that is there.
func (t *tx) move(m *wire.RenameRequest, from, to *inode) error {
	isDir := from.attr.IsDir()
	if err := t.detach(m.Parent, m.Name, from); err != nil {
		return err
	}
	if to != nil {
		if err := t.touchDir(m.NewParent, -1, to.attr.IsDir(), -1); err != nil {
			return err
		}
		if err := t.loseLink(to.attr.Ino); err != nil {
			return err
		}
	}
	if err := t.enter(m.NewParent, slot{m.NewName, from.attr.Ino, from.attr.Mode & vocab.ModeType}); err != nil {
		return err
	}
	if err := t.touchDir(m.NewParent, +1, isDir, +1); err != nil {
		return err
	}
	return t.moved(from.attr.Ino, m.NewParent)
}

// exchange swaps two names.
func (t *tx) exchange(m *wire.RenameRequest, from, to *inode) error {
	if err := t.enter(m.NewParent, slot{m.NewName, from.attr.Ino, from.attr.Mode & vocab.ModeType}); err != nil {
		return err
	}
	if err := t.enter(m.Parent, slot{m.Name, to.attr.Ino, to.attr.Mode & vocab.ModeType}); err != nil {
		return err
	}
	if err := t.exchangeLinks(m.Parent, from, to); err != nil {
		return err
	}
	if err := t.exchangeLinks(m.NewParent, to, from); err != nil {
		return err
	}
	if err := t.moved(from.attr.Ino, m.NewParent); err != nil {
		return err
	}
	return t.moved(to.attr.Ino, m.Parent)
}

// exchangeLinks notes that dir lost one inode and got another.
func (t *tx) exchangeLinks(dir vocab.Ino, lost, got *inode) error {
	if err := t.touchDir(dir, 0, lost.attr.IsDir(), -1); err != nil {
		return err
	}
	return t.touchDir(dir, 0, got.attr.IsDir(), +1)
}

// moved notes an inode's new place.
func (t *tx) moved(ino, parent vocab.Ino) error {
	n, err := t.edit(ino)
	if err != nil {
		return err
	}
	if n.attr.IsDir() {
		n.parent = parent
	}
	n.attr.Ctime = t.now
	return nil
}
