package mojette

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVerifyAcceptsConsistentProjections(t *testing.T) {
	for _, s := range shapes {
		eachForm(t, s, func(t *testing.T, c *Code) {
			blockBytes := c.PaddedBytes(600)
			projections := encode(t, c, randomBytes(1, blockBytes))
			for k := s.k; k <= s.n; k++ {
				for set := range subsets(s.n, k) {
					require.NoError(t, c.VerifyBlock(blockBytes, only(projections, set), nil), "%b", set)
				}
			}
		})
	}
}

func TestVerifyLocatesOneBadProjection(t *testing.T) {
	for _, s := range []shape{{1, 3}, {2, 4}, {3, 5}, {4, 6}} {
		eachForm(t, s, func(t *testing.T, c *Code) {
			blockBytes := c.PaddedBytes(600)
			for bad := range s.n {
				projections := encode(t, c, randomBytes(1, blockBytes))
				projections[bad][len(projections[bad])/2] ^= 4
				err := c.VerifyBlock(blockBytes, projections, make([]byte, c.ScratchBytes(blockBytes)))
				require.ErrorIs(t, err, ErrInconsistent)
				var inconsistent *InconsistentError
				require.ErrorAs(t, err, &inconsistent)
				require.Equal(t, &InconsistentError{Projections: []int{bad}, Located: true}, inconsistent)
				require.ErrorContains(t, err, "at fault")
			}
		})
	}
}

func TestVerifyDetectsWithoutLocating(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 2, Forward: 3})
	projections := encode(t, c, randomBytes(1, 160))
	projections[0][0] ^= 1
	err := c.VerifyBlock(160, projections, nil)
	require.ErrorIs(t, err, ErrInconsistent)
	var inconsistent *InconsistentError
	require.ErrorAs(t, err, &inconsistent)
	require.False(t, inconsistent.Located)
	require.NotEmpty(t, inconsistent.Projections)
	require.ErrorContains(t, err, "differ from")
}

func TestVerifyErrors(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 2, Forward: 3})
	projections := encode(t, c, randomBytes(1, 160))
	require.ErrorIs(t, c.VerifyBlock(160, only(projections, 0b100), nil), ErrInsufficient)
	requireSize(t, c.VerifyBlock(161, projections, nil), 161, 176)
	requireSize(t, c.VerifyBlock(160, projections[:2], nil), 2, 3)
}

func TestBlockErrors(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 2, Forward: 3})
	block := randomBytes(1, 160)
	projections := encode(t, c, block)

	requireSize(t, c.EncodeBlock(projections, block[:159]), 159, 160)
	requireSize(t, c.EncodeBlock(projections[:1], block), 1, 3)
	requireSize(t, c.EncodeBlock([][]byte{nil, make([]byte, 81), nil}, block), 81, 80)
	requireSize(t, c.EncodeProjection(projections[0], 0, block[:1]), 1, 16)
	requireSize(t, c.EncodeProjection(projections[0], 1, block), 88, 80)
	requireSize(t, c.EncodeProjection(projections[0], 3, block), 3, 3)
	requireSize(t, c.EncodeProjection(projections[0], -1, block), -1, 3)

	got := make([]byte, 160)
	requireSize(t, c.DecodeBlock(got[:100], projections, nil), 100, 112)
	requireSize(t, c.DecodeBlock(got, projections[1:], nil), 2, 3)
	requireSize(t, c.DecodeBlock(got, [][]byte{projections[0], {}, projections[2]}, nil), 0, 80)
	err := c.DecodeBlock(got, only(projections, 0b010), nil)
	require.ErrorIs(t, err, ErrInsufficient)
	var insufficient *InsufficientError
	require.ErrorAs(t, err, &insufficient)
	require.Equal(t, &InsufficientError{Found: 1, Needed: 2}, insufficient)
	require.ErrorContains(t, err, "found 1, need 2")
	require.Equal(t, make([]byte, 160), got, "the destination is untouched")
}

func requireSize(t *testing.T, err error, got, want int) {
	t.Helper()
	var size *SizeError
	require.True(t, errors.As(err, &size), "%v", err)
	require.Equal(t, []int{got, want}, []int{size.Got, size.Want}, "%v", err)
	require.NotEmpty(t, size.Error())
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	for _, systematic := range []bool{false, true} {
		for _, s := range []shape{{1, 2}, {2, 3}, {4, 6}, {8, 12}} {
			c := newTestCode(t, Config{Inverse: s.k, Forward: s.n, Systematic: systematic})
			block := randomBytes(1, c.PaddedBytes(4096))
			all := encode(t, c, block)
			scratch := make([]byte, c.ScratchBytes(len(block)))
			got := make([]byte, len(block))
			last := only(all, ^uint64(0)<<(s.n-s.k))
			scattered := only(all, ^uint64(0b1011))
			require.Zero(t, testing.AllocsPerRun(20, func() {
				must(c.EncodeBlock(all, block))
				must(c.EncodeProjection(all[s.n-1], s.n-1, block))
				must(c.DecodeBlock(got, all, scratch))
				must(c.DecodeBlock(got, last, scratch))
				if s.n-s.k > 2 {
					must(c.DecodeBlock(got, scattered, scratch))
				}
				must(c.VerifyBlock(len(block), all, scratch))
			}), "(%d, %d) systematic=%t", s.k, s.n, systematic)
			require.Equal(t, block, got)
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
