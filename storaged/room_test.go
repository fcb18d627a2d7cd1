package storaged

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
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
