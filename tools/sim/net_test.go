package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	pipeBytes = 1 << 20          // on the way in one direction; more make the sender wait
	silence   = 25 * time.Second // after which TCP gives up a peer that has vanished
)

// network carries bytes between named nodes. Each write is a message: it has a number and,
// by the seed, the link and its number on the link, a delay.
type network struct {
	seed uint64

	mu        sync.Mutex // guards all below; not held while waiting
	messages  int
	message   func(n int) // is told the number of each message, before it is on its way
	listeners map[string]*listener
	conns     map[*conn]struct{} // one end of each connection
	links     map[link]*linkState
	apart     map[link]bool // pairs between which nothing goes
	slow      map[link]time.Duration
	changed   chan struct{} // closed and replaced when apart or listeners change
}

// link is a direction.
type link struct{ from, to string }

type linkState struct {
	sent int
	rnd  *rand.Rand
}

func newNetwork(seed uint64) *network {
	return &network{
		seed: seed, listeners: map[string]*listener{}, conns: map[*conn]struct{}{}, links: map[link]*linkState{},
		apart: map[link]bool{}, slow: map[link]time.Duration{}, changed: make(chan struct{}),
	}
}

// broadcast wakes all who wait for the network to change; mu is held.
func (n *network) broadcast() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// delay counts a message and draws how long it takes.
func (n *network) delay(l link) time.Duration {
	n.mu.Lock()
	st := n.links[l]
	if st == nil {
		h := fnv.New64a()
		_, _ = h.Write([]byte(l.from + ">" + l.to))
		st = &linkState{rnd: rand.New(rand.NewPCG(n.seed, h.Sum64()))}
		n.links[l] = st
	}
	st.sent++
	d := 20*time.Microsecond + time.Duration(st.rnd.Int64N(int64(time.Millisecond)))
	switch st.rnd.IntN(400) {
	case 0:
		d += time.Duration(st.rnd.Int64N(int64(400 * time.Millisecond))) // longer than what hedges wait
	case 1, 2, 3:
		d += time.Duration(st.rnd.Int64N(int64(40 * time.Millisecond)))
	}
	if most := n.slow[l]; most > 0 {
		d += time.Duration(st.rnd.Int64N(int64(most)))
	}
	n.messages++
	number, tell := n.messages, n.message
	n.mu.Unlock()
	if tell != nil {
		tell(number)
	}
	return d
}

// watch has f told the number of each message.
func (n *network) watch(f func(n int)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.message = f
}

func (n *network) isApart(a, b string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.apart[link{a, b}]
}

// setApart parts or joins two nodes. What is on its way, or sent meanwhile, arrives later.
func (n *network) setApart(a, b string, apart bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.apart[link{a, b}], n.apart[link{b, a}] = apart, apart
	n.broadcast()
	for c := range n.conns {
		c.in.wake()
		c.peer.in.wake()
	}
}

func (n *network) setSlow(a, b string, most time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow[link{a, b}], n.slow[link{b, a}] = most, most
}

// cut ends the connections between two nodes; with b empty, all of a's.
func (n *network) cut(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if (c.from == a || c.to == a) && (b == "" || c.from == b || c.to == b) {
			c.reset()
			delete(n.conns, c)
		}
	}
}

// vanish takes a node off the network at once: nothing that it sends from now on arrives.
// Its peers see their connections end, if silent only after a time.
func (n *network) vanish(name string, silent bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.listeners, name)
	n.broadcast()
	for c := range n.conns {
		if c.from != name && c.to != name {
			continue
		}
		delete(n.conns, c)
		dead, other := c, c.peer
		if c.to == name {
			dead, other = c.peer, c
		}
		dead.out().stop()
		if !silent {
			dead.in.fail(errReset)
			other.in.fail(errReset)
			continue
		}
		dead.in.stop()
		dead.in.fail(errReset)
		time.AfterFunc(silence, func() { other.in.fail(errReset); other.out().fail(errReset) })
	}
}

var errReset = &net.OpError{Op: "read", Net: "sim", Err: syscall.ECONNRESET}

// dial connects two nodes. One that cannot be reached does not answer; one that does not
// listen refuses.
func (n *network) dial(ctx context.Context, from, to string) (net.Conn, error) {
	for {
		n.mu.Lock()
		apart, l, changed := n.apart[link{from, to}], n.listeners[to], n.changed
		if !apart {
			n.mu.Unlock()
			if l == nil {
				return nil, &net.OpError{Op: "dial", Net: "sim", Err: syscall.ECONNREFUSED}
			}
			break
		}
		n.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	time.Sleep(n.delay(link{from, to}))
	near, far := &conn{n: n, from: from, to: to, in: newPipe()}, &conn{n: n, from: to, to: from, in: newPipe()}
	near.peer, far.peer = far, near
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[to]
	if l == nil || !l.take(far) {
		return nil, &net.OpError{Op: "dial", Net: "sim", Err: syscall.ECONNREFUSED}
	}
	n.conns[near] = struct{}{}
	return near, nil
}

// dialer is what the daemons are configured with.
func (n *network) dialer(from string) func(context.Context, string, wire.Hello, wire.Handler) (*wire.Conn, error) {
	return func(ctx context.Context, to string, mine wire.Hello, h wire.Handler) (*wire.Conn, error) {
		host, _, err := net.SplitHostPort(to)
		if err != nil {
			return nil, err
		}
		nc, err := n.dial(ctx, from, host)
		if err != nil {
			return nil, err
		}
		c, err := wire.Client(ctx, nc, mine, h)
		if err != nil {
			nc.Close()
		}
		return c, err
	}
}

// listener hands out connections to one node.
type listener struct {
	n      *network
	name   string
	mu     sync.Mutex // guards queue and closed
	queue  []net.Conn
	closed bool
	wake   chan struct{} // capacity 1
	done   chan struct{}
}

func (n *network) listen(name string) *listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &listener{n: n, name: name, wake: make(chan struct{}, 1), done: make(chan struct{})}
	n.listeners[name] = l
	n.broadcast()
	return l
}

func (l *listener) take(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.queue = append(l.queue, c)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil, net.ErrClosed
		}
		if len(l.queue) > 0 {
			c := l.queue[0]
			l.queue = l.queue[1:]
			l.mu.Unlock()
			return c, nil
		}
		l.mu.Unlock()
		select {
		case <-l.wake:
		case <-l.done:
		}
	}
}

func (l *listener) Close() error {
	l.n.mu.Lock()
	if l.n.listeners[l.name] == l {
		delete(l.n.listeners, l.name)
		l.n.broadcast()
	}
	l.n.mu.Unlock()
	l.mu.Lock()
	queue := l.queue
	if !l.closed {
		l.closed = true
		close(l.done)
	}
	l.queue = nil
	l.mu.Unlock()
	for _, c := range queue {
		_ = c.Close() // always nil
	}
	return nil
}

func (l *listener) Addr() net.Addr { return addr(l.name) }

type addr string

func (a addr) Network() string { return "sim" }
func (a addr) String() string  { return string(a) }

// conn is one end of a connection. It reads from in; it writes to its peer's in.
type conn struct {
	n        *network
	from, to string
	peer     *conn
	in       *pipe

	mu           sync.Mutex // guards the deadlines
	readBy, byWr time.Time
}

func (c *conn) out() *pipe { return c.peer.in }

func (c *conn) reset() {
	c.in.fail(errReset)
	c.out().fail(errReset)
}

func (c *conn) deadlines() (read, write time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readBy, c.byWr
}

func (c *conn) Read(b []byte) (int, error) {
	return c.in.read(b, func() bool { return c.n.isApart(c.to, c.from) }, func() time.Time { by, _ := c.deadlines(); return by })
}

func (c *conn) Write(b []byte) (int, error) {
	d := c.n.delay(link{c.from, c.to})
	return c.out().write(b, d, func() time.Time { _, by := c.deadlines(); return by })
}

// Close lets the peer read what was sent before.
func (c *conn) Close() error {
	c.in.fail(net.ErrClosed)
	c.out().end()
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	delete(c.n.conns, c)
	delete(c.n.conns, c.peer)
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return addr(c.from) }
func (c *conn) RemoteAddr() net.Addr { return addr(c.to) }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.readBy = t
	c.mu.Unlock()
	c.in.wake()
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	c.byWr = t
	c.mu.Unlock()
	c.out().wake()
	return nil
}

// pipe is one direction of a connection.
type pipe struct {
	mu      sync.Mutex // guards all below
	chunks  []chunk
	bytes   int
	last    time.Time // when the last chunk arrives: the order stays
	ended   bool      // the writer has closed
	stopped bool      // one end has vanished: what is written goes nowhere
	err     error
	changed chan struct{} // closed and replaced when any of that changes
}

type chunk struct {
	at time.Time
	b  []byte
}

func newPipe() *pipe { return &pipe{changed: make(chan struct{})} }

func (p *pipe) broadcast() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pipe) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broadcast()
}

func (p *pipe) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.chunks, p.bytes = nil, 0
	p.broadcast()
}

func (p *pipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.broadcast()
}

func (p *pipe) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.chunks, p.bytes = nil, 0
	p.broadcast()
}

// pause waits for a change, a time or a deadline. changed was taken under mu.
func pause(changed <-chan struct{}, until, deadline time.Time) error {
	now := time.Now()
	if !deadline.IsZero() && !now.Before(deadline) {
		return os.ErrDeadlineExceeded
	}
	if until.IsZero() || !deadline.IsZero() && deadline.Before(until) {
		until = deadline
	}
	if until.IsZero() {
		<-changed
		return nil
	}
	t := time.NewTimer(until.Sub(now))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	}
	return nil
}

func (p *pipe) read(b []byte, held func() bool, deadline func() time.Time) (int, error) {
	for {
		apart, by := held(), deadline()
		p.mu.Lock()
		if p.err != nil {
			defer p.mu.Unlock()
			return 0, p.err
		}
		var at time.Time
		if len(p.chunks) > 0 && !apart {
			c := &p.chunks[0]
			if at = c.at; !time.Now().Before(at) {
				defer p.mu.Unlock()
				n := copy(b, c.b)
				if c.b = c.b[n:]; len(c.b) == 0 {
					p.chunks = p.chunks[1:]
				}
				p.bytes -= n
				p.broadcast()
				return n, nil
			}
		} else if len(p.chunks) == 0 && p.ended {
			defer p.mu.Unlock()
			return 0, fmt.Errorf("sim: %w", net.ErrClosed)
		}
		changed := p.changed
		p.mu.Unlock()
		if held() != apart || !deadline().Equal(by) { // before changed was taken
			continue
		}
		if err := pause(changed, at, by); err != nil {
			return 0, err
		}
	}
}

func (p *pipe) write(b []byte, delay time.Duration, deadline func() time.Time) (int, error) {
	for {
		by := deadline()
		p.mu.Lock()
		if p.stopped {
			p.mu.Unlock()
			return len(b), nil
		}
		if p.err != nil || p.ended {
			defer p.mu.Unlock()
			return 0, syscall.EPIPE
		}
		if p.bytes == 0 || p.bytes+len(b) <= pipeBytes {
			defer p.mu.Unlock()
			at := time.Now().Add(delay)
			if at.Before(p.last) {
				at = p.last
			}
			p.last = at
			p.chunks = append(p.chunks, chunk{at, append([]byte(nil), b...)})
			p.bytes += len(b)
			p.broadcast()
			return len(b), nil
		}
		changed := p.changed
		p.mu.Unlock()
		if !deadline().Equal(by) {
			continue
		}
		if err := pause(changed, time.Time{}, by); err != nil {
			return 0, err
		}
	}
}
