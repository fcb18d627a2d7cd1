package wire

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// MaxConns bounds the connections that a Server holds, half-open ones included.
const MaxConns = 4096

// Server accepts connections and serves each with its Handler.
type Server struct {
	Hello   Hello
	Handler Handler
	Log     *slog.Logger
	// Opened and Closed, if not nil, are called when a connection has shaken
	// hands and after it has ended.
	Opened, Closed func(*Conn)

	mu        sync.Mutex // guards the rest
	listeners map[net.Listener]struct{}
	raw       map[net.Conn]struct{} // shaking hands
	conns     map[*Conn]struct{}
	closed    bool
	joined    sync.WaitGroup
}

// Serve accepts on l until Close, which makes it return nil.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return l.Close()
	}
	if s.listeners == nil {
		s.listeners, s.raw, s.conns = map[net.Listener]struct{}{}, map[net.Conn]struct{}{}, map[*Conn]struct{}{}
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	for {
		nc, err := l.Accept()
		if err != nil {
			s.mu.Lock()
			closed := s.closed
			s.mu.Unlock()
			if closed {
				return nil
			}
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() || isOutOfFiles(err) {
				s.Log.Warn("accept failed, going on", "err", err)
				time.Sleep(50 * time.Millisecond) // back off: out of descriptors
				continue
			}
			return err
		}
		s.accept(nc)
	}
}

func (s *Server) accept(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.raw)+len(s.conns) >= MaxConns {
		nc.Close()
		return
	}
	s.raw[nc] = struct{}{}
	s.joined.Go(func() { s.handle(nc) })
}

func (s *Server) handle(nc net.Conn) {
	c, err := Accept(nc, s.Hello, s.Handler)
	s.mu.Lock()
	delete(s.raw, nc)
	if err == nil && s.closed {
		s.mu.Unlock()
		c.Close()
		return
	}
	if err != nil {
		s.mu.Unlock()
		nc.Close()
		s.Log.Debug("handshake failed", "peer", nc.RemoteAddr().String(), "err", err)
		return
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	if s.Opened != nil {
		s.Opened(c)
	}
	<-c.Done()
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.Log.Debug("connection ended", "peer", nc.RemoteAddr().String(), "name", c.Peer().Name, "err", c.Err())
	if s.Closed != nil {
		s.Closed(c)
	}
}

// Close stops accepting, ends every connection and waits for all of them.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
	for nc := range s.raw {
		nc.Close()
	}
	for c := range s.conns {
		s.joined.Go(func() { c.fail(ErrClosed) })
	}
	s.mu.Unlock()
	s.joined.Wait()
	return nil
}
