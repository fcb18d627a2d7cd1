package rozofs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rozofs-go/rozo/rozofs/ranges"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// cancelPatience is how long a call whose context has ended waits for the answer that tells
// whether it has the lock. Then it connects anew, which settles it.
const cancelPatience = time.Second

// locks are those that owners of this mount hold, or wait for. exportd decides who gets one; what
// is here decides what this mount holds after a lost connection or a restart of exportd: there the
// client claims what it has here, and exportd drops what else it had of it. So whenever an
// answer did not come nothing is left behind.
type locks struct {
	mu     sync.Mutex // guards all below and the locks of handles; taken after Client.mu
	owners map[lockKey]*lockOwner
	turns  map[uint64]chan struct{} // by ticket; capacity 1: what waits is decided
	ticket uint64                   // the last
}

// lockKey is one owner on one file. Locks of flock are for themselves.
type lockKey struct {
	ino   vocab.Ino
	owner uint64
	flock bool
}

// lockOwner is what an owner has on a file.
type lockOwner struct {
	busy    chan struct{} // capacity 1: one request at a time, so that answers come in the order of what they tell
	users   int           // calls that use it; it is forgotten when there are none, and it holds nothing
	held    ranges.Table[lockKey]
	kind    wire.LockKind
	lost    bool // what is held is not, any more, and the owner does not know
	asking  bool // a request for a lock is under way
	handles map[*Handle]struct{}
}

func newLocks() locks {
	return locks{owners: map[lockKey]*lockOwner{}, turns: map[uint64]chan struct{}{}}
}

func keyOf(ino vocab.Ino, l *wire.Lock) lockKey {
	return lockKey{ino, l.Owner, l.Kind == wire.LockFlock}
}

// Lock sets a lock on the file for an owner, or takes locks off. If another is in the way it
// fails with Locked, or waits if it is to; then a context that ends takes the request back.
// It is Deadlock when waiting would never end, and NoLocks when too many are held, or when
// the owner has lost a lock on the file: see Handle.LockLost.
//
// Closing the handle takes off what was set through it; ReleaseLocks takes off all that an
// owner has on the file.
func (h *Handle) Lock(ctx context.Context, l wire.Lock, wait bool) error {
	if l.Start > l.End || l.Kind > wire.LockFlock || l.Type > wire.LockWrite {
		return vocab.Errorf(vocab.Invalid, "lock of kind %d and type %d on %d to %d", l.Kind, l.Type, l.Start, l.End)
	}
	c := h.f.c
	k := keyOf(h.f.ino, &l)
	if l.Type == wire.LockNone {
		return c.unlock(ctx, k, l)
	}
	o := c.useOwner(k, l.Kind, h)
	defer c.leaveOwner(k, o)
	return c.takeLock(ctx, k, o, l, wait)
}

// TestLock tells who would be in the way of a lock. It is of type LockNone if nobody is. Its
// process is known if it is of this mount.
func (h *Handle) TestLock(ctx context.Context, l wire.Lock) (wire.Lock, error) {
	c := h.f.c
	req := wire.LockRequest{Ino: h.f.ino, Lock: l}
	turn := c.drawTicket(&req)
	defer c.giveTicketBack(&req)
	for {
		conn := c.connections.now()
		var reply wire.LockReply
		if err := c.session.call(ctx, wire.OpTestLock, &req, &reply); err != nil {
			return wire.Lock{}, err
		}
		if reply.State != wire.LockLater {
			return reply.Holder, nil
		}
		if err := c.awaitTurn(ctx, conn, turn); err != nil {
			return wire.Lock{}, err
		}
	}
}

// ReleaseLocks takes off all locks, but those of flock, that an owner has on the file: what
// closing one of its descriptors does to a process.
func (h *Handle) ReleaseLocks(ctx context.Context, owner uint64) error {
	return h.releaseOwner(ctx, lockKey{h.f.ino, owner, false})
}

// LockLost returns an error when a lock that was set through this handle was lost, since
// exportd has ended the session: others may have changed what it protected. Reading and writing
// return it too, until the owner has taken the lock off.
func (h *Handle) LockLost() error {
	if h.lostLocks.Load() == 0 {
		return nil
	}
	return vocab.Errorf(vocab.Stale, "a lock on inode %d was lost: exportd has ended the session that held it", uint64(h.f.ino))
}

// closeLocks takes off what was set through the handle.
func (h *Handle) closeLocks(ctx context.Context) error {
	c := h.f.c
	c.locks.mu.Lock()
	var all []lockKey
	for k := range h.lockers {
		all = append(all, k)
	}
	c.locks.mu.Unlock()
	var errs []error
	for _, k := range all {
		errs = append(errs, h.releaseOwner(ctx, k))
	}
	return errors.Join(errs...)
}

func (h *Handle) releaseOwner(ctx context.Context, k lockKey) error {
	c := h.f.c
	c.locks.mu.Lock()
	o := c.locks.owners[k]
	delete(h.lockers, k)
	c.locks.mu.Unlock()
	if o == nil {
		return nil
	}
	err := c.unlock(ctx, k, wire.Lock{Owner: k.owner, Kind: o.kind, End: 1<<64 - 1})
	c.locks.mu.Lock()
	defer c.locks.mu.Unlock()
	delete(o.handles, h)
	return err
}

// useOwner returns the owner's record, and keeps it.
func (c *Client) useOwner(k lockKey, kind wire.LockKind, h *Handle) *lockOwner {
	c.locks.mu.Lock()
	defer c.locks.mu.Unlock()
	o := c.locks.owners[k]
	if o == nil {
		o = &lockOwner{busy: make(chan struct{}, 1), handles: map[*Handle]struct{}{}}
		c.locks.owners[k] = o
	}
	o.users++
	o.kind = kind
	if _, known := o.handles[h]; !known {
		o.handles[h] = struct{}{}
		if o.lost {
			h.lostLocks.Add(1)
		}
	}
	if h.lockers == nil {
		h.lockers = map[lockKey]struct{}{}
	}
	h.lockers[k] = struct{}{}
	return o
}

func (c *Client) leaveOwner(k lockKey, o *lockOwner) {
	c.locks.mu.Lock()
	defer c.locks.mu.Unlock()
	o.users--
	c.locks.tidy(k, o)
}

// tidy is called with mu held.
func (l *locks) tidy(k lockKey, o *lockOwner) {
	if o.held.Len() == 0 {
		l.found(o)
		if o.users == 0 {
			delete(l.owners, k)
		}
	}
}

// found ends the loss of an owner's locks; mu is held.
func (l *locks) found(o *lockOwner) {
	if o.lost {
		o.lost = false
		for h := range o.handles {
			h.lostLocks.Add(-1)
		}
	}
}

// lose notes that an owner has lost its locks; mu is held.
func (l *locks) lose(o *lockOwner) {
	if !o.lost && o.held.Len() > 0 {
		o.lost = true
		for h := range o.handles {
			h.lostLocks.Add(1)
		}
	}
}

// takeLock asks until exportd has decided.
func (c *Client) takeLock(ctx context.Context, k lockKey, o *lockOwner, l wire.Lock, wait bool) error {
	req := wire.LockRequest{Ino: k.ino, Lock: l, Wait: wait}
	turn := c.drawTicket(&req)
	defer c.giveTicketBack(&req)
	for {
		state, conn, err := c.askLock(ctx, k, o, &req)
		switch {
		case err != nil:
			return err
		case state == wire.LockGranted:
			return nil
		case state == wire.LockHeld && wait: // taken back
			return vocab.Errorf(vocab.Canceled, "waiting for a lock on inode %d: %v", uint64(k.ino), context.Cause(ctx))
		case state == wire.LockHeld:
			return vocab.Errorf(vocab.Locked, "inode %d: bytes %d to %d", uint64(k.ino), l.Start, l.End)
		}
		if !wait && ctx.Err() != nil || wait && !req.Wait {
			return vocab.Errorf(vocab.Canceled, "waiting for a lock on inode %d: %v", uint64(k.ino), context.Cause(ctx))
		}
		if err := c.awaitTurn(ctx, conn, turn); err != nil {
			if c.ctx.Err() != nil || conn != c.connections.now() {
				return err // nothing waits there any more
			}
			req.Wait = false // take it back; it may have been granted already
		}
	}
}

// drawTicket enters a request among those that may wait.
func (c *Client) drawTicket(req *wire.LockRequest) (turn chan struct{}) {
	c.locks.mu.Lock()
	defer c.locks.mu.Unlock()
	c.locks.ticket++
	req.Ticket = c.locks.ticket
	turn = make(chan struct{}, 1)
	c.locks.turns[req.Ticket] = turn
	return turn
}

func (c *Client) giveTicketBack(req *wire.LockRequest) {
	c.locks.mu.Lock()
	defer c.locks.mu.Unlock()
	delete(c.locks.turns, req.Ticket)
}

// lockTurns takes exportd's word that requests which wait are decided.
func (c *Client) lockTurns(m *wire.LockTurnRequest) {
	c.locks.mu.Lock()
	defer c.locks.mu.Unlock()
	for _, ticket := range m.Tickets {
		select {
		case c.locks.turns[ticket] <- struct{}{}:
		default: // gave up, or is about to look
		}
	}
}

// awaitTurn returns when the request is to be sent again: it is decided, or the connection on
// which it waits has been followed by another, where it does not.
func (c *Client) awaitTurn(ctx context.Context, conn uint64, turn <-chan struct{}) error {
	for {
		c.session.mu.Lock()
		changed := c.session.changed
		c.session.mu.Unlock()
		if conn != c.connections.now() {
			return nil
		}
		select {
		case <-turn:
			return nil
		case <-changed:
		case <-c.ctx.Done():
			return errClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// askLock sends a request once and takes note of the answer. conn is the connection on which it
// came. What was asked on an earlier one counts for nothing: exportd has been told since what this
// mount holds.
func (c *Client) askLock(ctx context.Context, k lockKey, o *lockOwner, req *wire.LockRequest) (state wire.LockState, conn uint64, err error) {
	o.busy <- struct{}{}
	defer func() { <-o.busy }()
	for {
		if c.beginAsking(o) {
			return 0, 0, vocab.Errorf(vocab.NoLocks, "inode %d: this owner has lost its locks when exportd ended the session, and has to unlock first", uint64(k.ino))
		}
		conn = c.connections.now()
		reply, err := c.callLock(ctx, req)
		if err != nil {
			c.failAsking(k, o)
			return 0, 0, err
		}
		if c.enterLock(k, o, &req.Lock, reply.State, conn) {
			return reply.State, conn, nil
		}
	}
}

// beginAsking tells whether the owner has lost its locks; else a request is under way from here
// on, until its answer is entered.
func (c *Client) beginAsking(o *lockOwner) (lost bool) {
	c.locks.mu.Lock()
	defer c.locks.mu.Unlock()
	o.asking = !o.lost
	return o.lost
}

// failAsking ends a request that got no lock but an error. Whether a flock was given up for it
// nobody knows, so it is: exportd hears so on another connection.
func (c *Client) failAsking(k lockKey, o *lockOwner) {
	c.locks.mu.Lock()
	o.asking = false
	doubt := k.flock && o.held.Len() > 0
	if doubt {
		o.held.Clear(k, 0, 1<<64-1)
	}
	c.locks.mu.Unlock()
	if doubt {
		c.session.doubt()
	}
}

// callLock is a call to which a short answer is expected. If none comes nobody knows what
// became of it, so the client connects anew and says what it holds.
func (c *Client) callLock(ctx context.Context, req *wire.LockRequest) (wire.LockReply, error) {
	call, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		wait(call, cancelPatience)
		cancel(context.Cause(ctx))
	})
	defer stop()
	var reply wire.LockReply
	err := c.session.call(call, wire.OpLock, req, &reply)
	if err != nil && (call.Err() != nil || errors.Is(err, vocab.Unavailable)) {
		c.session.doubt()
	}
	return reply, err
}

// doubt makes run connect anew, if it is not about to.
func (s *session) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.startAnew()
	}
}

// enterLock takes note of an answer; false if it does not count.
func (c *Client) enterLock(k lockKey, o *lockOwner, l *wire.Lock, state wire.LockState, conn uint64) bool {
	c.locks.mu.Lock()
	defer c.locks.mu.Unlock()
	if conn != c.connections.now() {
		return false
	}
	o.asking = false
	switch {
	case state == wire.LockGranted:
		o.held.Set(ranges.Lock[lockKey]{Owner: k, PID: l.PID, Write: l.Type == wire.LockWrite, Start: l.Start, End: l.End})
	case k.flock && state != wire.LockLater: // a conversion gives up the old lock
		o.held.Clear(k, 0, 1<<64-1)
	}
	return true
}

// unlock takes an owner's locks off. They are not held here from then on, whatever exportd
// answers. What is not known here is not known there.
func (c *Client) unlock(ctx context.Context, k lockKey, l wire.Lock) error {
	c.locks.mu.Lock()
	o := c.locks.owners[k]
	if o == nil {
		c.locks.mu.Unlock()
		return nil
	}
	o.users++
	c.locks.mu.Unlock()
	defer c.leaveOwner(k, o)
	o.busy <- struct{}{}
	defer func() { <-o.busy }()
	c.locks.mu.Lock()
	has := o.held.Len() > 0
	if k.flock {
		l.Start, l.End = 0, 1<<64-1
	}
	o.held.Clear(k, l.Start, l.End)
	lost := o.lost
	c.locks.mu.Unlock()
	if !has || lost {
		return nil
	}
	_, err := c.callLock(ctx, &wire.LockRequest{Ino: k.ino, Lock: l})
	return err
}

// claimLocks tells exportd on a new connection which locks this mount holds, and takes note of
// those that are lost.
func (c *Client) claimLocks(ctx context.Context, s *session, conn *wire.Conn) error {
	c.locks.mu.Lock()
	var all []wire.HeldLock
	for k, o := range c.locks.owners {
		if k.flock && o.asking { // it may have given up the old one already, and is sent again
			o.held.Clear(k, 0, 1<<64-1)
		}
		if !o.lost {
			all = append(all, o.claims(k)...)
		}
	}
	c.locks.mu.Unlock()
	for first := 0; ; {
		next := min(first+wire.MaxHeld, len(all))
		req := wire.ReclaimLocksRequest{Locks: all[first:next], Last: next == len(all)}
		s.head(&req, 0)
		var reply wire.ReclaimLocksReply
		_, err := conn.Call(ctx, wire.OpReclaimLocks, &req, wire.Bulk{}, &reply)
		if errors.Is(err, vocab.NotSupported) { // an exportd that is older than locks
			c.loseLocks()
			return nil
		}
		if err != nil {
			return err
		}
		if req.Last {
			return c.lostLocks(all, reply.Lost)
		}
		first = next
	}
}

func (o *lockOwner) claims(k lockKey) (all []wire.HeldLock) {
	for l := range o.held.All() {
		h := wire.HeldLock{Ino: k.ino, Lock: wire.Lock{Owner: k.owner, PID: l.PID, Kind: o.kind, Type: wire.LockRead, Start: l.Start, End: l.End}}
		if l.Write {
			h.Type = wire.LockWrite
		}
		all = append(all, h)
	}
	return all
}

func (c *Client) lostLocks(all []wire.HeldLock, lost []uint32) error {
	c.locks.mu.Lock()
	defer c.locks.mu.Unlock()
	for _, i := range lost {
		if int(i) >= len(all) {
			return vocab.Errorf(vocab.Protocol, "lock %d of %d is lost", i, len(all))
		}
		k := keyOf(all[i].Ino, &all[i].Lock)
		if o := c.locks.owners[k]; o != nil {
			c.locks.lose(o)
			c.log.Error("a lock is lost: others may have changed what it protected", "ino", uint64(k.ino))
		}
	}
	return nil
}

// loseLocks is called when exportd has ended the session.
func (c *Client) loseLocks() {
	c.locks.mu.Lock()
	defer c.locks.mu.Unlock()
	for _, o := range c.locks.owners {
		c.locks.lose(o)
	}
}
