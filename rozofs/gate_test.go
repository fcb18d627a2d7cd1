package rozofs_test

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// gate is what the requests to a storage pass through. It can stop all, as a storaged
// that hangs does: connections stay and take what fits, nothing comes back. It can hold
// back or refuse single ops, as a slow, full or failing disk does.
type gate struct {
	mu      sync.Mutex // guards the rest
	passing chan struct{}
	held    map[wire.Op]chan struct{} // closed when the op passes again
	refused map[wire.Op]vocab.Kind
	first   map[wire.Op]int // so many requests of a refused op pass
	clients bool            // only what clients send is held back or refused
	passed  []wire.Op       // requests of clients, in the order of their coming
	holding int             // requests that were held back
}

func newGate() *gate {
	g := &gate{passing: make(chan struct{}), held: map[wire.Op]chan struct{}{}, refused: map[wire.Op]vocab.Kind{}, first: map[wire.Op]int{}}
	close(g.passing)
	return g
}

func (g *gate) freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.passing = make(chan struct{})
}

func (g *gate) thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.passing)
}

// hold keeps requests of an op from the storaged until release.
func (g *gate) hold(op wire.Op) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held[op] = make(chan struct{})
}

func (g *gate) release(op wire.Op) {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.held[op])
	delete(g.held, op)
}

// hasHeld tells whether a request was ever held back.
func (g *gate) hasHeld() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.holding > 0
}

// refuse answers requests of an op with an error; the kind Internal ends that. Not while
// blocks are read, with whose answers these would mix.
func (g *gate) refuse(op wire.Op, k vocab.Kind) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.refused, op)
	delete(g.first, op)
	if k != vocab.Internal {
		g.refused[op] = k
	}
}

// refuseAfter is refuse once n requests of the op have passed.
func (g *gate) refuseAfter(n int, op wire.Op, k vocab.Kind) {
	g.refuse(op, k)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.first[op] = n
}

// forget begins a new list of what has passed.
func (g *gate) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.passed = nil
}

// count tells how many requests of an op have come from clients since forget.
func (g *gate) count(op wire.Op) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range g.passed {
		if o == op {
			n++
		}
	}
	return n
}

// isSynced tells whether the last write that passed was followed by a sync.
func (g *gate) isSynced() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := func(op wire.Op) int {
		for i := len(g.passed) - 1; i >= 0; i-- {
			if g.passed[i] == op {
				return i
			}
		}
		return -1
	}
	return last(wire.OpSync) > last(wire.OpWrite)
}

// through is a listener whose connections pass the gate.
func (g *gate) through(l net.Listener) net.Listener { return gatedListener{l, g} }

type gatedListener struct {
	net.Listener
	g *gate
}

func (l gatedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &gatedConn{Conn: nc, g: l.g, in: make(chan []byte), done: make(chan struct{})}
	go c.pump() // until the connection is closed
	return c, nil
}

// gatedConn hands requests on frame by frame.
type gatedConn struct {
	net.Conn
	g      *gate
	in     chan []byte
	rest   []byte // of a frame that was read in part
	done   chan struct{}
	closed sync.Once
	client bool
}

const roleAt = wire.HeaderBytes + 8 // in a hello

func (c *gatedConn) pump() {
	defer c.Close()
	for {
		frame := make([]byte, wire.HeaderBytes)
		if _, err := io.ReadFull(c.Conn, frame); err != nil {
			return
		}
		frame = slices.Grow(frame, int(binary.LittleEndian.Uint32(frame)))
		frame = frame[:len(frame)+int(binary.LittleEndian.Uint32(frame))]
		if _, err := io.ReadFull(c.Conn, frame[wire.HeaderBytes:]); err != nil {
			return
		}
		op := wire.Op(binary.LittleEndian.Uint16(frame[12:]))
		if op == wire.OpHello {
			c.client = wire.Role(frame[roleAt]) == wire.RoleClient
		}
		c.g.mu.Lock()
		passing, held, kind := c.g.passing, c.g.held[op], c.g.refused[op]
		if c.g.first[op] > 0 {
			c.g.first[op]--
			kind = vocab.Internal
		}
		if c.client {
			c.g.passed = append(c.g.passed, op)
		} else if c.g.clients {
			held, kind = nil, vocab.Internal
		}
		if held != nil {
			c.g.holding++
		}
		c.g.mu.Unlock()
		switch {
		case !c.wait(passing):
			return
		case kind != vocab.Internal:
			c.refuse(frame, kind)
		case held != nil:
			go func() { // until it is released, or the connection closed
				if c.wait(held) {
					c.pass(frame)
				}
			}()
		default:
			c.pass(frame)
		}
	}
}

func (c *gatedConn) wait(until <-chan struct{}) bool {
	select {
	case <-until:
		return true
	case <-c.done:
		return false
	}
}

func (c *gatedConn) pass(frame []byte) {
	select {
	case c.in <- frame:
	case <-c.done:
	}
}

// refuse answers with an error of the kind, without a text.
func (c *gatedConn) refuse(frame []byte, k vocab.Kind) {
	const body = 2 + 4
	reply := binary.LittleEndian.AppendUint32(nil, body)
	reply = binary.LittleEndian.AppendUint32(reply, body)
	reply = append(reply, frame[8:14]...) // the request's number and op
	reply = binary.LittleEndian.AppendUint16(reply, 3)
	reply = binary.LittleEndian.AppendUint16(reply, uint16(k))
	reply = append(reply, 0, 0, 0, 0)
	_, _ = c.Conn.Write(reply) // one write: it does not mix with those of storaged
}

func (c *gatedConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		select {
		case c.rest = <-c.in:
		case <-c.done:
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *gatedConn) Write(p []byte) (int, error) {
	c.g.mu.Lock()
	passing := c.g.passing
	c.g.mu.Unlock()
	if !c.wait(passing) {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c *gatedConn) Close() error {
	c.closed.Do(func() { close(c.done) })
	return c.Conn.Close()
}
