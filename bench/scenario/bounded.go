package scenario

import (
	"context"
	"fmt"

	"forebay/bench/clients"
	"forebay/bench/gauge"
	"forebay/bench/load"
	"forebay/bench/report"
	"forebay/bench/stage"
)

// Bounded lets users read what was outdated for up to a second while one of them refreshes it: then a write
// makes nobody wait. Before is what the frontend's requests cost the old service's database; nil: that is not known.
func (s *Settings) Bounded(ctx context.Context, st *stage.Stage, population *clients.Population, before *Play) (*report.Section, error) {
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
	if before == nil {
		return section, nil
	}
	statements, err := gauge.NewStatements(ctx, st.URL(stage.Admin), stage.After)
	if err != nil {
		return section, err
	}
	defer statements.Close()
	side.Spent = statements.Spent
	mixed := acts()[len(acts())-1]
	s.warm(ctx, &mixed, side, population)
	s.Step("%s · bounded · the same requests", mixed.id)
	after, err := s.same(ctx, &mixed, side, population)
	if err != nil {
		return section, err
	}
	for _, f := range saved(before, after) {
		f.ID, f.Name = "bounded."+f.ID, f.Name+", bounded"
		section.Figures = append(section.Figures, f)
	}
	return section, nil
}

// SameBefore finds, in the sections of the five, what the old service did with the frontend's requests; nil if that
// was not measured.
func SameBefore(sections []*report.Section) *Play {
	for _, section := range sections {
		plays, _ := section.Raw.([]*Play)
		for _, p := range plays {
			if p.Side == "before" && p.Loop == "same" {
				return p
			}
		}
	}
	return nil
}
