package mojette

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewRefusesBadConfigurations(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		says   string
	}{
		"zero":              {Config{}, "Inverse: 0"},
		"negative":          {Config{Inverse: -2, Forward: 3}, "Inverse: -2"},
		"no redundancy":     {Config{Inverse: 3, Forward: 3}, "Forward: 3; want more than Inverse, 3"},
		"too many":          {Config{Inverse: 3, Forward: MaxForward + 1}, "at most 64"},
		"element":           {Config{Inverse: 2, Forward: 3, ElementBytes: 12}, "ElementBytes: 12; want 8, 16, 32 or 64"},
		"number":            {Config{Inverse: 1, Forward: 2, Directions: []Direction{{0, 1}}}, "there are 1; want 2"},
		"systematic number": {Config{Inverse: 1, Forward: 2, Systematic: true, Directions: []Direction{{0, 1}, {1, 1}}}, "there are 2; want 1"},
		"twice":             {Config{Inverse: 1, Forward: 2, Directions: []Direction{{1, 1}, {1, 1}}}, "number 1 is (1, 1), the same as number 0"},
		"q":                 {Config{Inverse: 1, Forward: 2, Directions: []Direction{{0, 1}, {1, 2}}}, "q = 2; a code needs q = 1"},
		"no direction":      {Config{Inverse: 1, Forward: 2, Directions: []Direction{{0, 1}, {2, 2}}}, "without a common divisor"},
		"steep":             {Config{Inverse: 1, Forward: 2, Directions: []Direction{{0, 1}, {-MaxSlope - 1, 1}}}, "number 1"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := New(test.config)
			require.Nil(t, c)
			require.ErrorContains(t, err, test.says)
			var config *ConfigError
			require.ErrorAs(t, err, &config)
			require.NotEmpty(t, config.Field)
		})
	}
}

func TestNewReportsAllProblems(t *testing.T) {
	_, err := New(Config{Inverse: 0, Forward: 0, ElementBytes: 1})
	require.ErrorContains(t, err, "Inverse")
	require.ErrorContains(t, err, "Forward")
	require.ErrorContains(t, err, "ElementBytes")
}

func TestCodeDescribesItself(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 3, Forward: 7, Systematic: true, ElementBytes: 16})
	require.Equal(t, 3, c.Inverse())
	require.Equal(t, 7, c.Forward())
	require.Equal(t, 16, c.ElementBytes())
	require.True(t, c.Systematic())
	var directions []Direction
	for i := range c.Forward() {
		directions = append(directions, c.Direction(i))
	}
	require.Equal(t, []Direction{{}, {}, {}, {0, 1}, {1, 1}, {-1, 1}, {2, 1}}, directions)
}

func TestSizes(t *testing.T) {
	c := newTestCode(t, Config{Inverse: 4, Forward: 6})
	for length, padded := range map[int]int{-1: 0, 0: 0, 1: 32, 32: 32, 33: 64, 8192: 8192} {
		require.Equal(t, padded, c.PaddedBytes(length))
	}
	require.Equal(t, 265*8, c.MaxProjectionBytes(8192))
	require.Equal(t, c.ProjectionBytes(0, 64), c.ProjectionBytes(0, 33), "a length counts as padded")
	for _, blockBytes := range []int{-5, 0} {
		require.Zero(t, c.ProjectionBytes(0, blockBytes))
		require.Zero(t, c.MaxProjectionBytes(blockBytes))
		require.Zero(t, c.Overhead(blockBytes))
	}
	systematic := newTestCode(t, Config{Inverse: 4, Forward: 6, Systematic: true})
	require.Equal(t, float64(4*256+256+259)/1024, systematic.Overhead(8192))
	require.Less(t, systematic.Overhead(8192), c.Overhead(8192))
}

func TestDirectionsAreCopied(t *testing.T) {
	directions := []Direction{{0, 1}, {1, 1}}
	c := newTestCode(t, Config{Inverse: 1, Forward: 2, Directions: directions})
	directions[0].P = 9
	require.Equal(t, Direction{0, 1}, c.Direction(0))
}
