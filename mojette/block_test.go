package mojette

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEncodeMatchesDefinition(t *testing.T) {
	for _, s := range append(shapes, shape{8, 12}) {
		eachForm(t, s, func(t *testing.T, c *Code) {
			unit := c.Inverse() * c.ElementBytes()
			for _, cols := range []int{0, 1, 2, 3, 5, 17, 40} {
				block := randomBytes(1, cols*unit)
				want := naiveProjections(c, block)
				got := encode(t, c, block)
				for i := range want {
					require.Equal(t, want[i], got[i], "projection %d, %d columns", i, cols)
					one := randomBytes(5, len(want[i]))
					require.NoError(t, c.EncodeProjection(one, i, block))
					require.Equal(t, want[i], one)
				}
			}
		})
	}
}

func TestLayoutsOfRozoFS(t *testing.T) {
	for layout, want := range []struct {
		k, n, cols, firstP int
		bins               []int
	}{
		{2, 3, 512, -1, []int{513, 512, 513}},
		{4, 6, 256, -3, []int{265, 262, 259, 256, 259, 262}},
		{8, 12, 128, -6, []int{170, 163, 156, 149, 142, 135, 128, 135, 142, 149, 156, 163}},
	} {
		c := newTestCode(t, Config{Inverse: want.k, Forward: want.n})
		block := randomBytes(uint64(layout), 8192)
		projections := encode(t, c, block)
		stored := 0
		for i, projection := range projections {
			require.Equal(t, Direction{P: want.firstP + i, Q: 1}, c.Direction(i))
			require.Equal(t, want.bins[i]*8, c.ProjectionBytes(i, 8192), "layout %d, projection %d", layout, i)
			stored += want.bins[i] * 8
			for bin := range want.bins[i] {
				sum := make([]byte, 8)
				for l := range want.k {
					col := bin - l*(want.firstP+i)
					if want.firstP+i < 0 {
						col += (want.k - 1) * (want.firstP + i)
					}
					if col >= 0 && col < want.cols {
						at := (l*want.cols + col) * 8
						for b := range sum {
							sum[b] ^= block[at+b]
						}
					}
				}
				require.Equal(t, sum, projection[bin*8:bin*8+8], "layout %d, projection %d, bin %d", layout, i, bin)
			}
		}
		require.Equal(t, float64(stored)/8192, c.Overhead(8192))
	}
}

func TestAnySufficientSubsetDecodes(t *testing.T) {
	for _, s := range shapes {
		eachForm(t, s, func(t *testing.T, c *Code) {
			unit := c.Inverse() * c.ElementBytes()
			for _, cols := range []int{0, 1, 2, 3, 7, 20, 8192 / unit} {
				checkSubsets(t, c, cols*unit)
			}
		})
	}
}

func TestAnySufficientSubsetDecodesLayout2(t *testing.T) {
	eachForm(t, shape{8, 12}, func(t *testing.T, c *Code) {
		unit := c.Inverse() * c.ElementBytes()
		for _, cols := range []int{1, 5} {
			checkSubsets(t, c, cols*unit)
		}
		if c.ElementBytes() == 8 {
			checkSubsets(t, c, 8192)
		}
	})
}

func TestOtherDirectionsDecode(t *testing.T) {
	steep := []Direction{{7, 1}, {-30, 1}, {0, 1}, {2, 1}, {31, 1}}
	c := newTestCode(t, Config{Inverse: 3, Forward: 5, Directions: steep})
	checkSubsets(t, c, 3*8*13)
	c = newTestCode(t, Config{Inverse: 7, Forward: 12, Systematic: true, Directions: steep})
	checkSubsets(t, c, 7*8*13)
}

// checkSubsets decodes from every set of k projections, and from every set of k+1.
func checkSubsets(t *testing.T, c *Code, blockBytes int) {
	t.Helper()
	block := randomBytes(uint64(blockBytes), blockBytes)
	projections := encode(t, c, block)
	backup := make([][]byte, len(projections))
	for i := range projections {
		backup[i] = bytes.Clone(projections[i])
	}
	scratch := randomBytes(7, c.ScratchBytes(blockBytes))
	got := make([]byte, blockBytes)
	for _, k := range []int{c.Inverse(), c.Inverse() + 1} {
		for set := range subsets(c.Forward(), k) {
			copy(got, scratch) // rubbish
			require.NoError(t, c.DecodeBlock(got, only(projections, set), scratch))
			if !bytes.Equal(block, got) {
				require.Equal(t, block, got, "projections %b, %d bytes", set, blockBytes)
			}
		}
	}
	require.Equal(t, backup, projections, "inputs are not modified")
}

func TestDecodeWithoutScratch(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 4, Forward: 6})
	block := randomBytes(3, 1024)
	projections := only(encode(t, c, block), 0b110110)
	for _, scratch := range [][]byte{nil, make([]byte, 3)} {
		got := make([]byte, len(block))
		require.NoError(t, c.DecodeBlock(got, projections, scratch))
		require.Equal(t, block, got)
	}
}
