package exportd

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// inGrace tells whether some other session of the export has not yet said what
// it held before this run began.
func (s *Server) inGrace(x *export, except *session) bool {
	for sess := range s.grace {
		if sess != except && sess.exp == x {
			return true
		}
	}
	return false
}

// reclaim tells a session what it still holds. In the grace after a restart it
// also enters what only memory knew: opens and read leases.
func (s *Server) reclaim(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.ReclaimRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	reply, err := s.call(ctx, r, &m.Head, repeated, func(t *tx) (wire.Message, error) {
		reply := &wire.ReclaimReply{Granted: make([]wire.Lease, len(m.Held))}
		for i := range m.Held {
			lease, err := t.reclaimFile(&m.Held[i])
			if err != nil {
				return nil, err
			}
			reply.Granted[i] = lease
		}
		if m.Last {
			t.hook(func() { s.leaveGrace(t.sess) })
			return reply, t.dropUnclaimed()
		}
		return reply, nil
	})
	if err == nil && m.Last {
		err = s.sweepAfterGrace()
	}
	return reply, err
}

// dropUnclaimed gives back what the session had before it was resumed and has not named: the
// answer was lost, or came when its caller had given up. So nothing was written under it.
func (t *tx) dropUnclaimed() error {
	for ino := range t.sess.unclaimed {
		e := t.sess.files[ino]
		if e == nil {
			continue // given up meanwhile
		}
		t.lower(e, e.of(t.sess), wire.LeaseNone)
		if err := t.letGo(ino, e); err != nil {
			return err
		}
	}
	t.hook(func() { t.sess.unclaimed = nil })
	return nil
}

func (t *tx) reclaimFile(m *wire.Held) (wire.Lease, error) {
	none := wire.Lease{}
	n, err := t.inode(m.Ino)
	if err != nil || n.attr.Generation != m.Generation {
		if err != nil && !isKind(err, vocab.Stale) {
			return none, err
		}
		return none, nil
	}
	if _, known := t.sess.files[m.Ino]; !known && len(t.sess.files) >= MaxFilesPerSession {
		return none, nil
	}
	lease := t.reclaimLease(n, m.Lease)
	delete(t.sess.unclaimed, m.Ino)
	t.hook(func() {
		h := t.s.hold(t.s.entry(t.exp, m.Ino), t.sess)
		h.open, h.lease = true, lease
	})
	return lease, nil
}

// reclaimLease: what the table has counts. A read lease that a restart made it
// forget is entered again; nothing conflicting was granted meanwhile.
func (t *tx) reclaimLease(n *inode, want wire.Lease) wire.Lease {
	e := t.s.files[n.attr.Ino]
	if e != nil {
		if h := e.of(t.sess); h != nil && h.lease.Kind != wire.LeaseNone {
			return h.lease
		}
		for _, h := range e.holders {
			if h.sess != t.sess && h.lease.Kind == wire.LeaseWrite {
				return wire.Lease{}
			}
		}
	}
	if _, grace := t.s.grace[t.sess]; !grace || want.Kind == wire.LeaseNone || !n.attr.IsRegular() || n.attr.Ino > t.s.graceIno {
		return wire.Lease{}
	}
	if want.Kind == wire.LeaseWrite { // given up, but for the answer
		return wire.Lease{}
	}
	return wire.Lease{Kind: wire.LeaseRead, Epoch: t.freshEpoch()}
}

// leaveGrace lets go what waited for the session to reclaim.
func (s *Server) leaveGrace(sess *session) {
	if _, ok := s.grace[sess]; !ok {
		return
	}
	delete(s.grace, sess)
	s.sweepDue = true
	s.lockGraceEnds(sess.exp)
	for _, e := range s.files {
		if e.exp == sess.exp {
			e.wake()
		}
	}
}

// endGrace stops waiting for sessions that had their time.
func (s *Server) endGrace() {
	s.mu.Lock()
	if len(s.grace) > 0 && s.cfg.Clock().After(s.graceEnd) {
		for sess := range s.grace {
			s.log.Warn("a session has not reclaimed what it held before the restart; others go on", "session", uint64(sess.id), "name", sess.name)
			s.leaveGrace(sess)
		}
	}
	s.mu.Unlock()
	if err := s.sweepAfterGrace(); err != nil {
		s.log.Error("unlinked files could not be deleted", "err", err)
	}
}

// sweepAfterGrace deletes what had to wait for a session that has now said what
// it has open, or will not any more.
func (s *Server) sweepAfterGrace() error {
	s.mu.Lock()
	due := s.sweepDue
	s.sweepDue = false
	s.mu.Unlock()
	if !due {
		return nil
	}
	return s.sweepOrphans()
}

// sweepOrphans deletes unlinked files that nobody has open, once everyone has
// said what they have open.
func (s *Server) sweepOrphans() error {
	for _, x := range s.exports {
		err := s.own(x, func(t *tx) error {
			if s.inGrace(x, nil) {
				return nil
			}
			for ino, of := range s.orphans {
				if of != x {
					continue
				}
				n, err := t.inode(ino)
				if isKind(err, vocab.Stale) {
					t.drop(fileKey(prefixOrphan, x.EID, ino))
					t.hook(func() { delete(s.orphans, ino) })
					continue
				}
				if err != nil {
					return err
				}
				t.reap(n, nil)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
