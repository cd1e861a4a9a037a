package load

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what one class of requests got in the measured window. Times are milliseconds, as people read
// them.
type Result struct {
	Class   string  `json:"class"`
	Counts  Counts  `json:"counts"`
	Seconds float64 `json:"seconds"` // of the window
	// Throughput is the right answers of the window that also ended in it, a second.
	Throughput float64  `json:"throughput"`
	Latency    Latency  `json:"latency_ms"`
	Hits       *Latency `json:"hits_latency_ms,omitempty"` // of those answered from the cache
	Slices     []Slice  `json:"slices"`
}

// Latency are percentiles in milliseconds; what was not answered is in them with the time it waited.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
	// Curve is the whole distribution: percentile, milliseconds.
	Curve [][2]float64 `json:"curve"`
}

// Slice is one piece of the window.
type Slice struct {
	Second     float64 `json:"second"` // its end, from the window's start
	Throughput float64 `json:"throughput"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	HitRate    float64 `json:"hit_rate"` // percent
	Wrong      int     `json:"wrong"`
}

// Asked returns how many requests were due.
func (r *Result) Asked() int {
	return r.Counts.Answered + r.Counts.Wrong + r.Counts.Broken + r.Counts.Timeouts + r.Counts.Unserved
}

// Errors returns how many got a wrong answer or none, but for timeouts and what was never sent.
func (r *Result) Errors() int { return r.Counts.Wrong + r.Counts.Broken }

// HitRate returns the share of right answers that came from the cache, in percent.
func (r *Result) HitRate() float64 {
	if r.Counts.Answered == 0 {
		return 0
	}
	return 100 * float64(r.Counts.Hits+r.Counts.Stale) / float64(r.Counts.Answered)
}

// result sums the shards up. Took is how much of the window was needed.
func (r *recorder) result(class string, took time.Duration) Result {
	window := r.windowEnd.Sub(r.windowStart)
	out := Result{Class: class, Seconds: took.Seconds()}
	all, hits := newHistogram(digits), newHistogram(digits)
	slices := make([]slice, len(r.shards[0].slices))
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		all.Merge(s.all)
		hits.Merge(s.hits)
		out.Counts.add(s.counts)
		for j := range s.slices {
			slices[j].add(&s.slices[j])
		}
		s.mu.Unlock()
	}
	out.Latency = latencyOf(all)
	if hits.TotalCount() > 0 {
		l := latencyOf(hits)
		out.Hits = &l
	}
	width := window.Seconds() / float64(len(slices))
	for i := range slices {
		if float64(i)*width > took.Seconds() {
			break
		}
		out.Slices = append(out.Slices, slices[i].told(float64(i+1)*width, width))
		out.Throughput += float64(slices[i].answered) / took.Seconds()
	}
	return out
}

func (c *Counts) add(o Counts) {
	c.Answered += o.Answered
	c.Wrong += o.Wrong
	c.Broken += o.Broken
	c.Timeouts += o.Timeouts
	c.Unserved += o.Unserved
	c.Hits += o.Hits
	c.Stale += o.Stale
	c.Forwarded += o.Forwarded
	c.Bytes += o.Bytes
}

func (s *slice) add(o *slice) {
	s.answered, s.hit, s.wrong = s.answered+o.answered, s.hit+o.hit, s.wrong+o.wrong
	if o.latency == nil {
		return
	}
	if s.latency == nil {
		s.latency = newHistogram(coarse)
	}
	s.latency.Merge(o.latency)
}

func (s *slice) told(end, width float64) Slice {
	t := Slice{Second: end, Throughput: float64(s.answered) / width, Wrong: s.wrong}
	if s.latency != nil {
		t.P50, t.P99 = millis(s.latency.ValueAtPercentile(50)), millis(s.latency.ValueAtPercentile(99))
	}
	if s.answered > 0 {
		t.HitRate = 100 * float64(s.hit) / float64(s.answered)
	}
	return t
}

// latencyOf reads a histogram.
func latencyOf(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	at := func(p float64) float64 { return millis(h.ValueAtPercentile(p)) }
	l := Latency{
		Mean: h.Mean() / 1000, P50: at(50), P90: at(90), P95: at(95), P99: at(99), P999: at(99.9), Max: millis(h.Max()),
	}
	// Even steps on the scale that the plot has: each nine takes as much room as the one before.
	last := math.Log10(float64(max(h.TotalCount(), 10)))
	for x := 0.0; x <= last+0.001; x += 0.1 {
		p := 100 * (1 - math.Pow(10, -x))
		l.Curve = append(l.Curve, [2]float64{p, at(p)})
	}
	return l
}

func millis(micros int64) float64 {
	return float64(time.Duration(micros)*time.Microsecond) / float64(time.Millisecond)
}
