package memdisk

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/storaged/disk"
)

func write(t *testing.T, d *Disk, name string, b []byte) disk.File {
	t.Helper()
	f, err := d.Open(name, os.O_RDWR|os.O_CREATE)
	require.NoError(t, err)
	_, err = f.WriteAt(b, 0)
	require.NoError(t, err)
	return f
}

func TestPowerTakesOnlyWhatWasNotSynced(t *testing.T) {
	lost, torn := 0, 0
	for seed := range uint64(50) {
		d := New()
		old, fresh := make([]byte, 4*sector), make([]byte, 4*sector)
		for i := range fresh {
			old[i], fresh[i] = 1, 2
		}
		f := write(t, d, "a", old)
		require.NoError(t, f.Datasync())
		require.NoError(t, d.SyncDir("."))
		_, err := f.WriteAt(fresh, 0)
		require.NoError(t, err)
		write(t, d, "b", fresh)
		after := d.LosePower(rand.New(rand.NewPCG(seed, 1)))
		_, err = d.Open("a", os.O_RDWR)
		require.Error(t, err, "the old disk is dead")

		g, err := after.Open("a", os.O_RDWR)
		require.NoError(t, err)
		got := make([]byte, 4*sector)
		_, err = g.ReadAt(got, 0)
		require.NoError(t, err)
		seen := map[byte]bool{}
		for i := 0; i < len(got); i += sector {
			seen[got[i]] = true
			for _, x := range got[i : i+sector] {
				require.Equal(t, got[i], x, "a sector is old or new")
			}
		}
		require.NotContains(t, seen, byte(0))
		if len(seen) == 2 {
			torn++
		}
		if _, err := after.Open("b", os.O_RDWR); err != nil {
			require.ErrorIs(t, err, fs.ErrNotExist)
			lost++
		}
	}
	require.NotZero(t, torn)
	require.NotZero(t, lost)
	require.Less(t, lost, 50)
}

func TestFaultsAndRot(t *testing.T) {
	d := New()
	f := write(t, d, "a", make([]byte, 100))
	_, ok := d.Flip("a", rand.New(rand.NewPCG(1, 1)))
	require.False(t, ok, "nothing lies there durably")
	require.NoError(t, f.Datasync())
	require.NoError(t, d.SyncDir("."))
	require.Equal(t, []string{"a"}, d.Files("."))
	off, ok := d.Flip("a", rand.New(rand.NewPCG(1, 1)))
	require.True(t, ok)
	b := make([]byte, 100)
	_, err := f.ReadAt(b, 0)
	require.NoError(t, err)
	require.NotZero(t, b[off])

	d.SetFault(func(c Call) error {
		if c.Op == "write" {
			return syscall.ENOSPC
		}
		return nil
	})
	_, err = f.WriteAt([]byte{7, 7}, 0)
	require.ErrorIs(t, err, syscall.ENOSPC)
	d.SetFault(nil)
	_, err = f.ReadAt(b[:2], 0)
	require.NoError(t, err)
	require.EqualValues(t, 7, b[0], "half is written")
	require.NotEqualValues(t, 7, b[1])
}
