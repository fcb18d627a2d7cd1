package rozofs

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// A restarted exportd grants a read lease anew; when it recalls that one before the client
// has read the grant, the lease is gone, and so is what the kernel has cached under it.
func TestARecallThatOvertakesAReclaimCounts(t *testing.T) {
	var invalidated []vocab.Ino
	c := &Client{files: map[vocab.Ino]*file{}, recalled: map[vocab.Ino]vocab.Epoch{}}
	c.cfg.Invalidate = func(ino vocab.Ino) { invalidated = append(invalidated, ino) }
	f := newFile(c, 5)
	c.files[5] = f
	f.lease = wire.Lease{Kind: wire.LeaseRead, Epoch: 3}
	held := f.heldNow()
	found, again := c.tryRecall(5, 9)
	require.Same(t, f, found)
	require.Nil(t, again)
	f.reclaimed(held, wire.Lease{Kind: wire.LeaseRead, Epoch: 9})
	require.Equal(t, wire.LeaseNone, f.lease.Kind)
	require.Equal(t, []vocab.Ino{5}, invalidated)

	f.reclaimed(held, wire.Lease{Kind: wire.LeaseRead, Epoch: 10})
	require.Equal(t, wire.Lease{Kind: wire.LeaseRead, Epoch: 10}, f.lease, "a later grant stands")
	require.Len(t, invalidated, 1)
}

// A write lease was granted and the answer lost with exportd. When the lease is claimed, the
// next run names it; the size that this client knows is from before another mount wrote.
func TestAReclaimBringsNoLeaseThatWasNotHeld(t *testing.T) {
	for _, had := range []wire.LeaseKind{wire.LeaseNone, wire.LeaseRead} {
		c := &Client{files: map[vocab.Ino]*file{}, recalled: map[vocab.Ino]vocab.Epoch{}}
		f := newFile(c, 5)
		c.files[5] = f
		f.known, f.lease, f.attr = true, wire.Lease{Kind: had, Epoch: 3}, vocab.Attr{Ino: 5, Size: 10}
		f.reclaimed(f.heldNow(), wire.Lease{Kind: wire.LeaseWrite, Epoch: 9})
		require.Equal(t, wire.Lease{Kind: had, Epoch: 3}, f.lease)
		a, ok := c.overlay(vocab.Attr{Ino: 5, Size: 23, Ctime: 1}, 0, c.given.now())
		require.True(t, ok)
		require.EqualValues(t, 23, a.Size)
	}
}

// While a mount that has a read lease asks for more, exportd may grant that and recall it,
// all before the answer is read: then the read lease is gone too.
func TestARecallOfANewerLeaseIsThatOfTheOneHeld(t *testing.T) {
	c := &Client{files: map[vocab.Ino]*file{}, recalled: map[vocab.Ino]vocab.Epoch{}}
	f := newFile(c, 5)
	c.files[5] = f
	f.lease = wire.Lease{Kind: wire.LeaseRead, Epoch: 3}
	found, again := c.tryRecall(5, 9)
	require.Nil(t, again)
	require.Same(t, f, found)
	require.True(t, f.recalling)
	grant(t, f, wire.Lease{Kind: wire.LeaseWrite, Epoch: 9}, 0)
	require.Equal(t, wire.LeaseNone, f.lease.Kind, "the grant is void")
}

func grant(t *testing.T, f *file, l wire.Lease, conn uint64) (counts bool) {
	t.Helper()
	counts, err := f.granted(opened(l), 0, conn)
	require.NoError(t, err)
	return counts
}

// What was answered on an earlier connection, and is read after the leases were claimed on
// the next one, grants nothing.
func TestAGrantOfAnEarlierConnectionIsVoid(t *testing.T) {
	c := &Client{files: map[vocab.Ino]*file{}, recalled: map[vocab.Ino]vocab.Epoch{}}
	f := newFile(c, 5)
	conn := c.connections.now()
	c.connections.add()
	require.False(t, grant(t, f, wire.Lease{Kind: wire.LeaseRead, Epoch: 9}, conn), "it is asked for again")
	require.Equal(t, wire.LeaseNone, f.lease.Kind)
	require.False(t, f.isHeld())
}

// The answer to a request may be read after another has brought the same lease, and that was
// used and given up: then it grants nothing.
func TestAGrantOfALeaseThatWasGivenUpIsVoid(t *testing.T) {
	c := &Client{files: map[vocab.Ino]*file{}, recalled: map[vocab.Ino]vocab.Epoch{}}
	f := newFile(c, 5)
	f.setLease(wire.Lease{Kind: wire.LeaseWrite, Epoch: 9})
	f.setLease(wire.Lease{})
	grant(t, f, wire.Lease{Kind: wire.LeaseWrite, Epoch: 9}, 0)
	require.Equal(t, wire.LeaseNone, f.lease.Kind)
	grant(t, f, wire.Lease{Kind: wire.LeaseWrite, Epoch: 10}, 0)
	require.Equal(t, wire.LeaseWrite, f.lease.Kind)
}

// Requests that tell exportd a size go out one after the other, so that it has the last one
// at the end.
func TestSizesAreToldInTurn(t *testing.T) {
	f := newFile(&Client{}, 5)
	require.NoError(t, f.beginSizing(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, f.beginSizing(ctx), context.Canceled)
	f.endSizing()
	require.NoError(t, f.beginSizing(ctx))
}

// A lease ends with its session while a call relies on it: what the call writes then is
// dropped, and told, and until it has ended nothing is granted that it might use.
func TestWhatIsWrittenUnderALostLeaseIsDropped(t *testing.T) {
	c := &Client{files: map[vocab.Ino]*file{}, recalled: map[vocab.Ino]vocab.Epoch{}}
	c.buffered.init(1 << 20)
	f := newFile(c, 5)
	require.True(t, grant(t, f, wire.Lease{Kind: wire.LeaseWrite, Epoch: 3}, 0))
	f.holders++
	why := vocab.Errorf(vocab.Stale, "the session has ended")
	f.lose(why)
	require.NoError(t, f.takeFailure(), "there was nothing to lose")
	require.NoError(t, f.modify(t.Context(), 0, 0, vocab.DefaultBlockBytes, func([]byte) {}))
	require.ErrorIs(t, f.drain(t.Context()), why)
	require.ErrorIs(t, f.commit(t.Context()), why)
	require.False(t, grant(t, f, wire.Lease{Kind: wire.LeaseWrite, Epoch: 9}, 0), "the grant is void")
	require.Equal(t, wire.LeaseNone, f.lease.Kind)

	f.letGo()
	require.Empty(t, f.pages)
	require.ErrorIs(t, f.takeFailure(), why)
	require.NoError(t, f.takeFailure(), "it is told once")
	require.True(t, grant(t, f, wire.Lease{Kind: wire.LeaseWrite, Epoch: 9}, 0))
	require.Equal(t, wire.LeaseWrite, f.lease.Kind)
	require.NoError(t, f.drain(t.Context()))
}
