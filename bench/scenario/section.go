package scenario

import (
	"fmt"
	"time"

	"forebay/bench/load"
	"forebay/bench/report"
)

const (
	criterion  = "success criterion"
	projection = "projected by the team"
	ours       = "goal"
)

// section tells one scenario.
func (s *Settings) section(a *act, plays []*Play) *report.Section {
	section := report.NewSection(a.id, a.title, a.about)
	section.Raw = plays
	open := report.Table{Title: s.openTitle(a), Columns: columns()}
	closed := report.Table{Title: fmt.Sprintf("As fast as it answers: %d connections, closed loop", s.workersOf(a)), Columns: columns()}
	database := report.Table{Title: "What it cost the database", Columns: []string{"", "loop", "writes", "calls / 1000 answers", "ms / 1000 answers", "pool mean", "pool p99", "pool max"}}
	for _, p := range plays {
		switch p.Loop {
		case "open":
			open.Row(row(p)...)
		case "closed":
			closed.Row(row(p)...)
		}
		if p.Spent != nil || p.Pool.Samples > 0 {
			calls, millis := "—", "—"
			if p.Spent != nil {
				c, m := p.perThousand()
				calls, millis = report.Number(c), report.Number(m)
			}
			database.Row(p.Side, p.Loop, fmt.Sprintf("%d %%", p.Writes), calls, millis, percent(p.Pool.Mean), percent(p.Pool.P99), percent(p.Pool.Max))
		}
		section.Figures = append(section.Figures, figures(a, p)...)
	}
	section.Tables = append(section.Tables, open, closed, database)
	section.Figures = append(section.Figures, s.goals(a, plays)...)
	section.Charts = charts(plays)
	section.Notes = append(section.Notes, oddities(plays)...)
	return section
}

func (s *Settings) openTitle(a *act) string {
	if a.batch {
		return fmt.Sprintf("%.0f batches a second, open loop; writes: single clients beside them", s.batchRate())
	}
	return fmt.Sprintf("%d users, each with a request a second, open loop", s.Users)
}

func (s *Settings) workersOf(a *act) int {
	if a.batch {
		return batchers
	}
	return s.Workers
}

func columns() []string {
	return []string{"", "writes", "answers / s", "p50 ms", "p95 ms", "p99 ms", "max ms", "hit rate", "hits p99 ms", "generator late p99 ms", "wrong", "timeouts", "unserved", "MB"}
}

// row tells one measurement.
func row(p *Play) []string {
	r := p.Reads()
	hits := "—"
	if r.Hits != nil {
		hits = report.Number(r.Hits.P99)
	}
	late := "—"
	if p.Loop == "open" {
		late = report.Number(p.Measured.Lateness)
	}
	rate := "—"
	if r.Counts.Hits+r.Counts.Stale+r.Counts.Forwarded > 0 {
		rate = percent(r.HitRate())
	}
	return []string{
		p.Side, fmt.Sprintf("%d %%", p.Writes), report.Number(r.Throughput), report.Number(r.Latency.P50), report.Number(r.Latency.P95),
		report.Number(r.Latency.P99), report.Number(r.Latency.Max), rate, hits, late, fmt.Sprint(r.Errors()), fmt.Sprint(r.Counts.Timeouts),
		fmt.Sprint(r.Counts.Unserved), report.Number(float64(r.Counts.Bytes) / 1e6),
	}
}

func percent(v float64) string { return report.Number(v) + " %" }

// figures are the numbers of one measurement that runs are compared by.
func figures(a *act, p *Play) []report.Figure {
	if p.Loop == "same" {
		return nil
	}
	r := p.Reads()
	id := fmt.Sprintf("%s.w%d.%s", a.id, p.Writes, p.Side)
	name := fmt.Sprintf("%s, %s, %d %% writes", a.id, p.Side, p.Writes)
	if p.Loop == "closed" {
		return []report.Figure{report.High(id+".throughput", name+": answers a second, closed loop", r.Throughput, "/s")}
	}
	p99 := report.Low(id+".p99", name+": p99", r.Latency.P99, "ms")
	if p.Side == "after" && p.Writes == 0 && a.criterion > 0 {
		p99 = p99.Under(a.criterion, criterion)
	}
	all := []report.Figure{report.Low(id+".p50", name+": p50", r.Latency.P50, "ms"), p99}
	if p.Spent != nil {
		calls, millis := p.perThousand()
		all = append(all, report.Low(id+".database_time", name+": database time for 1000 answers", millis, "ms"),
			report.Low(id+".database_calls", name+": statements for 1000 answers", calls, ""))
	}
	if r.Counts.Hits > 0 {
		all = append(all, report.High(id+".hit_rate", name+": hit rate", r.HitRate(), "%"))
	}
	return all
}

// goals are the figures that need both sides, or that only one measurement has a goal for.
func (s *Settings) goals(a *act, plays []*Play) []report.Figure {
	var all []report.Figure
	find := func(side, loop string, writes int) *Play {
		for _, p := range plays {
			if p.Side == side && p.Loop == loop && p.Writes == writes {
				return p
			}
		}
		return nil
	}
	before, after := find("before", "open", 1), find("after", "open", 1)
	if after == nil {
		return nil
	}
	r := after.Reads()
	switch a.id {
	case "batch":
		all = append(all, report.Low("batch.w1.p99", "batch of 50, 1 % writes: p99", r.Latency.P99, "ms").Want(a.ours, ours))
		all = append(all, less("batch.w1.less", "batch of 50, 1 % writes: p99 less than before", before, after, 90)...)
	case "dashboard", "search", "analytics":
		all = append(all, report.Low(a.id+".w1.projected", a.id+", 1 % writes: p95 against what was projected", r.Latency.P95, "ms").Want(a.projected, projection))
		if r.Hits != nil {
			all = append(all, report.Low(a.id+".w1.hits_p99", a.id+", 1 % writes: p99 of hits", r.Hits.P99, "ms").Want(10, ours))
		}
		all = append(all, less(a.id+".w1.less", a.id+", 1 % writes: p99 less than before", before, after, 95)...)
	case "sustained":
		all = append(all, report.High("sustained.w1.hits", "single clients, Zipf 1.1, 1 % writes, after one pass: hit rate", r.HitRate(), "%").Want(95, ours))
		if p := find("after", "closed", 1); p != nil && p.Refills != nil && p.Refills.Outdated > 0 {
			all = append(all, report.Low("sustained.w1.needless", "single clients, 1 % writes, as fast as it answers: refills that brought what was stored already",
				100*p.Refills.Needless/p.Refills.Outdated, "%").Want(1, ours).With("%.0f of %.0f outdated", p.Refills.Needless, p.Refills.Outdated))
		}
	case "mixed":
		all = append(all, report.High("mixed.w1.hits", "frontend's mix, 1 % writes: hit rate", r.HitRate(), "%").Under(70, criterion))
		all = append(all, saved(find("before", "same", 1), find("after", "same", 1))...)
	}
	return all
}

// less tells by how much a p99 is smaller.
func less(id, name string, before, after *Play, bound float64) []report.Figure {
	if before == nil {
		return nil
	}
	was, is := before.Reads().Latency.P99, after.Reads().Latency.P99
	f := report.High(id, name, 100*(1-is/max(was, 0.001)), "%").Want(bound, ours).With("%s → %s ms", report.Number(was), report.Number(is))
	return []report.Figure{f}
}

// saved tells what the same requests cost the database less.
func saved(before, after *Play) []report.Figure {
	if before == nil || after == nil || before.Spent == nil || before.Spent.Calls == 0 {
		return nil
	}
	calls0, millis0 := before.perThousand()
	calls1, millis1 := after.perThousand()
	return []report.Figure{
		report.High("mixed.w1.database_time_saved", "the same requests, 1 % writes: database time saved", 100*(1-millis1/millis0), "%").
			Want(95, ours).With("%s → %s ms for 1000 requests; 70 %% were projected", report.Number(millis0), report.Number(millis1)),
		report.High("mixed.w1.database_calls_saved", "the same requests, 1 % writes: statements saved", 100*(1-calls1/calls0), "%").
			Want(90, ours).With("%s → %s for 1000 requests, of which %s ask for what is answered and the others for snapshots, changes and the like; 60 %% fewer network calls were projected",
			report.Number(calls0), report.Number(calls1), report.Number(calls1*share(int(after.Spent.Calls-after.Spent.Bookkeeping), int(after.Spent.Calls)))),
	}
}

// overall tells what holds over all scenarios.
func (s *Settings) overall(plays []*Play) *report.Section {
	section := report.NewSection("overall", "Before and after", "What users had to wait for, scenario by scenario, and the worst of everything over all of them.")
	s.beforeAfter(section, plays)
	table := report.Table{Title: "Users, open loop, all scenarios and shares of writes", Columns: []string{"", "requests", "answered", "wrong or broken", "timeouts", "unserved", "pool p99", "pool max", "generator late p99 ms"}}
	for _, side := range []string{"before", "after"} {
		var sum load.Result
		var p99, most, late float64
		samples := 0
		for _, p := range plays {
			if p.Side != side || p.Loop != "open" {
				continue
			}
			for _, r := range p.Measured.Results {
				if r.Class == readClass || r.Class == "write" {
					sum.Counts.Answered += r.Counts.Answered
					sum.Counts.Wrong += r.Counts.Wrong
					sum.Counts.Broken += r.Counts.Broken
					sum.Counts.Timeouts += r.Counts.Timeouts
					sum.Counts.Unserved += r.Counts.Unserved
				}
			}
			p99, most, samples, late = max(p99, p.Pool.P99), max(most, p.Pool.Max), samples+p.Pool.Samples, max(late, p.Measured.Lateness)
		}
		if sum.Asked() == 0 {
			continue
		}
		table.Row(side, fmt.Sprint(sum.Asked()), fmt.Sprint(sum.Counts.Answered), fmt.Sprint(sum.Errors()), fmt.Sprint(sum.Counts.Timeouts),
			fmt.Sprint(sum.Counts.Unserved), percent(p99), percent(most), report.Number(late))
		if side != "after" {
			continue
		}
		pool := report.Low("pool.p99", "pool use of forebay, worst scenario: p99", p99, "%").Under(80, criterion).With("max %s, %d samples", percent(most), samples)
		if samples == 0 {
			pool = report.Unmeasured("pool.p99", pool.Name, "%", report.Lower, 80, "this target does not tell its pool")
		}
		section.Figures = append(section.Figures, pool,
			report.Low("users.timeouts", fmt.Sprintf("timeouts with %d users", s.Users), float64(sum.Counts.Timeouts+sum.Counts.Unserved), "").Want(0, criterion).
				With("a request waits for at most %s", s.Timeout.Round(time.Second)),
			report.Low("users.errors", fmt.Sprintf("errors with %d users", s.Users), float64(sum.Errors()), "").Want(0, ours))
	}
	section.Tables = append(section.Tables, table)
	section.Note("A latency counts from when the user's timetable had the request, so it holds the wait behind earlier ones, and by how much the generator itself was late: it shares the machine with what it measures.")
	return section
}

// beforeAfter puts both sides of each scenario beside each other, with the most ordinary share of writes.
func (s *Settings) beforeAfter(section *report.Section, plays []*Play) {
	table := report.Table{
		Title:   fmt.Sprintf("%d users, 1 %% writes: milliseconds", s.Users),
		Columns: []string{"", "p50 before", "after", "p95 before", "after", "less", "answered in time before", "after"},
	}
	chart := report.Chart{Title: fmt.Sprintf("p95 with %d users, 1 %% writes", s.Users), Kind: report.Bars, X: "scenario", Y: "ms", LogY: true, Series: []report.Series{{Name: "before"}, {Name: "after"}}}
	before := map[string]*load.Result{}
	for _, p := range plays {
		if p.Loop != "open" || p.Writes != 1 {
			continue
		}
		r := p.Reads()
		if p.Side == "before" {
			before[p.Scenario] = r
			continue
		}
		was := before[p.Scenario]
		if was == nil {
			return // there is only one side
		}
		answered := func(r *load.Result) string { return percent(100 * share(r.Counts.Answered, r.Asked())) }
		table.Row(p.Scenario, report.Number(was.Latency.P50), report.Number(r.Latency.P50), report.Number(was.Latency.P95), report.Number(r.Latency.P95),
			percent(100*(1-r.Latency.P95/max(was.Latency.P95, 0.001))), answered(was), answered(r))
		place := float64(len(chart.Labels))
		chart.Labels = append(chart.Labels, p.Scenario)
		chart.Series[0].Points = append(chart.Series[0].Points, [2]float64{place, was.Latency.P95})
		chart.Series[1].Points = append(chart.Series[1].Points, [2]float64{place, r.Latency.P95})
	}
	section.Tables = append(section.Tables, table)
	if len(chart.Labels) > 0 {
		section.Charts = append(section.Charts, chart)
	}
}

// oddities are notes on what went wrong.
func oddities(plays []*Play) []string {
	var notes []string
	for _, p := range plays {
		for what, n := range p.Measured.Strange {
			notes = append(notes, fmt.Sprintf("%s, %s loop, %d %% writes: %d × %s.", p.Side, p.Loop, p.Writes, n, what))
		}
	}
	return notes
}
