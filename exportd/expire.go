package exportd

import (
	"context"
	"sync"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// fenceChunk bounds the files of one command when a session is taken apart.
const fenceChunk = 1024

// life is how long a session lives after it was last heard: a term, which its
// holder counts from before it sent the request, and a margin for clocks that
// do not run alike.
func (s *Server) life() time.Duration { return s.cfg.LeaseTerm + s.cfg.LeaseTerm/8 }

// watchSessions ends sessions that were not heard of for too long.
func (s *Server) watchSessions() {
	s.every(max(s.cfg.LeaseTerm/16, time.Millisecond), nil, func() {
		s.expireSessions()
		s.endGrace()
	})
}

func (s *Server) expireSessions() {
	deadline := s.cfg.Clock().Add(-s.life()).UnixNano()
	var late []*session
	s.mu.RLock()
	for _, sess := range s.sessions {
		if sess.fence == 0 && sess.heard.Load() < deadline {
			late = append(late, sess)
		}
	}
	s.mu.RUnlock()
	for _, sess := range late {
		if err := s.endSession(sess, deadline); err != nil {
			s.log.Error("an expired session could not be ended", "session", uint64(sess.id), "err", err)
		}
	}
}

// endSession ends a session that was last heard before the deadline. From here
// on it can do nothing at exportd; what it may still do at storages is stopped by
// fencing, and only then others get the files that it was writing.
func (s *Server) endSession(sess *session, deadline int64) error {
	return s.own(sess.exp, func(t *tx) error {
		if s.sessions[sess.id] != sess || sess.fence != 0 || sess.heard.Load() >= deadline {
			return nil
		}
		rec := sess.sessionRecord
		rec.fence = t.freshEpoch()
		t.set(sessionKey(sess.id), &rec)
		t.hook(func() {
			s.log.Warn("session ended: not heard of for its term", "session", uint64(sess.id), "name", sess.name)
			sess.fence, sess.conn = rec.fence, nil
			close(sess.ended)
			s.dropReads(sess)
			s.dropLocks(sess)
			s.leaveGrace(sess)
			s.fenced[sess] = newFenceState()
			s.collectFence(sess)
			s.kickFence()
		})
		return nil
	})
}

// dropReads ends read leases: their holder has stopped using its caches by its
// own clock.
func (s *Server) dropReads(sess *session) {
	for _, e := range sess.files {
		if h := e.of(sess); h.lease.Kind == wire.LeaseRead {
			h.lease = wire.Lease{}
			s.settle(e, h)
		}
	}
}

// fenceState is what is known of the fencing of one ended session. Only
// fenceSessions uses accepted; files is guarded by Server.mu.
type fenceState struct {
	accepted map[place]bool
	files    map[vocab.Ino]vocab.Placement // write leases that wait
}

func newFenceState() *fenceState {
	return &fenceState{accepted: map[place]bool{}, files: map[vocab.Ino]vocab.Placement{}}
}

// collectFence lists the files whose write leases the session held.
func (s *Server) collectFence(sess *session) {
	st := s.fenced[sess]
	t := &tx{s: s, exp: sess.exp}
	for ino, e := range sess.files {
		if e.of(sess).lease.Kind != wire.LeaseWrite {
			continue
		}
		n, err := t.inode(ino)
		if err != nil {
			s.log.Error("a leased file cannot be read; its lease stays", "ino", uint64(ino), "err", err)
			continue
		}
		st.files[ino] = n.placement
	}
}

func (s *Server) kickFence() { kick(s.fenceKick) }

// kick wakes whoever waits on a channel of capacity 1.
func kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fenceSessions makes storages refuse ended sessions, again and again until
// enough have.
func (s *Server) fenceSessions() {
	s.every(s.cfg.PollInterval, s.fenceKick, func() {
		s.mu.RLock()
		var work []*session
		for sess := range s.fenced {
			work = append(work, sess)
		}
		s.mu.RUnlock()
		for _, sess := range work {
			if err := s.fenceSession(sess); err != nil {
				s.log.Error("an ended session could not be taken apart", "session", uint64(sess.id), "err", err)
			}
		}
	})
}

func (s *Server) fenceSession(sess *session) error {
	s.mu.RLock()
	st := s.fenced[sess]
	clusters := map[vocab.CID]bool{}
	for _, p := range st.files {
		clusters[p.Distribution.CID] = true
	}
	s.mu.RUnlock()
	s.sendFences(sess, st, clusters)
	for {
		ready := s.fencedFiles(sess, st)
		if len(ready) == 0 {
			break
		}
		if err := s.dropFenced(sess, st, ready); err != nil {
			return err
		}
	}
	s.mu.RLock()
	left := len(st.files)
	s.mu.RUnlock()
	if left > 0 {
		s.log.Debug("an ended session waits for storages to refuse it", "session", uint64(sess.id), "files", left)
		return nil
	}
	return s.own(sess.exp, func(t *tx) error {
		t.sess = sess
		return t.forgetSession()
	})
}

// sendFences asks the storages that have not accepted yet.
func (s *Server) sendFences(sess *session, st *fenceState, clusters map[vocab.CID]bool) {
	var (
		mu     sync.Mutex // guards st.accepted while the calls run
		joined sync.WaitGroup
		ask    []*storage
	)
	for p, sto := range s.storages {
		if p.vid == sess.exp.VID && clusters[p.id.CID] && !st.accepted[p] {
			ask = append(ask, sto)
		}
	}
	for _, sto := range ask {
		joined.Go(func() {
			m := wire.FenceRequest{Target: wire.Target{Session: sess.id, Epoch: sess.fence}}
			if err := s.sendFence(sto, &m); err != nil {
				s.log.Debug("a storage did not accept a fence", "storage", sto.place.id.String(), "err", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			st.accepted[sto.place] = true
		})
	}
	joined.Wait()
}

func (s *Server) sendFence(sto *storage, m *wire.FenceRequest) error {
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	conn, incarnation, err := s.reach(sto)
	if err != nil {
		return err
	}
	m.ID, m.Incarnation = sto.place.id, incarnation
	_, err = conn.Call(ctx, wire.OpFence, m, wire.Bulk{}, &wire.BootReply{})
	return err
}

// fenceQuorum is how many storages of a file must refuse the old epochs: so many
// that no write of the old session can be acknowledged, and every finished one
// is seen.
func fenceQuorum(l vocab.Layout) int {
	return max(l.ReadQuorum(), int(l.Safe)-int(l.Inverse)+1)
}

func (s *Server) fencedFiles(sess *session, st *fenceState) (ready []vocab.Ino) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for ino, p := range st.files {
		accepted := 0
		for _, where := range sess.exp.places(&p) {
			if st.accepted[where] {
				accepted++
			}
		}
		if accepted >= fenceQuorum(p.Geometry.Layout) {
			if ready = append(ready, ino); len(ready) == fenceChunk {
				break
			}
		}
	}
	return ready
}

// dropFenced ends write leases whose holder is fenced, and notes that the files
// need recovery.
func (s *Server) dropFenced(sess *session, st *fenceState, ready []vocab.Ino) error {
	return s.own(sess.exp, func(t *tx) error {
		for _, ino := range ready {
			t.hook(func() { delete(st.files, ino) })
			e := sess.files[ino]
			if e == nil {
				continue // deleted meanwhile
			}
			h := e.of(sess)
			t.recover(ino, leaseRecord{sess.id, h.lease.Epoch})
			t.lower(e, h, wire.LeaseNone)
		}
		return nil
	})
}

// recover notes that a file is to be settled before anybody gets a lease on it: its writer
// has ended without finishing.
func (t *tx) recover(ino vocab.Ino, last leaseRecord) {
	t.set(fileKey(prefixRecovery, t.exp.EID, ino), &last)
	t.hook(func() {
		t.s.recovery[ino] = t.exp
		kick(t.s.settleKick)
		t.s.log.Warn("a file needs recovery: its writer ended without finishing", "export", t.exp.Root, "ino", uint64(ino),
			"session", uint64(last.session), "epoch", uint64(last.epoch))
	})
}
