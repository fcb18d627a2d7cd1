package exportd

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// access says how a request uses the state.
type access uint8

const (
	reads    access = iota // under the shared lock; has no request number
	changes                // a command; a request number makes its repetition harmless
	repeated               // a command that may be repeated without a number
)

// call serves one request of a session. fn decides what is read or changed; when
// it meets another session's lease, call waits for that and runs fn again, on the
// state as it is then.
func (s *Server) call(ctx context.Context, r *wire.Request, h *wire.Head, a access, fn func(*tx) (wire.Message, error)) (wire.Message, error) {
	w := waiter{op: r.Op}
	defer s.leaveQueues(&w)
	for {
		m, seen, err := s.attempt(r, h, a, &w, fn)
		var c *conflict
		if errors.As(err, &c) {
			if err = s.await(ctx, &w, c); err == nil {
				continue
			}
		}
		if serr := s.awaitDurable(seen); serr != nil {
			return nil, serr
		}
		return m, err
	}
}

// attempt runs fn once under the lock. seen is the newest command on which the
// answer rests and that may not be durable yet.
func (s *Server) attempt(r *wire.Request, h *wire.Head, a access, w *waiter, fn func(*tx) (wire.Message, error)) (m wire.Message, seen uint64, err error) {
	if a == reads {
		s.mu.RLock()
		defer s.mu.RUnlock()
		t, err := s.begin(r, h, w)
		if err != nil {
			return nil, 0, err
		}
		m, err = fn(t)
		return m, t.seen, err
	}
	s.mu.Lock()
	t, err := s.begin(r, h, w)
	if err != nil {
		s.mu.Unlock()
		return nil, 0, err
	}
	if o, done := t.sess.outcomes[h.RequestID]; done {
		seen = s.count.applied
		s.mu.Unlock()
		m, err = o.answer(r.Op)
		return m, seen, err
	}
	if err := t.checkRequest(a); err != nil {
		s.mu.Unlock()
		return nil, 0, err
	}
	if m, err = fn(t); err != nil {
		s.mu.Unlock()
		return nil, t.seen, err
	}
	m, err = s.finish(t, r.Op, m) // unlocks
	return m, t.seen, err
}

// begin finds the session of a request and gives it a tx.
func (s *Server) begin(r *wire.Request, h *wire.Head, w *waiter) (*tx, error) {
	if err := s.failure(); err != nil {
		return nil, err
	}
	sess, err := s.sessionOf(h.Session, r.Conn)
	if err != nil {
		return nil, err
	}
	sess.heard.Store(s.cfg.Clock().UnixNano())
	w.sess = sess
	return &tx{s: s, sess: sess, exp: sess.exp, head: h, wait: w, now: s.now(), count: s.count}, nil
}

func (t *tx) checkRequest(a access) error {
	id := t.head.RequestID
	switch {
	case id == 0 && a == changes:
		return vocab.Errorf(vocab.Protocol, "a request that changes something needs a number")
	case id != 0 && id <= t.sess.done:
		return vocab.Errorf(vocab.Protocol, "request %d was acknowledged as done", id)
	case a == changes && len(t.sess.outcomes) >= MaxOutcomes && t.head.Done <= t.sess.done:
		return vocab.Errorf(vocab.Overloaded, "%d replies are not acknowledged by the client", len(t.sess.outcomes))
	}
	return nil
}

// finish stores what t has changed, with the reply for a repetition, and waits,
// without the lock, until it is durable. It unlocks s.mu.
func (s *Server) finish(t *tx, op wire.Op, m wire.Message) (wire.Message, error) {
	if !t.durable() {
		t.committed()
		s.mu.Unlock()
		return m, nil
	}
	if t.head != nil && t.head.RequestID != 0 {
		o := outcome{op: op, reply: encode(m)}
		t.set(outcomeKey(t.sess.id, t.head.RequestID), &o)
		t.hook(func() { t.sess.outcomes[t.head.RequestID] = o })
		t.dropDone()
		m = encoded(o.reply)
	}
	b, err := t.batch()
	if err == nil {
		err = s.db.ApplyNoSyncWait(b, pebble.Sync)
	}
	if err != nil {
		s.fail(err)
		s.mu.Unlock()
		return nil, s.failure()
	}
	t.committed()
	s.mu.Unlock()
	if err := b.SyncWait(); err != nil {
		s.fail(err)
		return nil, s.failure()
	}
	s.raiseDurable(t.count.applied)
	if err := b.Close(); err != nil {
		s.fail(err)
		return nil, s.failure()
	}
	return m, nil
}

// dropDone forgets the outcomes that the client has acknowledged.
func (t *tx) dropDone() {
	sess, done := t.sess, t.head.Done
	if done <= sess.done {
		return
	}
	var gone []uint64
	if done-sess.done <= uint64(len(sess.outcomes)) {
		for id := sess.done + 1; id <= done; id++ {
			if _, ok := sess.outcomes[id]; ok {
				gone = append(gone, id)
			}
		}
	} else {
		for id := range sess.outcomes {
			if id <= done {
				gone = append(gone, id)
			}
		}
	}
	for _, id := range gone {
		t.drop(outcomeKey(sess.id, id))
	}
	t.hook(func() {
		for _, id := range gone {
			delete(sess.outcomes, id)
		}
		sess.done = done
	})
}

// own runs a command of exportd itself.
func (s *Server) own(exp *export, fn func(*tx) error) error {
	s.mu.Lock()
	if err := s.failure(); err != nil {
		s.mu.Unlock()
		return err
	}
	t := &tx{s: s, exp: exp, now: s.now(), count: s.count}
	if err := fn(t); err != nil {
		s.mu.Unlock()
		return err
	}
	_, err := s.finish(t, 0, nil) // unlocks
	return err
}

// raiseDurable notes that all commands up to index are on disk: the log is
// sequential, so a sync of one covers those before it.
func (s *Server) raiseDurable(index uint64) {
	for {
		have := s.durable.Load()
		if have >= index || s.durable.CompareAndSwap(have, index) {
			return
		}
	}
}

// awaitDurable returns when the command is on disk, so that nobody is told of
// what a power cut may still undo.
func (s *Server) awaitDurable(index uint64) error {
	if index <= s.durable.Load() {
		return nil
	}
	b := s.db.NewBatch()
	err := b.LogData(nil, nil)
	if err == nil {
		err = s.db.ApplyNoSyncWait(b, pebble.Sync) // LogData of the DB panics when the sync fails
	}
	if err == nil {
		err = b.SyncWait()
	}
	if err == nil {
		err = b.Close()
	}
	if err != nil {
		s.fail(err)
		return s.failure()
	}
	s.raiseDurable(index)
	return nil
}

// fail stops the server: memory and disk may differ. Nothing is answered any more, Serve
// returns, and clients wait for the next run.
func (s *Server) fail(err error) {
	failure := vocab.Errorf(vocab.Internal, "the metadata store failed, restart exportd when its disk is in order: %v", err)
	if s.failed.CompareAndSwap(nil, &failure) {
		s.log.Error("the metadata store failed; nothing is acknowledged any more", "err", fmt.Sprint(err))
		s.background.Go(func() { _ = s.wire.Close() }) // always nil
	}
}

func (s *Server) failure() error {
	if f := s.failed.Load(); f != nil {
		return *f
	}
	return nil
}
