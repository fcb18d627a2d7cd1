package exportd

import (
	"math"
	"testing"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

func (c *client) takeTurns(r *wire.Request) (wire.Message, wire.Bulk, error) {
	var m wire.LockTurnRequest
	err := r.Decode(&m)
	for _, ticket := range m.Tickets {
		c.turns <- ticket
	}
	return &wire.Empty{}, wire.Bulk{}, err
}

// on is a lock of an owner on a range, for writing.
func on(owner, start, end uint64) wire.Lock {
	return wire.Lock{Owner: owner, PID: uint32(owner), Type: wire.LockWrite, Start: start, End: end}
}

func reading(l wire.Lock) wire.Lock             { l.Type = wire.LockRead; return l }
func off(l wire.Lock) wire.Lock                 { l.Type = wire.LockNone; return l }
func as(k wire.LockKind, l wire.Lock) wire.Lock { l.Kind = k; return l }
func flock(owner uint64) wire.Lock {
	return as(wire.LockFlock, wire.Lock{Owner: owner, Type: wire.LockWrite, End: math.MaxInt64})
}

func (c *client) askLock(op wire.Op, ino vocab.Ino, l wire.Lock, ticket uint64, wait bool) (wire.LockReply, error) {
	var reply wire.LockReply
	err := c.raw(op, &wire.LockRequest{Head: c.head(), Ino: ino, Lock: l, Ticket: ticket, Wait: wait}, &reply)
	return reply, err
}

// lock asks and says what is to come of it.
func (c *client) lock(ino vocab.Ino, l wire.Lock, want wire.LockState) {
	c.t.Helper()
	c.lockAs(0, ino, l, want)
}

// lockAs is a request that may wait, under a ticket.
func (c *client) lockAs(ticket uint64, ino vocab.Ino, l wire.Lock, want wire.LockState) {
	c.t.Helper()
	reply, err := c.askLock(wire.OpLock, ino, l, ticket, ticket != 0)
	require.NoError(c.t, err)
	require.Equal(c.t, want, reply.State)
}

func (c *client) deadlocks(ticket uint64, ino vocab.Ino, l wire.Lock) {
	c.t.Helper()
	_, err := c.askLock(wire.OpLock, ino, l, ticket, true)
	require.ErrorIs(c.t, err, vocab.Deadlock)
}

// turn waits for the ticket's.
func (c *client) turn(ticket uint64) {
	c.t.Helper()
	c.someTurns(ticket)
}

// someTurns waits for those of some tickets, in any order.
func (c *client) someTurns(tickets ...uint64) {
	c.t.Helper()
	var got []uint64
	for range tickets {
		select {
		case ticket := <-c.turns:
			got = append(got, ticket)
		case <-time.After(patience):
			require.FailNow(c.t, "a turn has not come", "%v of %v", got, tickets)
		}
	}
	require.ElementsMatch(c.t, tickets, got)
}

// quiet checks that nothing is held of locks, nor waited for.
func (w *world) quiet() {
	w.t.Helper()
	w.srv.mu.Lock()
	defer w.srv.mu.Unlock()
	require.Empty(w.t, w.srv.locks.files)
	require.Empty(w.t, w.srv.locks.waiting)
	for _, sess := range w.srv.sessions {
		require.Zero(w.t, sess.locks.held)
		require.Empty(w.t, sess.locks.waits)
	}
}

// lockWorld has some clients and two files.
func lockWorld(t *testing.T, clients int, change ...func(*Config)) (w *world, cs []*client, f, g vocab.Ino) {
	w = newWorld(t, change...)
	for range clients {
		cs = append(cs, w.client("one"))
	}
	for i, name := range []string{"f", "g"} {
		o, err := cs[0].create(cs[0].root(), name, wire.LeaseNone)
		require.NoError(t, err)
		if i == 0 {
			f = o.Attr.Ino
		} else {
			g = o.Attr.Ino
		}
	}
	return w, cs, f, g
}

func TestLocksExcludeOneAnotherAcrossSessions(t *testing.T) {
	w, cs, f, g := lockWorld(t, 2)
	a, b := cs[0], cs[1]
	a.lock(f, on(1, 10, 19), wire.LockGranted)
	b.lock(g, on(1, 10, 19), wire.LockGranted) // another file
	b.lock(f, on(1, 19, 19), wire.LockHeld)    // another session's owner of the same number
	b.lock(f, reading(on(1, 0, 10)), wire.LockHeld)
	b.lock(f, on(1, 20, 30), wire.LockGranted)
	a.lock(f, on(2, 10, 10), wire.LockHeld) // another owner of the session

	a.lock(f, off(on(1, 12, 15)), wire.LockGranted)
	b.lock(f, as(wire.LockOFD, on(1, 12, 15)), wire.LockGranted)
	reply, err := a.askLock(wire.OpTestLock, f, on(2, 0, 100), 0, false)
	require.NoError(t, err)
	require.Equal(t, wire.LockReply{State: wire.LockHeld, Holder: on(1, 10, 11)}, reply)
	reply, err = a.askLock(wire.OpTestLock, f, on(1, 12, 100), 0, false)
	require.NoError(t, err)
	want := on(1, 12, 15)
	want.PID = 0 // of another machine
	require.Equal(t, wire.LockReply{State: wire.LockHeld, Holder: want}, reply)

	b.lock(f, flock(1), wire.LockGranted) // flock is for itself
	a.lock(f, flock(1), wire.LockHeld)

	_, err = a.askLock(wire.OpLock, 4711, on(1, 0, 0), 0, false)
	require.ErrorIs(t, err, vocab.Stale)
	for _, c := range cs {
		c.lock(f, off(on(1, 0, math.MaxInt64)), wire.LockGranted)
	}
	b.lock(g, off(on(1, 10, 19)), wire.LockGranted)
	b.lock(f, off(flock(1)), wire.LockGranted)
	w.quiet()
}

func TestLocksAreGrantedInTheOrderOfComing(t *testing.T) {
	w, cs, f, _ := lockWorld(t, 3)
	l := on(1, 0, 9)
	cs[0].lock(f, l, wire.LockGranted)
	cs[1].lockAs(7, f, l, wire.LockQueued)
	cs[2].lockAs(7, f, l, wire.LockQueued)
	cs[0].lock(f, off(on(1, 0, 4)), wire.LockGranted)
	cs[0].lock(f, reading(on(1, 5, 9)), wire.LockGranted)
	require.Empty(t, cs[1].turns)
	cs[0].lock(f, off(l), wire.LockGranted)
	cs[1].turn(7)
	cs[0].lock(f, l, wire.LockHeld) // the first in the queue has it before it knows
	cs[1].lockAs(7, f, l, wire.LockGranted)
	require.Empty(t, cs[2].turns)
	cs[1].lock(f, reading(l), wire.LockGranted)
	cs[0].lock(f, reading(l), wire.LockGranted)
	cs[1].lock(f, off(l), wire.LockGranted)
	require.Empty(t, cs[2].turns)
	cs[0].lock(f, off(l), wire.LockGranted)
	cs[2].turn(7)
	cs[2].lock(f, off(l), wire.LockGranted)
	w.quiet()
}

func TestADowngradeLetsReadersIn(t *testing.T) {
	w, cs, f, _ := lockWorld(t, 2)
	cs[0].lock(f, on(1, 0, 9), wire.LockGranted)
	cs[1].lockAs(1, f, reading(on(1, 3, 4)), wire.LockQueued)
	cs[0].lock(f, reading(on(1, 0, 20)), wire.LockGranted)
	cs[1].turn(1)
	cs[1].lock(f, off(on(1, 0, 9)), wire.LockGranted)
	cs[0].lock(f, off(on(1, 0, 99)), wire.LockGranted)
	w.quiet()
}

func TestAWaitingRequestIsTakenBack(t *testing.T) {
	w, cs, f, _ := lockWorld(t, 2)
	a, b := cs[0], cs[1]
	l := on(1, 0, 9)
	a.lock(f, l, wire.LockGranted)
	b.lockAs(5, f, l, wire.LockQueued)
	reply, err := b.askLock(wire.OpLock, f, l, 5, false)
	require.NoError(t, err)
	require.Equal(t, wire.LockHeld, reply.State)
	a.lock(f, off(l), wire.LockGranted)
	require.Empty(t, b.turns)
	w.quiet()

	a.lock(f, l, wire.LockGranted)
	b.lockAs(6, f, l, wire.LockQueued)
	a.lock(f, off(l), wire.LockGranted) // the grant crosses what takes it back
	reply, err = b.askLock(wire.OpLock, f, l, 6, false)
	require.NoError(t, err)
	require.Equal(t, wire.LockGranted, reply.State, "so it is told, and can take it off")
	b.lock(f, off(l), wire.LockGranted)
	w.quiet()
}

func TestFlockIsConvertedAsOnLinux(t *testing.T) {
	w, cs, f, _ := lockWorld(t, 2)
	a, b := cs[0], cs[1]
	a.lock(f, reading(flock(1)), wire.LockGranted)
	b.lock(f, reading(flock(1)), wire.LockGranted)
	a.lockAs(1, f, flock(1), wire.LockQueued) // gives up the old one
	b.lockAs(1, f, flock(1), wire.LockGranted)
	a.lock(f, reading(flock(2)), wire.LockHeld)
	b.lock(f, reading(flock(1)), wire.LockGranted)
	b.lock(f, off(flock(1)), wire.LockGranted)
	a.turn(1)
	b.lock(f, flock(1), wire.LockHeld)
	a.lock(f, reading(flock(1)), wire.LockGranted)
	b.lock(f, reading(flock(1)), wire.LockGranted)
	b.lock(f, flock(1), wire.LockHeld) // and has lost its own, without waiting too
	a.lock(f, flock(1), wire.LockGranted)
	a.lock(f, off(flock(1)), wire.LockGranted)
	w.quiet()
}

func TestDeadlocksAreRefused(t *testing.T) {
	w, cs, f, g := lockWorld(t, 3)
	a, b, c := cs[0], cs[1], cs[2]
	// Two owners, of two sessions, on two files.
	a.lock(f, on(1, 0, 0), wire.LockGranted)
	b.lock(g, on(1, 0, 0), wire.LockGranted)
	a.lockAs(1, g, on(1, 0, 0), wire.LockQueued)
	b.deadlocks(1, f, on(1, 0, 0))
	// Three, one of them of the same session.
	c.lock(f, on(1, 5, 5), wire.LockGranted)
	b.lockAs(2, f, on(1, 5, 5), wire.LockQueued)
	c.lock(f, on(2, 6, 6), wire.LockGranted)
	c.lockAs(3, f, on(1, 6, 6), wire.LockQueued)
	c.deadlocks(4, f, on(2, 0, 0))
	// Two that both want to write what both read.
	a.lock(f, reading(on(8, 50, 59)), wire.LockGranted)
	b.lock(f, reading(on(8, 50, 59)), wire.LockGranted)
	a.lockAs(9, f, on(8, 55, 55), wire.LockQueued)
	b.deadlocks(9, f, on(8, 50, 50))
	// Who is refused still has what it had, and going on ends the others' wait.
	c.lock(f, off(on(2, 6, 6)), wire.LockGranted)
	c.turn(3)
	c.lock(f, off(on(1, 0, 9)), wire.LockGranted)
	b.turn(2)
	b.lock(g, off(on(1, 0, 9)), wire.LockGranted)
	a.turn(1)
	for _, c := range cs {
		require.NoError(t, c.raw(wire.OpCloseSession, &wire.Head{Session: c.opened.Session}, nil))
	}
	w.quiet()
}

func TestLocksOfOpenFilesMayWaitInACircle(t *testing.T) {
	_, cs, f, g := lockWorld(t, 2)
	a, b := cs[0], cs[1]
	for _, k := range []wire.LockKind{wire.LockOFD, wire.LockFlock} {
		a.lock(f, as(k, on(1, 0, 9)), wire.LockGranted)
		b.lock(g, as(k, on(1, 0, 9)), wire.LockGranted)
		a.lockAs(uint64(k), g, as(k, on(1, 0, 9)), wire.LockQueued)
		b.lockAs(uint64(k), f, as(k, on(1, 0, 9)), wire.LockQueued)
		a.lock(f, off(as(k, on(1, 0, 9))), wire.LockGranted) // as another thread may
		b.turn(uint64(k))
		b.lock(g, off(as(k, on(1, 0, 9))), wire.LockGranted)
		a.turn(uint64(k))
		a.lock(g, off(as(k, on(1, 0, 9))), wire.LockGranted)
		b.lock(f, off(as(k, on(1, 0, 9))), wire.LockGranted)
	}
}

func TestNoCircleGoesThroughALockOfAnOpenFileThatWaits(t *testing.T) {
	for _, first := range []wire.LockKind{wire.LockFcntl, wire.LockOFD} {
		_, cs, f, g := lockWorld(t, 2)
		a, b := cs[0], cs[1]
		second := wire.LockOFD - first
		a.lock(f, as(first, on(1, 0, 9)), wire.LockGranted)
		b.lock(g, as(second, on(1, 0, 9)), wire.LockGranted)
		a.lockAs(1, g, as(first, on(1, 0, 9)), wire.LockQueued)
		b.lockAs(1, f, as(second, on(1, 0, 9)), wire.LockQueued)
	}
}

func TestADeadlockThatAnotherThreadMakesIsFound(t *testing.T) {
	_, cs, f, g := lockWorld(t, 2)
	a, b := cs[0], cs[1]
	b.lock(f, on(1, 0, 0), wire.LockGranted)
	a.lock(g, reading(on(9, 0, 0)), wire.LockGranted)
	a.lockAs(1, f, on(1, 0, 0), wire.LockQueued) // one thread waits for b
	b.lockAs(1, g, on(1, 0, 0), wire.LockQueued) // which waits for owner 9
	a.lock(g, reading(on(1, 0, 0)), wire.LockGranted)
	b.turn(1) // and now for the thread's owner as well
	b.deadlocks(1, g, on(1, 0, 0))
}

func TestTheEndOfASessionFreesItsLocks(t *testing.T) {
	for name, end := range map[string]func(*world, *client){
		"closed": func(w *world, c *client) {
			require.NoError(w.t, c.raw(wire.OpCloseSession, &wire.Head{Session: c.opened.Session}, nil))
		},
		"expired": func(w *world, c *client) {
			_, err := c.create(c.root(), "being written", wire.LeaseWrite)
			require.NoError(w.t, err)
			for _, f := range w.fakes {
				f.stop() // so that the session is not fenced, and leaves its write leases
			}
			c.conn.Close()
			w.srv.mu.Lock()
			c.w.srv.sessions[c.opened.Session].heard.Store(0)
			w.srv.mu.Unlock()
			w.srv.expireSessions()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, cs, f, _ := lockWorld(t, 3)
			cs[0].lock(f, on(1, 0, 9), wire.LockGranted)
			cs[0].lock(f, flock(2), wire.LockGranted)
			cs[1].lockAs(1, f, on(1, 0, 9), wire.LockQueued)
			cs[2].lockAs(1, f, flock(1), wire.LockQueued)
			end(w, cs[0])
			cs[1].turn(1)
			cs[2].turn(1)
		})
	}
}

func TestNothingIsGrantedToWhoIsNotThere(t *testing.T) {
	w, cs, f, _ := lockWorld(t, 3)
	a, b, c := cs[0], cs[1], cs[2]
	l := on(1, 0, 9)
	a.lock(f, l, wire.LockGranted)
	b.lockAs(1, f, l, wire.LockQueued)
	c.lockAs(1, f, l, wire.LockQueued)
	b.conn.Close()
	eventually(t, func() bool {
		w.srv.mu.Lock()
		defer w.srv.mu.Unlock()
		return len(w.srv.locks.files[f].queue) == 1
	}, "the queue without b")
	a.lock(f, off(l), wire.LockGranted)
	c.turn(1)
}

func (c *client) claimLocks(lost []uint32, held ...wire.HeldLock) {
	c.t.Helper()
	var reply wire.ReclaimLocksReply
	if len(held) > 1 { // in two parts
		require.NoError(c.t, c.raw(wire.OpReclaimLocks, &wire.ReclaimLocksRequest{Head: c.head(), Locks: held[:1]}, &reply))
		require.Empty(c.t, reply.Lost)
		held = held[1:]
	}
	require.NoError(c.t, c.raw(wire.OpReclaimLocks, &wire.ReclaimLocksRequest{Head: c.head(), Locks: held, Last: true}, &reply))
	require.Equal(c.t, lost, reply.Lost)
}

func TestLocksAreReclaimedAfterARestart(t *testing.T) {
	w, cs, f, g := lockWorld(t, 2)
	a, b := cs[0], cs[1]
	a.lock(f, on(1, 0, 4), wire.LockGranted)
	a.lock(f, reading(on(1, 5, 9)), wire.LockGranted)
	a.lock(f, flock(1), wire.LockGranted)
	b.lockAs(1, f, on(1, 9, 9), wire.LockQueued)
	w.crash()
	require.NoError(t, b.resume())
	b.claimLocks(nil)
	_, err := b.reclaim(true)
	require.NoError(t, err)
	b.lockAs(1, f, on(1, 9, 9), wire.LockLater)
	reply, err := b.askLock(wire.OpLock, g, on(1, 9, 9), 4, false)
	require.NoError(t, err)
	require.Equal(t, wire.LockLater, reply.State, "whoever does not want to wait is not told what nobody knows either")
	b.lockAs(2, f, flock(7), wire.LockLater)
	reply, err = b.askLock(wire.OpTestLock, f, on(1, 0, 9), 3, false)
	require.NoError(t, err)
	require.Equal(t, wire.LockLater, reply.State)
	b.lock(f, off(on(1, 9, 9)), wire.LockGranted)

	require.NoError(t, a.resume())
	a.claimLocks([]uint32{3}, wire.HeldLock{Ino: f, Lock: on(1, 0, 4)}, wire.HeldLock{Ino: f, Lock: reading(on(1, 5, 9))},
		wire.HeldLock{Ino: f, Lock: flock(1)}, wire.HeldLock{Ino: 4711, Lock: on(1, 0, 4)})
	require.Empty(t, b.turns, "not before all of a's is known")
	_, err = a.reclaim(true)
	require.NoError(t, err)
	b.someTurns(1, 2, 3, 4)
	b.lock(g, on(1, 9, 9), wire.LockGranted)
	b.lockAs(1, f, on(1, 9, 9), wire.LockQueued)
	b.lockAs(2, f, flock(7), wire.LockQueued)
	a.lock(f, off(flock(1)), wire.LockGranted)
	b.turn(2)
	a.lock(f, off(on(1, 0, 9)), wire.LockGranted)
	b.turn(1)
}

func TestAfterTheGraceALockIsLost(t *testing.T) {
	w, cs, f, g := lockWorld(t, 2)
	a, b := cs[0], cs[1]
	a.lock(f, on(1, 0, 4), wire.LockGranted)
	a.lock(g, on(1, 0, 4), wire.LockGranted)
	w.restart()
	require.NoError(t, b.resume())
	_, err := b.reclaim(true)
	require.NoError(t, err)
	b.lockAs(1, f, on(1, 0, 4), wire.LockLater)
	require.NoError(t, a.resume())
	w.srv.mu.Lock()
	w.srv.graceEnd = time.Time{}
	w.srv.mu.Unlock()
	w.srv.endGrace()
	b.turn(1)
	b.lockAs(1, f, on(1, 0, 4), wire.LockGranted)
	a.claimLocks([]uint32{0, 1}, wire.HeldLock{Ino: f, Lock: on(1, 0, 4)}, wire.HeldLock{Ino: g, Lock: on(1, 0, 4)})
	b.lock(g, on(1, 0, 4), wire.LockGranted)
}

func TestAReclaimIsWhatTheSessionHolds(t *testing.T) {
	w, cs, f, g := lockWorld(t, 2)
	a, b := cs[0], cs[1]
	a.lock(f, on(1, 0, 9), wire.LockGranted)
	a.lock(f, on(2, 20, 29), wire.LockGranted)
	a.lock(g, flock(1), wire.LockGranted)
	b.lockAs(1, f, on(1, 20, 29), wire.LockQueued)
	b.lockAs(2, g, flock(1), wire.LockQueued)
	b.lockAs(3, f, on(1, 5, 5), wire.LockQueued)
	require.NoError(t, a.resume())
	a.claimLocks([]uint32{1}, wire.HeldLock{Ino: f, Lock: on(1, 0, 4)}, wire.HeldLock{Ino: g, Lock: on(1, 0, 9)})
	b.someTurns(1, 2, 3) // what was not claimed, and what it did not have, is free
	b.lock(f, on(1, 4, 4), wire.LockHeld)
	require.Equal(t, 1, w.srv.sessions[a.opened.Session].locks.held)
}

// A lock that has come down to reading, and the client has not heard of it: nobody's loss.
func TestWhatIsClaimedComesDownToWhatWasThere(t *testing.T) {
	w, cs, f, _ := lockWorld(t, 2)
	a, b := cs[0], cs[1]
	a.lock(f, on(1, 0, 9), wire.LockGranted)
	a.lock(f, reading(on(1, 5, 6)), wire.LockGranted)
	b.lock(f, reading(on(1, 6, 6)), wire.LockGranted)
	a.lock(f, flock(3), wire.LockGranted)
	a.lock(f, reading(flock(3)), wire.LockGranted)
	require.NoError(t, a.resume())
	a.claimLocks(nil, wire.HeldLock{Ino: f, Lock: on(1, 0, 9)}, wire.HeldLock{Ino: f, Lock: flock(3)})
	for _, l := range []struct {
		on   wire.Lock
		want wire.LockState
	}{
		{reading(on(1, 4, 4)), wire.LockHeld},
		{reading(on(1, 5, 6)), wire.LockGranted},
		{on(1, 6, 6), wire.LockHeld},
		{reading(on(1, 7, 7)), wire.LockHeld},
		{flock(1), wire.LockHeld},
		{reading(flock(1)), wire.LockGranted},
	} {
		b.lock(f, l.on, l.want)
	}
	w.check()
}

func TestLocksHaveLimits(t *testing.T) {
	w, cs, f, g := lockWorld(t, 2)
	a, b := cs[0], cs[1]
	w.srv.mu.Lock()
	sess := w.srv.sessions[a.opened.Session]
	w.srv.mu.Unlock()
	for i := range uint64(MaxLocksPerFile - 1) {
		w.srv.mu.Lock()
		require.NoError(t, w.srv.setLock(newLockWait(sess, w.srv.locksOn(sess.exp, f), on(1, 10*i, 10*i+5))))
		w.srv.mu.Unlock()
	}
	_, err := a.askLock(wire.OpLock, f, on(1, 1e9, 1e9), 0, false)
	require.ErrorIs(t, err, vocab.NoLocks)
	a.lock(f, off(on(1, 2, 2)), wire.LockGranted)
	b.lock(g, on(1, 0, 0), wire.LockGranted)
	w.srv.mu.Lock()
	for i := range uint64(MaxLockWaits) {
		wait := newLockWait(sess, w.srv.locksOn(sess.exp, g), on(i, 0, 0))
		wait.ticket = i + 1
		_, err := w.srv.enqueueLock(wait, wire.LockReply{State: wire.LockQueued})
		require.NoError(t, err)
	}
	w.srv.mu.Unlock()
	_, err = a.askLock(wire.OpLock, g, on(1, 0, 0), MaxLockWaits+1, true)
	require.ErrorIs(t, err, vocab.NoLocks)
	a.lock(f, off(on(1, 0, math.MaxInt64)), wire.LockGranted) // however many wait
	a.conn.Close()
	b.lock(g, off(on(1, 0, 0)), wire.LockGranted)
	eventually(t, func() bool {
		w.srv.mu.Lock()
		defer w.srv.mu.Unlock()
		return len(w.srv.locks.waiting) == 0
	}, "nobody waits")
}
