package peers

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"

	"forebay/bench/gauge"
	"forebay/bench/report"
)

// Run measures all systems in all workloads, and returns what it has also beside an error.
func Run(ctx context.Context, s Settings) (*report.Section, error) {
	section := report.NewSection("peers", "Beside other caches",
		"What a hit costs, in CPU time, beside a bare HTTP handler that writes the same bytes (1.00): the median of paired ratios, with the interval that holds it with 95 % probability. A goal is met if the interval's lower end meets it.")
	all := telling()
	if s.Matrix {
		all = matrix()
	}
	if s.Quick {
		all = []Workload{{"hot", 1 << 10, 8, 1}, {"zipf", 1 << 10, 8, 2}}
	}
	told := &teller{section: section, chart: report.Chart{Title: "CPU of a hit beside the bare handler", Kind: report.Bars, X: "workload", Y: "×", Mark: 1}}
	for _, cores := range []int{1, 2} {
		if cores > runtime.NumCPU() {
			section.Note("This machine has one core: nothing was measured on two.")
			break
		}
		if err := s.onCores(ctx, cores, all, told); err != nil {
			return told.finish(), err
		}
	}
	return told.finish(), nil
}

// onCores measures the workloads of one number of cores.
func (s *Settings) onCores(ctx context.Context, cores int, all []Workload, told *teller) error {
	all = slices.DeleteFunc(slices.Clone(all), func(w Workload) bool { return w.Cores != cores })
	if len(all) == 0 {
		return nil
	}
	s.Step("peers · starting everything for %d cores", cores)
	h, err := open(ctx, s, cores)
	if err != nil {
		return err
	}
	defer h.close()
	back, aside := stepAside(cores)
	defer back()
	if !aside {
		told.section.Note("With %d cores for servers, these and the generator share them: there are no others, or there is no taskset.", cores)
	}
	told.house(h)
	defer func() { told.missing(h) }()
	for i, w := range all {
		measures, err := h.measure(ctx, w)
		if err != nil {
			return err
		}
		told.workload(w, measures)
		if i > 1 || cores > 1 {
			continue
		}
		found, err := h.tail(ctx, w, measures)
		if err != nil {
			return err
		}
		told.tail(w, found)
	}
	return nil
}

// teller builds the section.
type teller struct {
	section *report.Section
	chart   report.Chart
	raw     []*Measure
	worst   float64
	told    bool // configurations and what is missing
}

// house tells what is measured, and how it is configured.
func (t *teller) house(h *house) {
	if t.told {
		return
	}
	t.told = true
	for _, s := range h.systems {
		t.chart.Series = append(t.chart.Series, report.Series{Name: s.name})
		t.section.Texts = append(t.section.Texts, report.Text{Title: fmt.Sprintf("%s %s: configuration", s.name, s.version), Body: h.configs[s.name]})
	}
}

// missing tells which peers were not measured, and why.
func (t *teller) missing(h *house) {
	for _, why := range h.missing {
		if note := why + "."; !slices.Contains(t.section.Notes, note) {
			t.section.Notes = append(t.section.Notes, note)
		}
	}
}

// workload tells one workload.
func (t *teller) workload(w Workload, measures []*Measure) {
	t.raw = append(t.raw, measures...)
	series := map[string]int{}
	for i, s := range t.chart.Series {
		series[s.Name] = i
	}
	table := report.Table{Title: w.String(), Columns: []string{"", "answers / s", "p50 ms", "p99 ms", "CPU µs / request", "beside bare", "interval", "wrong", "reached the origin"}}
	base := measures[0]
	group := float64(len(t.chart.Labels))
	t.chart.Labels = append(t.chart.Labels, w.ID())
	best, bestName := math.Inf(1), ""
	for i, m := range measures {
		ratio := gauge.Median(gauge.Over(m.CPU, base.CPU))
		table.Row(m.System, report.Number(gauge.Median(m.Throughput).Median), report.Number(gauge.Median(m.P50).Median), report.Number(gauge.Median(m.P99).Median),
			fmt.Sprintf("%.2f", gauge.Median(m.CPU).Median), fmt.Sprintf("%.2f", ratio.Median), fmt.Sprintf("%.2f to %.2f", ratio.Low, ratio.High), fmt.Sprint(m.Wrong), fmt.Sprint(m.Forwarded))
		if at, ok := series[m.System]; ok {
			t.chart.Series[at].Points = append(t.chart.Series[at].Points, [2]float64{group, ratio.Median})
		}
		if cpu := gauge.Median(m.CPU).Median; i > 1 && cpu < best {
			best, bestName = cpu, m.System
		}
		if m.Odd {
			t.section.Note("%s, %s: not every body had the size it should have.", w, m.System)
		}
	}
	t.section.Tables = append(t.section.Tables, table)
	forebay := measures[1]
	ratio := gauge.Median(gauge.Over(forebay.CPU, base.CPU))
	t.worst = max(t.worst, ratio.Median)
	t.section.Figures = append(t.section.Figures, ratioFigure("peers."+w.ID()+".bare", "hit, "+w.String()+": CPU beside the bare handler", ratio, 1.05))
	for _, m := range measures[2:] {
		if m.System == bestName {
			t.section.Figures = append(t.section.Figures, ratioFigure("peers."+w.ID()+".best", "hit, "+w.String()+": CPU beside the best peer, "+bestName, gauge.Median(gauge.Over(forebay.CPU, m.CPU)), 1))
		}
	}
}

// tail tells the p99 in the open loop.
func (t *teller) tail(w Workload, found tails) {
	name := fmt.Sprintf("hit, %s, open loop at %.0f %%: p99 beside the bare handler", w, 100*tailShare)
	f := ratioFigure("peers."+w.ID()+".tail", name, gauge.Median(gauge.Over(found.forebay, found.bare)), 1.5)
	f.Beside += fmt.Sprintf("; %.2f and %.2f ms, of which the generator was late by %.2f", gauge.Median(found.forebay).Median, gauge.Median(found.bare).Median, gauge.Median(found.late).Median)
	t.section.Figures = append(t.section.Figures, f)
}

func (t *teller) finish() *report.Section {
	if t.worst > 0 {
		t.section.Figures = append(t.section.Figures, report.Low("peers.worst", "hit: CPU beside the bare handler, worst workload", t.worst, "×"))
	}
	t.section.Charts = append(t.section.Charts, t.chart)
	t.section.Raw = t.raw
	return t.section
}

// ratioFigure is a ratio with a goal, which is met if the interval reaches it.
func ratioFigure(id, name string, r gauge.Ratio, bound float64) report.Figure {
	return report.Low(id, name, r.Median, "×").Want(bound, "goal").JudgedBy(r.Low).With("%s", r)
}
