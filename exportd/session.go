package exportd

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// session is one mount. Fields are guarded by Server.mu unless they say else.
type session struct {
	id vocab.SessionID
	sessionRecord
	exp   *export
	heard atomic.Int64  // when the last request came, by Config.Clock
	ended chan struct{} // closed when the session is over

	conn      *wire.Conn // on which it was opened or resumed last; nil: disconnected
	outcomes  map[uint64]outcome
	done      uint64 // requests up to this one are acknowledged by the client
	files     map[vocab.Ino]*entry
	unclaimed map[vocab.Ino]struct{} // of files, those from before it was resumed that it has not named since
	waiting   int                    // requests that wait for leases
	locks     sessionLocks
	recalls   chan struct{} // semaphore of maxRecallsPerSession
}

func (s *Server) newSession(id vocab.SessionID, r sessionRecord, x *export) *session {
	sess := &session{
		id: id, sessionRecord: r, exp: x, ended: make(chan struct{}),
		outcomes: map[uint64]outcome{}, files: map[vocab.Ino]*entry{},
		recalls: make(chan struct{}, maxRecallsPerSession),
		locks:   sessionLocks{waits: map[uint64]*lockWait{}},
	}
	sess.heard.Store(s.cfg.Clock().UnixNano())
	return sess
}

func errNoSession(id vocab.SessionID) error {
	return vocab.Errorf(vocab.NoSession, "session %d has ended or is unknown: open a new one", uint64(id))
}

// sessionOf checks that the connection speaks for the session.
func (s *Server) sessionOf(id vocab.SessionID, conn *wire.Conn) (*session, error) {
	sess := s.sessions[id]
	if sess == nil || sess.fence != 0 {
		return nil, errNoSession(id)
	}
	if sess.conn != conn {
		return nil, vocab.Errorf(vocab.Unavailable, "session %d was not opened or resumed on this connection", uint64(id))
	}
	return sess, nil
}

// exportNamed finds an export by its root or name.
func (s *Server) exportNamed(name string) (*export, error) {
	for _, x := range s.exports {
		if x.Root == name {
			return x, nil
		}
	}
	for _, e := range s.cfg.Exports { // in order: two may share a name
		if e.Name == name {
			return s.exports[e.EID], nil
		}
	}
	return nil, vocab.Errorf(vocab.NotFound, "export %q: exportd has none of that root or name", name)
}

func (s *Server) openSession(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.OpenSessionRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	s.awaitPoll(ctx)
	sess, err := s.resumeSession(r.Conn, &m)
	if sess == nil && err == nil {
		sess, err = s.beginSession(r.Conn, &m)
	}
	if err != nil {
		return nil, err
	}
	return s.describe(sess)
}

// resumeSession binds a session to a new connection; nil when none was named.
func (s *Server) resumeSession(conn *wire.Conn, m *wire.OpenSessionRequest) (*session, error) {
	if m.Resume == 0 {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[m.Resume]
	if sess == nil || sess.fence != 0 || !sameSecret(sess.secret, m.Secret) {
		return nil, errNoSession(m.Resume)
	}
	sess.conn = conn
	s.dropLockWaits(sess)
	sess.heard.Store(s.cfg.Clock().UnixNano())
	sess.unclaimed = map[vocab.Ino]struct{}{}
	for ino, e := range sess.files {
		sess.unclaimed[ino] = struct{}{}
		e.wake() // recalls that found nobody are sent again
	}
	return sess, nil
}

func sameSecret(a, b uint64) bool {
	var x, y [8]byte
	binary.LittleEndian.PutUint64(x[:], a)
	binary.LittleEndian.PutUint64(y[:], b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func (s *Server) beginSession(conn *wire.Conn, m *wire.OpenSessionRequest) (sess *session, err error) {
	x, err := s.exportNamed(m.Export)
	if err != nil {
		return nil, err
	}
	secret := random64()
	err = s.own(x, func(t *tx) error {
		if len(s.sessions) >= MaxSessions {
			return vocab.Errorf(vocab.TooManyOpen, "%d sessions are open, which is the limit", MaxSessions)
		}
		t.count.session++
		sess = s.newSession(vocab.SessionID(t.count.session), sessionRecord{secret: secret, eid: x.EID, name: m.Name}, x)
		sess.conn = conn
		t.set(sessionKey(sess.id), &sess.sessionRecord)
		t.hook(func() { s.sessions[sess.id] = sess })
		return nil
	})
	if err == nil {
		s.log.Info("session opened", "session", uint64(sess.id), "name", m.Name, "export", x.Root)
	}
	return sess, err
}

func (s *Server) describe(sess *session) (wire.Message, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := &tx{s: s, exp: sess.exp}
	root, err := t.inode(sess.exp.root)
	if err != nil {
		return nil, err
	}
	return &wire.OpenSessionReply{
		Session: sess.id, Secret: sess.secret, Cluster: s.store.cluster, EID: sess.exp.EID, Root: root.attr,
		TermMillis: s.termMillis(), ServerTime: s.now(), Incarnation: s.store.incarnation, Storages: s.addresses(sess.exp.vol),
	}, nil
}

func (s *Server) termMillis() uint32 { return uint32(s.cfg.LeaseTerm / time.Millisecond) }

func (s *Server) renew(_ context.Context, r *wire.Request) (wire.Message, error) {
	if _, err := s.headOf(r); err != nil {
		return nil, err
	}
	return &wire.RenewReply{ServerTime: s.now(), TermMillis: s.termMillis()}, nil
}

func (s *Server) listStorages(_ context.Context, r *wire.Request) (wire.Message, error) {
	sess, err := s.headOf(r)
	if err != nil {
		return nil, err
	}
	return &wire.StoragesReply{Storages: s.addresses(sess.exp.vol)}, nil
}

// headOf serves requests that are a Head only.
func (s *Server) headOf(r *wire.Request) (*session, error) {
	var h wire.Head
	if err := r.Decode(&h); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.begin(r, &h, &waiter{})
	if err != nil {
		return nil, err
	}
	return t.sess, nil
}

// closeSession ends a session that has given up, and made durable, everything:
// what it still holds is dropped without fencing.
func (s *Server) closeSession(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var h wire.Head
	if err := r.Decode(&h); err != nil {
		return nil, err
	}
	h.RequestID = 0 // its outcome cannot be kept; repeated, it finds no session
	return s.call(ctx, r, &h, repeated, func(t *tx) (wire.Message, error) {
		for _, e := range t.sess.files {
			t.lower(e, e.of(t.sess), wire.LeaseNone)
		}
		if err := t.forgetSession(); err != nil {
			return nil, err
		}
		t.hook(func() { s.log.Info("session closed", "session", uint64(t.sess.id), "name", t.sess.name) })
		return &wire.Empty{}, nil
	})
}

// forgetSession closes the opens of t.sess, lets go what only they kept, and
// drops its records. Its write leases must be dropped already.
func (t *tx) forgetSession() error {
	sess := t.sess
	for ino, e := range sess.files {
		if err := t.letGo(ino, e); err != nil {
			return err
		}
	}
	t.drop(sessionKey(sess.id))
	prefix := outcomeKey(sess.id, 0)[:9]
	t.spans = append(t.spans, [2][]byte{prefix, after(prefix)})
	t.hook(func() {
		delete(t.s.sessions, sess.id)
		delete(t.s.fenced, sess)
		if sess.fence == 0 {
			close(sess.ended)
		}
		t.s.dropLocks(sess)
		t.s.leaveGrace(sess)
	})
	return nil
}

// letGo forgets what t.sess has of a file. A write lease must be dropped already.
func (t *tx) letGo(ino vocab.Ino, e *entry) error {
	if err := t.closeFile(ino); err != nil {
		return err
	}
	h := e.of(t.sess)
	t.hook(func() {
		h.open, h.lease = false, wire.Lease{}
		t.s.settle(e, h)
	})
	return nil
}

// closeFile lets go an unlinked file that t.sess was the last to have open.
func (t *tx) closeFile(ino vocab.Ino) error {
	if _, orphan := t.s.orphans[ino]; !orphan {
		return nil
	}
	n, err := t.inode(ino)
	if err != nil {
		return err
	}
	t.reap(n, t.sess)
	return nil
}

// disconnected is called when a connection has ended: its sessions live on and
// wait to be resumed.
func (s *Server) disconnected(c *wire.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sess := range s.sessions {
		if sess.conn == c {
			sess.conn = nil
			s.dropLockWaits(sess)
		}
	}
}
