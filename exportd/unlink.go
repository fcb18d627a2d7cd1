package exportd

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

func (s *Server) unlink(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.NameRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if err := checkName(m.Name); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, changes, func(t *tx) (wire.Message, error) {
		if isDot(m.Name) {
			return nil, vocab.Errorf(vocab.IsDir, "%q", m.Name)
		}
		n, err := t.named(m.Parent, m.Name)
		if err != nil {
			return nil, err
		}
		if n.attr.IsDir() {
			return nil, vocab.Errorf(vocab.IsDir, "%q", m.Name)
		}
		if err := t.protect(n, wire.LeaseWrite); err != nil {
			return nil, err
		}
		if err := t.detach(m.Parent, m.Name, n); err != nil {
			return nil, err
		}
		return &wire.Empty{}, t.loseLink(n.attr.Ino)
	})
}

func (s *Server) rmdir(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.NameRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if err := checkName(m.Name); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, changes, func(t *tx) (wire.Message, error) {
		switch m.Name {
		case ".":
			return nil, vocab.Errorf(vocab.Invalid, "%q", m.Name)
		case "..":
			return nil, vocab.Errorf(vocab.NotEmpty, "%q", m.Name)
		}
		n, err := t.named(m.Parent, m.Name)
		if err != nil {
			return nil, err
		}
		if !n.attr.IsDir() {
			return nil, vocab.Errorf(vocab.NotDir, "%q", m.Name)
		}
		if n.entries > 0 {
			return nil, vocab.Errorf(vocab.NotEmpty, "%q has %d entries", m.Name, n.entries)
		}
		if err := t.detach(m.Parent, m.Name, n); err != nil {
			return nil, err
		}
		return &wire.Empty{}, t.loseLink(n.attr.Ino)
	})
}

// named returns the inode under a name that must be there.
func (t *tx) named(parent vocab.Ino, name string) (*inode, error) {
	if _, err := t.directory(parent); err != nil {
		return nil, err
	}
	e, ok, err := t.find(parent, name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errNoName(name)
	}
	return t.inode(e.ino)
}

// detach takes the name out of its directory.
func (t *tx) detach(parent vocab.Ino, name string, n *inode) error {
	if err := t.remove(parent, name); err != nil {
		return err
	}
	return t.touchDir(parent, -1, n.attr.IsDir(), -1)
}

// loseLink takes one name from an inode, and with the last one the inode,
// unless it is open.
func (t *tx) loseLink(ino vocab.Ino) error {
	n, err := t.edit(ino)
	if err != nil {
		return err
	}
	n.attr.Ctime = t.now
	if n.attr.Nlink--; n.attr.IsDir() {
		n.attr.Nlink = 0
	}
	if n.attr.Nlink > 0 || t.reap(n, nil) {
		return nil
	}
	t.orphan(ino)
	return nil
}

// orphan lists an inode that has no name and is open.
func (t *tx) orphan(ino vocab.Ino) {
	t.puts = append(t.puts, pair{fileKey(prefixOrphan, t.exp.EID, ino), nil})
	t.hook(func() { t.s.orphans[ino] = t.exp })
}

// adopt takes an inode that gets a name off the list.
func (t *tx) adopt(ino vocab.Ino) {
	t.drop(fileKey(prefixOrphan, t.exp.EID, ino))
	t.hook(func() { delete(t.s.orphans, ino) })
}

// reap deletes an inode that has no name, if nobody but closing has it open. It
// tells whether it did. While sessions have not said what they have open, it
// waits for them.
func (t *tx) reap(n *inode, closing *session) bool {
	ino := n.attr.Ino
	if n.attr.Nlink > 0 {
		return false
	}
	if ino <= t.s.graceIno && t.s.inGrace(t.exp, nil) {
		return false
	}
	e := t.s.files[ino]
	if e != nil {
		for _, h := range e.holders {
			if h.open && h.sess != closing {
				return false
			}
		}
	}
	t.erase(ino)
	t.files--
	if n.attr.Mode&vocab.ModeXattr != 0 {
		t.drop(fileKey(prefixXattr, t.exp.EID, ino))
	}
	if n.attr.IsRegular() {
		t.bytes -= int64(n.attr.Size)
		t.queueDeletion(&n.placement)
	}
	t.forgetFile(ino, e)
	return true
}

// forgetFile drops what is kept about a file beside its inode.
func (t *tx) forgetFile(ino vocab.Ino, e *entry) {
	s := t.s
	if _, ok := s.orphans[ino]; ok {
		t.adopt(ino)
	}
	if _, ok := s.recovery[ino]; ok {
		t.drop(fileKey(prefixRecovery, t.exp.EID, ino))
		t.hook(func() { delete(s.recovery, ino); delete(s.torn, ino) })
	}
	if _, ok := s.degraded[ino]; ok {
		t.repaired(t.exp, ino)
	}
	if e == nil {
		return
	}
	for _, h := range e.holders {
		if h.lease.Kind == wire.LeaseWrite {
			t.drop(fileKey(prefixLease, t.exp.EID, ino))
		}
		t.hook(func() {
			h.open, h.lease = false, wire.Lease{}
			if st := s.fenced[h.sess]; st != nil {
				delete(st.files, ino)
			}
			s.settle(e, h)
		})
	}
}

func (s *Server) link(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.LinkRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if err := checkName(m.Name); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, changes, func(t *tx) (wire.Message, error) {
		n, err := t.inode(m.Ino)
		if err != nil {
			return nil, err
		}
		if n.attr.IsDir() {
			return nil, vocab.Errorf(vocab.NotPermitted, "inode %d is a directory, which has one name only", uint64(m.Ino))
		}
		if _, err := t.vacancy(m.Parent, m.Name); err != nil {
			return nil, err
		}
		switch {
		case n.attr.Nlink == 0 && !n.nameable:
			return nil, vocab.Errorf(vocab.NotFound, "inode %d was unlinked", uint64(m.Ino))
		case n.attr.Nlink >= vocab.MaxLinks:
			return nil, vocab.Errorf(vocab.TooManyLinks, "inode %d has %d names", uint64(m.Ino), n.attr.Nlink)
		}
		if err := t.protect(n, wire.LeaseWrite); err != nil {
			return nil, err
		}
		n, err = t.edit(m.Ino)
		if err != nil {
			return nil, err
		}
		if n.attr.Nlink == 0 {
			n.nameable = false
			t.adopt(m.Ino)
		}
		n.attr.Nlink++
		n.attr.Ctime = t.now
		return &wire.AttrReply{Attr: n.attr}, t.attach(m.Parent, m.Name, n)
	})
}
