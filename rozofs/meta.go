package rozofs

import (
	"context"
	"errors"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Lookup finds a name in a directory.
func (c *Client) Lookup(ctx context.Context, who Caller, parent vocab.Ino, name string) (vocab.Attr, error) {
	req := wire.NameRequest{Parent: parent, Name: name}
	var reply wire.AttrReply
	round, given := c.nameChanges.now(), c.given.now()
	if err := c.session.call(ctx, wire.OpLookup, &req, &reply); err != nil {
		return vocab.Attr{}, err
	}
	return c.overlayOr(ctx, reply.Attr, round, given)
}

// GetAttr returns a file's attributes; of a file that this client holds a lease
// on, without asking exportd.
func (c *Client) GetAttr(ctx context.Context, ino vocab.Ino) (vocab.Attr, error) {
	f, unrefer := c.referTo(ino)
	defer unrefer()
	for {
		round, given := c.nameChanges.now(), c.given.now()
		if f != nil {
			if a, ok := f.leasedAttr(round); ok {
				return a, nil
			}
		}
		req := wire.InoRequest{Ino: ino}
		var reply wire.AttrReply
		if err := c.session.call(ctx, wire.OpGetAttr, &req, &reply); err != nil {
			return vocab.Attr{}, err
		}
		a, ok := c.overlay(reply.Attr, round, given)
		if ok || f == nil {
			return a, nil
		}
		if err := f.waitFor(ctx, func() bool { return !f.giving }); err != nil {
			return vocab.Attr{}, err
		}
		f.mu.Unlock()
	}
}

// referTo returns the file object if there is one, which is not forgotten before unrefer.
// Unlike dropFile that is no use of the file, for which it would be kept.
func (c *Client) referTo(ino vocab.Ino) (f *file, unrefer func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f = c.files[ino]; f == nil {
		return nil, func() {}
	}
	f.refs++
	return f, func() { c.mu.Lock(); f.refs--; c.mu.Unlock() }
}

func (f *file) leasedAttr(round uint64) (vocab.Attr, bool) {
	good := f.c.session.good()
	f.mu.Lock()
	defer f.mu.Unlock()
	ok := good && f.lease.Kind != wire.LeaseNone && !f.recalling && f.known && f.attrRound == round
	return f.attr, ok
}

// overlay puts what this client has changed under a write lease over what exportd knows,
// and remembers the rest. round and given are the client's counters from before it asked.
// ok is false if the write lease was given up since: exportd may have answered before, and
// does not know then what was written under it.
func (c *Client) overlay(a vocab.Attr, round, given uint64) (_ vocab.Attr, ok bool) {
	f := c.cached(a.Ino)
	if f == nil {
		return a, !a.IsRegular() || given == c.given.now()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.giving || f.given > given {
		return a, false
	}
	if f.lease.Kind != wire.LeaseNone && a.Ctime < f.serverCtime {
		return f.attr, true // overtaken by a later change of ours
	}
	f.serverCtime = a.Ctime
	if f.lease.Kind == wire.LeaseWrite {
		a.Size = f.attr.Size
		if f.uncommitted {
			a.Mtime, a.Ctime = f.attr.Mtime, max(a.Ctime, f.attr.Mtime)
		}
	}
	if f.lease.Kind != wire.LeaseNone && a.Generation == f.attr.Generation {
		f.attr, f.attrRound = a, round
	}
	return a, true
}

// overlayChange is overlay for the answer to a change of attributes. If it cannot tell, a lease
// that was taken again may have come with attributes from before: they are asked for anew.
func (c *Client) overlayChange(a vocab.Attr, round, given uint64) (_ vocab.Attr, ok bool) {
	if a, ok = c.overlay(a, round, given); !ok {
		c.nameChanges.add()
	}
	return a, ok
}

// overlayOr is overlay, which asks again where that cannot tell.
func (c *Client) overlayOr(ctx context.Context, a vocab.Attr, round, given uint64) (vocab.Attr, error) {
	if a, ok := c.overlay(a, round, given); ok {
		return a, nil
	}
	return c.GetAttr(ctx, a.Ino)
}

// Change says which attributes SetAttr sets and to what.
type Change struct {
	Mask           wire.SetMask
	Mode, UID, GID uint32
	Size           uint64
	Atime, Mtime   vocab.Time
}

// SetAttr changes attributes; a change of size truncates or extends.
func (c *Client) SetAttr(ctx context.Context, who Caller, ino vocab.Ino, ch Change) (vocab.Attr, error) {
	if ch.Mask&wire.SetSize != 0 {
		f := c.acquireFile(ino)
		defer c.dropFile(f)
		return f.truncate(ctx, who, ch)
	}
	var epoch vocab.Epoch
	if f := c.cached(ino); f != nil {
		if err := f.beginSizing(ctx); err != nil {
			return vocab.Attr{}, err
		}
		defer f.endSizing()
		epoch = f.mergeUncommitted(&ch)
	}
	return c.setAttr(ctx, who, ino, ch, epoch)
}

// mergeUncommitted lets a change of attributes carry what was written before it,
// so that the change comes after it, and returns the epoch of the write lease.
func (f *file) mergeUncommitted(ch *Change) vocab.Epoch {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lease.Kind != wire.LeaseWrite {
		return 0
	}
	if f.uncommitted {
		ch.Mask |= wire.SetSize
		ch.Size = f.attr.Size
		if ch.Mask&(wire.SetMtime|wire.SetMtimeNow) == 0 {
			ch.Mask |= wire.SetMtime
			ch.Mtime = f.attr.Mtime
		}
	}
	return f.lease.Epoch
}

func (c *Client) setAttr(ctx context.Context, who Caller, ino vocab.Ino, ch Change, epoch vocab.Epoch) (vocab.Attr, error) {
	req := wire.SetAttrRequest{
		Ino: ino, Mask: ch.Mask, Mode: ch.Mode, Owner: ch.UID, Group: ch.GID,
		Size: ch.Size, Atime: ch.Atime, Mtime: ch.Mtime, Epoch: epoch,
	}
	var reply wire.AttrReply
	round, given := c.nameChanges.now(), c.given.now()
	if err := c.session.change(ctx, who, wire.OpSetAttr, &req, &reply); err != nil {
		return vocab.Attr{}, err
	}
	if f := c.cached(ino); f != nil {
		f.mu.Lock()
		if f.lease.Kind == wire.LeaseWrite && f.lease.Epoch == epoch && ch.Mask&wire.SetSize != 0 && f.attr.Size == ch.Size {
			f.uncommitted = false
		}
		f.mu.Unlock()
	}
	if a, ok := c.overlayChange(reply.Attr, round, given); ok {
		return a, nil
	}
	return c.GetAttr(ctx, ino)
}

// Mknod makes a file of the type in mode: regular, directory, FIFO, socket or
// device.
func (c *Client) Mknod(ctx context.Context, who Caller, parent vocab.Ino, name string, mode, rdev uint32) (vocab.Attr, error) {
	req := wire.MknodRequest{Parent: parent, Name: name, Rdev: rdev}
	req.Mode, req.Masked = who.mask(mode)
	var reply wire.AttrReply
	err := c.session.change(ctx, who, wire.OpMknod, &req, &reply)
	return reply.Attr, err
}

// Symlink makes a symbolic link.
func (c *Client) Symlink(ctx context.Context, who Caller, parent vocab.Ino, name, target string) (vocab.Attr, error) {
	req := wire.SymlinkRequest{Parent: parent, Name: name, Target: target}
	var reply wire.AttrReply
	err := c.session.change(ctx, who, wire.OpSymlink, &req, &reply)
	return reply.Attr, err
}

// Readlink returns a symbolic link's target.
func (c *Client) Readlink(ctx context.Context, ino vocab.Ino) (string, error) {
	req := wire.InoRequest{Ino: ino}
	var reply wire.ReadlinkReply
	err := c.session.call(ctx, wire.OpReadlink, &req, &reply)
	return reply.Target, err
}

// Link makes another name for a file.
func (c *Client) Link(ctx context.Context, who Caller, ino, parent vocab.Ino, name string) (vocab.Attr, error) {
	req := wire.LinkRequest{Ino: ino, Parent: parent, Name: name}
	var reply wire.AttrReply
	given := c.given.now()
	err := c.session.change(ctx, who, wire.OpLink, &req, &reply)
	c.nameChanges.add()
	if err != nil {
		return vocab.Attr{}, err
	}
	return c.overlayOr(ctx, reply.Attr, c.nameChanges.now(), given)
}

// Unlink removes a name that is not a directory's.
func (c *Client) Unlink(ctx context.Context, who Caller, parent vocab.Ino, name string) error {
	defer c.nameChanges.add()
	return c.session.change(ctx, who, wire.OpUnlink, &wire.NameRequest{Parent: parent, Name: name}, &wire.Empty{})
}

// Rmdir removes an empty directory.
func (c *Client) Rmdir(ctx context.Context, who Caller, parent vocab.Ino, name string) error {
	defer c.nameChanges.add()
	return c.session.change(ctx, who, wire.OpRmdir, &wire.NameRequest{Parent: parent, Name: name}, &wire.Empty{})
}

// Rename moves a name, atomically replacing what has the new one.
func (c *Client) Rename(ctx context.Context, who Caller, parent vocab.Ino, name string, newParent vocab.Ino, newName string, flags wire.RenameFlags) error {
	defer c.nameChanges.add()
	req := wire.RenameRequest{Parent: parent, Name: name, NewParent: newParent, NewName: newName, Flags: flags}
	return c.session.change(ctx, who, wire.OpRename, &req, &wire.Empty{})
}

// ReadDir lists a directory after a cookie, 0 for the start, at most max
// entries.
func (c *Client) ReadDir(ctx context.Context, ino vocab.Ino, cookie uint64, max int, plus bool) (wire.ReaddirReply, error) {
	req := wire.ReaddirRequest{Ino: ino, Cookie: cookie, Max: uint32(min(max, wire.MaxEntries)), Plus: plus}
	var reply wire.ReaddirReply
	round, given := c.nameChanges.now(), c.given.now()
	if err := c.session.call(ctx, wire.OpReaddir, &req, &reply); err != nil {
		return reply, err
	}
	if plus {
		for i := range reply.Entries {
			a, err := c.overlayOr(ctx, reply.Entries[i].Attr, round, given)
			if errors.Is(err, vocab.Stale) {
				continue // deleted since it was listed
			}
			if err != nil {
				return reply, err
			}
			reply.Entries[i].Attr = a
		}
	}
	return reply, nil
}

// StatFS returns the space of the export, in bytes of user data.
func (c *Client) StatFS(ctx context.Context) (wire.StatFSReply, error) {
	var reply wire.StatFSReply
	err := c.session.call(ctx, wire.OpStatFS, &wire.Head{}, &reply)
	return reply, err
}

// Now is the time on exportd's clock, which all times of files are of.
func (c *Client) Now() time.Time { return time.Unix(0, int64(c.session.now())) }
