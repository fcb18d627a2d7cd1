package mojette

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTransformInvertsAnyDirections(t *testing.T) {
	for name, test := range map[string]struct {
		rows, cols int
		directions []Direction
	}{
		"one row":          {1, 9, []Direction{{0, 1}}},
		"one column":       {9, 1, []Direction{{1, 1}}},
		"slopes of q":      {5, 7, []Direction{{1, 2}, {-1, 3}}},
		"by columns":       {9, 4, []Direction{{1, 1}, {-1, 2}, {2, 1}}},
		"mixed":            {6, 6, []Direction{{0, 1}, {1, 1}, {-1, 1}, {1, 2}, {-1, 2}}},
		"sweep":            {4, 20, []Direction{{0, 1}, {-3, 1}, {1, 1}, {9, 1}}},
		"sweep and spare":  {3, 20, []Direction{{0, 1}, {5, 2}, {1, 1}, {-1, 1}, {2, 1}}},
		"more than needed": {3, 3, []Direction{{0, 1}, {1, 1}, {-1, 1}, {1, 2}, {2, 1}}},
		"many rows":        {100, 3, []Direction{{0, 1}, {1, 1}, {-1, 1}, {-2, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, elem := range []int{8, 16, 32, 64} {
				tr, err := NewTransform(test.rows, test.cols, elem, test.directions)
				require.NoError(t, err)
				pixels := randomBytes(4, tr.GridBytes())
				projections := projectAll(t, tr, pixels)
				for i, projection := range projections {
					require.Equal(t, naiveProject(pixels, test.rows, elem, tr.Direction(i)), projection)
				}
				got := randomBytes(5, len(pixels))
				require.NoError(t, tr.Inverse(got, projections))
				require.Equal(t, pixels, got)
			}
		})
	}
}

func projectAll(t testing.TB, tr *Transform, pixels []byte) [][]byte {
	t.Helper()
	projections := make([][]byte, tr.Directions())
	for i := range projections {
		projections[i] = randomBytes(98, tr.ProjectionBytes(i))
	}
	require.NoError(t, tr.Project(projections, pixels))
	return projections
}

func TestTransformAndCodeAgree(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 4, Forward: 6})
	var directions []Direction
	for i := range c.Forward() {
		directions = append(directions, c.Direction(i))
	}
	tr, err := NewTransform(4, 25, 0, directions)
	require.NoError(t, err)
	block := randomBytes(1, tr.GridBytes())
	projections := projectAll(t, tr, block)
	require.Equal(t, encode(t, c, block), projections)
	for set := range subsets(6, 4) {
		got := make([]byte, len(block))
		require.NoError(t, tr.Inverse(got, only(projections, set)))
		require.Equal(t, block, got)
	}
}

func TestThreeInversionsAgree(t *testing.T) {
	directions := []Direction{{3, 1}, {1, 1}, {0, 1}, {-2, 1}, {-3, 1}}
	tr, err := NewTransform(5, 11, 16, directions)
	require.NoError(t, err)
	pixels := randomBytes(1, tr.GridBytes())
	projections := projectAll(t, tr, pixels)
	scratch := make([]byte, solveBytes(5, 11*16, 16, 3))
	for name, invert := range map[string]func(g *grid){
		"peel":        func(g *grid) { tr.peel(g, projections) },
		"sweep":       func(g *grid) { sweep(g, tr.plan(projections), projections, scratch) },
		"interpolate": func(g *grid) { interpolate(g, tr.plan(projections), 1, projections, scratch) },
	} {
		g := flatGrid(make([]byte, len(pixels)), 5, 16)
		invert(&g)
		require.Equal(t, pixels, g.flat, name)
	}
}

func TestTransformRefusesTooFewProjections(t *testing.T) {
	refused, err := NewTransform(4, 9, 8, []Direction{{1, 1}, {2, 1}})
	require.Nil(t, refused)
	require.ErrorIs(t, err, ErrInsufficient)
	var katz *KatzError
	require.ErrorAs(t, err, &katz)
	require.Equal(t, &KatzError{Rows: 4, Cols: 9, SumP: 3, SumQ: 2}, katz)
	require.ErrorContains(t, err, "sum of |p| is 3")

	tr, err := NewTransform(3, 9, 8, []Direction{{1, 1}, {0, 1}, {-1, 1}})
	require.NoError(t, err)
	pixels := randomBytes(1, tr.GridBytes())
	projections := only(projectAll(t, tr, pixels), 0b011)
	got := make([]byte, len(pixels))
	require.ErrorIs(t, tr.Inverse(got, projections), ErrInsufficient)
	require.Equal(t, make([]byte, len(pixels)), got, "pixels are untouched")
}

func TestTransformRefusesInconsistentProjections(t *testing.T) {
	for name, directions := range map[string][]Direction{
		"sweep": {{1, 1}, {0, 1}, {-1, 1}, {2, 1}},
		"peel":  {{1, 2}, {0, 1}, {-1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			tr, err := NewTransform(3, 9, 8, directions)
			require.NoError(t, err)
			pixels := randomBytes(1, tr.GridBytes())
			for bad := range directions {
				projections := projectAll(t, tr, pixels)
				projections[bad][8] ^= 1
				err := tr.Inverse(make([]byte, len(pixels)), projections)
				require.ErrorIs(t, err, ErrInconsistent)
				var inconsistent *InconsistentError
				require.ErrorAs(t, err, &inconsistent)
				require.NotEmpty(t, inconsistent.Projections)
			}
		})
	}
}

func TestTransformErrors(t *testing.T) {
	for name, test := range map[string]struct {
		rows, cols, elem int
		directions       []Direction
	}{
		"rows":       {0, 3, 8, []Direction{{0, 1}}},
		"columns":    {1, -3, 8, []Direction{{0, 1}}},
		"pixels":     {1 << 15, 1 << 15, 8, []Direction{{0, 1}}},
		"element":    {1, 3, 9, []Direction{{0, 1}}},
		"directions": {1, 3, 8, []Direction{{0, 1}, {0, 1}}},
		"several":    {-1, 3, 9, []Direction{{3, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewTransform(test.rows, test.cols, test.elem, test.directions)
			var config *ConfigError
			require.ErrorAs(t, err, &config)
		})
	}
	tr, err := NewTransform(1, 3, 8, []Direction{{0, 1}})
	require.NoError(t, err)
	requireSize(t, tr.Project(make([][]byte, 1), make([]byte, 23)), 23, 24)
	requireSize(t, tr.Project(make([][]byte, 2), make([]byte, 24)), 2, 1)
	requireSize(t, tr.Inverse(make([]byte, 24), [][]byte{make([]byte, 25)}), 25, 24)
}

func TestKatz(t *testing.T) {
	require.True(t, Katz(2, 100, []Direction{{0, 1}, {1, 1}}))
	require.False(t, Katz(3, 100, []Direction{{0, 1}, {1, 1}}))
	require.True(t, Katz(100, 3, []Direction{{1, 1}, {-2, 1}}))
	require.True(t, Katz(3, 100, []Direction{{1, 2}, {-1, 1}}))
	require.False(t, Katz(2, 100, []Direction{{0, 1}, {0, 1}}), "twice the same")
	require.False(t, Katz(2, 100, []Direction{{2, 2}}), "no direction")
	require.False(t, Katz(1, 1, nil))
}
