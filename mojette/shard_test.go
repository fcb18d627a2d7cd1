package mojette

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReconstructEveryLoss(t *testing.T) {
	for _, s := range shapes {
		eachForm(t, s, func(t *testing.T, c *Code) {
			block := randomBytes(1, c.PaddedBytes(500))
			want := encode(t, c, block)
			for k := s.k; k <= s.n; k++ {
				for set := range subsets(s.n, k) {
					got := only(want, set)
					require.NoError(t, c.Reconstruct(got))
					require.Equal(t, want, got, "%b", set)
				}
			}
		})
	}
}

func TestReconstructData(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 4, Forward: 7, Systematic: true})
	want := encode(t, c, randomBytes(1, 320))
	got := only(want, 0b1011010)
	require.NoError(t, c.ReconstructData(got))
	require.Equal(t, want[:4], got[:4])
	require.Nil(t, got[5], "parity stays missing")

	got = only(want, 0b0001111)
	require.NoError(t, c.ReconstructData(got))
	require.Equal(t, only(want, 0b0001111), got, "nothing to do")
}

func TestReconstructReusesCapacity(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 2, Forward: 4, Systematic: true})
	want := encode(t, c, randomBytes(1, 320))
	got := only(want, 0b0110)
	data, parity := make([]byte, 0, 400), make([]byte, 0, 400)
	got[0], got[3] = data, parity
	require.NoError(t, c.Reconstruct(got))
	require.Equal(t, want, got)
	require.Same(t, &data[:1][0], &got[0][0])
	require.Same(t, &parity[:1][0], &got[3][0])
}

func TestEncodeShards(t *testing.T) {
	for _, s := range append(shapes, shape{8, 12}) {
		c := newTestCode(t, Config{Inverse: s.k, Forward: s.n, Systematic: true})
		block := randomBytes(2, c.PaddedBytes(1000))
		shards, err := c.Split(block)
		require.NoError(t, err)
		require.NoError(t, c.Encode(shards))
		require.Equal(t, naiveProjections(c, block), shards)
		ok, err := c.Verify(shards)
		require.NoError(t, err)
		require.True(t, ok)
		shards[s.n-1][0] ^= 1
		ok, err = c.Verify(shards)
		require.NoError(t, err)
		require.False(t, ok)
	}
}

func TestSplitJoin(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 4, Forward: 6, Systematic: true})
	for _, size := range []int{1, 7, 8, 9, 31, 32, 33, 64, 65, 1000} {
		data := randomBytes(3, size)
		shards, err := c.Split(data)
		require.NoError(t, err)
		require.NoError(t, c.Encode(shards))
		shards[0], shards[2] = nil, nil
		var joined bytes.Buffer
		requireSizeError(t, c.Join(&joined, shards, size))
		require.Zero(t, joined.Len())
		require.NoError(t, c.ReconstructData(shards))
		require.NoError(t, c.Join(&joined, shards, size))
		require.Equal(t, data, joined.Bytes())
		require.Equal(t, randomBytes(3, size), data, "data are not modified")
	}
}

func TestJoinReportsTheWriter(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 2, Forward: 3, Systematic: true})
	shards, err := c.Split(randomBytes(1, 100))
	require.NoError(t, err)
	broken := errors.New("broken")
	require.ErrorIs(t, c.Join(failingWriter{broken}, shards, 100), broken)
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestShardErrors(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 2, Forward: 3, Systematic: true})
	good := func() [][]byte { return [][]byte{make([]byte, 80), make([]byte, 80), make([]byte, 80)} }
	require.NoError(t, c.Encode(good()))
	requireSize(t, c.Encode(good()[:2]), 2, 3)
	for i := range 3 {
		shards := good()
		shards[i] = shards[i][:72]
		requireSizeError(t, c.Encode(shards))
		requireSizeError(t, c.Reconstruct(shards))
		_, err := c.Verify(shards)
		requireSizeError(t, err)
	}
	requireSize(t, c.Encode(make([][]byte, 3)), 0, 8)
	requireSize(t, c.Reconstruct([][]byte{make([]byte, 9), nil, nil}), 9, 16)
	requireSize(t, c.Reconstruct(good()[:1]), 1, 3)
	shards := good()
	shards[0], shards[2] = nil, []byte{}
	require.ErrorIs(t, c.Reconstruct(shards), ErrInsufficient)
	_, err := c.Verify(shards)
	require.ErrorIs(t, err, ErrInsufficient)
	_, err = c.Split(nil)
	require.ErrorIs(t, err, ErrInsufficient)
	require.ErrorIs(t, c.Join(nil, good()[:1], 1), ErrInsufficient)
	requireSizeError(t, c.Join(nil, good(), 161))
	requireSizeError(t, c.Join(nil, good(), -1))
}

func TestNonSystematicCodesHaveNoDataShards(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 2, Forward: 3})
	_, err := c.Split([]byte{1})
	require.ErrorIs(t, err, ErrNotSystematic)
	require.ErrorIs(t, c.Encode(nil), ErrNotSystematic)
	require.ErrorIs(t, c.ReconstructData(nil), ErrNotSystematic)
	require.ErrorIs(t, c.Join(nil, nil, 0), ErrNotSystematic)
}

func TestShardSmallerThanItsSlope(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 2, Forward: 3})
	requireSizeError(t, c.Reconstruct([][]byte{make([]byte, 8), make([]byte, 8), nil}))
}

func requireSizeError(t *testing.T, err error) {
	t.Helper()
	var size *SizeError
	require.ErrorAs(t, err, &size)
}
