package load

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Config says how one run goes.
type Config struct {
	Address string        // host:port
	Warmup  time.Duration // of asking before anything is counted
	Window  time.Duration // that is measured
	Timeout time.Duration // of one request; 0: 10 s
	Slices  int           // into how many pieces the window is cut for plots; 0: 20
	Seed    uint64
}

// Measured is what a run found.
type Measured struct {
	Results []Result `json:"results"` // in the order of their names
	// Seconds is how much of the window was needed: all of it, unless the streams had a count and reached it.
	Seconds float64 `json:"seconds"`
	// Lateness is by how much the generator itself missed its timetable although the connection was free: p99
	// in milliseconds. It is part of every latency, and tells how far to trust them.
	Lateness float64 `json:"generator_lateness_p99_ms"`
	// Strange are examples of wrong answers and errors, a few of each kind with their number.
	Strange map[string]int `json:"strange,omitempty"`
}

// Of returns the result of a class; an empty one if nothing of it was asked for.
func (m *Measured) Of(class string) *Result {
	for i := range m.Results {
		if m.Results[i].Class == class {
			return &m.Results[i]
		}
	}
	return &Result{Class: class}
}

// shards is how many pieces a recorder has.
const shards = 4

// strangest bounds the kinds of errors that are told apart.
const strangest = 12

// run is one going on. Safe for concurrent use.
type run struct {
	config                 Config
	windowStart, windowEnd time.Time
	taken                  map[*Stream]*atomic.Int64
	recorders              sync.Map // class → *recorder

	mu       sync.Mutex // guards the rest
	lateness *hdrhistogram.Histogram
	odd      map[string]int
}

// Run lets the streams run side by side through warm-up and window, and then waits for what is under way, at
// most for the timeout. It returns early when all streams have had their count, or when ctx ends.
func Run(ctx context.Context, c Config, streams ...Stream) *Measured {
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Slices == 0 {
		c.Slices = 20
	}
	start := time.Now().Add(5 * time.Millisecond)
	r := &run{
		config: c, windowStart: start.Add(c.Warmup), windowEnd: start.Add(c.Warmup + c.Window),
		taken: make(map[*Stream]*atomic.Int64), lateness: newHistogram(coarse), odd: make(map[string]int),
	}
	var users []*user
	for i := range streams {
		s := &streams[i]
		r.taken[s] = new(atomic.Int64)
		for n := range s.Connections {
			u := &user{number: len(users), stream: s, first: start, end: r.windowEnd, run: r}
			if s.Kept != nil {
				u.conn = s.Kept[n]
			} else {
				u.conn = NewConnection(c.Address, c.Timeout)
			}
			u.draw = s.New(Random(c.Seed, u.number))
			if s.Rate > 0 {
				u.every = time.Duration(float64(s.Connections) / s.Rate * float64(time.Second))
				u.first = start.Add(u.every * time.Duration(n) / time.Duration(s.Connections))
			}
			users = append(users, u)
		}
	}
	var group sync.WaitGroup
	for _, u := range users {
		group.Go(func() { u.work(ctx) })
	}
	group.Wait()
	return r.measured()
}

// take reports whether the stream may send one more.
func (r *run) take(s *Stream) bool {
	return r.taken[s].Add(1) <= int64(s.Count) || s.Count == 0
}

// counted reports whether a request that was due then is in the window.
func (r *run) counted(due time.Time) bool {
	return !due.Before(r.windowStart) && due.Before(r.windowEnd)
}

func (r *run) recorder(class string) *recorder {
	if v, ok := r.recorders.Load(class); ok {
		return v.(*recorder)
	}
	v, _ := r.recorders.LoadOrStore(class, newRecorder(r.windowStart, r.windowEnd, shards, r.config.Slices))
	return v.(*recorder)
}

// late takes down that the timer fired so much after the time.
func (r *run) late(by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.lateness.RecordValue(micros(by))
}

// strange takes down what a request got instead of the right answer.
func (r *run) strange(q *Request, o outcome) {
	what := fmt.Sprintf("%s: status %d", q.Class, o.answer.Status)
	if o.err != nil {
		text := o.err.Error()
		// Ports differ and say nothing.
		what = q.Class + ": " + strings.Join(slices.DeleteFunc(strings.Fields(text), func(w string) bool { return strings.ContainsAny(w, "[]>") || strings.HasPrefix(w, "127.") }), " ")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.odd[what]; known || len(r.odd) < strangest {
		r.odd[what]++
	}
}

func (r *run) measured() *Measured {
	m := &Measured{Strange: r.odd, Lateness: millis(r.lateness.ValueAtPercentile(99))}
	took := min(time.Since(r.windowStart), r.windowEnd.Sub(r.windowStart))
	m.Seconds = took.Seconds()
	r.recorders.Range(func(class, v any) bool {
		m.Results = append(m.Results, v.(*recorder).result(class.(string), took))
		return true
	})
	slices.SortFunc(m.Results, func(a, b Result) int { return strings.Compare(a.Class, b.Class) })
	return m
}
