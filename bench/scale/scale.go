package scale

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"forebay/bench/bare"
	"forebay/bench/gauge"
	"forebay/bench/load"
	"forebay/bench/private"
	"forebay/bench/report"
	"forebay/bench/stage"
)

// size is that of the documents in bytes.
const size = 1 << 10

// Settings say how far to go.
type Settings struct {
	Binary string
	Quick  bool
	Stored int // the most responses to store
	Seed   uint64
	Step   func(format string, args ...any)
}

// subject is one running forebay. Not safe for concurrent use.
type subject struct {
	forebay     *stage.Forebay
	processes   *gauge.Processes
	connections []*load.Connection
	documents   int // how many of them it is asked for
	cpu         []float64
}

// Run measures, and returns what it has also beside an error.
func Run(ctx context.Context, s Settings) (*report.Section, error) {
	section := report.NewSection("scale", "What stays flat", "Costs as there is more of everything: CPU time of a hit, in rounds that take turns, and memory. A goal is met if the interval's lower end meets it.")
	origin, err := stage.StartOrigin(ctx, s.Binary)
	if err != nil {
		return section, err
	}
	defer origin.Stop()
	for _, measure := range []func(context.Context, *report.Section, *private.Program) error{s.stored, s.rules, s.idle} {
		if err := measure(ctx, section, origin); err != nil {
			return section, err
		}
	}
	beside := report.Table{Title: "Beside that", Columns: []string{"", ""}}
	for _, f := range section.Figures {
		if f.Goal == nil {
			beside.Row(f.Name, f.Text())
		}
	}
	section.Tables = append(section.Tables, beside)
	return section, nil
}

// start starts a forebay and makes its connections.
func (s *Settings) start(ctx context.Context, origin *private.Program, memory int, rules string) (*subject, error) {
	f, _, err := stage.Documents(ctx, stage.DocumentsPlan{
		Binary: s.Binary, Memory: fmt.Sprintf("%dKiB", memory>>10), Origin: "http://" + origin.Address(), Rules: rules,
		Env: []string{"GODEBUG=gctrace=1"}, // a line for each collection, of which there are few
	})
	if err != nil {
		return nil, err
	}
	t := &subject{forebay: f, processes: gauge.ProcessesOf(f.Pid()), documents: 1}
	for range connections {
		t.connections = append(t.connections, load.NewConnection(f.Address(), 10*time.Second))
	}
	return t, nil
}

func (t *subject) stop() {
	for _, c := range t.connections {
		c.Close()
	}
	t.forebay.Stop()
}

// connections ask for hits.
const connections = 32

// numbers are how many responses are stored, ten times as many each time.
func (s *Settings) numbers() []int {
	var all []int
	for n := min(1000, max(s.Stored/100, 1)); n < s.Stored; n *= 10 {
		all = append(all, n)
	}
	return append(all, s.Stored)
}

// stored measures the hit and the memory from a thousand responses on.
func (s *Settings) stored(ctx context.Context, section *report.Section, origin *private.Program) error {
	var subjects []*subject
	defer func() {
		for _, t := range subjects {
			t.stop()
		}
	}()
	table := report.Table{Title: "Stored responses of 1 KiB, all asked for alike", Columns: []string{"stored", "RSS MiB", "KiB of RSS for each", "CPU µs / hit", "beside the fewest", "interval"}}
	var memory [][2]float64
	var rss []int
	for _, n := range s.numbers() {
		subjects, rss = append(subjects, nil), append(rss, 0)
		i := len(subjects) - 1
		t, err := s.start(ctx, origin, 2*n*size+(64<<20), "")
		if err != nil {
			subjects = subjects[:i]
			return err
		}
		subjects[i] = t
		t.documents = n
		before, err := t.processes.RSS()
		if err != nil {
			return err
		}
		s.Step("scale · storing %d responses", n)
		if err := t.fill(ctx, n); err != nil {
			return err
		}
		if rss[i], err = t.processes.RSS(); err != nil {
			return err
		}
		memory = append(memory, [2]float64{float64(n), float64(rss[i]-before) / float64(n) / 1024})
	}
	if !s.Quick {
		if err := rest(ctx, subjects); err != nil {
			return err
		}
	}
	s.Step("scale · hits with %d to %d stored", subjects[0].documents, s.Stored)
	if err := s.rounds(ctx, subjects); err != nil {
		return err
	}
	s.tellStored(section, table, subjects, memory, rss)
	return nil
}

// tellStored tells the costs of each number of stored responses.
func (s *Settings) tellStored(section *report.Section, table report.Table, subjects []*subject, memory [][2]float64, rss []int) {
	for i, t := range subjects {
		r := gauge.Median(gauge.Over(t.cpu, subjects[0].cpu))
		table.Row(fmt.Sprint(t.documents), report.Number(float64(rss[i])/(1<<20)), report.Number(memory[i][1]), fmt.Sprintf("%.2f", gauge.Median(t.cpu).Median), fmt.Sprintf("%.2f", r.Median), fmt.Sprintf("%.2f to %.2f", r.Low, r.High))
		if i == len(subjects)-1 {
			section.Figures = append(section.Figures,
				figure("scale.stored", fmt.Sprintf("hit with %d stored responses beside %d", t.documents, subjects[0].documents), r, 1.3),
				collecting(t),
				report.Low("scale.memory", fmt.Sprintf("RSS for each stored 1 KiB response, of %d", t.documents), memory[i][1], "KiB").Want(1.5, "goal"))
		}
	}
	section.Tables = append(section.Tables, table)
	section.Charts = append(section.Charts, report.Chart{Title: "RSS for each stored 1 KiB response", Kind: report.Lines, X: "stored", Y: "KiB", Mark: 1.5, Series: []report.Series{{Name: "forebay", Points: memory}}})
}

const (
	restLook  = time.Second
	restShare = 0.01            // of a core is nothing
	restTime  = 2 * time.Minute // is waited at most
)

// rest waits until the subjects have nothing to do any more: when millions were stored, garbage is still collected and
// pages are still put together, which is no hit's doing.
func rest(ctx context.Context, subjects []*subject) error {
	spent := func() (sum time.Duration, err error) {
		for _, t := range subjects {
			cpu, err := t.processes.CPU()
			if err != nil {
				return 0, fmt.Errorf("read CPU time: %w", err)
			}
			sum += cpu
		}
		return sum, nil
	}
	before, err := spent()
	for start := time.Now(); err == nil && time.Since(start) < restTime; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(restLook):
		}
		after, failure := spent()
		if failure != nil || after-before < time.Duration(restShare*float64(restLook)*float64(len(subjects))) {
			return failure
		}
		before = after
	}
	return err
}

// fill stores the documents.
func (t *subject) fill(ctx context.Context, n int) error {
	var next atomic.Int64
	m := load.Run(ctx, load.Config{Address: t.forebay.Address(), Window: 30 * time.Minute, Timeout: 10 * time.Second, Slices: 1},
		load.Stream{Name: "fill", Connections: connections, New: func(*rand.Rand) load.DrawFunc {
			return func() *load.Request {
				if i := int(next.Add(1)) - 1; i < n {
					return load.NewRequest("fill", "GET", bare.Target(size, i), "")
				}
				return nil
			}
		}})
	if r := m.Of("fill"); r.Counts.Answered != n && ctx.Err() == nil {
		return fmt.Errorf("store %d responses: %d were answered: %v", n, r.Counts.Answered, m.Strange)
	}
	return ctx.Err()
}

// rules measures the hit and the start from one rule to thousands.
func (s *Settings) rules(ctx context.Context, section *report.Section, origin *private.Program) error {
	counts := []int{1, 100, 5000}
	if s.Quick {
		counts = []int{1, 100}
	}
	var subjects []*subject
	defer func() {
		for _, t := range subjects {
			t.stop()
		}
	}()
	var starts []time.Duration
	for _, n := range counts {
		s.Step("scale · %d rules", n)
		began := time.Now()
		t, err := s.start(ctx, origin, 64<<20, moreRules(n-1))
		if err != nil {
			return err
		}
		starts = append(starts, time.Since(began))
		subjects = append(subjects, t)
		if err := t.fill(ctx, 1); err != nil {
			return err
		}
	}
	if err := s.rounds(ctx, subjects); err != nil {
		return err
	}
	table := report.Table{Title: "Rules, one hot URL", Columns: []string{"rules", "ready after ms", "CPU µs / hit", "beside one rule", "interval"}}
	for i, t := range subjects {
		r := gauge.Median(gauge.Over(t.cpu, subjects[0].cpu))
		started := float64(starts[i].Milliseconds())
		table.Row(fmt.Sprint(counts[i]), report.Number(started), fmt.Sprintf("%.2f", gauge.Median(t.cpu).Median), fmt.Sprintf("%.2f", r.Median), fmt.Sprintf("%.2f to %.2f", r.Low, r.High))
		section.Figures = append(section.Figures, report.Low(fmt.Sprintf("scale.start.%d", counts[i]), fmt.Sprintf("from start to ready with %d rules", counts[i]), started, "ms"))
		if i == len(subjects)-1 {
			section.Figures = append(section.Figures, figure("scale.rules", fmt.Sprintf("hit with %d rules beside one", counts[i]), r, 1.3))
		}
	}
	section.Tables = append(section.Tables, table)
	return nil
}

// moreRules writes rules that match nothing that is asked for.
func moreRules(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  - {route: \"GET /shelf%d/{book}/pages\", kind: find, upstream: origin}\n", i)
	}
	return b.String()
}

// idle measures what a connection costs that nobody uses.
func (s *Settings) idle(ctx context.Context, section *report.Section, origin *private.Program) error {
	n := 2000
	if s.Quick {
		n = 200
	}
	s.Step("scale · %d idle connections", n)
	t, err := s.start(ctx, origin, 64<<20, "")
	if err != nil {
		return err
	}
	defer t.stop()
	if err := t.fill(ctx, 1); err != nil {
		return err
	}
	before, err := t.processes.RSS()
	if err != nil {
		return err
	}
	request := load.NewRequest("hit", "GET", bare.Target(size, 0), "")
	for range n {
		c := load.NewConnection(t.forebay.Address(), 10*time.Second)
		defer c.Close()
		answer, err := c.Do(request)
		if err := answer.Expect(200, err); err != nil {
			return fmt.Errorf("open %d connections: %w", n, err)
		}
	}
	after, err := t.processes.RSS()
	if err != nil {
		return err
	}
	section.Figures = append(section.Figures, report.Low("scale.idle", fmt.Sprintf("RSS for each idle connection, of %d", n), float64(after-before)/float64(n)/1024, "KiB"))
	return ctx.Err()
}

// rounds measures the CPU time of hits in all subjects, which take turns.
func (s *Settings) rounds(ctx context.Context, subjects []*subject) error {
	rounds, window := 10, 200*time.Millisecond
	if s.Quick {
		rounds, window = 2, 100*time.Millisecond
	}
	for round := range rounds {
		for i := range subjects {
			t := subjects[i]
			if round%2 != 0 {
				t = subjects[len(subjects)-1-i]
			}
			err := t.round(ctx, s.Seed, window)
			for tries := 1; errors.Is(err, errNothing) && tries < 3; tries++ {
				err = t.round(ctx, s.Seed, window)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// errNothing is of a round in which nothing was answered: on a machine that does something else, a round can
// pass without the generator having had its turn.
var errNothing = errors.New("nothing was answered")

func (t *subject) round(ctx context.Context, seed uint64, window time.Duration) error {
	before, err := t.processes.CPU()
	if err != nil {
		return fmt.Errorf("read CPU time: %w", err)
	}
	m := load.Run(ctx, load.Config{Address: t.forebay.Address(), Window: window, Timeout: 10 * time.Second, Slices: 1, Seed: seed},
		load.Stream{Name: "hit", Connections: connections, Kept: t.connections, New: func(random *rand.Rand) load.DrawFunc {
			keys := load.NewKeys(random, t.documents, load.Distribution{})
			return func() *load.Request { return load.NewRequest("hit", "GET", bare.Target(size, keys.Next()), "") }
		}})
	after, err := t.processes.CPU()
	if err != nil {
		return fmt.Errorf("read CPU time: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r := m.Of("hit")
	if r.Counts.Answered == 0 {
		return fmt.Errorf("measure hits: %w: %v", errNothing, m.Strange)
	}
	t.cpu = append(t.cpu, float64((after-before).Nanoseconds())/1000/float64(r.Counts.Answered))
	return nil
}

// figure is a ratio with a goal, which is met if the interval reaches it.
func figure(id, name string, r gauge.Ratio, bound float64) report.Figure {
	return report.Low(id, name, r.Median, "×").Want(bound, "goal").JudgedBy(r.Low).With("%s", r)
}

// collected finds the share of all CPU time since the start in the runtime's trace.
var collected = regexp.MustCompile(`(?m)^gc \d+ @[\d.]+s (\d+)%:`)

// collecting tells the collector's share of CPU time, filling and hits together.
func collecting(t *subject) report.Figure {
	f := report.Low("scale.gc", fmt.Sprintf("garbage collector's share of CPU time, filling and hits with %d stored", t.documents), 0, "%")
	found := collected.FindAllStringSubmatch(t.forebay.Log(), -1)
	if len(found) == 0 {
		f.Missing = "there was no collection"
		return f
	}
	share, err := strconv.ParseFloat(found[len(found)-1][1], 64)
	if err != nil {
		f.Missing = err.Error()
	}
	f.Value = share
	return f
}
