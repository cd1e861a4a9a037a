package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"forebay/bench/gauge"
	"forebay/bench/load"
)

// Settings say what is measured.
type Settings struct {
	Binary string
	Quick  bool
	Matrix bool // every workload, not only the telling ones
	Seed   uint64
	Step   func(format string, args ...any)
}

// Measure is what one system did in one workload, a value for each round.
type Measure struct {
	Workload   string    `json:"workload"`
	System     string    `json:"system"`
	Throughput []float64 `json:"throughput"`
	CPU        []float64 `json:"cpu_us_per_request"`
	P50        []float64 `json:"p50_ms"`
	P99        []float64 `json:"p99_ms"`
	Requests   int       `json:"requests"`
	Wrong      int       `json:"wrong"`
	Forwarded  int       `json:"forwarded"` // requests that reached the origin: none should
	Odd        bool      `json:"odd_bodies,omitempty"`
}

func (s *Settings) rounds() int {
	if s.Quick {
		return 2
	}
	return 10
}

func (s *Settings) window() time.Duration {
	if s.Quick {
		return 100 * time.Millisecond
	}
	return 250 * time.Millisecond
}

// measure runs a workload on all systems, in rounds that take turns.
func (h *house) measure(ctx context.Context, w Workload) ([]*Measure, error) {
	if err := h.fill(ctx, w.Size); err != nil {
		return nil, err
	}
	h.settings.Step("peers · %s", w)
	requests := requestsOf(w.Size, documents(h.settings.Quick)[w.Size])
	all := make([]*Measure, len(h.systems))
	for i, s := range h.systems {
		all[i] = &Measure{Workload: w.ID(), System: s.name}
	}
	// The first round opens connections and is not counted.
	for round := -1; round < h.settings.rounds(); round++ {
		for i := range h.systems {
			at := i
			if round%2 != 0 {
				at = len(h.systems) - 1 - i // whoever comes first has another one before it the next time
			}
			err := h.round(ctx, w, requests, h.systems[at], all[at], round >= 0)
			for tries := 1; errors.Is(err, errNothing) && tries < 3; tries++ {
				err = h.round(ctx, w, requests, h.systems[at], all[at], round >= 0)
			}
			if err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// errNothing is of a round in which nothing was answered: on a machine that does something else, a round can
// pass without the generator having had its turn.
var errNothing = errors.New("nothing was answered")

// round has one system answer for a moment.
func (h *house) round(ctx context.Context, w Workload, requests []*load.Request, s *system, m *Measure, counted bool) error {
	asked, err := h.asks()
	if err != nil {
		return err
	}
	before, err := s.processes.CPU()
	if err != nil {
		return fmt.Errorf("read CPU time of %s: %w", s.name, err)
	}
	measured := load.Run(ctx, load.Config{Address: s.address, Window: h.settings.window(), Timeout: 20 * time.Second, Slices: 1, Seed: h.settings.Seed},
		load.Stream{Name: "hit", Connections: w.Connections, Kept: s.connections[:w.Connections], New: w.draw(requests)})
	after, err := s.processes.CPU()
	if err != nil {
		return fmt.Errorf("read CPU time of %s: %w", s.name, err)
	}
	askedAfter, err := h.asks()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil || !counted {
		return err
	}
	r := measured.Of("hit")
	n := r.Counts.Answered
	if n == 0 {
		return fmt.Errorf("%s: %w: %v", s.name, errNothing, measured.Strange)
	}
	m.Requests += n
	m.Wrong += r.Errors() + r.Counts.Timeouts
	m.Forwarded += askedAfter - asked
	m.Odd = m.Odd || r.Counts.Bytes != int64(n)*int64(w.Size)
	m.Throughput = append(m.Throughput, r.Throughput)
	m.CPU = append(m.CPU, float64((after-before).Nanoseconds())/1000/float64(n))
	m.P50 = append(m.P50, r.Latency.P50)
	m.P99 = append(m.P99, r.Latency.P99)
	return nil
}

// tailShare is how much of what was reached in a closed loop arrives in the open one.
const tailShare = 0.7

// tails are what the open loop found, a value for each round. Late is the generator's lateness.
type tails struct{ bare, forebay, late []float64 }

// tail measures the p99 of the bare handler and forebay, open loop.
func (h *house) tail(ctx context.Context, w Workload, saturated []*Measure) (t tails, err error) {
	h.settings.Step("peers · %s at %.0f %%", w, 100*tailShare)
	requests := requestsOf(w.Size, documents(h.settings.Quick)[w.Size])
	for range h.settings.rounds() {
		for i, p99 := range []*[]float64{&t.bare, &t.forebay} {
			s := h.systems[i]
			rate := tailShare * gauge.Median(saturated[i].Throughput).Median
			m := load.Run(ctx, load.Config{Address: s.address, Window: 4 * h.settings.window(), Timeout: 20 * time.Second, Slices: 1, Seed: h.settings.Seed},
				load.Stream{Name: "hit", Connections: w.Connections, Rate: rate, Kept: s.connections[:w.Connections], New: w.draw(requests)})
			*p99 = append(*p99, m.Of("hit").Latency.P99)
			t.late = append(t.late, m.Lateness)
		}
		if err := ctx.Err(); err != nil {
			return t, err
		}
	}
	return t, nil
}

// once asks for each of the requests once.
func once(requests []*load.Request) func(*rand.Rand) load.DrawFunc {
	var next atomic.Int64
	return func(*rand.Rand) load.DrawFunc {
		return func() *load.Request {
			if i := next.Add(1) - 1; i < int64(len(requests)) {
				return requests[i]
			}
			return nil
		}
	}
}

// stepAside keeps this process off the servers' cores, where there are others. It returns what puts it back.
func stepAside(servers int) (back func(), aside bool) {
	cores := runtime.NumCPU()
	if cores <= servers || !canPin() {
		return func() {}, false
	}
	move := func(to string) error {
		return exec.Command("taskset", "-a", "-c", "-p", to, strconv.Itoa(os.Getpid())).Run()
	}
	if move(fmt.Sprintf("%d-%d", servers, cores-1)) != nil {
		return func() {}, false
	}
	were := runtime.GOMAXPROCS(cores - servers)
	return func() {
		_ = move(fmt.Sprintf("0-%d", cores-1))
		runtime.GOMAXPROCS(were)
	}, true
}
