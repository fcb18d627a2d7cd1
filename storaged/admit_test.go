package storaged

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

func TestAnotherIncarnationIsRefused(t *testing.T) {
	g := newRig(t)
	good := g.to
	for _, inc := range []vocab.Incarnation{good.Incarnation + 1, 0} {
		g.to.Incarnation = inc
		require.ErrorIs(t, g.tryWrite(0, version(1)), vocab.WrongIncarnation)
		require.ErrorIs(t, g.trySync(g.srv.Boot(), testFID), vocab.WrongIncarnation)
		_, _, err := g.tryRead(g.run(0, 1))
		require.ErrorIs(t, err, vocab.WrongIncarnation)
	}
	g.remove(testFID) // exportd may say "any"
}

func TestSyncOfAnotherBootIsRefused(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1))
	before := g.srv.Boot()
	g.restart()
	require.NotEqual(t, before, g.srv.Boot())
	err := g.trySync(before, testFID)
	require.ErrorIs(t, err, vocab.Unavailable)
	require.ErrorContains(t, err, "restarted")
	g.write(0, version(1)) // again, as a client does
	g.sync()
}

func TestFenceRefusesLowerEpochsForGood(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1))
	g.fence(5, 11)
	check := func() {
		require.ErrorIs(t, g.tryWrite(0, version(2)), vocab.Fenced)
		require.ErrorIs(t, g.trySync(g.srv.Boot(), testFID), vocab.Fenced)
		_, _, err := g.tryRead(g.run(0, 1))
		require.ErrorIs(t, err, vocab.Fenced)
		err = g.send(wire.OpDiscard, &wire.DiscardRequest{Target: g.to, Run: g.run(0, 0), Version: version(2)}, nil, nil)
		require.ErrorIs(t, err, vocab.Fenced)
	}
	check()
	g.fence(5, 3) // lower: nothing changes
	check()
	g.restart()
	check()
	g.to.Epoch = 11
	g.write(0, vocab.Version{Epoch: 11, Counter: 1})
	g.to.Session, g.to.Epoch = 6, 10
	g.write(1, version(1)) // another session
}

func TestFenceWaitsForChangesUnderWay(t *testing.T) {
	g, d := newFaultRig(t)
	g.write(0, version(1))
	inside, goOn := make(chan struct{}), make(chan struct{})
	d.set(func(call, name string) error {
		if call == "write" && strings.HasPrefix(name, journalDir) {
			close(inside)
			<-goOn
		}
		return nil
	})
	wrote, fenced := make(chan error, 1), make(chan error, 1)
	go func() { wrote <- g.tryWrite(1, version(2)) }()
	<-inside
	to := g.to
	to.Epoch = 11
	go func() { fenced <- g.send(wire.OpFence, &wire.FenceRequest{Target: to}, nil, nil) }()
	fences := g.srv.order[0].fences
	require.Eventually(t, func() bool { return fences.epoch(5) == 11 }, 10*time.Second, time.Millisecond)
	select {
	case <-fenced:
		t.Fatal("the fence was acknowledged with a write under way")
	default:
	}
	close(goOn)
	require.NoError(t, <-wrote)
	require.NoError(t, <-fenced)
}

func TestWriteOfWrongSlotsIsRefused(t *testing.T) {
	g := newRig(t)
	const stride = wire.SlotHeaderBytes + testPayload
	good := slots(testFID, 0, version(1), version(1))
	flip := func(at int) []byte {
		b := append([]byte(nil), good...)
		b[at] ^= 1
		return b
	}
	for _, tc := range []struct {
		name    string
		bulk    []byte
		payload uint32
		kind    vocab.Kind
	}{
		{"header", flip(9), testPayload, vocab.Corrupt},
		{"payload", flip(stride + 70), testPayload, vocab.Corrupt},
		{"no bulk", nil, testPayload, vocab.Invalid},
		{"too short", good[:stride], testPayload, vocab.Invalid},
		{"cut within the payload", good[:2*stride-1], testPayload, vocab.Invalid},
		{"too long", append(append([]byte(nil), good...), 0), testPayload, vocab.Invalid},
		{"another stride", good, testPayload - 1, vocab.Invalid},
		{"payload size 0", good, 0, vocab.Invalid},
		{"payload size huge", good, 1<<32 - 1, vocab.Invalid},
		{"another file", slots(vocab.FID{1}, 0, version(1), version(1)), testPayload, vocab.Invalid},
		{"another block", slots(testFID, 1, version(1), version(1)), testPayload, vocab.Invalid},
		{"no version", slots(testFID, 0, version(1), vocab.Version{}), testPayload, vocab.Invalid},
		{"a version of the future", slots(testFID, 0, version(1), vocab.Version{Epoch: 11}), testPayload, vocab.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := &wire.WriteRequest{Target: g.to, Run: g.run(0, 2), PayloadBytes: tc.payload}
			require.ErrorIs(t, g.send(wire.OpWrite, req, tc.bulk, nil), tc.kind)
			require.Equal(t, []found{absent, absent}, g.read(0, 2))
		})
	}
	req := &wire.WriteRequest{Target: g.to, Run: g.run(0, 0), PayloadBytes: testPayload}
	require.ErrorIs(t, g.send(wire.OpWrite, req, good, nil), vocab.Invalid)
	req = &wire.WriteRequest{Target: g.to, Run: g.run(0, 2), PayloadBytes: testPayload, Final: version(1)}
	require.ErrorIs(t, g.send(wire.OpWrite, req, good, nil), vocab.Invalid, "it cannot be final yet")
}
