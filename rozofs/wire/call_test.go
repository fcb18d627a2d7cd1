package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

type connector = func(t testing.TB, client, server Handler) (c, s *Conn)

// echoes calls and checks that body and bulk come back.
func echoes(ctx context.Context, c *Conn, body string, bulk []byte) error {
	var got text
	var parts [][]byte
	if bulk != nil { // in several parts, an empty one among them
		parts = [][]byte{bulk[:len(bulk)/3], nil, bulk[len(bulk)/3:]}
	}
	b, err := c.Call(ctx, opEcho, &text{body}, Bulk{Parts: parts}, &got)
	if err != nil {
		return err
	}
	defer b.Release()
	if got.S != body {
		return fmt.Errorf("body is %.40q, want %.40q", got.S, body)
	}
	switch {
	case b == nil && len(bulk) == 0:
		return nil
	case b == nil || !bytes.Equal(b.B, bulk):
		return errors.New("bulk differs")
	}
	return nil
}

func TestACallBringsBackTheReply(t *testing.T) {
	eachTransport(t, func(t *testing.T, connect connector) {
		c, s := connect(t, echo, echo)
		for _, end := range []*Conn{c, s} {
			require.NoError(t, echoes(t.Context(), end, "", nil))
			require.NoError(t, echoes(t.Context(), end, "body", nil))
			require.NoError(t, echoes(t.Context(), end, "", []byte("bulk")))
			require.NoError(t, echoes(t.Context(), end, "both", bytes.Repeat([]byte("bulk"), 10_000)))
			require.NoError(t, echoes(t.Context(), end, strings.Repeat("x", MaxBody-4), bytes.Repeat([]byte{7}, MaxBulk)))
		}
		// Also a frame that a socket took in pieces is no longer counted.
		require.Eventually(t, func() bool { return c.queuedBytes()+s.queuedBytes() == 0 }, soon, tick)
	})
}

func TestManyCallsGoBothWaysAtOnce(t *testing.T) {
	eachTransport(t, func(t *testing.T, connect connector) {
		c, s := connect(t, echo, echo)
		const callers, calls = 40, 25
		errs := make(chan error, 2*callers)
		var joined sync.WaitGroup
		for i := range 2 * callers {
			end := []*Conn{c, s}[i%2]
			joined.Go(func() {
				var err error
				for j := range calls {
					bulk := bytes.Repeat([]byte{byte(i), byte(j)}, (i*j*37)%3000)
					err = errors.Join(err, echoes(t.Context(), end, fmt.Sprint(i, j), bulk))
				}
				errs <- err
			})
		}
		joined.Wait()
		for range 2 * callers {
			require.NoError(t, <-errs)
		}
		require.Eventually(t, func() bool { return c.queuedBytes()+s.queuedBytes() == 0 }, soon, tick)
		require.Empty(t, c.calls)
	})
}

func TestAHandlerMayCallThePeerBack(t *testing.T) {
	back := func(ctx context.Context, r *Request) (Message, Bulk, error) {
		var got text
		_, err := r.Conn.Call(ctx, opEcho, &text{"who is there"}, Bulk{}, &got)
		return &got, Bulk{}, err
	}
	c, _ := overPipe(t, echo, back)
	var got text
	_, err := c.Call(t.Context(), OpLookup, nil, Bulk{}, &got)
	require.NoError(t, err)
	require.Equal(t, "who is there", got.S)
}

func TestErrorsCrossTheWireWithKindAndText(t *testing.T) {
	long := strings.Repeat("ab", maxErrorText)
	for name, c := range map[string]struct {
		sent error
		kind vocab.Kind
		want string
	}{
		"kind and text": {vocab.Errorf(vocab.NoSpace, "storage 1/%d is full", 3), vocab.NoSpace, "no space left: storage 1/3 is full"},
		"kind, no text": {&vocab.Error{Kind: vocab.Fenced}, vocab.Fenced, "fenced: superseded epoch"},
		"bare kind":     {vocab.NotFound, vocab.NotFound, "not found"},
		"wrapped kind":  {fmt.Errorf("lookup %q: %w", "x", vocab.NotFound), vocab.NotFound, `not found: lookup "x": not found`},
		"wrapped error": {fmt.Errorf("write: %w", vocab.Errorf(vocab.DiskFailed, "sdb")), vocab.DiskFailed, "disk failed: write: disk failed: sdb"},
		"any error":     {errors.New("pebble: closed"), vocab.Internal, "internal error: pebble: closed"},
		"canceled":      {context.Canceled, vocab.Canceled, "canceled: context canceled"},
		"deadline":      {fmt.Errorf("waiting: %w", context.DeadlineExceeded), vocab.Canceled, "canceled: waiting: context deadline exceeded"},
		"long":          {vocab.Errorf(vocab.Busy, "%s", long), vocab.Busy, "busy: " + long[:maxErrorText]},
		"unknown kind":  {vocab.Errorf(60_000, "from the future"), 60_000, "error kind 60000: from the future"},
	} {
		t.Run(name, func(t *testing.T) {
			var released counter
			bulk := released.bulk([]byte("not sent"))
			conn, _ := overPipe(t, nil, func(context.Context, *Request) (Message, Bulk, error) { return nil, bulk, c.sent })
			b, err := conn.Call(t.Context(), OpWrite, nil, Bulk{}, &text{})
			require.Nil(t, b)
			require.ErrorIs(t, err, c.kind)
			require.EqualError(t, err, c.want)
			released.requireOnce(t)
		})
	}
}

func TestEveryKindCrossesTheWire(t *testing.T) {
	c, _ := overPipe(t, nil, func(_ context.Context, r *Request) (Message, Bulk, error) {
		return nil, Bulk{}, vocab.Errorf(vocab.Kind(r.Op), "text")
	})
	for _, k := range vocab.Kinds() {
		_, err := c.Call(t.Context(), Op(k), nil, Bulk{}, nil)
		require.ErrorIs(t, err, k)
		require.Equal(t, &vocab.Error{Kind: k, Text: "text"}, err)
	}
}

func TestAnEndWithoutHandlerRefusesRequests(t *testing.T) {
	c, _ := overPipe(t, nil, nil)
	_, err := c.Call(t.Context(), OpRead, nil, Bulk{}, nil)
	require.ErrorIs(t, err, vocab.NotSupported)
	require.ErrorContains(t, err, "op read")
}

func TestARequestThatCannotBeDecodedIsAProtocolError(t *testing.T) {
	c, _ := overPipe(t, nil, func(_ context.Context, r *Request) (Message, Bulk, error) {
		return nil, Bulk{}, r.Decode(&ReadRequest{})
	})
	_, err := c.Call(t.Context(), OpRead, &text{"short"}, Bulk{}, nil)
	require.ErrorIs(t, err, vocab.Protocol)
	require.ErrorContains(t, err, "ends early")
}

func TestAReplyThatCannotBeDecodedFailsItsCallOnly(t *testing.T) {
	c, _ := overPipe(t, nil, echo)
	b, err := c.Call(t.Context(), opEcho, &text{"x"}, Bulk{Parts: [][]byte{[]byte("bulk")}}, &OpenSessionReply{})
	require.Nil(t, b)
	require.ErrorIs(t, err, vocab.Protocol)
	require.NoError(t, echoes(t.Context(), c, "goes on", nil))
}

func TestAReplyOverTheLimitsIsAnErrorToTheCaller(t *testing.T) {
	for name, reply := range map[string]func(*counter) (Message, Bulk){
		"body": func(d *counter) (Message, Bulk) { return &text{strings.Repeat("x", MaxBody)}, d.bulk() },
		"bulk": func(d *counter) (Message, Bulk) { return nil, d.bulk(make([]byte, MaxBulk), []byte{1}) },
	} {
		t.Run(name, func(t *testing.T) {
			var released counter
			c, _ := overPipe(t, nil, func(context.Context, *Request) (Message, Bulk, error) {
				m, b := reply(&released)
				return m, b, nil
			})
			_, err := c.Call(t.Context(), OpRead, nil, Bulk{}, nil)
			require.ErrorIs(t, err, vocab.TooLarge)
			released.requireOnce(t)
		})
	}
}

func TestOpsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]Op{}
	for op, name := range opNames {
		require.NotEmpty(t, name)
		require.NotContains(t, seen, name)
		seen[name] = op
		require.Equal(t, name, op.String())
	}
	require.Equal(t, "op 0x9999", Op(0x9999).String())
}
