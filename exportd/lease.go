package exportd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Limits of the lease table.
const (
	MaxFilesPerSession   = 1 << 17 // leases and opens
	MaxWaitingPerSession = 192     // requests that wait for leases; below wire.MaxServing, so that releases get through
	maxRecallsPerSession = 128     // recalls under way; below wire.MaxServing, so that the client still reads replies
)

// entry is a file that some session has open or holds a lease on. All fields
// are guarded by Server.mu.
type entry struct {
	exp     *export
	ino     vocab.Ino
	holders []*holder
	queue   []*ticket     // requests that wait, first come first served
	changed chan struct{} // closed when something above changes; nil while nobody waits
}

// holder is one session's share of an entry.
type holder struct {
	sess      *session
	lease     wire.Lease
	open      bool
	recalling bool // a recall is on its way
}

// ticket is a waiting request's place in the queue of one file.
type ticket struct {
	entry *entry
	sess  *session
	want  wire.LeaseKind
}

// waiter is one request and its places in queues.
type waiter struct {
	op      wire.Op
	sess    *session
	tickets []*ticket
}

// conflict is what a request must wait for: others' leases on ino must come down
// to read if need is read, to none if it is write. A grant also waits for its
// turn; other requests take nothing away from those in the queue.
type conflict struct {
	exp   *export
	ino   vocab.Ino
	need  wire.LeaseKind
	grant bool
}

func (c *conflict) Error() string {
	return fmt.Sprintf("inode %d: another session holds a lease", uint64(c.ino))
}

// keep is what others may keep.
func (c *conflict) keep() wire.LeaseKind {
	if c.need == wire.LeaseWrite {
		return wire.LeaseNone
	}
	return wire.LeaseRead
}

func (e *entry) of(sess *session) *holder {
	for _, h := range e.holders {
		if h.sess == sess {
			return h
		}
	}
	return nil
}

// wake lets all who wait look again.
func (e *entry) wake() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// protect makes sure that no other session's lease forbids t to read (need is
// LeaseRead) or change (LeaseWrite) content or attributes of n.
func (t *tx) protect(n *inode, need wire.LeaseKind) error {
	return t.claim(n, need, false)
}

func (t *tx) claim(n *inode, need wire.LeaseKind, grant bool) error {
	if !n.attr.IsRegular() || t.sess == nil {
		return nil
	}
	c := conflict{t.exp, n.attr.Ino, need, grant}
	if t.s.blocked(t.wait, &c) {
		return &c
	}
	return nil
}

// blocked tells whether the request must wait.
func (s *Server) blocked(w *waiter, c *conflict) bool {
	if c.need == wire.LeaseWrite && c.ino <= s.graceIno && s.inGrace(c.exp, w.sess) {
		return true
	}
	if c.grant && (s.recovery[c.ino] != nil || s.moving[c.ino]) {
		return true // until it is settled, or has moved
	}
	e := s.files[c.ino]
	if e == nil {
		return false
	}
	for _, h := range e.holders {
		if h.sess != w.sess && h.lease.Kind > c.keep() {
			return true
		}
	}
	return c.grant && e.before(w, c.need)
}

// before tells whether others that want a lease, or to change the file, were
// there earlier.
func (e *entry) before(w *waiter, need wire.LeaseKind) bool {
	for _, q := range e.queue {
		if slices.Contains(w.tickets, q) {
			return false
		}
		if q.want == wire.LeaseWrite || need == wire.LeaseWrite {
			return true
		}
	}
	return false
}

// await joins the queue of the file, recalls what is in the way, and returns
// when something has changed there.
func (s *Server) await(ctx context.Context, w *waiter, c *conflict) error {
	s.mu.Lock()
	if !s.blocked(w, c) {
		s.mu.Unlock()
		return nil
	}
	if err := s.enqueue(w, c); err != nil {
		s.mu.Unlock()
		return err
	}
	e := s.files[c.ino]
	if !c.grant || !e.before(w, c.need) {
		s.recallFor(w.sess, e, c.keep())
	}
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	changed := e.changed
	s.mu.Unlock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		kind := vocab.Canceled
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			kind = vocab.Unavailable
		}
		return vocab.Errorf(kind, "%v: waiting for the lease on inode %d: %v", w.op, uint64(c.ino), context.Cause(ctx))
	case <-w.sess.ended:
		return errNoSession(w.sess.id)
	case <-s.ctx.Done():
		return errClosing
	}
}

func (s *Server) enqueue(w *waiter, c *conflict) error {
	e := s.entry(c.exp, c.ino)
	for _, q := range w.tickets {
		if q.entry == e {
			q.want = max(q.want, c.need)
			return nil
		}
	}
	if len(w.tickets) == 0 {
		if w.sess.waiting >= MaxWaitingPerSession {
			return vocab.Errorf(vocab.Overloaded, "%d requests of the session wait for leases", w.sess.waiting)
		}
		w.sess.waiting++
	}
	q := &ticket{e, w.sess, c.need}
	e.queue = append(e.queue, q)
	w.tickets = append(w.tickets, q)
	return nil
}

// leaveQueues ends a request's waiting.
func (s *Server) leaveQueues(w *waiter) {
	if len(w.tickets) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.sess.waiting--
	for _, q := range w.tickets {
		q.entry.queue = slices.DeleteFunc(q.entry.queue, func(o *ticket) bool { return o == q })
		q.entry.wake()
		s.tidy(q.entry)
	}
}

// entry returns the table's entry for the file, making it.
func (s *Server) entry(exp *export, ino vocab.Ino) *entry {
	e := s.files[ino]
	if e == nil {
		e = &entry{exp: exp, ino: ino}
		s.files[ino] = e
	}
	return e
}

func (s *Server) tidy(e *entry) {
	if len(e.holders) == 0 && len(e.queue) == 0 && s.files[e.ino] == e {
		delete(s.files, e.ino)
	}
}

// hold returns the session's share of the entry, making it.
func (s *Server) hold(e *entry, sess *session) *holder {
	h := e.of(sess)
	if h == nil {
		h = &holder{sess: sess}
		e.holders = append(e.holders, h)
		sess.files[e.ino] = e
	}
	return h
}

// settle drops a share that is neither a lease nor open, and wakes the queue.
func (s *Server) settle(e *entry, h *holder) {
	if h.lease.Kind == wire.LeaseNone && !h.open {
		e.holders = slices.DeleteFunc(e.holders, func(o *holder) bool { return o == h })
		delete(h.sess.files, e.ino)
	}
	e.wake()
	s.tidy(e)
}

// recallFor asks all others that hold more than keep.
func (s *Server) recallFor(sess *session, e *entry, keep wire.LeaseKind) {
	for _, h := range e.holders {
		if h.sess != sess && h.lease.Kind > keep {
			s.recall(e, h, keep)
		}
	}
}

// recall asks the holder to come down to keep; the answer wakes the queue.
func (s *Server) recall(e *entry, h *holder, keep wire.LeaseKind) {
	if h.recalling || h.sess.conn == nil || h.sess.fence != 0 {
		return // under way, or done when the session is back or has ended
	}
	h.recalling = true
	conn, m := h.sess.conn, wire.RecallRequest{Ino: e.ino, Epoch: h.lease.Epoch, Keep: keep}
	s.background.Go(func() { s.sendRecall(h.sess, conn, e, h, m) })
}

func (s *Server) sendRecall(sess *session, conn *wire.Conn, e *entry, h *holder, m wire.RecallRequest) {
	sess.recalls <- struct{}{} // every call ends: at the latest with its connection
	_, err := conn.Call(s.ctx, wire.OpRecall, &m, wire.Bulk{}, nil)
	<-sess.recalls
	switch {
	case err == nil:
		s.comeDown(sess, e, m)
	case conn.Err() == nil:
		s.log.Warn("a client refused to give up a lease; asking again", "session", uint64(sess.id), "name", sess.name, "ino", uint64(m.Ino), "err", err)
		s.sleep(s.cfg.LeaseTerm / 20)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h.recalling = false
	e.wake()
}

// comeDown does what the holder did not: it answered a recall, which says that
// the rest is given up, without a release. So it does not know of the lease, and
// has written nothing under it.
func (s *Server) comeDown(sess *session, e *entry, m wire.RecallRequest) {
	err := s.own(e.exp, func(t *tx) error {
		if h := e.of(sess); h != nil && h.lease.Epoch == m.Epoch && h.lease.Kind > m.Keep {
			t.lower(e, h, m.Keep)
		}
		return nil
	})
	if err != nil {
		s.log.Error("a recalled lease could not be recorded as released", "ino", uint64(m.Ino), "err", err)
	}
}

// grant gives the session the lease that it wants on n; the caller has claimed it.
func (t *tx) grant(n *inode, want wire.LeaseKind) (wire.Lease, error) {
	if !n.attr.IsRegular() {
		want = wire.LeaseNone
	}
	ino, sess := n.attr.Ino, t.sess
	held := wire.Lease{}
	e := t.s.files[ino]
	if e != nil {
		if h := e.of(sess); h != nil {
			held = h.lease
		}
	}
	if _, known := sess.files[ino]; !known && len(sess.files) >= MaxFilesPerSession {
		return held, vocab.Errorf(vocab.TooManyOpen, "the session has %d files open or leased", len(sess.files))
	}
	granted := held
	if want > held.Kind {
		granted = wire.Lease{Kind: want, Epoch: t.freshEpoch()}
		if want == wire.LeaseWrite {
			t.set(fileKey(prefixLease, t.exp.EID, ino), &leaseRecord{sess.id, granted.Epoch})
		}
	}
	t.hook(func() {
		e := t.s.entry(t.exp, ino)
		h := t.s.hold(e, sess)
		h.lease, h.open = granted, true
		delete(sess.unclaimed, ino)
	})
	return granted, nil
}

// lower gives up a lease down to keep, cleanly.
func (t *tx) lower(e *entry, h *holder, keep wire.LeaseKind) {
	if h.lease.Kind == wire.LeaseWrite && keep < wire.LeaseWrite {
		t.drop(fileKey(prefixLease, e.exp.EID, e.ino))
	}
	t.hook(func() {
		h.lease.Kind = min(h.lease.Kind, keep)
		if h.lease.Kind == wire.LeaseNone {
			h.lease = wire.Lease{}
		}
		t.s.settle(e, h)
	})
}
