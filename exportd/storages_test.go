package exportd

import (
	"testing"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

func TestReplacedRootIsOutOfUse(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	f := w.fakes[0]
	f.mu.Lock()
	f.roots[0].Incarnation = 5
	f.mu.Unlock()
	eventually(t, func() bool { return w.health(f) == wire.HealthReplaced }, "noticed")
	w.restart()
	require.NoError(t, c.resume())
	eventually(t, func() bool { return w.health(f) == wire.HealthReplaced }, "known across restarts")
	var r wire.StoragesReply
	h := c.head()
	require.NoError(t, c.raw(wire.OpStorages, &h, &r))
	require.Equal(t, wire.HealthReplaced, r.Storages[0].Health)
	require.EqualValues(t, 1001, r.Storages[0].Incarnation, "clients are told the one that is right")
	o, err := c.create(c.root(), "f", wire.LeaseNone)
	require.NoError(t, err)
	require.EqualValues(t, 1, o.Placement.Distribution.SIDs[3], "a spare, for want of another")
	f.mu.Lock()
	f.roots[0].Incarnation = 1001
	f.mu.Unlock()
	eventually(t, func() bool { return w.health(f) == wire.HealthUp }, "the right disk is mounted")
}

func TestDeletionWaitsForStorageThatIsDown(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	var fids []vocab.FID
	for _, name := range []string{"a", "b", "c"} {
		o, err := c.create(c.root(), name, wire.LeaseNone)
		require.NoError(t, err)
		require.NoError(t, c.closeAll(o.Attr.Ino, o.Lease))
		fids = append(fids, o.Placement.FID)
	}
	f := w.fakes[3]
	f.stop()
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, c.unlink(c.root(), name))
	}
	has := func(f *fakeStoraged) func() bool {
		return func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, fid := range fids {
				if !f.deleted[f.roots[0].ID][fid] {
					return false
				}
			}
			return true
		}
	}
	eventually(t, has(w.fakes[0]), "storages that are up are told at once")
	w.crash()
	require.False(t, has(f)())
	f.restart()
	eventually(t, has(f), "the other when it is back")
	eventually(t, func() bool {
		n := 0
		require.NoError(t, scan(w.srv.db, []byte{prefixDeletion}, []byte{prefixDeletion}, func(_, _ []byte) (bool, error) { n++; return true, nil }))
		return n == 0
	}, "the queue is empty")
}

func TestCreationNeedsForwardStorages(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	for _, f := range w.fakes[:2] {
		f.stop()
		eventually(t, func() bool { return w.health(f) == wire.HealthDown }, "down")
	}
	_, err := c.create(c.root(), "f", wire.LeaseWrite)
	require.ErrorIs(t, err, vocab.Unavailable)
	_, err = c.mkdir(c.root(), "d")
	require.NoError(t, err)
	w.check()
}

func TestExportStatusNeedsNoSession(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	_, err := c.mkdir(c.root(), "d")
	require.NoError(t, err)
	var r wire.ExportStatusReply
	require.NoError(t, c.raw(wire.OpExportStatus, &wire.Empty{}, &r))
	require.EqualValues(t, 1, r.Sessions)
	require.Len(t, r.Exports, 2)
	require.EqualValues(t, 1, r.Exports[0].Files)
	require.Len(t, r.Storages, 4)
	require.Equal(t, w.srv.Cluster(), r.Cluster)
}
