package rozofs

import (
	"context"
	"os"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// lockScript is an exportd for the locks of one mount: each request for one is given to the
// test, which answers it.
type lockScript struct {
	scripted
	asked   chan wire.LockRequest
	answers chan wire.LockState

	mu     sync.Mutex        // guards the rest
	claims [][]wire.HeldLock // of each reclaim
	lost   []uint32          // what it is answered
	ended  bool              // the session
}

func newLockScript() *lockScript {
	s := &lockScript{}
	s.answer = s.answerLocks
	return s
}

func (s *lockScript) answerLocks(ctx context.Context, r *wire.Request) (wire.Message, error) {
	switch r.Op {
	case wire.OpOpen:
		return opened(wire.Lease{Kind: wire.LeaseRead, Epoch: 9}), nil
	case wire.OpOpenSession:
		var m wire.OpenSessionRequest
		if err := r.Decode(&m); err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ended && m.Resume != 0 {
			return nil, vocab.NoSession
		}
	case wire.OpReclaimLocks:
		var m wire.ReclaimLocksRequest
		if err := r.Decode(&m); err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.claims = append(s.claims, m.Locks)
		return &wire.ReclaimLocksReply{Lost: s.lost}, nil
	case wire.OpLock:
		var m wire.LockRequest
		if err := r.Decode(&m); err != nil {
			return nil, err
		}
		s.asked <- m
		select {
		case state := <-s.answers:
			return &wire.LockReply{State: state}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, nil
}

// claimed is what the last reclaim has claimed, once all is quiet.
func (s *lockScript) claimed() []wire.HeldLock {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims[len(s.claims)-1]
}

// inBubble runs a test with a mount of the script, on which file 5 is open.
func (s *lockScript) inBubble(t *testing.T, test func(t *testing.T, h *Handle)) {
	synctest.Test(t, func(t *testing.T) {
		s.asked, s.answers = make(chan wire.LockRequest, 10), make(chan wire.LockState, 10)
		c := s.mount(t)
		h, err := c.OpenFile(t.Context(), Caller{}, 5, os.O_RDONLY)
		require.NoError(t, err)
		test(t, h)
	})
}

var (
	someLock = wire.Lock{Owner: 7, PID: 3, Type: wire.LockWrite, Start: 10, End: 19}
	noLock   = wire.Lock{Owner: 7, Start: 0, End: 1 << 62}
)

// lockLater asks in the background.
func lockLater(ctx context.Context, h *Handle, wait bool) <-chan error {
	done := make(chan error, 1)
	go func() { done <- h.Lock(ctx, someLock, wait) }()
	return done
}

func TestALockWhoseAnswerIsLostIsAskedForAgainAndNotClaimed(t *testing.T) {
	s := newLockScript()
	s.inBubble(t, func(t *testing.T, h *Handle) {
		done := lockLater(t.Context(), h, false)
		<-s.asked
		s.last().Close()
		<-s.asked
		require.Empty(t, s.claimed())
		s.answers <- wire.LockGranted
		s.answers <- wire.LockGranted // once more, of one connection from the question to the answer
		require.NoError(t, <-done)
		require.Len(t, s.asked, 1)
		s.last().Close()
		require.Equal(t, []wire.HeldLock{{Ino: 5, Lock: someLock}}, s.claimed())
	})
}

func TestAWaitEndsWithItsTurnAndSurvivesAConnection(t *testing.T) {
	s := newLockScript()
	s.inBubble(t, func(t *testing.T, h *Handle) {
		s.answers <- wire.LockQueued
		done := lockLater(t.Context(), h, true)
		<-s.asked
		synctest.Wait()
		s.last().Close()
		s.answers <- wire.LockLater
		ticket := (<-s.asked).Ticket
		synctest.Wait()
		require.Empty(t, s.asked)
		s.answers <- wire.LockGranted
		_, err := s.last().Call(t.Context(), wire.OpLockTurn, &wire.LockTurnRequest{Tickets: []uint64{ticket + 9, ticket}}, wire.Bulk{}, nil)
		require.NoError(t, err)
		require.True(t, (<-s.asked).Wait)
		require.NoError(t, <-done)
	})
}

func TestACanceledWaitIsTakenBack(t *testing.T) {
	for state, want := range map[wire.LockState]error{wire.LockHeld: vocab.Canceled, wire.LockLater: vocab.Canceled, wire.LockGranted: nil} {
		s := newLockScript()
		s.inBubble(t, func(t *testing.T, h *Handle) {
			ctx, cancel := context.WithCancel(t.Context())
			s.answers <- wire.LockQueued
			done := lockLater(ctx, h, true)
			ticket := (<-s.asked).Ticket
			synctest.Wait()
			s.answers <- state
			cancel()
			back := <-s.asked
			require.Equal(t, ticket, back.Ticket)
			require.False(t, back.Wait)
			require.ErrorIs(t, <-done, want)
			s.last().Close()
			require.Len(t, s.claimed(), map[bool]int{true: 1, false: 0}[state == wire.LockGranted], "what it was told is what it has")
		})
	}
}

func TestALockOfWhichNothingIsHeardIsSettledByAnotherConnection(t *testing.T) {
	s := newLockScript()
	s.inBubble(t, func(t *testing.T, h *Handle) {
		ctx, cancel := context.WithCancel(t.Context())
		done := lockLater(ctx, h, true)
		<-s.asked
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.Empty(t, s.claimed(), "it connects anew, and so says that it has none")

		// Of an unlock likewise.
		s.answers <- wire.LockGranted
		require.NoError(t, h.Lock(t.Context(), someLock, false))
		<-s.asked
		require.ErrorIs(t, h.Lock(ctx, noLock, false), context.Canceled)
		require.Empty(t, s.claimed())
		s.mu.Lock()
		defer s.mu.Unlock()
		require.Len(t, s.claims, 2)
	})
}

// A conversion gives up the old lock first: it is not claimed while that is under way, so it is
// not lost when exportd has done so already.
func TestAFlockUnderConversionIsNotClaimed(t *testing.T) {
	s := newLockScript()
	s.inBubble(t, func(t *testing.T, h *Handle) {
		old := wire.Lock{Owner: 7, Kind: wire.LockFlock, Type: wire.LockRead, End: 1<<64 - 1}
		s.answers <- wire.LockGranted
		require.NoError(t, h.Lock(t.Context(), old, false))
		<-s.asked
		s.last().Close()
		require.Len(t, s.claimed(), 1)
		convert := func(ctx context.Context) <-chan error {
			done := make(chan error, 1)
			l := old
			l.Type = wire.LockWrite
			go func() { done <- h.Lock(ctx, l, false) }()
			<-s.asked
			return done
		}
		done := convert(t.Context())
		s.last().Close()
		require.Empty(t, s.claimed())
		<-s.asked
		s.answers <- wire.LockGranted
		s.answers <- wire.LockGranted
		require.NoError(t, <-done)
		<-s.asked
		s.last().Close()
		require.Len(t, s.claimed(), 1)

		ctx, cancel := context.WithCancel(t.Context())
		done = convert(ctx)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.Empty(t, s.claimed())
		require.NoError(t, h.LockLost())
	})
}

func TestALostLockIsAnErrorUntilItIsTakenOff(t *testing.T) {
	for name, lose := range map[string]func(*lockScript){
		"the session has ended": func(s *lockScript) { s.ended = true },
		"exportd says so":       func(s *lockScript) { s.lost = []uint32{0} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newLockScript()
			s.inBubble(t, func(t *testing.T, h *Handle) {
				for range 3 {
					s.answers <- wire.LockGranted
				}
				require.NoError(t, h.Lock(t.Context(), someLock, false))
				other := someLock
				other.Owner++
				require.NoError(t, h.LockLost())
				s.mu.Lock()
				lose(s)
				s.mu.Unlock()
				s.last().Close()
				synctest.Wait()
				_, err := h.ReadAt(t.Context(), make([]byte, 10), 0)
				require.ErrorIs(t, err, vocab.Stale)
				require.ErrorIs(t, h.Lock(t.Context(), someLock, true), vocab.NoLocks)
				require.NoError(t, h.Lock(t.Context(), other, true), "of another process")
				require.Error(t, h.LockLost())
				require.NoError(t, h.Lock(t.Context(), noLock, false))
				require.NoError(t, h.LockLost())
				_, err = h.ReadAt(t.Context(), make([]byte, 10), 0)
				require.NoError(t, err)
				require.NoError(t, h.Lock(t.Context(), someLock, true))
			})
		})
	}
}

func TestClosingAHandleTakesOffWhatWasSetThroughIt(t *testing.T) {
	s := newLockScript()
	s.inBubble(t, func(t *testing.T, h *Handle) {
		for range 6 {
			s.answers <- wire.LockGranted
		}
		process, open, flock := someLock, someLock, someLock
		process.Owner, open.Owner, open.Kind, flock.Owner, flock.Kind = 1, 2, wire.LockOFD, 2, wire.LockFlock
		for _, l := range []wire.Lock{process, open, flock} {
			require.NoError(t, h.Lock(t.Context(), l, false))
			<-s.asked
		}
		require.NoError(t, h.ReleaseLocks(t.Context(), 1))
		require.EqualValues(t, 1, (<-s.asked).Lock.Owner)
		require.NoError(t, h.ReleaseLocks(t.Context(), 1))
		require.NoError(t, h.ReleaseLocks(t.Context(), 99))
		require.Empty(t, s.asked, "who has none costs nothing")
		require.NoError(t, h.Close(t.Context()))
		kinds := []wire.LockKind{(<-s.asked).Lock.Kind, (<-s.asked).Lock.Kind}
		require.ElementsMatch(t, []wire.LockKind{wire.LockOFD, wire.LockFlock}, kinds)
		require.Empty(t, h.f.c.locks.owners)
		require.Empty(t, h.f.c.locks.turns)
	})
}
