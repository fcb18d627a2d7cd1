package exportd

import (
	"context"
	"slices"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// xattrRecord is all extended attributes of an inode, in order of their names. It is there
// if vocab.ModeXattr is set, and has one at least.
type xattrRecord struct {
	list []xattr
}

type xattr struct {
	name  string
	value []byte
}

func (r *xattrRecord) Code(c *wire.Codec) {
	codeForm(c)
	wire.Slice(c, &r.list, vocab.MaxXattrsBytes, 8, func(c *wire.Codec, x *xattr) {
		c.String(&x.name, vocab.MaxXattrNameBytes)
		c.Bytes(&x.value, vocab.MaxXattrBytes)
	})
}

func (r *xattrRecord) find(name string) (at int, there bool) {
	return slices.BinarySearchFunc(r.list, name, func(x xattr, name string) int { return strings.Compare(x.name, name) })
}

func (r *xattrRecord) get(name string) []byte {
	if at, there := r.find(name); there {
		return r.list[at].value
	}
	return nil
}

func (r *xattrRecord) set(name string, value []byte) {
	at, there := r.find(name)
	if !there {
		r.list = slices.Insert(r.list, at, xattr{name: name})
	}
	r.list[at].value = value
}

// remove tells whether it was there.
func (r *xattrRecord) remove(name string) bool {
	at, there := r.find(name)
	if there {
		r.list = slices.Delete(r.list, at, at+1)
	}
	return there
}

func (r *xattrRecord) bytes() (n int) {
	for _, x := range r.list {
		n += len(x.name) + 1 + len(x.value)
	}
	return n
}

// checkXattrName: the kernel of the client has seen who may use which class of names.
func checkXattrName(name string) error {
	if len(name) > vocab.MaxXattrNameBytes {
		return vocab.Errorf(vocab.NameTooLong, "an attribute name of %d bytes, at most %d", len(name), vocab.MaxXattrNameBytes)
	}
	if strings.ContainsRune(name, 0) {
		return vocab.Errorf(vocab.Invalid, "the attribute name %q holds a zero byte", name)
	}
	if isACL(name) {
		return nil
	}
	for _, class := range []string{"user.", "trusted.", "security."} {
		if strings.HasPrefix(name, class) && len(name) > len(class) {
			return nil
		}
	}
	return vocab.Errorf(vocab.NotSupported, "the attribute name %q", name)
}

func isACL(name string) bool { return name == vocab.XattrAccessACL || name == vocab.XattrDefaultACL }

// xattrs reads those of the inode; what the command itself has put does not show.
func (t *tx) xattrs(n *inode) (*xattrRecord, error) {
	r := new(xattrRecord)
	if n.attr.Mode&vocab.ModeXattr == 0 {
		return r, nil
	}
	k := fileKey(prefixXattr, t.exp.EID, n.attr.Ino)
	there, err := value(t.s.db, k, r)
	if err == nil && !there {
		err = vocab.Errorf(vocab.Corrupt, "inode %d has lost its extended attributes", uint64(n.attr.Ino))
	}
	return r, err
}

// putXattrs records those of an inode that the command edits.
func (t *tx) putXattrs(n *inode, r *xattrRecord) {
	k := fileKey(prefixXattr, t.exp.EID, n.attr.Ino)
	n.attr.Mode &^= vocab.ModeXattr | vocab.ModeCapability
	if len(r.list) == 0 {
		t.drop(k)
		return
	}
	n.attr.Mode |= vocab.ModeXattr
	if _, there := r.find(vocab.XattrCapability); there {
		n.attr.Mode |= vocab.ModeCapability
	}
	t.set(k, r)
}

func (s *Server) getXattr(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.XattrRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if err := checkXattrName(m.Name); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, reads, func(t *tx) (wire.Message, error) {
		have, err := t.xattrsOf(m.Ino)
		if err != nil {
			return nil, err
		}
		at, there := have.find(m.Name)
		if !there {
			return nil, errNoXattr(m.Ino, m.Name)
		}
		return &wire.XattrReply{Value: have.list[at].value}, nil
	})
}

func (t *tx) xattrsOf(ino vocab.Ino) (*xattrRecord, error) {
	n, err := t.inode(ino)
	if err != nil {
		return nil, err
	}
	return t.xattrs(n)
}

func errNoXattr(ino vocab.Ino, name string) error {
	return vocab.Errorf(vocab.NoData, "%q of inode %d", name, uint64(ino))
}

func (s *Server) listXattr(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.InoRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, reads, func(t *tx) (wire.Message, error) {
		have, err := t.xattrsOf(m.Ino)
		if err != nil {
			return nil, err
		}
		reply := &wire.XattrNamesReply{}
		for _, x := range have.list {
			reply.Names = append(reply.Names, x.name)
		}
		return reply, nil
	})
}

func (s *Server) setXattr(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.SetXattrRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if err := checkXattrName(m.Name); err != nil {
		return nil, err
	}
	const all = wire.XattrCreate | wire.XattrReplace | wire.XattrDropsSetGroup
	const either = wire.XattrCreate | wire.XattrReplace
	switch {
	case m.Flags&^all != 0 || m.Flags&either == either:
		return nil, vocab.Errorf(vocab.Invalid, "setxattr with flags %#x", uint32(m.Flags))
	case len(m.Value) > vocab.MaxXattrBytes:
		return nil, vocab.Errorf(vocab.TooLarge, "an attribute of %d bytes, at most %d", len(m.Value), vocab.MaxXattrBytes)
	}
	return s.changeXattrs(ctx, r, &m.Head, m.Ino, func(t *tx, n *inode, have *xattrRecord) error {
		_, there := have.find(m.Name)
		switch {
		case there && m.Flags&wire.XattrCreate != 0:
			return vocab.Errorf(vocab.Exists, "%q of inode %d", m.Name, uint64(m.Ino))
		case !there && m.Flags&wire.XattrReplace != 0:
			return errNoXattr(m.Ino, m.Name)
		case isACL(m.Name):
			return setACL(n, have, &m)
		}
		have.set(m.Name, m.Value)
		return nil
	})
}

// setACL sets an ACL, the one of access with the permission bits. What says no more than
// these is not kept.
func setACL(n *inode, have *xattrRecord, m *wire.SetXattrRequest) error {
	a, err := parseACL(m.Value)
	switch {
	case err != nil:
		return err
	case n.attr.Mode&vocab.ModeType == vocab.ModeSymlink:
		return vocab.Errorf(vocab.NotSupported, "a symbolic link has no ACL")
	case m.Name == vocab.XattrDefaultACL && !n.attr.IsDir():
		return vocab.Errorf(vocab.AccessDenied, "only a directory has a default ACL")
	case len(a) == 0:
		have.remove(m.Name)
		return nil
	case m.Name == vocab.XattrDefaultACL:
		have.set(m.Name, m.Value)
		return nil
	}
	perm, minimal := a.mode()
	n.attr.Mode = n.attr.Mode&^0o777 | perm
	if m.Flags&wire.XattrDropsSetGroup != 0 {
		n.attr.Mode &^= vocab.ModeSetGID
	}
	if minimal {
		have.remove(m.Name)
		return nil
	}
	have.set(m.Name, m.Value)
	return nil
}

func (s *Server) removeXattr(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.XattrRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if err := checkXattrName(m.Name); err != nil {
		return nil, err
	}
	return s.changeXattrs(ctx, r, &m.Head, m.Ino, func(_ *tx, _ *inode, have *xattrRecord) error {
		if !have.remove(m.Name) {
			return errNoXattr(m.Ino, m.Name)
		}
		return nil
	})
}

// changeXattrs is a command that changes extended attributes, and with them ctime.
func (s *Server) changeXattrs(ctx context.Context, r *wire.Request, h *wire.Head, ino vocab.Ino, change func(*tx, *inode, *xattrRecord) error) (wire.Message, error) {
	return s.call(ctx, r, h, changes, func(t *tx) (wire.Message, error) {
		n, err := t.inode(ino)
		if err != nil {
			return nil, err
		}
		have, err := t.xattrs(n)
		if err != nil {
			return nil, err
		}
		if err := t.protect(n, wire.LeaseWrite); err != nil {
			return nil, err
		}
		if n, err = t.edit(ino); err != nil {
			return nil, err
		}
		before := have.bytes()
		if err := change(t, n, have); err != nil {
			return nil, err
		}
		if after := have.bytes(); after > vocab.MaxXattrsBytes && after > before {
			return nil, vocab.Errorf(vocab.NoSpace, "inode %d would have %d bytes of extended attributes, at most %d", uint64(ino), after, vocab.MaxXattrsBytes)
		}
		t.putXattrs(n, have)
		n.attr.Ctime = t.now
		return &wire.AttrReply{Attr: n.attr}, nil
	})
}

// inheritACL gives a new file the rights that its mode asks for, with what the umask has
// taken, as far as the default ACL of its directory lets it. If there is none they stay.
func (t *tx) inheritACL(dir, n *inode, masked uint32) error {
	if n.attr.Mode&vocab.ModeType == vocab.ModeSymlink {
		return nil
	}
	of, err := t.xattrs(dir)
	if err != nil {
		return err
	}
	stored := of.get(vocab.XattrDefaultACL)
	if stored == nil {
		return nil
	}
	def, err := parseACL(stored)
	if err != nil {
		return vocab.Errorf(vocab.Corrupt, "the default ACL of inode %d: %v", uint64(dir.attr.Ino), err)
	}
	access, perm := def.inherit((n.attr.Mode | masked) & 0o777)
	n.attr.Mode = n.attr.Mode&^0o777 | perm
	var its xattrRecord
	if _, minimal := access.mode(); !minimal {
		its.set(vocab.XattrAccessACL, access.encode())
	}
	if n.attr.IsDir() {
		its.set(vocab.XattrDefaultACL, stored)
	}
	if len(its.list) > 0 {
		t.putXattrs(n, &its)
	}
	return nil
}

// followMode makes the ACL of an inode follow its permission bits.
func (t *tx) followMode(n *inode) error {
	have, err := t.xattrs(n)
	if err != nil {
		return err
	}
	stored := have.get(vocab.XattrAccessACL)
	if stored == nil {
		return nil
	}
	a, err := parseACL(stored)
	if err != nil {
		return vocab.Errorf(vocab.Corrupt, "the ACL of inode %d: %v", uint64(n.attr.Ino), err)
	}
	a.chmod(n.attr.Mode & 0o777)
	have.set(vocab.XattrAccessACL, a.encode())
	t.putXattrs(n, have)
	return nil
}
