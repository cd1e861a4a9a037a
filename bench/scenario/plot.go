package scenario

import (
	"fmt"

	"forebay/bench/load"
	"forebay/bench/report"
)

// charts are latency percentiles, throughput, hit rate and database time of one scenario.
func charts(plays []*Play) []report.Chart {
	curve := report.Chart{Title: "Latency by percentile, open loop", Kind: report.Percentiles, X: "percentile", Y: "ms", LogY: true}
	over := report.Chart{Title: "Answers a second over time, open loop", Kind: report.Lines, X: "seconds", Y: "answers / s"}
	tail := report.Chart{Title: "p99 over time, open loop", Kind: report.Lines, X: "seconds", Y: "ms", LogY: true}
	hits := report.Chart{Title: "Hit rate over time, open loop", Kind: report.Lines, X: "seconds", Y: "%"}
	for _, p := range plays {
		if p.Loop != "open" {
			continue
		}
		r := p.Reads()
		named := report.Series{Name: fmt.Sprintf("%s, %d %% writes", p.Side, p.Writes), Colour: len(curve.Series) + 1}
		curve.Series = append(curve.Series, with(named, r.Latency.Curve))
		over.Series = append(over.Series, with(named, along(r, func(s load.Slice) (float64, bool) { return s.Throughput, true })))
		tail.Series = append(tail.Series, with(named, along(r, func(s load.Slice) (float64, bool) { return s.P99, s.P99 > 0 })))
		if r.Counts.Hits > 0 {
			hits.Series = append(hits.Series, with(named, along(r, func(s load.Slice) (float64, bool) { return s.HitRate, s.P99 > 0 })))
		}
	}
	all := []report.Chart{curve, over, tail}
	if len(hits.Series) > 0 {
		all = append(all, hits)
	}
	if database := databaseChart(plays); len(database.Series) > 0 {
		all = append(all, database)
	}
	return all
}

func with(s report.Series, points [][2]float64) report.Series {
	s.Points = points
	return s
}

// along returns a value of each slice of time, but of those that have none.
func along(r *load.Result, value func(load.Slice) (v float64, ok bool)) [][2]float64 {
	var points [][2]float64
	for _, slice := range r.Slices {
		if v, ok := value(slice); ok {
			points = append(points, [2]float64{slice.Second, v})
		}
	}
	return points
}

// databaseChart puts the sides beside each other, a group of bars for each share of writes.
func databaseChart(plays []*Play) report.Chart {
	chart := report.Chart{Title: "Database time for 1000 answers, open loop", Kind: report.Bars, X: "writes", Y: "ms", LogY: true}
	places, series := map[int]int{}, map[string]int{}
	for _, p := range plays {
		if p.Loop != "open" || p.Spent == nil {
			continue
		}
		if _, known := places[p.Writes]; !known {
			places[p.Writes] = len(chart.Labels)
			chart.Labels = append(chart.Labels, fmt.Sprintf("%d %%", p.Writes))
		}
		if _, known := series[p.Side]; !known {
			series[p.Side] = len(chart.Series)
			chart.Series = append(chart.Series, report.Series{Name: p.Side})
		}
		s := &chart.Series[series[p.Side]]
		_, millis := p.perThousand()
		s.Points = append(s.Points, [2]float64{float64(places[p.Writes]), millis})
	}
	return chart
}

// sliceChart draws the p99 of classes over time.
func sliceChart(title string, m *load.Measured, classes ...string) report.Chart {
	chart := report.Chart{Title: title, Kind: report.Lines, X: "seconds", Y: "ms", LogY: true}
	for _, class := range classes {
		chart.Series = append(chart.Series, report.Series{Name: class, Points: along(m.Of(class), func(s load.Slice) (float64, bool) { return s.P99, s.P99 > 0 })})
	}
	return chart
}
