package bench

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBestTenthIsTheMeanOfTheFastest(t *testing.T) {
	require.True(t, math.IsNaN(BestTenth(nil)))
	require.EqualValues(t, 7, BestTenth([]float64{7}))
	require.EqualValues(t, 1, BestTenth([]float64{3, 1, 2}), "one at least")
	samples := make([]float64, 40)
	for i := range samples {
		samples[i] = float64(i + 1)
	}
	rand.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
	first := samples[0]
	require.EqualValues(t, 2.5, BestTenth(samples))
	require.Equal(t, first, samples[0], "the samples stay in order")
}

func TestMedianIsTheMiddle(t *testing.T) {
	require.True(t, math.IsNaN(Median(nil)))
	require.EqualValues(t, 7, Median([]float64{7}))
	require.EqualValues(t, 2, Median([]float64{9, 1, 2}))
	require.EqualValues(t, 2.5, Median([]float64{9, 1, 2, 3}))
}

func TestFiguresHaveThreeDigits(t *testing.T) {
	for want, x := range map[string]float64{"1234": 1234.4, "100": 100, "99.9": 99.94, "1.23": 1.234, "0.00": 0} {
		require.Equal(t, want, threeDigits(x))
	}
	for want, n := range map[string]int64{"0B": 0, "1023B": 1023, "4KiB": 4096, "1MiB": 1 << 20, "1025MiB": 1025 << 20, "3GiB": 3 << 30, "2TiB": 2 << 40} {
		require.Equal(t, want, sizeText(n))
	}
	for want, n := range map[string]int{"0": 0, "999": 999, "1,000": 1000, "12,345,678": 12_345_678} {
		require.Equal(t, want, count(n))
	}
}

func TestTheMachineIsDescribed(t *testing.T) {
	m := ThisMachine()
	require.NotEmpty(t, m.Go)
	require.Positive(t, m.CPUs)
	require.False(t, m.Date.IsZero())
	m.Commit = "abc"
	require.Contains(t, m.String(), "commit abc")
	require.Equal(t, "AMD EPYC 9", cpuModel([]byte("processor\t: 0\nmodel name\t: AMD EPYC 9\nflags: x\nmodel name: other\n")))
	require.Equal(t, "unknown CPU", cpuModel([]byte("processor: 0")))
}
