package mojette

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// naiveProject is the definition, pixel by pixel and byte by byte: the oracle.
func naiveProject(block []byte, rows, elem int, d Direction) []byte {
	cols := len(block) / elem / rows
	if cols == 0 {
		return []byte{}
	}
	off := 0
	if d.P < 0 {
		off = (rows - 1) * d.P
	}
	p := d.P
	if p < 0 {
		p = -p
	}
	dst := make([]byte, ((cols-1)*d.Q+(rows-1)*p+1)*elem)
	for l := range rows {
		for c := range cols {
			bin := c*d.Q + l*d.P - off
			for b := range elem {
				dst[bin*elem+b] ^= block[(l*cols+c)*elem+b]
			}
		}
	}
	return dst
}

// naiveProjections are all projections of a code.
func naiveProjections(c *Code, block []byte) [][]byte {
	projections := make([][]byte, c.Forward())
	rowBytes := len(block) / c.Inverse()
	for i := range projections {
		if c.Systematic() && i < c.Inverse() {
			projections[i] = block[i*rowBytes : (i+1)*rowBytes]
			continue
		}
		projections[i] = naiveProject(block, c.Inverse(), c.ElementBytes(), c.Direction(i))
	}
	return projections
}

func randomBytes(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func newTestCode(t testing.TB, config Config) *Code {
	t.Helper()
	c, err := New(config)
	require.NoError(t, err)
	return c
}

// encode makes all projections of a block.
func encode(t testing.TB, c *Code, block []byte) [][]byte {
	t.Helper()
	projections := buffers(c, len(block))
	require.NoError(t, c.EncodeBlock(projections, block))
	return projections
}

// buffers are projections full of rubbish.
func buffers(c *Code, blockBytes int) [][]byte {
	projections := make([][]byte, c.Forward())
	for i := range projections {
		projections[i] = randomBytes(99, c.ProjectionBytes(i, blockBytes))
	}
	return projections
}

// subsets yields every set of k among n, as a mask.
func subsets(n, k int) func(yield func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for set := uint64(0); set < 1<<n; set++ {
			if popcount(set) == k && !yield(set) {
				return
			}
		}
	}
}

func popcount(set uint64) (n int) {
	for ; set != 0; set &= set - 1 {
		n++
	}
	return n
}

// only keeps the projections of the set.
func only(projections [][]byte, set uint64) [][]byte {
	kept := make([][]byte, len(projections))
	for i := range projections {
		if set&(1<<i) != 0 {
			kept[i] = projections[i]
		}
	}
	return kept
}

type shape struct{ k, n int }

var shapes = []shape{{1, 2}, {2, 3}, {2, 4}, {3, 5}, {4, 6}}

// eachForm runs a test for both forms of the code and all element widths.
func eachForm(t *testing.T, s shape, run func(t *testing.T, c *Code)) {
	t.Helper()
	for _, systematic := range []bool{false, true} {
		for _, elem := range []int{8, 16, 32, 64} {
			t.Run(fmt.Sprintf("%d_%d/systematic=%t/element=%d", s.k, s.n, systematic, elem), func(t *testing.T) {
				run(t, newTestCode(t, Config{Inverse: s.k, Forward: s.n, Systematic: systematic, ElementBytes: elem}))
			})
		}
	}
}
