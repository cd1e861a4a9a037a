package scenario

import (
	"context"
	"fmt"
	"time"

	"forebay/bench/clients"
	"forebay/bench/load"
	"forebay/bench/report"
)

// act is one of the scenarios of the clients API.
type act struct {
	id, title, about string
	draw             func(*clients.Population) clients.DrawFunc
	// before the measurements of a side with a cache: the pass that fills it; nil: a few requests do.
	fill func(*clients.Population) clients.DrawFunc
	// goals of the side "after" in milliseconds: of the success criterion, of the projection, of ours; 0: none.
	criterion, projected, ours float64
	batch                      bool
}

func acts() []act {
	return []act{
		{
			id: "dashboard", title: "Dashboard under concurrent users", criterion: 200, projected: 120,
			about: "Everybody looks at the dashboard. Before: four counts over all clients and the fifteen newest, for each of them.",
			draw:  (*clients.Population).Dashboards,
		},
		{
			id: "search", title: "Search with several filters", criterion: 100, projected: 80,
			about: "Parts of names, with status and program, the popular searches more often. Before: ILIKE over two columns, once to count and once to list.",
			draw:  (*clients.Population).Searches,
		},
		{
			id: "analytics", title: "Analytics at peak", projected: 200,
			about: "Four periods and four choices of program. Before: eleven counts, one after the other.",
			draw:  (*clients.Population).Analyses,
		},
		{
			id: "batch", title: "Batches of fifty", criterion: 500, projected: 400, ours: 50, batch: true,
			about: "Fifty clients are created at once, each to be good or bad by itself and durable when the answer comes. Before: fifty inserts, one after the other.",
			draw:  func(p *clients.Population) clients.DrawFunc { return p.Batches(fmt.Sprint(time.Now().UnixNano())) },
		},
		{
			id: "sustained", title: "The cache under sustained load",
			about: "Single clients, Zipf s = 1.1, after each was asked for once: what a cache is for.",
			draw:  (*clients.Population).ByID, fill: (*clients.Population).PassByID,
		},
		{
			id: "mixed", title: "What a frontend asks for",
			about: "60 % single clients, 30 % filtered lists, 5 % dashboard, 5 % analytics, after each was asked for once.",
			draw:  (*clients.Population).Mixed, fill: (*clients.Population).Pass,
		},
	}
}

// Five plays the scenarios of the clients API on each side, with each share of writes, for users and for
// workers. Sides come in the order that the report has them in: before, after. Tidy puts the tables back
// between scenarios; nil: nothing was written.
func (s *Settings) Five(ctx context.Context, sides []*Side, population *clients.Population, tidy func(context.Context) error) ([]*report.Section, error) {
	var sections []*report.Section
	var all []*Play
	for _, a := range acts() {
		if a.batch && tidy == nil {
			continue // nothing may be written
		}
		var plays []*Play
		for _, side := range sides {
			played, err := s.act(ctx, &a, side, population)
			plays = append(plays, played...)
			if err != nil {
				return append(sections, s.section(&a, plays)), err
			}
		}
		if tidy != nil {
			if err := tidy(ctx); err != nil {
				return sections, err
			}
		}
		all = append(all, plays...)
		sections = append(sections, s.section(&a, plays))
	}
	return append([]*report.Section{s.overall(all)}, sections...), nil
}

// act plays one scenario on one side.
func (s *Settings) act(ctx context.Context, a *act, side *Side, population *clients.Population) ([]*Play, error) {
	if side.Purge != nil {
		if err := side.Purge(); err != nil {
			return nil, err
		}
	}
	s.warm(ctx, a, side, population)
	var plays []*Play
	for _, share := range s.Shares {
		for _, loop := range []string{"open", "closed"} {
			window := s.Open
			if loop == "closed" {
				window = s.Closed
				if share > 1 {
					continue // the open loop tells what writes do; this one is for throughput
				}
			}
			s.Step("%s · %s · %s loop · %d %% writes", a.id, side.Name, loop, share)
			p, err := s.play(ctx, side, Play{Scenario: a.id, Loop: loop, Writes: share}, window, s.streams(a, population, loop, share)...)
			if err != nil {
				return plays, err
			}
			plays = append(plays, p)
		}
	}
	if a.id == "mixed" {
		s.Step("%s · %s · the same requests", a.id, side.Name)
		p, err := s.same(ctx, a, side, population)
		if err != nil {
			return plays, err
		}
		plays = append(plays, p)
	}
	return plays, nil
}

// streams are the connections of one measurement.
func (s *Settings) streams(a *act, population *clients.Population, loop string, share int) []load.Stream {
	if a.batch {
		// Few people create batches; those who write single clients meanwhile are as many as in the others.
		batches := load.Stream{Name: a.id, Connections: batchers, New: a.draw(population), Group: reads}
		if loop == "open" {
			batches.Rate = s.batchRate()
		}
		streams := []load.Stream{batches}
		if share > 0 {
			n := max(s.Users*share/100, 1)
			streams = append(streams, load.Stream{Name: "writes", Connections: n, Rate: float64(n), New: population.Writes()})
		}
		return streams
	}
	draw := withWrites(a.draw(population), population.Writes(), share)
	if loop == "closed" {
		return []load.Stream{s.workers(a.id, draw)}
	}
	return []load.Stream{s.users(a.id, draw)}
}

// batchers is how many connections create batches.
const batchers = 8

// batchRate is how many batches arrive in a second.
func (s *Settings) batchRate() float64 { return float64(max(s.Users/50, 2)) }

// warm fills caches, pools and prepared statements with a few workers, so that the first measurement is like
// the others. A service that stores nothing is not asked for everything once.
func (s *Settings) warm(ctx context.Context, a *act, side *Side, population *clients.Population) {
	draw, window := a.draw(population), s.lasting(time.Second, 100*time.Millisecond)
	stream := load.Stream{Name: "warm-up", Connections: 8, New: draw}
	if side.Name == "after" && a.fill != nil {
		s.Step("%s · %s · asking for everything once", a.id, side.Name)
		stream.New, window = a.fill(population), s.lasting(time.Minute, 10*time.Second)
		stream.Connections = 32
	}
	load.Run(ctx, load.Config{Address: side.Address, Window: window, Timeout: s.Timeout, Seed: s.Seed + 1}, stream)
}

// same sends a fixed number of the same requests, so that what they cost two databases can be compared: no
// side is asked for more than the other, and none so fast that requests are given up.
func (s *Settings) same(ctx context.Context, a *act, side *Side, population *clients.Population) (*Play, error) {
	stream := load.Stream{
		Name: a.id, Connections: 4, Count: s.times(1000, 100), Group: reads,
		New: withWrites(a.draw(population), population.Writes(), 1),
	}
	return s.play(ctx, side, Play{Scenario: a.id, Loop: "same", Writes: 1}, 2*time.Minute, stream)
}
