package exportd

import (
	"context"
	"math"
	"slices"

	"github.com/rozofs-go/rozo/rozofs/ranges"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Limits of locks. Taking locks off in part may lead to twice as many.
const (
	MaxLocksPerFile    = 4096
	MaxLocksPerSession = 1 << 16
	MaxLockWaits       = 1 << 14 // requests of a session that wait for locks
	maxOwnersSearched  = 1024    // for a circle of owners that wait
)

// locks are those of all files, and who waits for them. Guarded by Server.mu.
type locks struct {
	files   map[vocab.Ino]*fileLocks
	waiting map[lockOwner][]*lockWait // the same that are in the queues
}

func newLocks() locks {
	return locks{files: map[vocab.Ino]*fileLocks{}, waiting: map[lockOwner][]*lockWait{}}
}

// lockOwner is who holds locks or waits for them: what one mount calls an owner.
type lockOwner struct {
	sess *session
	id   uint64
}

type lockTable = ranges.Table[lockOwner]

// fileLocks are the locks on one file.
type fileLocks struct {
	exp    *export
	ino    vocab.Ino
	ranges lockTable   // of fcntl, and of open files
	flocks lockTable   // of flock
	queue  []*lockWait // in order of their coming
}

// lockWait is a request that waits. Nobody serves it meanwhile: when it is decided the
// client is told to send it again.
type lockWait struct {
	sess   *session
	file   *fileLocks
	lock   wire.Lock
	ticket uint64
	later  bool // it only waits for the end of the grace
}

// sessionLocks is a session's share. Guarded by Server.mu.
type sessionLocks struct {
	held    int
	waits   map[uint64]*lockWait // by ticket
	claims  []wire.HeldLock      // of a reclaim that has not ended
	turns   []uint64             // tickets that the client is to be told of
	telling *wire.Conn           // on which it is told now
}

func newLockWait(sess *session, f *fileLocks, l wire.Lock) *lockWait {
	if l.Kind == wire.LockFlock {
		l.Start, l.End = 0, math.MaxUint64
	}
	return &lockWait{sess: sess, file: f, lock: l}
}

func (w *lockWait) owner() lockOwner { return lockOwner{w.sess, w.lock.Owner} }

func (w *lockWait) asked() ranges.Lock[lockOwner] {
	l := w.lock
	return ranges.Lock[lockOwner]{Owner: w.owner(), PID: l.PID, Write: l.Type == wire.LockWrite, Start: l.Start, End: l.End}
}

func (f *fileLocks) table(k wire.LockKind) *lockTable {
	if k == wire.LockFlock {
		return &f.flocks
	}
	return &f.ranges
}

func (w *lockWait) table() *lockTable { return w.file.table(w.lock.Kind) }

// locksOn returns a file's locks, making them; tidyLocks forgets them when there are none.
func (s *Server) locksOn(x *export, ino vocab.Ino) *fileLocks {
	f := s.locks.files[ino]
	if f == nil {
		f = &fileLocks{exp: x, ino: ino}
		s.locks.files[ino] = f
	}
	return f
}

func (s *Server) tidyLocks(f *fileLocks) {
	if f.ranges.Len()+f.flocks.Len()+len(f.queue) == 0 && s.locks.files[f.ino] == f {
		delete(s.locks.files, f.ino)
	}
}

func (s *Server) lock(ctx context.Context, r *wire.Request) (wire.Message, error) {
	return s.lockCall(ctx, r, (*tx).lock)
}

func (s *Server) testLock(ctx context.Context, r *wire.Request) (wire.Message, error) {
	return s.lockCall(ctx, r, (*tx).testLock)
}

func (s *Server) lockCall(ctx context.Context, r *wire.Request, fn func(*tx, *lockWait, bool) (wire.Message, error)) (wire.Message, error) {
	var m wire.LockRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, repeated, func(t *tx) (wire.Message, error) {
		if old := t.sess.locks.waits[m.Ticket]; old != nil {
			s.leaveLockQueue(old)
			s.tidyLocks(old.file)
		}
		if m.Lock.Type != wire.LockNone {
			if _, err := t.inode(m.Ino); err != nil {
				return nil, err
			}
		}
		w := newLockWait(t.sess, s.locksOn(t.exp, m.Ino), m.Lock)
		w.ticket = m.Ticket
		defer s.tidyLocks(w.file)
		return fn(t, w, m.Wait)
	})
}

// lock sets a lock, takes one off, or lets the request wait. Nothing of it is stored: see
// docs/design/0004.
func (t *tx) lock(w *lockWait, wait bool) (wire.Message, error) {
	s, table := t.s, w.table()
	if w.lock.Type == wire.LockNone {
		return s.unlock(w)
	}
	if s.lockGrace(w) {
		return s.enqueueLock(w, wire.LockReply{State: wire.LockLater})
	}
	if !table.Blocked(w.asked()) {
		if err := s.setLock(w); err != nil {
			return nil, err
		}
		return &wire.LockReply{}, nil
	}
	if w.lock.Kind == wire.LockFlock && s.clearLock(w) { // a conversion: flock gives up the old one first
		s.grantLocks(w.file)
	}
	reply := wire.LockReply{State: wire.LockHeld, Holder: w.holder()}
	if !wait {
		return &reply, nil
	}
	if w.lock.Kind == wire.LockFcntl && s.deadlocked(w) {
		return nil, vocab.Errorf(vocab.Deadlock, "inode %d: bytes %d to %d", uint64(w.file.ino), w.lock.Start, w.lock.End)
	}
	reply.State = wire.LockQueued
	return s.enqueueLock(w, reply)
}

func (t *tx) testLock(w *lockWait, _ bool) (wire.Message, error) {
	if t.s.lockGrace(w) {
		return t.s.enqueueLock(w, wire.LockReply{State: wire.LockLater})
	}
	if w.table().Blocked(w.asked()) {
		return &wire.LockReply{State: wire.LockHeld, Holder: w.holder()}, nil
	}
	return &wire.LockReply{}, nil
}

// lockGrace tells whether another session may have had a lock on the file before the
// restart and has not said so yet.
func (s *Server) lockGrace(w *lockWait) bool {
	return w.file.ino <= s.graceIno && s.inGrace(w.file.exp, w.sess)
}

// holder is the first that is in the way. A process's number means something on its own
// machine only.
func (w *lockWait) holder() (l wire.Lock) {
	for x := range w.table().Conflicts(w.asked()) {
		l = wire.Lock{Owner: x.Owner.id, Kind: w.lock.Kind, Type: wire.LockRead, Start: x.Start, End: x.End}
		if x.Write {
			l.Type = wire.LockWrite
		}
		if x.Owner.sess == w.sess {
			l.PID = x.PID
		}
		break
	}
	return l
}

// setLock sets what nothing is in the way of.
func (s *Server) setLock(w *lockWait) error {
	table := w.table()
	before := table.Len()
	if before+2 > MaxLocksPerFile || w.sess.locks.held+2 > MaxLocksPerSession {
		return vocab.Errorf(vocab.NoLocks, "%d locks on inode %d, %d of the session", before, uint64(w.file.ino), w.sess.locks.held)
	}
	table.Set(w.asked())
	w.sess.locks.held += table.Len() - before
	if w.lock.Type == wire.LockRead { // it may have come down from writing
		s.grantLocks(w.file)
	}
	if len(s.locks.waiting[w.owner()]) > 0 {
		s.findDeadlocks(w.file)
	}
	return nil
}

func (s *Server) unlock(w *lockWait) (wire.Message, error) {
	if n := w.table().Len(); n+1 > 2*MaxLocksPerFile || w.sess.locks.held+1 > 2*MaxLocksPerSession {
		return nil, vocab.Errorf(vocab.NoLocks, "%d locks on inode %d", n, uint64(w.file.ino))
	}
	if s.clearLock(w) {
		s.grantLocks(w.file)
	}
	return &wire.LockReply{}, nil
}

// clearLock takes the owner's locks off the range; false if there was none.
func (s *Server) clearLock(w *lockWait) bool {
	table, owner := w.table(), w.owner()
	has := false
	for l := range table.All() {
		has = has || l.Owner == owner && l.Start <= w.lock.End && w.lock.Start <= l.End
	}
	before := table.Len()
	table.Clear(owner, w.lock.Start, w.lock.End)
	w.sess.locks.held += table.Len() - before
	return has
}

func (s *Server) enqueueLock(w *lockWait, reply wire.LockReply) (wire.Message, error) {
	if len(w.sess.locks.waits) >= MaxLockWaits {
		return nil, vocab.Errorf(vocab.NoLocks, "%d requests of the session wait for locks", MaxLockWaits)
	}
	w.later = reply.State == wire.LockLater
	w.sess.locks.waits[w.ticket] = w
	w.file.queue = append(w.file.queue, w)
	s.locks.waiting[w.owner()] = append(s.locks.waiting[w.owner()], w)
	return &reply, nil
}

func (s *Server) leaveLockQueue(w *lockWait) {
	is := func(o *lockWait) bool { return o == w }
	delete(w.sess.locks.waits, w.ticket)
	w.file.queue = slices.DeleteFunc(w.file.queue, is)
	if left := slices.DeleteFunc(s.locks.waiting[w.owner()], is); len(left) > 0 {
		s.locks.waiting[w.owner()] = left
	} else {
		delete(s.locks.waiting, w.owner())
	}
}

// grantLocks gives those who wait what has become free, first come first served. A lock is
// set before its owner hears of it, so that nobody comes in between.
func (s *Server) grantLocks(f *fileLocks) {
	for _, w := range slices.Clone(f.queue) {
		if w.sess.locks.waits[w.ticket] != w || s.lockGrace(w) {
			continue
		}
		if !w.later && w.table().Blocked(w.asked()) {
			continue
		}
		s.decide(w)
		if !w.later {
			_ = s.setLock(w) // over a limit: it is told so when it asks again
		}
	}
}

// decide takes a request out of the queue and has the client send it again.
func (s *Server) decide(w *lockWait) {
	s.leaveLockQueue(w)
	sess := w.sess
	sess.locks.turns = append(sess.locks.turns, w.ticket)
	if conn := sess.conn; conn != nil && sess.locks.telling != conn {
		sess.locks.telling = conn
		s.background.Go(func() { s.tellTurns(sess, conn) })
	}
}

// tellTurns tells the client of its turns until there are none, or the connection has
// ended: then it sends all that waits again.
func (s *Server) tellTurns(sess *session, conn *wire.Conn) {
	for {
		s.mu.Lock()
		l := &sess.locks
		if l.telling != conn {
			s.mu.Unlock()
			return
		}
		n := min(len(l.turns), wire.MaxTurns)
		m := wire.LockTurnRequest{Tickets: l.turns[:n:n]}
		l.turns = l.turns[n:]
		if n == 0 || conn.Err() != nil || s.ctx.Err() != nil {
			l.telling = nil
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if _, err := conn.Call(s.ctx, wire.OpLockTurn, &m, wire.Bulk{}, nil); err != nil {
			s.log.Debug("a client was not told of its turn", "session", uint64(sess.id), "name", sess.name, "err", err)
		}
	}
}

// deadlocked tells whether w, if it waits, waits in the end for its own owner.
func (s *Server) deadlocked(w *lockWait) bool {
	seen := map[lockOwner]bool{}
	for left := []*lockWait{w}; len(left) > 0; {
		next := left[len(left)-1]
		left = left[:len(left)-1]
		for l := range next.table().Conflicts(next.asked()) {
			if l.Owner == w.owner() {
				return true
			}
			if seen[l.Owner] || len(seen) == maxOwnersSearched {
				continue
			}
			seen[l.Owner] = true
			for _, o := range s.locks.waiting[l.Owner] {
				if o.lock.Kind == wire.LockFcntl && !o.later {
					left = append(left, o)
				}
			}
		}
	}
	return false
}

// findDeadlocks is called when an owner that waits has got a lock meanwhile, by another
// thread: others may now wait for it for ever.
func (s *Server) findDeadlocks(f *fileLocks) {
	for _, w := range slices.Clone(f.queue) {
		if w.lock.Kind == wire.LockFcntl && !w.later && s.deadlocked(w) {
			s.decide(w)
		}
	}
}

// dropLocks takes off all locks of a session that has ended.
func (s *Server) dropLocks(sess *session) {
	s.dropLockWaits(sess)
	for _, f := range s.takeLocks(sess, nil) {
		s.grantLocks(f)
		s.tidyLocks(f)
	}
}

// dropLockWaits forgets what a session was waiting for on a connection that it has no more.
// So nothing is granted to who is not there; the client sends it again.
func (s *Server) dropLockWaits(sess *session) {
	for _, w := range sess.locks.waits {
		s.leaveLockQueue(w)
		s.tidyLocks(w.file)
	}
	sess.locks.turns, sess.locks.telling, sess.locks.claims = nil, nil, nil
}

// lockGraceEnds decides what waited for a session of the export to say what it holds.
func (s *Server) lockGraceEnds(x *export) {
	for _, f := range s.locks.files {
		if f.exp == x {
			s.grantLocks(f)
			s.tidyLocks(f)
		}
	}
}
