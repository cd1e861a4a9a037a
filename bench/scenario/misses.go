package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"forebay/bench/clients"
	"forebay/bench/load"
	"forebay/bench/report"
)

// Misses asks each side for dashboard, searches and analytics, one at a time and with nothing stored: what a
// statement takes when nobody else wants anything.
func (s *Settings) Misses(ctx context.Context, sides []*Side, population *clients.Population, clientCount int) (*report.Section, error) {
	section := report.NewSection("misses", "One at a time, nothing stored", "What each request takes by itself: before every one, all that is stored is dropped.")
	table := report.Table{Title: fmt.Sprintf("Milliseconds, median of %d; %d clients", s.times(20, 3), clientCount), Columns: []string{"", "before", "after", "after, worst"}}
	raw := map[string]map[string][]float64{}
	for _, a := range acts()[:3] {
		cells := map[string]string{}
		raw[a.id] = map[string][]float64{}
		for _, side := range sides {
			s.Step("%s · %s · one at a time", a.id, side.Name)
			times, err := s.alone(ctx, &a, side, population)
			if err != nil {
				return section, err
			}
			raw[a.id][side.Name] = times
			median := times[len(times)/2]
			cells[side.Name] = report.Number(median)
			f := report.Low("misses."+a.id+"."+side.Name, a.id+", "+side.Name+": one at a time, nothing stored, median", median, "ms")
			if side.Name == "after" {
				cells["worst"] = report.Number(times[len(times)-1])
				f = f.Want(map[string]float64{"dashboard": 8, "search": 5, "analytics": 15}[a.id], ours)
			}
			section.Figures = append(section.Figures, f)
		}
		table.Row(a.id, cells["before"], cells["after"], cells["worst"])
	}
	section.Raw = raw
	section.Tables = append(section.Tables, table)
	return section, nil
}

// alone returns the sorted milliseconds of requests that nothing was stored for.
func (s *Settings) alone(ctx context.Context, a *act, side *Side, population *clients.Population) ([]float64, error) {
	c := load.NewConnection(side.Address, s.Timeout)
	defer c.Close()
	draw := a.draw(population)(load.Random(s.Seed, 1))
	var times []float64
	// The first ones open connections and prepare statements.
	for i := -3; i < s.times(20, 3); i++ {
		if side.Purge != nil {
			if err := side.Purge(); err != nil {
				return nil, err
			}
		}
		request := draw()
		start := time.Now()
		answer, err := c.Do(request)
		took := time.Since(start)
		if err := errors.Join(answer.Expect(200, err), ctx.Err()); err != nil {
			return nil, fmt.Errorf("ask for %s alone: %w", a.id, err)
		}
		if side.Purge != nil && answer.From == load.Hit {
			return nil, fmt.Errorf("ask for %s alone: it was a hit although everything had been dropped", a.id)
		}
		if i >= 0 {
			times = append(times, float64(took)/float64(time.Millisecond))
		}
	}
	slices.Sort(times)
	return times, nil
}
