package storaged

import (
	"context"
	"sync"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// peerDial bounds how long it takes to connect to another storaged.
const peerDial = 5 * time.Second

// peers keeps a connection to each other storaged that was needed.
type peers struct {
	hello *wire.Hello
	dial  func(ctx context.Context, addr string, mine wire.Hello, h wire.Handler) (*wire.Conn, error)

	mu     sync.Mutex // guards the rest
	conns  map[string]*wire.Conn
	closed bool
}

// connected gives the connection that there is, or nil.
func (p *peers) connected(addr string) *wire.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.conns[addr]; c != nil && c.Err() == nil {
		return c
	}
	return nil
}

func (p *peers) connect(ctx context.Context, addr string) (*wire.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, peerDial)
	defer cancel()
	fresh, err := p.dial(ctx, addr, *p.hello, nil)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.conns[addr]
	switch {
	case p.closed:
		_ = fresh.Close() // it was not used
		return nil, vocab.Errorf(vocab.Unavailable, "the storaged is closing")
	case c != nil && c.Err() == nil:
		_ = fresh.Close() // another was faster
		return c, nil
	}
	if p.conns == nil {
		p.conns = map[string]*wire.Conn{}
	}
	if c != nil {
		_ = c.Close() // it has ended
	}
	p.conns[addr] = fresh
	return fresh, nil
}

func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.conns {
		_ = c.Close() // what it had to say was said in replies
	}
}
