package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"forebay/bench/clients"
	"forebay/bench/load"
	"forebay/bench/private"
	"forebay/bench/report"
	"forebay/bench/stage"
)

// breakerOpen is how long the circuit stays open before it is tried again, as the configuration is shipped.
func (s *Settings) breakerOpen() time.Duration { return s.lasting(10*time.Second, time.Second) }

// PostgresDown takes the database away for a while and gives it back.
func (s *Settings) PostgresDown(ctx context.Context, st *stage.Stage, population *clients.Population) (*report.Section, error) {
	away := s.lasting(30*time.Second, time.Second)
	section := report.NewSection("postgres-down", "The database is down",
		fmt.Sprintf("For %s there is no Postgres. What was asked for before goes on being answered; what was not is refused at once; and when it is back, so is everything.", away))
	f, err := st.Clients(ctx, stage.Variant{OpenFor: s.breakerOpen().String()})
	if err != nil {
		return section, err
	}
	defer f.Stop()
	few := s.times(500, 50)
	s.Step("postgres down · asking for %d clients before", few)
	known := make([]*load.Request, few)
	for i := range known {
		known[i] = load.NewRequest("known", "GET", clients.Client+population.First(i), "")
	}
	if stored := settle(ctx, f.Address(), known); stored < 1 {
		section.Note("Only %.0f %% of what was asked for before was stored when the database went down.", 100*stored)
	}

	s.Step("postgres down · %s", away)
	st.Postgres.Shutdown()
	m := load.Run(ctx, load.Config{Address: f.Address(), Window: away, Timeout: s.Timeout, Seed: s.Seed, Slices: 30},
		load.Stream{Name: "known", Connections: s.Users, Rate: float64(s.Users), New: oneOf(known)},
		load.Stream{Name: "new", Connections: 20, Rate: 20, New: unseen("new", 503)})
	// It comes back even if the run is being ended: others stand on it.
	if err := st.Postgres.Start(context.WithoutCancel(ctx)); err != nil {
		return section, err
	}
	back, err := s.recovered(ctx, f.Address())
	if err != nil {
		return section, err
	}
	s.tellPostgresDown(section, m, back)
	return section, nil
}

// tellPostgresDown tells what became of requests, and how long it took to be back.
func (s *Settings) tellPostgresDown(section *report.Section, m *load.Measured, back time.Duration) {
	fine, refused := m.Of("known"), m.Of("new")
	section.Raw = m
	table := report.Table{Title: "While it was down", Columns: []string{"asked for", "requests", "as it should be", "otherwise", "timeouts", "p50 ms", "p99 ms", "max ms"}}
	for _, r := range []*load.Result{fine, refused} {
		table.Row(map[string]string{"known": "what was asked for before: 200", "new": "what was not: 503"}[r.Class], fmt.Sprint(r.Asked()), fmt.Sprint(r.Counts.Answered), fmt.Sprint(r.Errors()),
			fmt.Sprint(r.Counts.Timeouts+r.Counts.Unserved), report.Number(r.Latency.P50), report.Number(r.Latency.P99), report.Number(r.Latency.Max))
	}
	section.Tables = append(section.Tables, table)
	section.Figures = append(section.Figures,
		report.High("postgres-down.answered", "database down: stored responses answered", 100*share(fine.Counts.Answered, fine.Asked()), "%").Want(100, ours),
		report.Low("postgres-down.known_p99", "database down: p99 of stored responses", fine.Latency.P99, "ms").Want(10, ours),
		report.High("postgres-down.refused", "database down: the rest refused with 503", 100*share(refused.Counts.Answered, refused.Asked()), "%").Want(100, ours),
		report.Low("postgres-down.refused_p50", "database down: a refusal, median", refused.Latency.P50, "ms").Want(10, ours),
		report.Low("postgres-down.back", "database back: until the first new answer", back.Seconds(), "s").Want(2, ours).
			With("the circuit would let a request try again after %s", s.breakerOpen()))
	section.Charts = append(section.Charts, sliceChart("p99 over time, database down", m, "known", "new"))
	for what, n := range m.Strange {
		section.Note("%d × %s", n, what)
	}
}

// recovered waits for the first answer to something new.
func (s *Settings) recovered(ctx context.Context, address string) (time.Duration, error) {
	s.Step("postgres down · it is back")
	start := time.Now()
	c := load.NewConnection(address, s.Timeout)
	defer c.Close()
	draw := unseen("new", 200)(load.Random(s.Seed, 99))
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		if answer, err := c.Do(draw()); err == nil && answer.Status == 200 {
			return time.Since(start), nil
		}
		if time.Since(start) > 3*s.breakerOpen() {
			return 0, fmt.Errorf("forebay does not answer %s after the database came back", time.Since(start).Round(time.Second))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// RedisDown takes the shared tier away: killed, and then hanging, which is worse.
func (s *Settings) RedisDown(ctx context.Context, st *stage.Stage, population *clients.Population) (*report.Section, error) {
	section := report.NewSection("redis-down", "The shared tier is down",
		"Redis is killed, and in another round it hangs. Nothing may fail, and nobody may wait for it longer than its time budget of 25 ms.")
	redis, err := private.StartRedis(ctx)
	if err != nil {
		section.Note("Not measured: %v", err)
		section.Figures = append(section.Figures, report.Unmeasured("redis-down.errors", "Redis down: errors", "", report.Lower, 0, err.Error()))
		return section, nil
	}
	defer redis.Stop()
	f, err := st.Clients(ctx, stage.Variant{Redis: redis.URL()})
	if err != nil {
		return section, err
	}
	defer f.Stop()
	return section, s.playRedis(ctx, section, redis, f, population)
}

// playRedis has users ask while Redis works, hangs and is away.
func (s *Settings) playRedis(ctx context.Context, section *report.Section, redis *private.Redis, f *stage.Forebay, population *clients.Population) error {
	table := report.Table{Title: fmt.Sprintf("%d users, single clients and unseen searches", s.Users), Columns: []string{"Redis", "requests", "wrong or broken", "timeouts", "p50 ms", "p99 ms", "max ms"}}
	worst, usual, bad := 0.0, 0.0, 0
	for _, state := range []string{"works", "hangs", "is killed"} {
		s.Step("redis down · it %s", state)
		switch state {
		case "hangs":
			if err := redis.Signal(stopSignal); err != nil {
				return fmt.Errorf("make Redis hang: %w", err)
			}
		case "is killed":
			redis.Kill() // also one that hangs
		}
		m := load.Run(ctx, load.Config{Address: f.Address(), Window: s.lasting(5*time.Second, 400*time.Millisecond), Timeout: s.Timeout, Seed: s.Seed},
			load.Stream{Name: "by-id", Connections: s.Users, Rate: float64(s.Users), New: population.ByID(), Group: reads},
			load.Stream{Name: "new", Connections: 20, Rate: 20, New: unseen("new", 200), Group: reads})
		r := m.Of(readClass)
		table.Row(state, fmt.Sprint(r.Asked()), fmt.Sprint(r.Errors()), fmt.Sprint(r.Counts.Timeouts+r.Counts.Unserved), report.Number(r.Latency.P50), report.Number(r.Latency.P99), report.Number(r.Latency.Max))
		bad += r.Errors() + r.Counts.Timeouts + r.Counts.Unserved
		if state == "works" {
			usual = r.Latency.P99
		} else {
			worst = max(worst, r.Latency.P99)
		}
	}
	section.Tables = append(section.Tables, table)
	section.Figures = append(section.Figures,
		report.Low("redis-down.errors", "Redis down: errors and timeouts", float64(bad), "").Want(0, ours),
		report.Low("redis-down.p99", "Redis down: p99 beyond what it is with Redis", max(worst-usual, 0), "ms").Want(25, ours).With("p99 with Redis %s ms, without %s ms", report.Number(usual), report.Number(worst)))
	return ctx.Err()
}

// oneOf asks for the requests, each equally often.
func oneOf(from []*load.Request) clients.DrawFunc {
	return func(random *rand.Rand) load.DrawFunc {
		return func() *load.Request { return from[random.IntN(len(from))] }
	}
}

// unseen asks for searches that nobody asked for before.
func unseen(class string, want int) clients.DrawFunc {
	var n atomic.Int64
	return func(random *rand.Rand) load.DrawFunc {
		return func() *load.Request {
			r := load.NewRequest(class, "GET", fmt.Sprintf("%s?query=q%dx%d", clients.Search, n.Add(1), random.IntN(1e9)), "")
			r.Want = want
			return r
		}
	}
}

func share(part, whole int) float64 { return float64(part) / float64(max(whole, 1)) }
