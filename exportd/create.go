package exportd

import (
	"context"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// dirBytes is the size that directories show.
const dirBytes = 4096

// newInode hands out the next number.
func (t *tx) newInode(mode, uid, gid uint32) *inode {
	t.count.ino++
	n := &inode{attr: vocab.Attr{
		Ino: vocab.Ino(t.count.ino), Generation: t.s.store.incarnation, Mode: mode, Nlink: 1,
		UID: uid, GID: gid, Atime: t.now, Mtime: t.now, Ctime: t.now,
	}}
	if n.attr.IsDir() {
		n.attr.Nlink, n.attr.Size = 2, dirBytes
	}
	t.files++
	t.put(n)
	return n
}

// vacancy returns the directory for a new name, checked to be free there.
func (t *tx) vacancy(parent vocab.Ino, name string) (*inode, error) {
	dir, err := t.directory(parent)
	if err != nil {
		return nil, err
	}
	if isDot(name) {
		return nil, vocab.Errorf(vocab.Exists, "%q", name)
	}
	if _, taken, err := t.find(parent, name); err != nil {
		return nil, err
	} else if taken {
		return nil, vocab.Errorf(vocab.Exists, "%q", name)
	}
	return dir, dir.alive()
}

// alive refuses new names in a directory that was removed.
func (n *inode) alive() error {
	if n.attr.Nlink == 0 {
		return vocab.Errorf(vocab.NotFound, "directory %d was removed", uint64(n.attr.Ino))
	}
	return nil
}

// make creates an inode under a name that vacancy found free.
func (t *tx) make(dir *inode, name string, mode, masked uint32) (*inode, error) {
	n, err := t.makeUnnamed(dir, mode, masked)
	if err != nil {
		return nil, err
	}
	return n, t.attach(dir.attr.Ino, name, n)
}

// makeUnnamed creates an inode as one of the directory's, but enters it nowhere.
func (t *tx) makeUnnamed(dir *inode, mode, masked uint32) (*inode, error) {
	if q := t.exp.HardQuota; q > 0 && t.exp.bytes >= q {
		return nil, vocab.Errorf(vocab.OverQuota, "export %s holds %d of %d bytes", t.exp.Root, t.exp.bytes, q)
	}
	gid := t.head.GID
	if dir.attr.Mode&vocab.ModeSetGID != 0 {
		gid = dir.attr.GID
		if mode&vocab.ModeType == vocab.ModeDir {
			mode |= vocab.ModeSetGID
		}
	}
	isDir := mode&vocab.ModeType == vocab.ModeDir
	if isDir && dir.attr.Nlink >= vocab.MaxLinks {
		return nil, vocab.Errorf(vocab.TooManyLinks, "directory %d has %d directories in it", uint64(dir.attr.Ino), dir.attr.Nlink-2)
	}
	n := t.newInode(mode, t.head.UID, gid)
	switch {
	case isDir:
		n.parent = dir.attr.Ino
	case n.attr.IsRegular():
		p, err := t.s.place(t.exp, n.attr.Ino)
		if err != nil {
			return nil, err
		}
		n.placement = p
	}
	return n, t.inheritACL(dir, n, masked)
}

// attach enters the inode under a free name.
func (t *tx) attach(parent vocab.Ino, name string, n *inode) error {
	if err := t.enter(parent, slot{name, n.attr.Ino, n.attr.Mode & vocab.ModeType}); err != nil {
		return err
	}
	return t.touchDir(parent, +1, n.attr.IsDir(), +1)
}

// touchDir notes that entries came or went; delta links are those of a directory
// among them.
func (t *tx) touchDir(ino vocab.Ino, entries int, isDir bool, links int) error {
	dir, err := t.edit(ino)
	if err != nil {
		return err
	}
	dir.entries = uint32(int64(dir.entries) + int64(entries))
	if isDir {
		dir.attr.Nlink = uint32(int64(dir.attr.Nlink) + int64(links))
	}
	dir.attr.Mtime, dir.attr.Ctime = t.now, t.now
	return nil
}

func (s *Server) mknod(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.MknodRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if err := checkName(m.Name); err != nil {
		return nil, err
	}
	switch m.Mode & vocab.ModeType {
	case 0:
		m.Mode |= vocab.ModeRegular
	case vocab.ModeRegular, vocab.ModeDir, vocab.ModeFIFO, vocab.ModeSocket, vocab.ModeChar, vocab.ModeBlock:
	default:
		return nil, vocab.Errorf(vocab.Invalid, "mknod with mode %#o", m.Mode)
	}
	if m.Mode&vocab.ModeType == vocab.ModeRegular {
		s.awaitPoll(ctx)
	}
	return s.call(ctx, r, &m.Head, changes, func(t *tx) (wire.Message, error) {
		dir, err := t.vacancy(m.Parent, m.Name)
		if err != nil {
			return nil, err
		}
		n, err := t.make(dir, m.Name, m.Mode&(vocab.ModeType|vocab.ModePerm), m.Masked)
		if err != nil {
			return nil, err
		}
		switch m.Mode & vocab.ModeType {
		case vocab.ModeChar, vocab.ModeBlock:
			n.attr.Rdev = m.Rdev
		}
		return &wire.AttrReply{Attr: n.attr}, nil
	})
}

func (s *Server) symlink(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.SymlinkRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if err := checkName(m.Name); err != nil {
		return nil, err
	}
	switch {
	case m.Target == "":
		return nil, vocab.Errorf(vocab.NotFound, "an empty target")
	case len(m.Target) > vocab.MaxSymlinkBytes:
		return nil, vocab.Errorf(vocab.NameTooLong, "a target of %d bytes, at most %d", len(m.Target), vocab.MaxSymlinkBytes)
	case strings.ContainsRune(m.Target, 0):
		return nil, vocab.Errorf(vocab.Invalid, "the target holds a zero byte")
	}
	return s.call(ctx, r, &m.Head, changes, func(t *tx) (wire.Message, error) {
		dir, err := t.vacancy(m.Parent, m.Name)
		if err != nil {
			return nil, err
		}
		n, err := t.make(dir, m.Name, vocab.ModeSymlink|0o777, 0)
		if err != nil {
			return nil, err
		}
		n.target, n.attr.Size = m.Target, uint64(len(m.Target))
		return &wire.AttrReply{Attr: n.attr}, nil
	})
}

func (s *Server) create(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.CreateRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if err := checkName(m.Name); err != nil {
		return nil, err
	}
	if m.Want > wire.LeaseWrite {
		return nil, vocab.Errorf(vocab.Invalid, "lease kind %d", m.Want)
	}
	s.awaitPoll(ctx)
	ctx, cancel := patient(ctx, m.Patience)
	defer cancel()
	return s.call(ctx, r, &m.Head, changes, func(t *tx) (wire.Message, error) {
		dir, err := t.directory(m.Parent)
		if err != nil {
			return nil, err
		}
		if isDot(m.Name) {
			return nil, vocab.Errorf(vocab.IsDir, "%q", m.Name)
		}
		e, there, err := t.find(m.Parent, m.Name)
		switch {
		case err != nil:
			return nil, err
		case there && m.Exclusive:
			return nil, vocab.Errorf(vocab.Exists, "%q", m.Name)
		case there && e.mode == vocab.ModeDir:
			return nil, vocab.Errorf(vocab.IsDir, "%q", m.Name)
		case there:
			return t.openFile(e.ino, m.Want)
		}
		if err := dir.alive(); err != nil {
			return nil, err
		}
		n, err := t.make(dir, m.Name, vocab.ModeRegular|m.Mode&vocab.ModePerm, m.Masked)
		if err != nil {
			return nil, err
		}
		return t.openNew(n, m.Want)
	})
}

// openNew registers a file that was just made as open and grants the lease that is wanted.
func (t *tx) openNew(n *inode, want wire.LeaseKind) (wire.Message, error) {
	lease, err := t.grant(n, want)
	if err != nil {
		return nil, err
	}
	return &wire.OpenReply{Attr: n.attr, Placement: n.placement, Lease: lease, Created: true}, nil
}

// tmpfile makes a regular file that has no name and is open: it goes with its last close,
// unless a link has given it one.
func (s *Server) tmpfile(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.CreateRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if m.Want > wire.LeaseWrite {
		return nil, vocab.Errorf(vocab.Invalid, "lease kind %d", m.Want)
	}
	s.awaitPoll(ctx)
	return s.call(ctx, r, &m.Head, changes, func(t *tx) (wire.Message, error) {
		dir, err := t.directory(m.Parent)
		if err != nil {
			return nil, err
		}
		if err := dir.alive(); err != nil {
			return nil, err
		}
		n, err := t.makeUnnamed(dir, vocab.ModeRegular|m.Mode&vocab.ModePerm, m.Masked)
		if err != nil {
			return nil, err
		}
		n.attr.Nlink, n.nameable = 0, !m.Exclusive
		t.orphan(n.attr.Ino)
		return t.openNew(n, m.Want)
	})
}
