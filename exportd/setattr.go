package exportd

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const setAll = wire.SetMode | wire.SetUID | wire.SetGID | wire.SetSize | wire.SetAtime | wire.SetMtime | wire.SetAtimeNow | wire.SetMtimeNow | wire.SetNoPrivilege

func (s *Server) setAttr(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.SetAttrRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if m.Mask&^setAll != 0 {
		return nil, vocab.Errorf(vocab.Invalid, "unknown attributes %#x", uint32(m.Mask&^setAll))
	}
	return s.call(ctx, r, &m.Head, changes, func(t *tx) (wire.Message, error) {
		n, err := t.inode(m.Ino)
		if err != nil {
			return nil, err
		}
		if err := t.checkSize(n, &m); err != nil {
			return nil, err
		}
		if err := t.protect(n, wire.LeaseWrite); err != nil {
			return nil, err
		}
		if n, err = t.edit(m.Ino); err != nil {
			return nil, err
		}
		t.setAttr(n, &m)
		if m.Mask&wire.SetMode != 0 {
			if err := t.followMode(n); err != nil {
				return nil, err
			}
		}
		return &wire.AttrReply{Attr: n.attr}, nil
	})
}

// checkSize: the size belongs to the holder of the write lease.
func (t *tx) checkSize(n *inode, m *wire.SetAttrRequest) error {
	if m.Mask&wire.SetSize == 0 {
		return nil
	}
	switch {
	case n.attr.IsDir():
		return vocab.Errorf(vocab.IsDir, "a directory has no size to set")
	case !n.attr.IsRegular():
		return vocab.Errorf(vocab.Invalid, "only a regular file has a size to set")
	case m.Size > vocab.MaxFileBytes:
		return vocab.Errorf(vocab.TooLarge, "a size of %d bytes, at most %d", m.Size, uint64(vocab.MaxFileBytes))
	}
	if err := t.writeLease(m.Ino, m.Epoch); err != nil {
		return err
	}
	if q := t.exp.HardQuota; q > 0 && m.Size > n.attr.Size && t.exp.bytes+(m.Size-n.attr.Size) > q {
		return vocab.Errorf(vocab.OverQuota, "export %s holds %d of %d bytes", t.exp.Root, t.exp.bytes, q)
	}
	return nil
}

func (t *tx) setAttr(n *inode, m *wire.SetAttrRequest) {
	has := func(bit wire.SetMask) bool { return m.Mask&bit != 0 }
	a := &n.attr
	if has(wire.SetMode) {
		a.Mode = a.Mode&^vocab.ModePerm | m.Mode&vocab.ModePerm
	}
	if has(wire.SetUID) {
		a.UID = m.Owner
	}
	if has(wire.SetGID) {
		a.GID = m.Group
	}
	if has(wire.SetUID|wire.SetGID|wire.SetNoPrivilege) || has(wire.SetSize) && t.head.UID != 0 {
		dropPrivilege(a, has(wire.SetMode))
	}
	if has(wire.SetSize) {
		t.resize(n, m.Size)
		a.Mtime = t.now
	}
	switch {
	case has(wire.SetAtimeNow):
		a.Atime = t.now
	case has(wire.SetAtime):
		a.Atime = m.Atime
	}
	switch {
	case has(wire.SetMtimeNow):
		a.Mtime = t.now
	case has(wire.SetMtime):
		a.Mtime = m.Mtime
	}
	a.Ctime = t.now
}

// dropPrivilege clears set-user-id, and set-group-id of what the group may run, unless a new
// mode says otherwise: a change of owner ends them, whoever asks for it, and one of content,
// unless root asks.
func dropPrivilege(a *vocab.Attr, modeGiven bool) {
	if modeGiven || a.IsDir() {
		return
	}
	a.Mode &^= vocab.ModeSetUID
	if a.Mode&0o010 != 0 {
		a.Mode &^= vocab.ModeSetGID
	}
}
