package storaged

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged/disk"
)

// countedDisk tells what the test says of its space.
type countedDisk struct {
	disk.Disk
	total, free uint64
	asked       int
}

func (d *countedDisk) Space() (total, free uint64, err error) {
	d.asked++
	return d.total, d.free, nil
}

func TestClientsAndStoragedsLeaveRoom(t *testing.T) {
	const mib, journal = 1 << 20, 32 << 20
	d := &countedDisk{total: 1 << 40, free: 1 << 39}
	r, limit, err := roomOf(d, journal)
	require.NoError(t, err)
	require.EqualValues(t, journal, limit)
	for range 1000 {
		require.NoError(t, r.take(mib/8, true))
	}
	require.Less(t, d.asked, 100, "not for each write")

	write := func(client bool) (written int) {
		for r.take(mib, client) == nil {
			d.free -= mib
			written++
		}
		require.ErrorIs(t, r.take(mib, client), vocab.NoSpace)
		return written
	}
	d.free = 80 * mib // others have used the disk, all but this
	require.InDelta(t, 80-64, write(true), 32/roomLooks, "of clients")
	left := int(d.free / mib)
	require.InDelta(t, left-32, write(false), 32/roomLooks, "of storageds")
	require.Zero(t, write(true))
	d.free = 90 * mib
	require.NoError(t, r.take(mib, true), "there is room again")
	require.EqualValues(t, 26*mib, r.usable(90*mib))
	require.Zero(t, r.usable(mib))

	d.total = 320 * mib
	_, limit, err = roomOf(d, journal)
	require.NoError(t, err)
	require.EqualValues(t, 10*mib, limit)
	d.total = mib
	_, limit, err = roomOf(d, journal)
	require.NoError(t, err)
	require.EqualValues(t, MinJournalBytes, limit)
}

// Writes that wait for room in the journal leave places for what makes it.
func TestWaitingWritesLeavePlacesForSyncs(t *testing.T) {
	g := newRig(t, func(g *rig) { g.cfg.JournalBytes = MinJournalBytes })
	const count = 300 // too few to go in place
	versions := func(v uint64) (all []vocab.Version) {
		for range count {
			all = append(all, version(v))
		}
		return all
	}
	journal := g.srv.roots[testID].journal
	v := uint64(1)
	for ; !journal.full(); v++ {
		g.write(0, versions(v)...)
	}
	var refused atomic.Int32
	var writing sync.WaitGroup
	for i := range uint64(2 * wire.MaxServing) {
		writing.Go(func() {
			if err := g.tryWrite(0, versions(v+i)...); err != nil {
				assert.ErrorIs(t, err, vocab.Overloaded)
				refused.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return refused.Load() > 0 }, time.Minute, time.Millisecond)
	g.sync()
	g.final(version(v + 2*wire.MaxServing)) // also of what waits
	writing.Wait()
}

// A journal that is full of what is not final takes writes still: they may be what is lacking.
func TestAJournalWithNothingToFoldGrows(t *testing.T) {
	g := newRig(t, func(g *rig) { g.cfg.JournalBytes = MinJournalBytes })
	journal := g.srv.roots[testID].journal
	v := uint64(1)
	for ; journal.length() < 2*MinJournalBytes; v++ {
		g.write(0, slices.Repeat([]vocab.Version{version(v)}, 300)...)
	}
	g.sync()
	g.final(version(v - 1))
	require.Eventually(t, func() bool { return !journal.full() }, time.Minute, time.Millisecond)
	require.Equal(t, present(version(v-1)), g.read(0, 1)[0])
}
