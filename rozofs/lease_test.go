package rozofs

import (
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
