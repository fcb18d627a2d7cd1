package exportd

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/wire"
)

// A file that is deleted by the same release that calls it degraded leaves nothing to repair:
// a record of it would hold up the repair of all others.
func TestADeletedFileIsNotToBeRepaired(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	f, err := c.create(c.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	require.NoError(t, c.unlink(c.root(), "f"))
	commit := wire.Commit{Ino: f.Attr.Ino, Epoch: f.Lease.Epoch, Degraded: true}
	require.NoError(t, c.release(wire.ReleaseItem{Commit: commit, Close: true}))
	_, err = c.getattr(f.Attr.Ino)
	require.Error(t, err)
	for range 2 {
		recovery, degraded := w.srv.Unfinished()
		require.Zero(t, recovery)
		require.Zero(t, degraded)
		w.restart() // it is not on the disk either
	}
	w.check()
}
