package bench

import (
	"math"
	"slices"
)

// BestTenth is the mean of the smallest tenth of the samples, of one at least.
// It is NaN without samples.
func BestTenth(samples []float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(samples))
	sorted = sorted[:max(1, len(sorted)/10)]
	sum := 0.0
	for _, s := range sorted {
		sum += s
	}
	return sum / float64(len(sorted))
}

// Median is the middle sample, or the mean of the middle two. It is NaN without
// samples.
func Median(samples []float64) float64 {
	n := len(samples)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(samples))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
