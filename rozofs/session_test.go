package rozofs

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// scripted is an exportd that answers as a test tells it, in a bubble. There are no storages.
type scripted struct {
	answer func(ctx context.Context, r *wire.Request) (wire.Message, error) // nil, nil: as usual

	mu    sync.Mutex // guards the rest
	conns []*wire.Conn
}

// mount mounts it.
func (s *scripted) mount(t *testing.T) *Client {
	cfg := Config{Hosts: []string{"export:1"}, Export: "x", Dial: s.dial}
	c, err := Mount(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		c.Kill()
		s.last().Close()
	})
	return c
}

func (s *scripted) dial(ctx context.Context, _ string, mine wire.Hello, h wire.Handler) (*wire.Conn, error) {
	near, far := net.Pipe()
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		c, err := wire.Accept(far, wire.Hello{Role: wire.RoleExportd, Cluster: mine.Cluster}, s.handle)
		if err != nil {
			panic(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns = append(s.conns, c)
	}()
	c, err := wire.Client(ctx, near, mine, h)
	<-accepted
	return c, err
}

// last is the present connection.
func (s *scripted) last() *wire.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[len(s.conns)-1]
}

func (s *scripted) handle(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	if m, err := s.answer(ctx, r); m != nil || err != nil {
		return m, wire.Bulk{}, err
	}
	switch r.Op {
	case wire.OpOpenSession:
		return &wire.OpenSessionReply{Session: 1, TermMillis: 20000}, wire.Bulk{}, nil
	case wire.OpRenew:
		return &wire.RenewReply{TermMillis: 20000}, wire.Bulk{}, nil
	case wire.OpReclaim:
		var m wire.ReclaimRequest
		err := r.Decode(&m)
		return &wire.ReclaimReply{Granted: make([]wire.Lease, len(m.Held))}, wire.Bulk{}, err
	}
	return nil, wire.Bulk{}, vocab.NotSupported
}

// opened is the reply that opens file 5 under a lease.
func opened(l wire.Lease) *wire.OpenReply {
	g := vocab.Geometry{Layout: vocab.Layout{Inverse: 2, Forward: 3, Safe: 4}, BlockBytes: vocab.DefaultBlockBytes, ElementBytes: 8}
	return &wire.OpenReply{
		Attr:      vocab.Attr{Ino: 5, Mode: vocab.ModeRegular},
		Placement: vocab.Placement{Geometry: g, Distribution: vocab.Distribution{CID: 1, SIDs: []vocab.SID{1, 2, 3, 4}}},
		Lease:     l,
	}
}

// A file is being given up, its release is lost with the connection, and there a recall of
// the same file waits: the mount connects again, for the release waits for that.
func TestARecallThatWaitsDoesNotKeepAMountFromReconnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		releasing, resumed := make(chan struct{}, 2), make(chan struct{}, 2)
		s := &scripted{answer: func(ctx context.Context, r *wire.Request) (wire.Message, error) {
			switch r.Op {
			case wire.OpOpen:
				return opened(wire.Lease{Kind: wire.LeaseRead, Epoch: 9}), nil
			case wire.OpRelease:
				releasing <- struct{}{}
				<-ctx.Done()
				return nil, ctx.Err()
			case wire.OpOpenSession:
				resumed <- struct{}{}
			}
			return nil, nil
		}}
		c := s.mount(t)
		<-resumed
		h, err := c.OpenFile(t.Context(), Caller{}, 5, os.O_RDONLY)
		require.NoError(t, err)
		require.NoError(t, h.Close(t.Context()))
		<-releasing
		conn := s.last()
		go conn.Call(t.Context(), wire.OpRecall, &wire.RecallRequest{Ino: 5, Epoch: 9}, wire.Bulk{}, nil)
		synctest.Wait()
		go conn.Close()
		select {
		case <-resumed:
		case <-time.After(connectTimeout):
			require.Fail(t, "the mount has not connected again")
		}
	})
}

// A file is made and opened for reading, and exportd restarts before it answers. The next run
// answers as the first would have, but knows of no read lease, nor that the file is open: so
// the mount opens it.
func TestAnAnswerThatWasLostOpensNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, runs := make(chan struct{}), 0
		s := &scripted{}
		s.answer = func(ctx context.Context, r *wire.Request) (wire.Message, error) {
			switch r.Op {
			case wire.OpOpenSession:
				runs++
			case wire.OpCreate:
				if runs == 1 {
					close(asked)
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return opened(wire.Lease{Kind: wire.LeaseRead, Epoch: 9}), nil
			case wire.OpOpen:
				m := opened(wire.Lease{Kind: wire.LeaseRead, Epoch: 10})
				m.Attr.Size = 23
				return m, nil
			}
			return nil, nil
		}
		c := s.mount(t)
		go func() { <-asked; s.last().Close() }()
		h, a, err := c.CreateFile(t.Context(), Caller{}, 2, "x", 0o644, os.O_RDONLY)
		require.NoError(t, err)
		require.EqualValues(t, 23, a.Size)
		require.Equal(t, wire.Lease{Kind: wire.LeaseRead, Epoch: 10}, h.f.lease)
		require.Equal(t, 2, runs)
	})
}

// A mount that ends its session does not renew it meanwhile: the renewal would find that it
// has ended, and the mount would open another.
func TestASessionThatEndsIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opens, closed := 0, false
		s := &scripted{}
		s.answer = func(_ context.Context, r *wire.Request) (wire.Message, error) {
			switch {
			case r.Op == wire.OpOpenSession:
				opens++
			case r.Op == wire.OpCloseSession:
				closed = true
				time.Sleep(10 * time.Second) // its disk is slow
				return &wire.Empty{}, nil
			case closed:
				return nil, vocab.NoSession
			}
			return nil, nil
		}
		c := s.mount(t)
		require.NoError(t, c.Close())
		require.Equal(t, 1, opens)
	})
}

// A mount that was away for longer than a term uses no lease before exportd has said which
// are left.
func TestALeaseIsGoodAgainWhenItIsReclaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *Client
		opens, good, reclaimed := 0, true, make(chan struct{})
		s := &scripted{}
		s.answer = func(_ context.Context, r *wire.Request) (wire.Message, error) {
			switch r.Op {
			case wire.OpOpenSession:
				if opens++; opens == 2 {
					time.Sleep(3 * time.Second) // the term ends meanwhile
				}
			case wire.OpReclaim:
				good = c.session.good()
				close(reclaimed)
			case wire.OpRenew:
				return nil, vocab.Unavailable
			}
			return nil, nil
		}
		c = s.mount(t)
		time.Sleep(19 * time.Second)
		require.True(t, c.session.good())
		s.last().Close()
		<-reclaimed
		require.False(t, good)
		synctest.Wait()
		require.True(t, c.session.good())
	})
}

// A release that is not answered in time leaves open whether exportd has the lease: the mount
// does not use it before it has heard, on another connection.
func TestALeaseWhoseReleaseIsNotAnsweredIsNotUsed(t *testing.T) {
	for _, kept := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			lease := wire.Lease{Kind: wire.LeaseWrite, Epoch: 9}
			opens, renewed := 0, make(chan struct{})
			s := &scripted{}
			s.answer = func(ctx context.Context, r *wire.Request) (wire.Message, error) {
				switch r.Op {
				case wire.OpOpen:
					return opened(lease), nil
				case wire.OpOpenSession:
					if opens++; opens == 2 {
						close(renewed)
					}
				case wire.OpRelease:
					<-ctx.Done()
					return nil, ctx.Err()
				case wire.OpReclaim:
					if kept {
						return &wire.ReclaimReply{Granted: []wire.Lease{lease}}, nil
					}
				case wire.OpGetAttr:
					return &wire.AttrReply{Attr: vocab.Attr{Ino: 5, Mode: vocab.ModeRegular, Size: 23, Ctime: 1}}, nil
				}
				return nil, nil
			}
			c := s.mount(t)
			h, err := c.OpenFile(t.Context(), Caller{}, 5, os.O_RDWR)
			require.NoError(t, err)
			go s.last().Call(t.Context(), wire.OpRecall, &wire.RecallRequest{Ino: 5, Epoch: 9}, wire.Bulk{}, nil)
			time.Sleep(c.cfg.ExportTimeout + time.Second)
			select {
			case <-renewed:
			default:
				require.Fail(t, "the mount has not connected again")
			}
			synctest.Wait()
			require.False(t, h.f.recalling || h.f.giving)
			a, err := h.Attr(t.Context())
			require.NoError(t, err)
			require.Equal(t, kept, a.Size == 0)
			require.Equal(t, kept, h.f.lease == lease)
		})
	}
}

// A recall has overtaken its grant, and its answer is lost with the connection: exportd has
// the lease still. The mount takes it when it asks again.
func TestARecallWhoseAnswerIsLostIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease, opens := wire.Lease{Kind: wire.LeaseWrite, Epoch: 9}, 0
		s := &scripted{}
		s.answer = func(ctx context.Context, r *wire.Request) (wire.Message, error) {
			switch r.Op {
			case wire.OpOpen:
				if opens++; opens > 9 {
					return nil, vocab.NotSupported
				} else if opens == 1 {
					_, err := r.Conn.Call(ctx, wire.OpRecall, &wire.RecallRequest{Ino: 5, Epoch: 9}, wire.Bulk{}, nil)
					return nil, err
				}
				return opened(lease), nil
			case wire.OpRelease:
				go r.Conn.Close()
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, nil
		}
		c := s.mount(t)
		h, err := c.OpenFile(t.Context(), Caller{}, 5, os.O_RDWR)
		require.NoError(t, err)
		require.Equal(t, lease, h.f.lease)
	})
}

// A write lease comes down to read, and exportd restarts before it answers: what it forgot is
// not held when the repeated release is answered.
func TestAnAnswerToAReleaseRestoresNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		releases := 0
		s := &scripted{}
		s.answer = func(ctx context.Context, r *wire.Request) (wire.Message, error) {
			switch r.Op {
			case wire.OpOpen:
				return opened(wire.Lease{Kind: wire.LeaseWrite, Epoch: 9}), nil
			case wire.OpRelease:
				if releases++; releases == 1 {
					go r.Conn.Close()
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return &wire.Empty{}, nil
			}
			return nil, nil
		}
		c := s.mount(t)
		h, err := c.OpenFile(t.Context(), Caller{}, 5, os.O_RDWR)
		require.NoError(t, err)
		_, err = s.last().Call(t.Context(), wire.OpRecall, &wire.RecallRequest{Ino: 5, Epoch: 9, Keep: wire.LeaseRead}, wire.Bulk{}, nil)
		require.ErrorIs(t, err, vocab.Unavailable)
		require.NoError(t, h.f.waitFor(t.Context(), func() bool { return !h.f.recalling }))
		h.f.mu.Unlock()
		require.Equal(t, 2, releases)
		require.Equal(t, wire.LeaseNone, h.f.lease.Kind)
	})
}

// exportd has opened, or made, a file when its caller has given up already, perhaps on another
// connection: the mount gives that back, as of a file that was closed.
func TestAnOpenThatIsGivenUpIsGivenBack(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for _, op := range []wire.Op{wire.OpOpen, wire.OpCreate} {
			synctest.Test(t, func(t *testing.T) { givesBack(t, op, lost) })
		}
	}
}

func givesBack(t *testing.T, op wire.Op, lost bool) {
	asked, cancelled, released := make(chan struct{}), make(chan struct{}), make(chan wire.ReleaseItem, 1)
	asks := vocab.Epoch(0)
	s := &scripted{}
	s.answer = func(ctx context.Context, r *wire.Request) (wire.Message, error) {
		switch r.Op {
		case wire.OpOpen, wire.OpCreate:
			asks++
			if asks == 1 {
				close(asked)
				<-cancelled
				if lost {
					go r.Conn.Close()
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
			return opened(wire.Lease{Kind: wire.LeaseWrite, Epoch: asks}), nil
		case wire.OpRelease:
			var m wire.ReleaseRequest
			err := r.Decode(&m)
			released <- m.Items[0]
			return &wire.Empty{}, err
		}
		return nil, nil
	}
	c := s.mount(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	var err error
	if op == wire.OpOpen {
		_, err = c.OpenFile(ctx, Caller{}, 5, os.O_RDWR)
	} else {
		_, _, err = c.CreateFile(ctx, Caller{}, 2, "x", 0o644, os.O_RDWR)
	}
	require.ErrorIs(t, err, context.Canceled)
	close(cancelled)
	time.Sleep(2 * time.Second)
	synctest.Wait()
	require.NotEmpty(t, released)
	item := <-released
	require.True(t, item.Close)
	require.EqualValues(t, 5, item.Ino)
	require.Equal(t, asks, item.Epoch, "of the last answer")
	require.Equal(t, lost, asks == 3)
	require.Empty(t, c.allFiles())
}

// exportd answers in time that a lease has to be waited for. If it does not answer nobody knows
// what it has done, and the mount connects again, where it says what it holds.
func TestAnOpenThatIsNotAnsweredMakesTheMountConnectAgain(t *testing.T) {
	for _, answered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sessions := 0
			s := &scripted{}
			s.answer = func(ctx context.Context, r *wire.Request) (wire.Message, error) {
				switch r.Op {
				case wire.OpOpenSession:
					sessions++
				case wire.OpOpen:
					var m wire.OpenRequest
					if err := r.Decode(&m); err != nil || !answered {
						<-ctx.Done()
						return nil, err
					}
					time.Sleep(time.Duration(m.Patience) * time.Millisecond)
					return nil, vocab.Unavailable
				}
				return nil, nil
			}
			c := s.mount(t)
			began := time.Now()
			_, err := c.OpenFile(t.Context(), Caller{}, 5, os.O_RDWR)
			require.ErrorIs(t, err, vocab.Unavailable)
			require.Greater(t, time.Since(began), c.cfg.ExportTimeout/2)
			time.Sleep(reconnectMax)
			synctest.Wait()
			require.Equal(t, answered, sessions == 1)
		})
	}
}

// A mount whose programs have given up an open does not wait for it when it ends.
func TestAnOpenThatIsGivenUpDoesNotHoldUpClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{})
		s := &scripted{}
		s.answer = func(ctx context.Context, r *wire.Request) (wire.Message, error) {
			switch r.Op {
			case wire.OpOpen:
				close(asked)
				<-ctx.Done()
				return nil, ctx.Err()
			case wire.OpCloseSession:
				return &wire.Empty{}, nil
			}
			return nil, nil
		}
		c := s.mount(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		_, err := c.OpenFile(ctx, Caller{}, 5, os.O_RDWR)
		require.ErrorIs(t, err, context.Canceled)
		began := time.Now()
		require.NoError(t, c.Close())
		require.Less(t, time.Since(began), time.Second)
	})
}

// A file cannot be saved, and its name is gone by a request that its caller gave up: the mount
// hears of that when it ends at the latest, and has nothing to save.
func TestAFileThatCannotBeSavedIsAskedAboutAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := &scripted{}
		s.answer = func(_ context.Context, r *wire.Request) (wire.Message, error) {
			m := opened(wire.Lease{Kind: wire.LeaseWrite, Epoch: 9})
			switch r.Op {
			case wire.OpOpen:
				m.Attr.Nlink = 1
				return m, nil
			case wire.OpGetAttr:
				asked++
				return &wire.AttrReply{Attr: m.Attr}, nil
			case wire.OpRelease, wire.OpCloseSession:
				return &wire.Empty{}, nil
			}
			return nil, nil
		}
		c := s.mount(t)
		h, err := c.OpenFile(t.Context(), Caller{}, 5, os.O_RDWR)
		require.NoError(t, err)
		_, err = h.WriteAt(t.Context(), []byte("content"), 0)
		require.NoError(t, err)
		require.Error(t, h.Close(t.Context()), "there are no storages")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Zero(t, asked)
		require.NoError(t, c.Close())
		require.NotZero(t, asked)
	})
}

// The client's idea of exportd's clock is never ahead of it, however long the answer took:
// what is stamped here would be changed back by exportd.
func TestTheClockIsNotAheadOfExportds(t *testing.T) {
	const server = vocab.Time(1 << 60)
	s := &session{}
	heard := time.Now()
	s.renewed(heard.Add(-time.Hour), heard, 20_000, server)
	since := vocab.Time(time.Since(heard))
	now := s.now()
	require.LessOrEqual(t, now, server+vocab.Time(time.Since(heard)))
	require.GreaterOrEqual(t, now, server+since)
}
