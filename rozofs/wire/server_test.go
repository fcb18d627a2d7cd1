package wire

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// serve runs the server on l until the test ends and checks what Serve returns.
func serve(t *testing.T, l net.Listener, s *Server) {
	t.Helper()
	s.Hello, s.Log = serverHello, slog.New(slog.DiscardHandler)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, <-served)
	})
}

func listen(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serve(t, l, s)
	return l.Addr().String()
}

func (s *Server) counts() (raw, conns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.raw), len(s.conns)
}

func TestAServerTellsOfConnectionsOpenedAndClosed(t *testing.T) {
	opened, closed := make(chan *Conn, 1), make(chan *Conn, 1)
	s := &Server{Handler: echo, Opened: func(c *Conn) { opened <- c }, Closed: func(c *Conn) { closed <- c }}
	c, err := Dial(t.Context(), listen(t, s), clientHello, nil)
	require.NoError(t, err)
	o := <-opened
	require.Equal(t, "client.test", o.Peer().Name)
	require.NoError(t, echoes(t.Context(), c, "x", nil))
	require.NoError(t, c.Close())
	require.Same(t, o, <-closed)
	require.Eventually(t, func() bool { raw, conns := s.counts(); return raw+conns == 0 }, soon, tick)
}

func TestNoMoreThanMaxServingRequestsAreServedAtOnce(t *testing.T) {
	var now, most, refused atomic.Int32
	release := make(chan struct{})
	c, s := overTCP(t, nil, func(context.Context, *Request) (Message, Bulk, error) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		now.Add(-1)
		return nil, Bulk{}, nil
	})
	var joined sync.WaitGroup
	for range MaxServing + 100 {
		joined.Go(func() {
			if _, err := c.Call(t.Context(), OpWrite, nil, Bulk{}, nil); err != nil {
				refused.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return now.Load() == MaxServing && c.queuedBytes() == 0 }, soon, tick)
	require.Len(t, s.serving, MaxServing)
	close(release)
	joined.Wait()
	require.EqualValues(t, MaxServing, most.Load())
	require.Zero(t, refused.Load(), "the others waited, and were served")
}

func TestCloseWaitsForTheRequestsBeingServed(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var left atomic.Bool
	c, s := overPipe(t, nil, func(ctx context.Context, _ *Request) (Message, Bulk, error) {
		close(entered)
		<-ctx.Done()
		<-leave
		left.Store(true)
		return nil, Bulk{}, context.Cause(ctx)
	})
	done := start(t.Context(), c, Bulk{})
	<-entered
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	<-s.Done()
	require.ErrorIs(t, s.Err(), ErrClosed)
	close(leave)
	<-closed
	require.True(t, left.Load())
	require.ErrorIs(t, <-done, vocab.Unavailable)
	s.Close() // again does nothing
}

// Calls begun at the very moment of the close end too.
func TestCallsRacingWithCloseAllReturn(t *testing.T) {
	for range 100 {
		c, s := overPipe(t, nil, echo)
		var joined sync.WaitGroup
		begun := make(chan struct{})
		var once sync.Once
		var sent, released atomic.Int32
		for range 8 {
			joined.Go(func() {
				for {
					sent.Add(1)
					_, err := c.Call(t.Context(), opEcho, &text{}, Bulk{Done: func() { released.Add(1) }}, nil)
					once.Do(func() { close(begun) })
					if err != nil {
						return
					}
				}
			})
		}
		<-begun
		c.Close()
		joined.Wait()
		require.Equal(t, sent.Load(), released.Load(), "each Done called once")
		s.Close()
	}
}

func TestServerCloseEndsHalfOpenAndOpenConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{Hello: serverHello, Handler: echo, Log: slog.New(slog.DiscardHandler)}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	half, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer half.Close()
	c, err := Dial(t.Context(), l.Addr().String(), clientHello, nil)
	require.NoError(t, err)
	defer c.Close()
	require.Eventually(t, func() bool { raw, conns := s.counts(); return raw == 1 && conns == 1 }, soon, tick)

	require.NoError(t, s.Close())
	require.NoError(t, <-served)
	raw, conns := s.counts()
	require.Zero(t, raw+conns)
	<-c.Done()
	require.ErrorIs(t, c.Err(), vocab.Unavailable)
	_, err = half.Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, s.Close(), "again does nothing")

	again, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, s.Serve(again), "a closed server serves no more")
	_, err = again.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestAConnectionThatShookHandsAfterTheCloseIsEnded(t *testing.T) {
	s := &Server{Hello: serverHello, Handler: echo, Log: slog.New(slog.DiscardHandler), closed: true}
	nc, peer := sockets(t)
	handled := make(chan struct{})
	go func() { s.handle(peer); close(handled) }()
	c, err := Client(t.Context(), nc, clientHello, nil)
	require.NoError(t, err)
	<-handled
	<-c.Done()
	c.Close()
	require.Empty(t, s.conns)
}

// A handshake that ends when the server is closing leaves nothing running: the
// leak check of the package is what would find it.
func TestServerCloseRacingWithHandshakes(t *testing.T) {
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s := &Server{Hello: serverHello, Handler: echo, Log: slog.New(slog.DiscardHandler)}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		var joined sync.WaitGroup
		shaken := make(chan struct{}, 4)
		for range 4 {
			joined.Go(func() {
				defer func() { shaken <- struct{}{} }()
				if c, err := Dial(t.Context(), l.Addr().String(), clientHello, nil); err == nil {
					_, _ = c.Call(t.Context(), opEcho, &text{}, Bulk{}, nil)
					c.Close()
				}
			})
		}
		<-shaken // one has ended, the others may be anywhere
		require.NoError(t, s.Close())
		require.NoError(t, <-served)
		joined.Wait()
	}
}

func TestAConnectionTooManyIsClosed(t *testing.T) {
	s := &Server{raw: map[net.Conn]struct{}{}}
	for range MaxConns {
		s.raw[&net.TCPConn{}] = struct{}{}
	}
	nc, peer := net.Pipe()
	s.accept(nc)
	_, err := peer.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.Len(t, s.raw, MaxConns)
}

// scripted is a listener that yields these connections or errors, and then ends.
type scripted struct {
	net.Listener // nil: Accept and Close are all that is called
	steps        chan any
	closed       chan struct{}
	once         sync.Once
}

func (l *scripted) Accept() (net.Conn, error) {
	select {
	case step := <-l.steps:
		if err, ok := step.(error); ok {
			return nil, err
		}
		return step.(net.Conn), nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *scripted) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func TestAServerOutOfDescriptorsBacksOffAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &scripted{steps: make(chan any, 3), closed: make(chan struct{})}
		nc, peer := net.Pipe()
		full := &net.OpError{Op: "accept", Err: syscall.EMFILE}
		l.steps <- full
		l.steps <- full
		l.steps <- peer
		s := &Server{Hello: serverHello, Handler: echo, Log: slog.New(slog.DiscardHandler)}
		began := time.Now()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		c, err := Client(t.Context(), nc, clientHello, nil)
		require.NoError(t, err)
		require.NoError(t, echoes(t.Context(), c, "served", nil))
		require.Positive(t, time.Since(began), "it did not spin")
		c.Close()
		s.Close()
		require.NoError(t, <-served)
	})
}

func TestServeReturnsAnErrorThatWillNotPass(t *testing.T) {
	l := &scripted{steps: make(chan any, 1), closed: make(chan struct{})}
	broken := errors.New("no such interface")
	l.steps <- broken
	s := &Server{Hello: serverHello, Log: slog.New(slog.DiscardHandler)}
	require.ErrorIs(t, s.Serve(l), broken)
	require.NoError(t, s.Close())
}
