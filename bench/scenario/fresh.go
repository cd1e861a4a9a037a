package scenario

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"forebay/bench/clients"
	"forebay/bench/load"
	"forebay/bench/report"
	"forebay/bench/stage"
)

// patience is how long a change made outside forebay may take to be seen before it counts as unseen.
func (s *Settings) patience() time.Duration { return s.lasting(3*time.Second, time.Second) }

// Fresh changes clients behind forebay's back, as psql would, and asks for them until the answer is the new
// one. A version, or a configuration, without a change stream does not see such changes before the TTL ends:
// then there is no figure, and the section says why.
func (s *Settings) Fresh(ctx context.Context, st *stage.Stage, population *clients.Population) (*report.Section, error) {
	section := report.NewSection("fresh", "From commit to the first fresh answer",
		"A client is changed in the database by somebody else. How long after the commit was acknowledged does the first answer with the change arrive?")
	unable := st.Supports(ctx, stage.Variant{Changes: true})
	if unable != "" {
		section.Note("This version does not follow the changes that others make: %s", unable)
	}
	s.Step("fresh · starting forebay with its change stream")
	f, err := st.Clients(ctx, stage.Variant{Changes: unable == ""})
	if err != nil {
		return section, err
	}
	defer f.Stop()
	db, err := pgx.Connect(ctx, st.URL(stage.After))
	if err != nil {
		return section, fmt.Errorf("connect as somebody else: %w", err)
	}
	defer db.Close(ctx)
	r := &freshReader{settings: s, conn: load.NewConnection(f.Address(), s.Timeout), db: db, population: population}
	defer r.conn.Close()

	settle(ctx, f.Address(), []*load.Request{load.NewRequest(clients.OfByID, "GET", clients.Client+population.First(0), "")})
	if first, err := r.change(ctx, 0); err != nil {
		return section, err
	} else if first.lasted >= s.patience() {
		why := "a change made outside forebay was still unseen after " + s.patience().String() + ": no change stream yet"
		section.Figures = append(section.Figures, freshFigures(freshRound{}, "", nil, why)...)
		return section, nil
	}
	table := report.Table{Title: "Milliseconds from the commit's acknowledgement to the whole fresh answer", Columns: []string{"", "changes", "p50", "p95", "p99", "max", "old answers meanwhile"}}
	for _, round := range []freshRound{
		{id: "fresh.idle", name: "nobody else writes", changes: s.times(300, 20), goal: true},
		{id: "fresh", name: "1 000 commits a second beside", changes: s.times(300, 20), goal: true, busy: true},
		// The server tells nobody of a commit before it has written its log, some 200 ms later: no goal stands for that.
		{id: "fresh.async", name: "the same with synchronous_commit=off", changes: s.times(100, 10), busy: true, async: true},
	} {
		if err := s.freshRound(ctx, section, &table, r, st, round); err != nil {
			return section, err
		}
	}
	section.Tables = append(section.Tables, table)
	return section, nil
}

// freshRound is one of the circumstances under which it is measured.
type freshRound struct {
	id, name string
	changes  int
	goal     bool
	busy     bool // others write, too
	async    bool // everybody's commits are acknowledged before they are in the log
}

// freshRound measures under these circumstances.
func (s *Settings) freshRound(ctx context.Context, section *report.Section, table *report.Table, r *freshReader, st *stage.Stage, round freshRound) error {
	commits := "on"
	if round.async {
		commits = "off"
	}
	stop := func() float64 { return 0 }
	if _, err := r.db.Exec(ctx, "set synchronous_commit = "+commits); err != nil {
		return fmt.Errorf("set synchronous_commit: %w", err)
	}
	if round.busy {
		var err error
		if stop, err = crowd(ctx, st.URL(stage.After), commits); err != nil {
			return err
		}
	}
	s.Step("fresh · %s", round.name)
	var times []float64
	old, unstored := 0, 0
	for i := range round.changes {
		seen, err := r.change(ctx, i+1)
		if err != nil {
			stop()
			return err
		}
		times = append(times, float64(seen.lasted)/float64(time.Millisecond))
		old += seen.old
		if !seen.stored {
			unstored++
		}
	}
	name := round.name
	if beside := stop(); round.busy {
		name = fmt.Sprintf("%.0f commits a second beside", beside)
	}
	if round.async {
		name += ", synchronous_commit=off"
	}
	if unstored > 0 {
		section.Note("%s: %d of %d responses were not stored when they were changed, so that their freshness proves nothing.", name, unstored, len(times))
	}
	slices.Sort(times)
	at := func(p float64) string { return report.Number(times[int(p*float64(len(times)-1))]) }
	table.Row(name, fmt.Sprint(len(times)), at(0.5), at(0.95), at(0.99), at(1), fmt.Sprint(old))
	section.Figures = append(section.Figures, freshFigures(round, name, times, "")...)
	return nil
}

// freshFigures are the median and the p99, without values if there are no times.
func freshFigures(round freshRound, name string, times []float64, why string) []report.Figure {
	const what = "commit to the first fresh answer"
	if times == nil {
		return []report.Figure{
			report.Unmeasured("fresh.p50", what+", 1 000 commits a second: median", "ms", report.Lower, 2, why),
			report.Unmeasured("fresh.p99", what+", 1 000 commits a second: p99", "ms", report.Lower, 20, why),
		}
	}
	median := report.Low(round.id+".p50", what+", "+name+": median", times[len(times)/2], "ms")
	worst := report.Low(round.id+".p99", what+", "+name+": p99", times[(len(times)-1)*99/100], "ms")
	if round.goal {
		median, worst = median.Want(2, ours), worst.Want(20, ours)
	}
	return []report.Figure{median, worst}
}

// freshReader changes and asks. Not safe for concurrent use.
type freshReader struct {
	settings   *Settings
	conn       *load.Connection
	db         *pgx.Conn
	population *clients.Population
}

// seen is what became of one change.
type seen struct {
	lasted time.Duration // until the fresh answer, at most patience
	old    int           // answers without the change, asked for after the commit
	stored bool          // its response was, before the change
}

// change changes the n-th client when its response is stored, and asks until the answer has it.
func (r *freshReader) change(ctx context.Context, n int) (seen, error) {
	id := r.population.First(n % 100)
	request := load.NewRequest(clients.OfByID, "GET", clients.Client+id, "")
	stored := false
	for range 5 {
		answer, err := r.conn.Do(request)
		if err := answer.Expect(200, err); err != nil {
			return seen{}, fmt.Errorf("ask for client: %w", err)
		}
		if stored = answer.From == load.Hit; stored {
			break
		}
	}
	mark := fmt.Sprintf("changed outside %d %d", n, time.Now().UnixNano())
	if _, err := r.db.Exec(ctx, "update clients set notes = $2 where id = $1", id, mark); err != nil {
		return seen{}, fmt.Errorf("change client: %w", err)
	}
	committed := time.Now()
	s := seen{stored: stored}
	for s.lasted < r.settings.patience() {
		if _, err := r.conn.Do(request); err != nil {
			return s, fmt.Errorf("ask for changed client: %w", err)
		}
		s.lasted = time.Since(committed)
		if bytes.Contains(r.conn.Body(), []byte(mark)) {
			return s, nil
		}
		s.old++
		if err := ctx.Err(); err != nil {
			return s, err
		}
	}
	s.lasted = r.settings.patience()
	return s, nil
}

// crowd commits about a thousand changes a second to other tables and rows until the function it returns is
// called, which tells how many it were. Commits is what their synchronous_commit is.
func crowd(ctx context.Context, url, commits string) (stop func() (perSecond float64), err error) {
	const writers, each = 8, 8 * time.Millisecond
	ctx, cancel := context.WithCancel(ctx)
	var conns []*pgx.Conn
	for range writers {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			cancel()
			return nil, fmt.Errorf("connect as somebody else: %w", err)
		}
		if _, err := conn.Exec(ctx, "set synchronous_commit = "+commits); err != nil {
			cancel()
			return nil, fmt.Errorf("set synchronous_commit: %w", err)
		}
		conns = append(conns, conn)
	}
	var group sync.WaitGroup
	counts := make([]int, writers)
	start := time.Now()
	for i, conn := range conns {
		group.Go(func() {
			defer conn.Close(context.WithoutCancel(ctx))
			ticker := time.NewTicker(each)
			defer ticker.Stop()
			for n := i; ctx.Err() == nil; n += writers {
				if _, err := conn.Exec(ctx, "update training_programs set notes = $2 where id = 1 + $1 % 1000", n, fmt.Sprint(n)); err != nil {
					return
				}
				counts[i]++
				select {
				case <-ticker.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return func() float64 {
		cancel()
		group.Wait()
		sum := 0
		for _, n := range counts {
			sum += n
		}
		return float64(sum) / time.Since(start).Seconds()
	}, nil
}
