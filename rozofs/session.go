package rozofs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	connectTimeout   = 5 * time.Second
	reconnectMin     = 50 * time.Millisecond
	reconnectMax     = time.Second
	renewalsPerTerm  = 4 // renewals sent in one term, so that one may be lost
	storagesInterval = 4 // renewals between two looks at the storages' table
	overloadedPause  = 10 * time.Millisecond
)

var errUnanswered = vocab.Errorf(vocab.Unavailable, "exportd did not answer")

// session is the connection to exportd and what is agreed on it. One goroutine,
// run, connects, resumes, reclaims and renews; calls wait for it.
type session struct {
	c *Client

	ending chan ending // to run: that the session shall be ended

	mu      sync.Mutex // guards all below; never held while blocking
	conn    *wire.Conn // nil while not connected
	changed chan struct{}
	reopen  chan struct{} // capacity 1: the session has expired, or is to say what it holds

	outdated atomic.Bool // a storage has another root than the table says
	failed   error       // the first connection cannot be made: Mount ends with it
	info     wire.OpenSessionReply
	lease    time.Time     // leases are good until then
	offset   time.Duration // exportd's clock minus ours

	nextID      uint64
	lowest      uint64 // no request below is outstanding
	outstanding map[uint64]struct{}
}

// request is a message with a head.
type request interface {
	wire.Message
	SetHead(wire.Head)
}

func newSession(c *Client) *session {
	return &session{
		c: c, ending: make(chan ending), changed: make(chan struct{}), reopen: make(chan struct{}, 1),
		outstanding: map[uint64]struct{}{}, lowest: 1,
	}
}

// run keeps the session alive until ctx ends.
func (s *session) run(ctx context.Context) {
	delay := reconnectMin
	for host := 0; ctx.Err() == nil; host++ {
		addr := s.c.cfg.Hosts[host%len(s.c.cfg.Hosts)]
		conn, err := s.connect(ctx, addr)
		if err != nil {
			if s.fatal(err, host) {
				return
			}
			s.c.log.Debug("exportd not reached", "addr", addr, "err", err)
			wait(ctx, delay)
			delay = min(2*delay, reconnectMax)
			continue
		}
		delay = reconnectMin
		s.serve(ctx, conn)
		s.publish(nil)
		conn.Close()
		if ctx.Err() == nil {
			s.c.log.Warn("connection to exportd lost, reconnecting", "addr", addr, "err", conn.Err())
		}
		host-- // the same one first
	}
}

// fatal ends a first connection that cannot succeed: all hosts refused, or the
// export does not exist.
func (s *session) fatal(err error, host int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.info.Session != 0 || host < len(s.c.cfg.Hosts)-1 {
		return false
	}
	s.failed = err
	s.broadcast()
	return true
}

// connect dials and opens or resumes the session, and reclaims what is held.
func (s *session) connect(ctx context.Context, addr string) (*wire.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	s.mu.Lock()
	info := s.info
	s.mu.Unlock()
	conn, err := s.c.cfg.Dial(ctx, addr, wire.Hello{Role: wire.RoleClient, Cluster: info.Cluster, Name: s.c.cfg.Name}, s.c.serve)
	if err != nil {
		return nil, fmt.Errorf("exportd at %s: %w", addr, err)
	}
	if err := s.open(ctx, conn, info); err != nil {
		conn.Close()
		return nil, fmt.Errorf("exportd at %s: %w", addr, err)
	}
	return conn, nil
}

func (s *session) open(ctx context.Context, conn *wire.Conn, old wire.OpenSessionReply) error {
	req := wire.OpenSessionRequest{Export: s.c.cfg.Export, Name: s.c.cfg.Name, Resume: old.Session, Secret: old.Secret}
	s.c.connecting()
	sent := time.Now()
	var reply wire.OpenSessionReply
	_, err := conn.Call(ctx, wire.OpOpenSession, &req, wire.Bulk{}, &reply)
	if errors.Is(err, vocab.NoSession) && req.Resume != 0 {
		s.c.log.Error("exportd has ended the session of this mount; what was not yet flushed is lost", "session", uint64(old.Session))
		s.c.loseLeases()
		req.Resume, req.Secret = 0, 0
		sent = time.Now()
		_, err = conn.Call(ctx, wire.OpOpenSession, &req, wire.Bulk{}, &reply)
	}
	if err != nil {
		return err
	}
	if reply.TermMillis == 0 || reply.Session == 0 {
		return vocab.Errorf(vocab.Protocol, "exportd opened session %d with a term of %d ms", reply.Session, reply.TermMillis)
	}
	heard := time.Now()
	s.mu.Lock()
	s.info = reply
	s.mu.Unlock()
	s.c.pool.update(reply.Storages)
	if req.Resume != 0 {
		if err := s.reclaim(ctx, conn); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.renewed(sent, heard, reply.TermMillis, reply.ServerTime) // not before it is known what is left
	s.mu.Unlock()
	s.publish(conn)
	return nil
}

// reclaim tells exportd what this client holds and takes note of what is left.
func (s *session) reclaim(ctx context.Context, conn *wire.Conn) error {
	if err := s.c.claimLocks(ctx, s, conn); err != nil {
		return err
	}
	held := s.c.held()
	for first := true; first || len(held) > 0; first = false {
		batch := held[:min(len(held), wire.MaxHeld)]
		held = held[len(batch):]
		req := wire.ReclaimRequest{Last: len(held) == 0}
		for _, f := range batch {
			req.Held = append(req.Held, f.heldNow())
		}
		s.head(&req, 0)
		var reply wire.ReclaimReply
		if _, err := conn.Call(ctx, wire.OpReclaim, &req, wire.Bulk{}, &reply); err != nil {
			return err
		}
		if len(reply.Granted) != len(batch) {
			return vocab.Errorf(vocab.Protocol, "reclaim of %d files answered for %d", len(batch), len(reply.Granted))
		}
		for i, f := range batch {
			f.reclaimed(req.Held[i], reply.Granted[i])
		}
	}
	return nil
}

// renewed is called with mu held. The term counts from before the request was
// sent: exportd counts from its arrival, and so ends later. Its clock counts from when the
// answer was heard: no time that is told here is ahead of it.
func (s *session) renewed(sent, heard time.Time, termMillis uint32, server vocab.Time) {
	s.lease = sent.Add(time.Duration(termMillis) * time.Millisecond)
	s.offset = time.Duration(int64(server) - heard.UnixNano())
	s.info.TermMillis = termMillis
}

// serve renews until the connection or ctx ends.
func (s *session) serve(ctx context.Context, conn *wire.Conn) {
	s.mu.Lock()
	every := time.Duration(s.info.TermMillis) * time.Millisecond / renewalsPerTerm
	s.mu.Unlock()
	tick := time.NewTicker(every)
	defer tick.Stop()
	look := time.NewTicker(redialMax) // how often the storages' table may be asked for
	defer look.Stop()
	for n := 1; ; {
		select {
		case <-ctx.Done():
			return
		case <-conn.Done():
			return
		case <-s.reopen:
			return
		case e := <-s.ending:
			e.done <- s.finish(e.ctx, conn)
			<-ctx.Done()
			return
		case <-look.C:
			if s.outdated.Swap(false) {
				s.refreshStorages(ctx, conn)
			}
			continue
		case <-tick.C:
			n++
		}
		if err := s.renew(ctx, conn); err != nil {
			s.c.log.Warn("session not renewed", "err", err)
			if conn.Err() != nil || errors.Is(err, vocab.NoSession) {
				return
			}
		}
		if n%storagesInterval == 0 {
			s.refreshStorages(ctx, conn)
		}
	}
}

func (s *session) renew(ctx context.Context, conn *wire.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var req wire.Head
	s.head(&req, 0)
	sent := time.Now()
	var reply wire.RenewReply
	if _, err := conn.Call(ctx, wire.OpRenew, &req, wire.Bulk{}, &reply); err != nil {
		return err
	}
	heard := time.Now()
	s.mu.Lock()
	s.renewed(sent, heard, reply.TermMillis, reply.ServerTime)
	s.broadcast()
	s.mu.Unlock()
	return nil
}

func (s *session) refreshStorages(ctx context.Context, conn *wire.Conn) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var req wire.Head
	s.head(&req, 0)
	var reply wire.StoragesReply
	if _, err := conn.Call(ctx, wire.OpStorages, &req, wire.Bulk{}, &reply); err == nil {
		s.c.pool.update(reply.Storages)
	}
}

func (s *session) publish(conn *wire.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	s.broadcast()
}

// broadcast wakes all who wait; mu is held.
func (s *session) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// await returns the connection once there is one.
func (s *session) await(ctx context.Context) (*wire.Conn, error) {
	for {
		s.mu.Lock()
		conn, changed, failed := s.conn, s.changed, s.failed
		s.mu.Unlock()
		if failed != nil {
			return nil, failed
		}
		if conn != nil && conn.Err() == nil {
			return conn, nil
		}
		if err := s.waitChange(ctx, changed); err != nil {
			return nil, err
		}
	}
}

func (s *session) waitChange(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-s.c.ctx.Done():
		return vocab.Errorf(vocab.Unavailable, "the client is closed")
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return vocab.Errorf(vocab.Unavailable, "exportd at %v was not reached in time: check that it runs and that the network is up", s.c.cfg.Hosts)
		}
		return context.Cause(ctx)
	}
}

// awaitLease waits until the session is renewed, so that leases are good.
func (s *session) awaitLease(ctx context.Context) error {
	for {
		s.mu.Lock()
		good, changed := time.Now().Before(s.lease) && s.conn != nil, s.changed
		s.mu.Unlock()
		if good {
			return nil
		}
		if err := s.waitChange(ctx, changed); err != nil {
			return err
		}
	}
}

// good tells whether leases are good now.
func (s *session) good() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.lease)
}

// now is exportd's time, as well as we know it.
func (s *session) now() vocab.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return vocab.Time(time.Now().Add(s.offset).UnixNano())
}

func (s *session) id() vocab.SessionID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info.Session
}

// begin numbers a request that changes something; end forgets it.
func (s *session) begin() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	s.outstanding[s.nextID] = struct{}{}
	return s.nextID
}

func (s *session) end(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.outstanding, id)
	for s.lowest <= s.nextID {
		if _, busy := s.outstanding[s.lowest]; busy {
			break
		}
		s.lowest++
	}
}

func (s *session) head(r request, id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.SetHead(wire.Head{Session: s.info.Session, RequestID: id, Done: s.lowest - 1})
}

// call sends a request that changes nothing.
func (s *session) call(ctx context.Context, op wire.Op, req request, reply wire.Message) error {
	return s.try(ctx, op, req, 0, Caller{}, reply)
}

// change sends a request that changes something: repeated after a lost
// connection, it is done once.
func (s *session) change(ctx context.Context, who Caller, op wire.Op, req request, reply wire.Message) error {
	id := s.begin()
	defer s.end(id)
	return s.try(ctx, op, req, id, who, reply)
}

// register is change for a request by which exportd registers a file as open. If it is not
// answered nobody knows whether that was done: exportd takes back what the client does not
// claim on the next connection.
func (s *session) register(ctx context.Context, who Caller, op wire.Op, req request, reply wire.Message) error {
	err := s.change(ctx, who, op, req, reply)
	if errors.Is(err, errUnanswered) {
		s.reconnect()
	}
	return err
}

// patience is how many milliseconds exportd may let such a request wait for leases, so that it
// is answered in time.
func (s *session) patience() uint32 { return uint32(s.c.cfg.ExportTimeout.Milliseconds() * 3 / 4) }

func (s *session) try(ctx context.Context, op wire.Op, req request, id uint64, who Caller, reply wire.Message) error {
	ctx, cancel := context.WithTimeout(ctx, s.c.cfg.ExportTimeout)
	defer cancel()
	for {
		conn, err := s.await(ctx)
		if err != nil {
			return err
		}
		s.mu.Lock()
		req.SetHead(wire.Head{Session: s.info.Session, RequestID: id, Done: s.lowest - 1, UID: who.UID, GID: who.GID})
		s.mu.Unlock()
		bulk, err := conn.Call(ctx, op, req, wire.Bulk{}, reply)
		bulk.Release()
		switch {
		case err == nil:
			return nil
		case conn.Err() != nil && ctx.Err() == nil:
			continue // lost: again on the next connection
		case errors.Is(err, vocab.NoSession):
			s.expired(conn) // again in the next session
			continue
		case errors.Is(err, vocab.Overloaded) && ctx.Err() == nil:
			wait(ctx, overloadedPause)
			continue
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("%w %v within %v", errUnanswered, op, s.c.cfg.ExportTimeout)
		}
		return err
	}
}

// expired makes run reconnect: exportd no longer knows the session.
func (s *session) expired(conn *wire.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == conn {
		s.startAnew()
	}
}

// reconnect makes run connect anew, and so ask exportd which leases are left.
func (s *session) reconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startAnew()
}

// startAnew is called with mu held.
func (s *session) startAnew() {
	s.conn = nil
	s.broadcast()
	select {
	case s.reopen <- struct{}{}:
	default:
	}
}

// ending is a call of close that run serves.
type ending struct {
	ctx  context.Context
	done chan error // capacity 1
}

// close ends the session cleanly, if exportd can be reached. Nothing uses it any more. That is
// left to run, so that no renewal finds the session ended and opens another.
func (s *session) close(ctx context.Context) error {
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	if conn == nil {
		return nil
	}
	e := ending{ctx, make(chan error, 1)}
	select {
	case s.ending <- e:
		return <-e.done
	case <-conn.Done():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// finish is close on the connection that is there. If that is lost, or the session is over
// already, nothing else is: everything was given up before.
func (s *session) finish(ctx context.Context, conn *wire.Conn) error {
	var req wire.Head
	s.head(&req, 0)
	_, err := conn.Call(ctx, wire.OpCloseSession, &req, wire.Bulk{}, nil)
	if conn.Err() != nil || errors.Is(err, vocab.NoSession) {
		return nil
	}
	return err
}

// wait pauses, or returns early when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
