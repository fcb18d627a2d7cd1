package exportd

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What does not fit on n storages at once cannot be used, however much room one of them has.
func TestUsableRoom(t *testing.T) {
	for _, x := range []struct {
		rooms []uint64
		n     int
		want  uint64
	}{
		{[]uint64{100, 100, 100, 100}, 3, 133},
		{[]uint64{100, 100, 100}, 3, 100},
		{[]uint64{1000, 100, 100}, 3, 100},
		{[]uint64{1000, 1000, 100, 100}, 3, 200},
		{[]uint64{1000, 1000, 1000, 1}, 3, 1000},
		{[]uint64{50, 0, 50, 0}, 3, 0},
		{[]uint64{50, 50}, 3, 0},
		{nil, 1, 0},
		{[]uint64{5, 7}, 1, 12},
	} {
		require.Equal(t, x.want, usable(x.rooms, x.n), "%v", x.rooms)
	}
}
