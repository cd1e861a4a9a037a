package scenario

import (
	"context"
	"fmt"

	"forebay/bench/clients"
	"forebay/bench/load"
	"forebay/bench/report"
	"forebay/bench/stage"
)

// Bounded lets users read what was outdated for up to a second while one of them refreshes it: then a write
// makes nobody wait.
func (s *Settings) Bounded(ctx context.Context, st *stage.Stage, population *clients.Population) (*report.Section, error) {
	section := report.NewSection("bounded", "When a second of age is fine",
		"The same users with 1 % writes and `freshness: bounded, max_lag: 1s`: a response may be served for a second after a change, while one request fetches it anew.")
	names := []string{"dashboard", "search", "analytics"}
	if unable := st.Supports(ctx, stage.Variant{Changes: true, Bounded: true}); unable != "" {
		for _, id := range names {
			section.Figures = append(section.Figures, report.Unmeasured("bounded."+id+".p99", id+", 1 % writes, bounded: p99 of all requests", "ms", report.Lower, 10, "this version does not offer it: "+unable))
		}
		return section, nil
	}
	f, err := st.Clients(ctx, stage.Variant{Changes: true, Bounded: true})
	if err != nil {
		return section, err
	}
	defer f.Stop()
	side := &Side{Name: "after", Address: f.Address(), Pool: f.Pool()}
	table := report.Table{Title: fmt.Sprintf("%d users, open loop", s.Users), Columns: columns()}
	for _, a := range acts()[:3] {
		s.Step("%s · bounded", a.id)
		draw := withWrites(a.draw(population), population.Writes(), 1)
		load.Run(ctx, load.Config{Address: f.Address(), Window: s.Closed, Timeout: s.Timeout, Seed: s.Seed + 1}, load.Stream{Name: "warm-up", Connections: 8, New: a.draw(population)})
		p, err := s.play(ctx, side, Play{Scenario: a.id + " bounded", Loop: "open", Writes: 1}, s.Open, s.users(a.id, draw))
		if err != nil {
			return section, err
		}
		cells := row(p)
		cells[0] = a.id
		table.Row(cells...)
		section.Figures = append(section.Figures, report.Low("bounded."+a.id+".p99", a.id+", 1 % writes, bounded: p99 of all requests", p.Reads().Latency.P99, "ms").Want(10, ours))
	}
	section.Tables = append(section.Tables, table)
	return section, nil
}
