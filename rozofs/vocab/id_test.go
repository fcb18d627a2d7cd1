package vocab

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAFIDHoldsItsParts(t *testing.T) {
	f := MakeFID(0x0102, 0x03040506, 0x0708, 0x090a0b0c0d0e0f10)
	require.Equal(t, "0102030405060708090a0b0c0d0e0f10", f.String())
	for range 1000 {
		group, incarnation := uint16(rand.Uint32()), rand.Uint32()
		export, ino := EID(rand.Uint32()), Ino(rand.Uint64())
		f := MakeFID(group, incarnation, export, ino)
		require.Equal(t, group, f.Group())
		require.Equal(t, incarnation, f.Incarnation())
		require.Equal(t, export, f.Export())
		require.Equal(t, ino, f.Ino())
	}
}

func TestEpochsGrowWithTheIncarnationFirst(t *testing.T) {
	const top = 1<<EpochCounterBits - 1
	ascending := []Epoch{
		MakeEpoch(0, 0), MakeEpoch(0, 1), MakeEpoch(0, top), MakeEpoch(1, 0), MakeEpoch(1, top), MakeEpoch(2, 0),
		MakeEpoch(1<<24-1, 0), MakeEpoch(1<<24-1, top),
	}
	require.True(t, slices.IsSorted(ascending))
	require.Len(t, slices.Compact(slices.Clone(ascending)), len(ascending))
	require.EqualValues(t, uint64(math.MaxUint64), ascending[len(ascending)-1], "all 64 bits are used")
	require.Equal(t, MakeEpoch(7, 1), MakeEpoch(7, 1<<EpochCounterBits|1), "a counter never reaches the incarnation")
}

func TestVersionsAreTotallyOrdered(t *testing.T) {
	ascending := []Version{
		{}, {0, 1}, {0, math.MaxUint64}, {1, 0}, {1, 5}, {2, 0}, {math.MaxUint64, math.MaxUint64},
	}
	for i, v := range ascending {
		for j, w := range ascending {
			want := 0
			switch {
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			require.Equal(t, want, v.Compare(w), "%v, %v", v, w)
		}
		require.Equal(t, i == 0, v.Absent())
	}
	require.Equal(t, "3.14", Version{3, 14}.String())
}

func TestAClusterIdentityComesBackFromItsText(t *testing.T) {
	for range 100 {
		var c ClusterID
		for i := range c {
			c[i] = byte(rand.Uint32())
		}
		got, err := ParseClusterID(c.String())
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
	for _, s := range []string{"", "00", "zz000000000000000000000000000000", "000000000000000000000000000000000", "0000000000000000000000000000000000"} {
		_, err := ParseClusterID(s)
		require.ErrorContains(t, err, "want 32 hexadecimal digits", s)
	}
}

func TestAStorageIsNamedByClusterAndSID(t *testing.T) {
	require.Equal(t, "7/255", StorageID{CID: 7, SID: 255}.String())
}

func TestTheTypeOfAFileIsReadOffItsMode(t *testing.T) {
	for mode, want := range map[uint32][2]bool{
		ModeRegular | 0o644: {false, true}, ModeDir | 0o755: {true, false},
		ModeSymlink | 0o777: {}, ModeFIFO: {}, ModeSocket: {}, ModeChar: {}, ModeBlock: {}, 0o644: {},
	} {
		a := Attr{Mode: mode}
		require.Equal(t, want, [2]bool{a.IsDir(), a.IsRegular()}, "%#o", mode)
	}
}

func TestOnlyWhatStringWritesIsAFID(t *testing.T) {
	f := MakeFID(1, 2, 3, 0xabc)
	got, err := ParseFID(f.String())
	require.NoError(t, err)
	require.Equal(t, f, got)
	for _, s := range []string{"", "0", f.String()[:30], f.String() + "00", f.String() + "x", strings.ToUpper(f.String()), strings.Repeat("g", 32)} {
		_, err := ParseFID(s)
		require.ErrorIs(t, err, Invalid, s)
	}
}
