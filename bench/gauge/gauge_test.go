package gauge_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"forebay/bench/gauge"
)

func TestMedianIntervalHoldsTheTrueOne(t *testing.T) {
	t.Parallel()
	const rounds, seed = 4000, 11
	random := rand.New(rand.NewPCG(seed, 0))
	for _, n := range []int{6, 10, 15} {
		held := 0
		for range rounds {
			values := make([]float64, n)
			for i := range values {
				values[i] = random.ExpFloat64() // skewed, with a median of ln 2
			}
			if r := gauge.Median(values); r.Low <= 0.6931 && r.High >= 0.6931 {
				held++
			}
		}
		if share := float64(held) / rounds; share < 0.94 {
			t.Errorf("seed %d: the interval of %d values held the median in %.1f %% of cases", seed, n, 100*share)
		}
	}
}

func TestMedianOfTen(t *testing.T) {
	t.Parallel()
	got := gauge.Median([]float64{10, 1, 9, 2, 8, 3, 7, 4, 6, 5})
	// Between the second from below and the second from above: 97.9 %.
	if want := (gauge.Ratio{Median: 5.5, Low: 2, High: 9, Pairs: 10}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMetricSumsMatchingSeries(t *testing.T) {
	t.Parallel()
	const text = "a_total{x=\"1\"} 2\na_total{x=\"2\"} 3\na_total_more 100\nb 7\n"
	for _, c := range []struct {
		name, labels string
		want         float64
		found        bool
	}{{"a_total", "", 5, true}, {"a_total", `x="2"`, 3, true}, {"b", "", 7, true}, {"c", "", 0, false}} {
		if got, found := gauge.Metric(text, c.name, c.labels); got != c.want || found != c.found {
			t.Errorf("%s %s: got %v, %v", c.name, c.labels, got, found)
		}
	}
}

func TestProcessesTellTheirOwnTime(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc on this system")
	}
	p := gauge.ProcessesOf(os.Getpid())
	before, err := p.CPU()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for i := range 200_000_000 {
		sum ^= i
	}
	after, err := p.CPU()
	if err != nil {
		t.Fatal(err)
	}
	if after <= before {
		t.Errorf("CPU time went from %v to %v (%d)", before, after, sum&1)
	}
	if rss, err := p.RSS(); err != nil || rss < 1<<20 {
		t.Errorf("RSS %d: %v", rss, err)
	}
}
