package wire

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func TestDoneIsCalledOnceForARequestThatWasSent(t *testing.T) {
	eachTransport(t, func(t *testing.T, connect connector) {
		c, _ := connect(t, nil, echo)
		var sent counter
		b, err := c.Call(t.Context(), opEcho, &text{}, sent.bulk([]byte("bulk")), nil)
		require.NoError(t, err)
		b.Release()
		sent.requireOnce(t)
		c.Close()
		sent.requireOnce(t)
	})
}

func TestDoneIsCalledOnceOnAClosedConnection(t *testing.T) {
	c, _ := overPipe(t, nil, nil)
	c.Close()
	var sent counter
	_, err := c.Call(t.Context(), opEcho, nil, sent.bulk([]byte("bulk")), nil)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, err, vocab.Unavailable)
	sent.requireOnce(t)
}

func TestDoneIsCalledOnceForAFrameOverTheLimits(t *testing.T) {
	c, _ := overPipe(t, nil, echo)
	for _, bulk := range [][]byte{make([]byte, MaxBulk+1), {}} {
		var sent counter
		body := ""
		if len(bulk) == 0 {
			body = string(make([]byte, MaxBody))
		}
		_, err := c.Call(t.Context(), opEcho, &text{body}, sent.bulk(bulk), nil)
		require.ErrorIs(t, err, vocab.TooLarge)
		sent.requireOnce(t)
	}
	require.Empty(t, c.calls)
	require.NoError(t, echoes(t.Context(), c, "goes on", nil))
}

// start makes a call on a goroutine of its own.
func start(ctx context.Context, c *Conn, bulk Bulk) <-chan error {
	done := make(chan error, 1)
	go func() {
		b, err := c.Call(ctx, opEcho, &text{}, bulk, nil)
		b.Release()
		done <- err
	}()
	return done
}

func TestACallGivesUpWithItsContextWhileThePeerDoesNotRead(t *testing.T) {
	c, _, _ := withMute(t, nil)
	cause := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	var sent counter
	done := start(ctx, c, sent.bulk([]byte("held")))
	require.Eventually(t, func() bool { return c.queuedBytes() > 0 }, soon, tick)
	cancel(cause)
	require.ErrorIs(t, <-done, cause)
	require.Zero(t, sent.n.Load(), "the writer still has the bytes")
	c.Close()
	sent.requireOnce(t)
}

// fill queues frames of the largest bulk until no more has room, and returns
// them, the last waiting for room.
func fill(t *testing.T, ctx context.Context, c *Conn) (done []<-chan error, sent []*counter) {
	t.Helper()
	bulk := make([]byte, MaxBulk)
	for fits := true; fits; {
		before := c.queuedBytes()
		d := &counter{}
		done, sent = append(done, start(ctx, c, d.bulk(bulk))), append(sent, d)
		fits = before+MaxBulk+HeaderBytes+4 <= maxQueuedBytes
		if fits {
			require.Eventually(t, func() bool { return c.queuedBytes() > before }, soon, tick)
		}
	}
	return done, sent
}

func TestBytesQueuedTowardsASlowPeerAreBounded(t *testing.T) {
	c, _, r := withMute(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done, sent := fill(t, ctx, c)
	require.LessOrEqual(t, c.queuedBytes(), maxQueuedBytes)
	small := &counter{}
	blocked, giveUp := context.WithCancel(ctx)
	extra := start(blocked, c, small.bulk(make([]byte, MaxBulk)))
	giveUp()
	require.ErrorIs(t, <-extra, context.Canceled)
	small.requireOnce(t)

	// Once the peer reads, the one that waited goes too.
	for range done {
		f, err := readFrame(r)
		require.NoError(t, err)
		f.release()
	}
	for _, d := range sent {
		d.requireOnce(t)
	}
	require.Eventually(t, func() bool { return c.queuedBytes() == 0 }, soon, tick)
	cancel()
	for _, d := range done {
		require.ErrorIs(t, <-d, context.Canceled)
	}
}

func TestCloseReleasesWhatIsQueuedAndWhatWaitsForRoom(t *testing.T) {
	c, _, _ := withMute(t, nil)
	done, sent := fill(t, t.Context(), c)
	c.Close()
	for i := range done {
		require.ErrorIs(t, <-done[i], ErrClosed)
		sent[i].requireOnce(t)
	}
}

func TestAPeerThatDiesReleasesWhatIsQueued(t *testing.T) {
	c, peer, r := withMute(t, nil)
	done, sent := fill(t, t.Context(), c)
	_, err := r.Discard(MaxBulk / 2) // in the middle of a frame
	require.NoError(t, err)
	peer.Close()
	for i := range done {
		require.ErrorIs(t, <-done[i], vocab.Unavailable)
		sent[i].requireOnce(t)
	}
	<-c.Done()
}

func TestABufferIsNotUsedAgainWhileItIsQueued(t *testing.T) {
	c, _, r := withMute(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	const frames, size = 20, 40_000
	var done []<-chan error
	for i := range frames {
		b := NewBuffer(size)
		for j := range b.B {
			b.B[j] = byte(i)
		}
		before := c.queuedBytes()
		done = append(done, start(ctx, c, Bulk{Parts: [][]byte{b.B}, Done: b.Release}))
		require.Eventually(t, func() bool { return c.queuedBytes() > before }, soon, tick)
	}
	cancel() // the callers leave, the frames stay
	for _, d := range done {
		require.ErrorIs(t, <-d, context.Canceled)
	}
	for range frames { // whoever takes buffers now gets none of them
		b := NewBuffer(size)
		defer b.Release()
		for j := range b.B {
			b.B[j] = 0xff
		}
	}
	for i := range frames {
		f, err := readFrame(r)
		require.NoError(t, err)
		require.True(t, bytes.Equal(bytes.Repeat([]byte{byte(i)}, size), f.bulk.B), "frame %d", i)
		f.release()
	}
}

func TestALateReplyIsDroppedAndTheNumberFree(t *testing.T) {
	release := make(chan struct{})
	c, _ := overPipe(t, nil, func(ctx context.Context, r *Request) (Message, Bulk, error) {
		if r.Op == OpRead {
			<-release
		}
		return &text{"late"}, Bulk{Parts: [][]byte{[]byte("bulk")}}, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, OpRead, nil, Bulk{}, nil)
		done <- err
	}()
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.calls) == 1 }, soon, tick)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Empty(t, c.calls)
	close(release)
	b, err := c.Call(t.Context(), OpWrite, nil, Bulk{}, nil)
	require.NoError(t, err)
	b.Release()
}

func TestDoneIsCalledOnceForAReplyWhoseConnectionEnded(t *testing.T) {
	var reply counter
	entered, leave := make(chan struct{}), make(chan struct{})
	c, s := overPipe(t, nil, func(ctx context.Context, _ *Request) (Message, Bulk, error) {
		close(entered)
		<-ctx.Done() // ends with the connection
		<-leave
		return nil, reply.bulk([]byte("too late")), nil
	})
	done := start(t.Context(), c, Bulk{})
	<-entered
	c.Close()
	require.ErrorIs(t, <-done, ErrClosed)
	require.Zero(t, reply.n.Load())
	close(leave)
	s.Close()
	reply.requireOnce(t)
}

func TestRequestNumbersInUseArePassedOver(t *testing.T) {
	c, _ := overPipe(t, nil, echo)
	c.mu.Lock()
	c.nextID = ^uint32(0) - 1
	taken := c.nextID + 2
	c.calls[taken] = &call{}
	c.mu.Unlock()
	for range 4 {
		require.NoError(t, echoes(t.Context(), c, "around", nil))
	}
	require.EqualValues(t, 3, c.nextID, "0 is taken, so the numbers are -1, 1, 2, 3")
}

// A connection may be idle for ever, and a frame may come in pieces, but not for ever.
func TestAFrameThatDoesNotEndEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, r := withMute(t, echo)
		time.Sleep(24 * time.Hour)
		whole := raw(header{total: 8, body: 8, id: 1, op: opEcho}, 4, 0, 0, 0, 's', 'l', 'o', 'w')
		for _, b := range whole[:len(whole)-1] {
			_, err := peer.Write([]byte{b})
			require.NoError(t, err)
			time.Sleep(frameTimeout / 10)
		}
		_, err := peer.Write(whole[len(whole)-1:])
		require.NoError(t, err)
		f, err := readFrame(r)
		require.NoError(t, err)
		f.release()

		_, err = peer.Write(raw(header{total: 8, body: 8, id: 2, op: opEcho}, 4))
		require.NoError(t, err)
		began := time.Now()
		<-c.Done()
		require.Equal(t, frameTimeout, time.Since(began))
		require.ErrorContains(t, c.Err(), "the peer began a frame of 8 bytes and did not end it within 1m0s")
	})
}
