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
	storageDialTimeout = 3 * time.Second
	redialMin          = 50 * time.Millisecond
	redialMax          = time.Second
	probeInterval      = 250 * time.Millisecond

	// A request is late after lateFactor times what the storage usually takes,
	// within these bounds.
	lateFactor   = 4
	lateReadMin  = 20 * time.Millisecond
	lateReadMax  = 100 * time.Millisecond
	lateWriteMin = 100 * time.Millisecond
	lateWriteMax = 250 * time.Millisecond
)

// pool holds the storages that exportd told of and the connections to them, one
// per storaged.
type pool struct {
	c *Client

	reached atomic.Uint64 // counts new connections and new roots

	mu      sync.Mutex // guards all below
	byID    map[vocab.StorageID]*storage
	nodes   map[string]*node
	changed chan struct{} // closed and replaced when a storage may have become usable
}

// storage is one storage root as this client reaches it.
type storage struct {
	id          vocab.StorageID
	node        *node
	incarnation vocab.Incarnation
	overdue     *atomic.Int32 // requests that take much longer here than elsewhere
}

func newPool(c *Client) *pool {
	return &pool{c: c, byID: map[vocab.StorageID]*storage{}, nodes: map[string]*node{}, changed: make(chan struct{})}
}

// update takes exportd's table of storages.
func (p *pool) update(all []wire.StorageAddr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range all {
		n := p.nodes[a.Addr]
		if n == nil {
			n = &node{addr: a.Addr, pool: p, tried: make(chan struct{})}
			p.nodes[a.Addr] = n
		}
		s := &storage{id: a.ID, node: n, incarnation: a.Incarnation}
		if old := p.byID[a.ID]; old != nil {
			s.overdue = old.overdue
			if old.incarnation != a.Incarnation {
				p.reached.Add(1)
			}
		} else {
			s.overdue = new(atomic.Int32)
		}
		p.byID[a.ID] = s
	}
	p.wake()
}

// wake is called with mu held.
func (p *pool) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pool) notify() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake()
}

// watch returns a channel that is closed at the next change.
func (p *pool) watch() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// at returns the storage of a distribution's position.
func (p *pool) at(d *vocab.Distribution, position int) (*storage, error) {
	id := vocab.StorageID{CID: d.CID, SID: d.SIDs[position]}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.byID[id]
	if s == nil {
		return nil, vocab.Errorf(vocab.Unavailable, "storage %v is not in exportd's table", id)
	}
	if s.incarnation == 0 {
		return nil, vocab.Errorf(vocab.Unavailable, "exportd has not yet reached storage %v", id)
	}
	return s, nil
}

// state tells how the storage at a position is doing.
func (p *pool) state(d *vocab.Distribution, position int) nodeState {
	s, err := p.at(d, position)
	if err != nil {
		return nodeDown
	}
	return s.state()
}

// missing names the storages of a distribution that are not usable.
func (p *pool) missing(d *vocab.Distribution) string {
	text := ""
	for i := range d.SIDs {
		if s, err := p.at(d, i); err != nil {
			text += fmt.Sprintf("; %v", err)
		} else if why := s.trouble(); why != "" {
			text += fmt.Sprintf("; storage %v: %s", s.id, why)
		}
	}
	if text == "" {
		return "none is missing now"
	}
	return text[2:]
}

// state of a storage is that of its storaged, and late also while it is slow itself.
func (s *storage) state() nodeState {
	state := s.node.state()
	if state == nodeUp && s.overdue.Load() > 0 {
		return nodeLate
	}
	return state
}

// trouble says why the storage is not well, or "".
func (s *storage) trouble() string {
	if why := s.node.trouble(); why != "" {
		return why
	}
	if s.overdue.Load() > 0 {
		return fmt.Sprintf("storaged at %s answers, its disk is late", s.node.addr)
	}
	return ""
}

// overdue is a request that may be found to take much longer than the same takes
// elsewhere. While it does, its storage is late however lively the storaged is.
type overdue struct {
	st    *storage
	state atomic.Int32 // one of the next
}

const (
	overdueNot = iota
	overdueMarked
	overdueEnded
)

func (o *overdue) mark() {
	o.st.overdue.Add(1)
	if !o.state.CompareAndSwap(overdueNot, overdueMarked) {
		o.st.overdue.Add(-1)
	}
}

func (o *overdue) end() {
	if o.state.Swap(overdueEnded) == overdueMarked && o.st.overdue.Add(-1) == 0 {
		o.st.node.pool.notify()
	}
}

// target is the head of a request to a storage.
func (s *storage) target(session vocab.SessionID, epoch vocab.Epoch) wire.Target {
	return wire.Target{ID: s.id, Incarnation: s.incarnation, Session: session, Epoch: epoch}
}

// node is a storaged and the connection to it, kept up by maintain once it is
// first used.
type node struct {
	addr  string
	pool  *pool
	tried chan struct{} // closed when the first dial has ended

	mu      sync.Mutex // guards all below
	started bool
	conn    *wire.Conn
	err     error // why there is no connection
	late    bool  // connected, but a request is overdue
	usual   [3]time.Duration
}

// The kinds of request whose usual duration is kept.
const (
	reading = iota
	writing
	syncing // and discarding
)

// connection returns the connection, waiting only for the very first one.
func (n *node) connection(ctx context.Context) (*wire.Conn, error) {
	n.mu.Lock()
	if !n.started {
		n.started = true
		if !n.pool.c.goes(n.maintain) {
			n.started = false
			n.mu.Unlock()
			return nil, errClosed
		}
	}
	n.mu.Unlock()
	select {
	case <-n.tried:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.conn != nil:
		return n.conn, nil
	case n.err != nil:
		return nil, n.err
	}
	return nil, errClosed // the client has ended, not the connection
}

// maintain dials, and dials again when the connection ends, until ctx ends.
func (n *node) maintain(ctx context.Context) {
	delay := redialMin
	first := sync.OnceFunc(func() { close(n.tried) })
	defer first()
	for ctx.Err() == nil {
		conn, err := n.dial(ctx)
		n.mu.Lock()
		n.conn, n.err, n.late = conn, err, false
		n.mu.Unlock()
		first()
		if err != nil {
			wait(ctx, delay)
			delay = min(2*delay, redialMax)
			continue
		}
		n.pool.reached.Add(1)
		n.pool.notify()
		n.watchConn(ctx, conn)
		n.mu.Lock()
		n.conn, n.err = nil, conn.Err()
		n.mu.Unlock()
		conn.Close()
		if ctx.Err() == nil {
			n.pool.c.log.Warn("connection to storaged lost", "addr", n.addr, "err", conn.Err())
			delay = redialMin
		}
	}
}

// watchConn returns when the connection has ended. While a request is overdue it
// asks for signs of life.
func (n *node) watchConn(ctx context.Context, conn *wire.Conn) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		select {
		case <-conn.Done():
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n.state() == nodeUp {
			continue
		}
		if _, err := conn.Call(ctx, wire.OpStorageStatus, &wire.StorageStatusRequest{}, wire.Bulk{}, &wire.StorageStatusReply{}); err == nil {
			n.setLate(false)
		}
	}
}

func (n *node) dial(ctx context.Context) (*wire.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, storageDialTimeout)
	defer cancel()
	hello := wire.Hello{Role: wire.RoleClient, Cluster: n.pool.c.clusterID(), Name: n.pool.c.cfg.Name}
	conn, err := n.pool.c.cfg.Dial(ctx, n.addr, hello, nil)
	if err != nil {
		return nil, fmt.Errorf("storaged at %s: %w", n.addr, err)
	}
	return conn, nil
}

// nodeState is how a storaged is doing. They are ordered by who needs a spare
// most.
type nodeState int

const (
	nodeDown nodeState = iota // not connected
	nodeUp                    // connected, or the first dial has not ended
	nodeLate                  // connected, but a request is overdue
)

func (n *node) state() nodeState {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.conn == nil && n.err != nil:
		return nodeDown
	case n.late:
		return nodeLate
	}
	return nodeUp
}

// trouble says why the node is not usable, or "".
func (n *node) trouble() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.conn == nil && n.err != nil:
		return n.err.Error()
	case n.late:
		return fmt.Sprintf("storaged at %s does not answer", n.addr)
	}
	return ""
}

func (n *node) setLate(late bool) {
	n.mu.Lock()
	was := n.late
	n.late = late && (n.conn != nil || n.started && n.err == nil) // else nobody would end it
	n.mu.Unlock()
	if was && !late {
		n.pool.notify()
	}
}

// answered records how long a request took.
func (n *node) answered(kind int, took time.Duration) {
	n.mu.Lock()
	if n.usual[kind] == 0 {
		n.usual[kind] = took
	} else {
		n.usual[kind] += (took - n.usual[kind]) / 8
	}
	late := n.late
	n.mu.Unlock()
	if late {
		n.setLate(false)
	}
}

// hedge is how long to wait for an answer before another storage is asked too.
func (n *node) hedge(kind int) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if kind == reading {
		return min(max(lateFactor*n.usual[kind], lateReadMin), lateReadMax)
	}
	d := &n.pool.c.cfg.delays
	return min(max(lateFactor*n.usual[kind], d.lateWriteMin), d.lateWriteMax)
}

// askAfter is how long a sync may take before the storaged is asked for a sign of life.
func (n *node) askAfter() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return min(max(2*n.usual[syncing], askMin), askMax)
}

// isAlive asks the storaged for any answer, and waits for it until ctx ends.
func (n *node) isAlive(ctx context.Context) bool {
	conn, err := n.connection(ctx)
	if err != nil {
		return false
	}
	_, err = conn.Call(ctx, wire.OpStorageStatus, &wire.StorageStatusRequest{}, wire.Bulk{}, &wire.StorageStatusReply{})
	return err == nil
}

// call sends one request to the storage and records how it went.
func (s *storage) call(ctx context.Context, kind int, op wire.Op, req wire.Message, bulk wire.Bulk, reply wire.Message) (*wire.Buffer, error) {
	conn, err := s.node.connection(ctx)
	if err != nil {
		if bulk.Done != nil {
			bulk.Done()
		}
		return nil, err
	}
	start := time.Now()
	buf, err := conn.Call(ctx, op, req, bulk, reply)
	if err == nil {
		s.node.answered(kind, time.Since(start))
		return buf, nil
	}
	if errors.Is(err, vocab.WrongIncarnation) {
		s.node.pool.c.session.outdated.Store(true)
	}
	return nil, fmt.Errorf("storage %v at %s: %v: %w", s.id, s.node.addr, op, err)
}
