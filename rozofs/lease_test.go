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
	known, again := c.tryRecall(5, 9)
	require.Nil(t, known)
	require.Nil(t, again)
	f.reclaimed(held, wire.Lease{Kind: wire.LeaseRead, Epoch: 9})
	require.Equal(t, wire.LeaseNone, f.lease.Kind)
	require.Equal(t, []vocab.Ino{5}, invalidated)

	f.reclaimed(held, wire.Lease{Kind: wire.LeaseRead, Epoch: 10})
	require.Equal(t, wire.Lease{Kind: wire.LeaseRead, Epoch: 10}, f.lease, "a later grant stands")
	require.Len(t, invalidated, 1)
}

// The answer to an open request may be sent again by the next run of exportd, after the lease
// has been reclaimed, used and given up: then it grants nothing.
func TestAGrantOfALeaseThatWasGivenUpIsVoid(t *testing.T) {
	c := &Client{files: map[vocab.Ino]*file{}, recalled: map[vocab.Ino]vocab.Epoch{}}
	f := newFile(c, 5)
	f.setLease(wire.Lease{Kind: wire.LeaseWrite, Epoch: 9})
	f.setLease(wire.Lease{})
	require.NoError(t, f.granted(&wire.OpenReply{Lease: wire.Lease{Kind: wire.LeaseWrite, Epoch: 9}}, 0))
	require.Equal(t, wire.LeaseNone, f.lease.Kind)
	require.NoError(t, f.granted(&wire.OpenReply{Lease: wire.Lease{Kind: wire.LeaseWrite, Epoch: 10}}, 0))
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
