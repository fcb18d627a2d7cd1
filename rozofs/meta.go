package rozofs

import (
	"context"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Lookup finds a name in a directory.
func (c *Client) Lookup(ctx context.Context, who Caller, parent vocab.Ino, name string) (vocab.Attr, error) {
	req := wire.NameRequest{Parent: parent, Name: name}
	var reply wire.AttrReply
	round := c.nameChanges.now()
	if err := c.session.call(ctx, wire.OpLookup, &req, &reply); err != nil {
		return vocab.Attr{}, err
	}
	return c.overlay(reply.Attr, round), nil
}

// GetAttr returns a file's attributes; of a file that this client holds a lease
// on, without asking exportd.
func (c *Client) GetAttr(ctx context.Context, ino vocab.Ino) (vocab.Attr, error) {
	round := c.nameChanges.now()
	if f := c.cached(ino); f != nil {
		if a, ok := f.leasedAttr(round); ok {
			return a, nil
		}
	}
	req := wire.InoRequest{Ino: ino}
	var reply wire.AttrReply
	if err := c.session.call(ctx, wire.OpGetAttr, &req, &reply); err != nil {
		return vocab.Attr{}, err
	}
	return c.overlay(reply.Attr, round), nil
}

func (f *file) leasedAttr(round uint64) (vocab.Attr, bool) {
	good := f.c.session.good()
	f.mu.Lock()
	defer f.mu.Unlock()
	ok := good && f.lease.Kind != wire.LeaseNone && !f.recalling && f.known && f.attrRound == round
	return f.attr, ok
}

// overlay puts what this client has changed under a write lease over what
// exportd knows, and remembers the rest.
func (c *Client) overlay(a vocab.Attr, round uint64) vocab.Attr {
	f := c.cached(a.Ino)
	if f == nil {
		return a
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lease.Kind != wire.LeaseNone && a.Ctime < f.serverCtime {
		return f.attr // overtaken by a later change of ours
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
	return a
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
	round := c.nameChanges.now()
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
	return c.overlay(reply.Attr, round), nil
}

// Mknod makes a file of the type in mode: regular, directory, FIFO, socket or
// device.
func (c *Client) Mknod(ctx context.Context, who Caller, parent vocab.Ino, name string, mode, rdev uint32) (vocab.Attr, error) {
	req := wire.MknodRequest{Parent: parent, Name: name, Mode: mode, Rdev: rdev}
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
	err := c.session.change(ctx, who, wire.OpLink, &req, &reply)
	c.nameChanges.add()
	if err != nil {
		return vocab.Attr{}, err
	}
	return c.overlay(reply.Attr, c.nameChanges.now()), nil
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
	round := c.nameChanges.now()
	if err := c.session.call(ctx, wire.OpReaddir, &req, &reply); err != nil {
		return reply, err
	}
	if plus {
		for i := range reply.Entries {
			reply.Entries[i].Attr = c.overlay(reply.Entries[i].Attr, round)
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
