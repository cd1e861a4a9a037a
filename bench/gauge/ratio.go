package gauge

import (
	"fmt"
	"math"
	"slices"
)

// Ratio is a median with its interval.
type Ratio struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Pairs  int     `json:"pairs"`
}

// fewest is how many values it takes for an interval of 95 %.
const fewest = 6

// String tells the interval, and what it is.
func (r Ratio) String() string {
	what := "95 % interval"
	if r.Pairs < fewest {
		what = "range"
	}
	return fmt.Sprintf("%s %.2f to %.2f of %d pairs", what, r.Low, r.High, r.Pairs)
}

// Median returns the median of values and the narrowest pair of order statistics that holds the true one with
// at least 95 % probability: each value is above it with probability one half, so ranks are binomial.
func Median(values []float64) Ratio {
	n := len(values)
	if n == 0 {
		return Ratio{Median: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(values))
	r := Ratio{Pairs: n, Low: sorted[0], High: sorted[n-1]}
	r.Median = sorted[n/2]
	if n%2 == 0 {
		r.Median = (sorted[n/2-1] + sorted[n/2]) / 2
	}
	for k := n/2 - 1; k >= 0; k-- {
		// The median lies outside of the k-th value from below and from above with twice the probability that at
		// most k of n coins show heads.
		if 2*atMost(n, k) <= 0.05 {
			r.Low, r.High = sorted[k], sorted[n-1-k]
			break
		}
	}
	return r
}

// atMost returns the probability that at most k of n coins show heads.
func atMost(n, k int) float64 {
	sum, ways := 0.0, 1.0
	for i := 0; i <= k; i++ {
		sum += ways
		ways = ways * float64(n-i) / float64(i+1)
	}
	return sum / math.Pow(2, float64(n))
}

// Over divides pairwise.
func Over(a, b []float64) []float64 {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if b[i] > 0 && a[i] > 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	return ratios
}
