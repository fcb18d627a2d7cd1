package mojette

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzRoundTrip decodes a block from some set of its projections, and takes what it cannot decode for an error.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(2), uint8(1), uint8(0), false, uint64(0b101), []byte("some data"))
	f.Add(uint8(4), uint8(2), uint8(3), true, uint64(0b110101), []byte("some more data, somewhat longer than a pixel"))
	f.Add(uint8(8), uint8(4), uint8(0), true, uint64(0b111101110010), make([]byte, 700))
	f.Fuzz(func(t *testing.T, k, extra, width uint8, systematic bool, present uint64, data []byte) {
		config := Config{
			Inverse:      1 + int(k%12),
			ElementBytes: 8 << (width % 4),
			Systematic:   systematic,
		}
		config.Forward = config.Inverse + 1 + int(extra%8)
		c := newTestCode(t, config)
		data = data[:min(len(data), 2048)] // the oracle is slow
		block := make([]byte, c.PaddedBytes(len(data)))
		copy(block, data)
		all := encode(t, c, block)
		require.Equal(t, naiveProjections(c, block), all)

		present &= 1<<c.Forward() - 1
		given := only(all, present)
		got := make([]byte, len(block))
		err := c.DecodeBlock(got, given, nil)
		if found := popcount(present); found < c.Inverse() {
			require.Equal(t, &InsufficientError{Found: found, Needed: c.Inverse()}, err)
			return
		}
		require.NoError(t, err)
		require.Equal(t, block, got)
		require.NoError(t, c.VerifyBlock(len(block), given, nil))
		if len(block) > 0 {
			require.NoError(t, c.Reconstruct(given))
			require.Equal(t, all, given)
		}
	})
}

// FuzzDecodeHostile decodes projections that never were one block: a result or an error, but no panic, and no block that
// disagrees with projections which VerifyBlock accepts.
func FuzzDecodeHostile(f *testing.F) {
	f.Add(uint8(3), uint8(2), true, uint8(4), uint64(0b11010), uint64(7))
	f.Add(uint8(8), uint8(4), false, uint8(1), uint64(0b111110111010), uint64(8))
	f.Fuzz(func(t *testing.T, k, extra uint8, systematic bool, cols uint8, present, seed uint64) {
		config := Config{Inverse: 1 + int(k%10), Systematic: systematic}
		config.Forward = config.Inverse + 1 + int(extra%8)
		c := newTestCode(t, config)
		blockBytes := int(cols) * c.Inverse() * c.ElementBytes()
		projections := make([][]byte, c.Forward())
		for i := range projections {
			if present&(1<<i) != 0 {
				projections[i] = randomBytes(seed+uint64(i), c.ProjectionBytes(i, blockBytes))
			}
		}
		block := make([]byte, blockBytes)
		if c.DecodeBlock(block, projections, nil) != nil || c.VerifyBlock(blockBytes, projections, nil) != nil {
			return
		}
		for i, projection := range naiveProjections(c, block) {
			if projections[i] != nil {
				require.Equal(t, projection, projections[i])
			}
		}
	})
}

// FuzzKatz compares Katz's criterion with what peeling by brute force can reach, and with the transform.
func FuzzKatz(f *testing.F) {
	f.Add(uint8(3), uint8(3), []byte{0, 1, 1, 1, 255, 1})
	f.Add(uint8(5), uint8(4), []byte{1, 2, 3, 1})
	f.Add(uint8(2), uint8(9), []byte{2, 3})
	f.Fuzz(func(t *testing.T, r, c uint8, slopes []byte) {
		rows, cols := 1+int(r%9), 1+int(c%9)
		var directions []Direction
		seen := map[Direction]bool{}
		for ; len(slopes) >= 2 && len(directions) < 6; slopes = slopes[2:] {
			d := Direction{P: int(int8(slopes[0])) % 6, Q: 1 + int(slopes[1]%5)}
			if !d.valid() || seen[d] {
				continue
			}
			seen[d] = true
			directions = append(directions, d)
		}
		katz := Katz(rows, cols, directions)
		require.Equal(t, naivePeeling(rows, cols, directions), katz, "%d×%d %v", rows, cols, directions)
		tr, err := NewTransform(rows, cols, 8, directions)
		if !katz {
			require.ErrorIs(t, err, ErrInsufficient)
			return
		}
		require.NoError(t, err)
		pixels := randomBytes(1, tr.GridBytes())
		got := make([]byte, len(pixels))
		require.NoError(t, tr.Inverse(got, projectAll(t, tr, pixels)))
		require.Equal(t, pixels, got)
	})
}

// naivePeeling looks for a bin with one unknown pixel until there is none, and reports whether all pixels are known.
func naivePeeling(rows, cols int, directions []Direction) bool {
	known := make(map[[2]int]bool)
	for {
		before := len(known)
		for _, d := range directions {
			bins := make(map[int][][2]int)
			for l := range rows {
				for c := range cols {
					if !known[[2]int{l, c}] {
						bins[c*d.Q+l*d.P] = append(bins[c*d.Q+l*d.P], [2]int{l, c})
					}
				}
			}
			for _, unknown := range bins {
				if len(unknown) == 1 {
					known[unknown[0]] = true
				}
			}
		}
		if len(known) == before {
			return len(known) == rows*cols
		}
	}
}
