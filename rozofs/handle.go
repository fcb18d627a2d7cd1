package rozofs

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Handle is an open regular file.
type Handle struct {
	f                  *file
	who                Caller
	readable, writable bool
	append, syncEach   bool
	keepCache          bool
	closed             atomic.Bool
	lockers            map[lockKey]struct{} // owners that have set locks through it; guarded by locks.mu
	owner              uint64               // its own name among them; likewise
	lostLocks          atomic.Int32         // how many of them have lost theirs
}

// OpenFile opens a file for reading, writing or both, by the O_ flags of package
// syscall; O_TRUNC, O_APPEND, O_SYNC and O_DSYNC are honoured.
func (c *Client) OpenFile(ctx context.Context, who Caller, ino vocab.Ino, flags int) (*Handle, error) {
	f := c.acquireFile(ino)
	h, err := c.open(ctx, f, who, flags)
	if err != nil {
		c.dropFile(f)
		return nil, err
	}
	return h, nil
}

// open makes a handle; it takes over the caller's reference to f if it succeeds.
func (c *Client) open(ctx context.Context, f *file, who Caller, flags int) (*Handle, error) {
	h := newHandle(f, who, flags)
	want := wire.LeaseRead
	if h.writable {
		want = wire.LeaseWrite
	}
	if err := f.hold(ctx, who, want); err != nil {
		return nil, err
	}
	f.mu.Lock()
	regular := f.attr.IsRegular()
	h.keepCache = f.seen == f.stampNow() && !h.append
	f.mu.Unlock()
	f.letGo()
	if !regular {
		return nil, vocab.Errorf(vocab.Invalid, "inode %d is not a regular file", f.ino)
	}
	if flags&syscall.O_TRUNC != 0 && h.writable { // of an empty file too: its times change
		if _, err := f.truncate(ctx, who, Change{Mask: wire.SetSize}); err != nil {
			return nil, err
		}
		h.keepCache = false
	}
	return h, nil
}

func newHandle(f *file, who Caller, flags int) *Handle {
	access := flags & syscall.O_ACCMODE
	return &Handle{
		f: f, who: who,
		readable: access != syscall.O_WRONLY,
		writable: access != syscall.O_RDONLY,
		append:   flags&syscall.O_APPEND != 0,
		syncEach: flags&(syscall.O_SYNC|syscall.O_DSYNC) != 0,
	}
}

// CreateFile opens a file and makes it if it is not there; with O_EXCL it must
// not be.
func (c *Client) CreateFile(ctx context.Context, who Caller, parent vocab.Ino, name string, mode uint32, flags int) (*Handle, vocab.Attr, error) {
	req := wire.CreateRequest{Parent: parent, Name: name, Mode: mode, Exclusive: flags&syscall.O_EXCL != 0}
	return c.create(ctx, who, wire.OpCreate, &req, flags)
}

// CreateUnnamed makes and opens a regular file that has no name, as open(2) does with
// O_TMPFILE. It goes with its last close, unless Link has given it a name, which O_EXCL
// forbids.
func (c *Client) CreateUnnamed(ctx context.Context, who Caller, parent vocab.Ino, mode uint32, flags int) (*Handle, vocab.Attr, error) {
	req := wire.CreateRequest{Parent: parent, Mode: mode, Exclusive: flags&syscall.O_EXCL != 0}
	return c.create(ctx, who, wire.OpTmpfile, &req, flags)
}

func (c *Client) create(ctx context.Context, who Caller, op wire.Op, req *wire.CreateRequest, flags int) (*Handle, vocab.Attr, error) {
	req.Mode, req.Masked = who.mask(req.Mode&vocab.ModePerm | vocab.ModeRegular)
	req.Want = wire.LeaseRead
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		req.Want = wire.LeaseWrite
	}
	f, created, err := c.makeFile(ctx, who, op, req)
	if err != nil {
		return nil, vocab.Attr{}, err
	}
	// A file that was there, and that this client has in use, is opened as such.
	if created {
		flags &^= syscall.O_TRUNC
	}
	h, err := c.open(ctx, f, who, flags)
	if err != nil {
		c.dropFile(f)
		return nil, vocab.Attr{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return h, f.attr, nil
}

// makeFile has exportd make and open a file, and returns that with a reference. As in ask, the
// request goes on when its caller has given up.
func (c *Client) makeFile(ctx context.Context, who Caller, op wire.Op, req *wire.CreateRequest) (*file, bool, error) {
	type made struct {
		f       *file
		created bool
		err     error
	}
	done := make(chan made)
	if !c.goes(func(background context.Context) {
		f, created, err := c.askForFile(background, who, op, req)
		select {
		case done <- made{f, created, err}:
		case <-ctx.Done():
			if err == nil {
				c.dropFile(f)
			}
		}
	}) {
		return nil, false, errClosed
	}
	select {
	case m := <-done:
		return m.f, m.created, m.err
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
}

func (c *Client) askForFile(ctx context.Context, who Caller, op wire.Op, req *wire.CreateRequest) (f *file, created bool, err error) {
	var reply wire.OpenReply
	req.Patience = c.session.patience()
	round, conn := c.nameChanges.now(), c.connections.now()
	if err := c.session.register(ctx, who, op, req, &reply); err != nil {
		return nil, false, err
	}
	f = c.acquireFile(reply.Attr.Ino)
	f.mu.Lock()
	counts := f.lease.Kind == wire.LeaseNone && !f.acquiring && !f.recalling
	f.mu.Unlock()
	if counts {
		counts, err = f.granted(&reply, round, conn)
	}
	if err == nil && !counts { // another request brings the lease, or it is being given up
		if err = f.hold(ctx, who, req.Want); err == nil {
			f.letGo()
		}
	}
	if err != nil {
		c.dropFile(f)
		return nil, false, err
	}
	return f, reply.Created, nil
}

// Ino is the file's inode number.
func (h *Handle) Ino() vocab.Ino { return h.f.ino }

// Mode is that of the file's attributes, without asking exportd. It is certain for who
// has just changed the content by this handle: whoever changed it before has ended the lease
// that was taken for that.
func (h *Handle) Mode() uint32 {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	return h.f.attr.Mode
}

// Attr returns the file's attributes.
func (h *Handle) Attr(ctx context.Context) (vocab.Attr, error) { return h.f.c.GetAttr(ctx, h.f.ino) }

// KeepCache tells whether what a cache above holds of the content, from an
// earlier handle of this client, was still right when the handle was opened.
func (h *Handle) KeepCache() bool { return h.keepCache }

// Flush sends what is buffered to the storages and reports what an earlier write
// could not do. After it another mount reads what was written; it is durable only
// after Sync.
func (h *Handle) Flush(ctx context.Context) error {
	if !h.writable {
		return nil
	}
	return h.f.flush(ctx)
}

// Sync makes the content, size and times durable.
func (h *Handle) Sync(ctx context.Context) error {
	f := h.f
	if err := f.waitFor(ctx, func() bool { return !f.recalling && f.lost == nil }); err != nil {
		return err
	}
	f.holders++ // so that a recall waits: the commit goes under the present lease, or none
	f.mu.Unlock()
	defer f.letGo()
	return f.sync(ctx)
}

// Truncate sets the file's size.
func (h *Handle) Truncate(ctx context.Context, size int64) error {
	if !h.writable || size < 0 {
		return vocab.Errorf(vocab.Invalid, "truncate to %d", size)
	}
	_, err := h.f.truncate(ctx, h.who, Change{Mask: wire.SetSize, Size: uint64(size)})
	return err
}

// Close ends the use of the handle. What Flush would report, it reports.
func (h *Handle) Close(ctx context.Context) error {
	if h.closed.Swap(true) {
		return vocab.Errorf(vocab.Invalid, "the handle is closed already")
	}
	err := errors.Join(h.Flush(ctx), h.closeLocks(ctx))
	h.f.mu.Lock()
	h.f.seen = h.f.stampNow()
	h.f.mu.Unlock()
	h.f.c.dropFile(h.f)
	return err
}

// stampNow is called with mu held.
func (f *file) stampNow() stamp {
	return stamp{f.attr.Mtime, f.attr.Ctime, f.attr.Size}
}
