package scenario

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"forebay/bench/clients"
	"forebay/bench/gauge"
	"forebay/bench/load"
	"forebay/bench/report"
	"forebay/bench/stage"
)

// Stampede has a crowd ask for the dashboard at the same moment, just when nothing is stored.
func (s *Settings) Stampede(ctx context.Context, st *stage.Stage) (*report.Section, error) {
	crowd := s.times(5000, 200)
	section := report.NewSection("stampede", "A crowd at once",
		fmt.Sprintf("%d connections ask for the dashboard in the same moment, after everything stored was dropped. One of them should reach the database.", crowd))
	s.Step("stampede · %d connections", crowd)
	f, err := st.Clients(ctx, stage.Variant{})
	if err != nil {
		return section, err
	}
	defer f.Stop()
	statements, err := gauge.NewStatements(ctx, st.URL(stage.Admin), stage.After)
	if err != nil {
		return section, err
	}
	defer statements.Close()

	return section, s.stampede(ctx, section, f, statements, crowd)
}

// stampede plays the rounds.
func (s *Settings) stampede(ctx context.Context, section *report.Section, f *stage.Forebay, statements *gauge.Statements, crowd int) error {
	table := report.Table{Title: "Each round", Columns: []string{"round", "answered", "wrong or broken", "runs of the statement", "median ms", "last ms"}}
	var worstCalls, wrong int
	var last []float64
	connections := openAll(f.Address(), crowd, s.Timeout)
	defer func() {
		for _, c := range connections {
			c.Close()
		}
	}()
	settle(ctx, f.Address(), []*load.Request{load.NewRequest(clients.OfDashboard, "GET", clients.Dashboard, "")})
	for round := range s.times(5, 1) {
		if err := f.Purge(); err != nil {
			return err
		}
		before, err := statements.Calls(ctx, "get_client_dashboard_metrics")
		if err != nil {
			return err
		}
		times, bad := together(ctx, connections)
		after, err := statements.Calls(ctx, "get_client_dashboard_metrics")
		if err != nil {
			return err
		}
		slices.Sort(times)
		worstCalls, wrong = max(worstCalls, int(after-before)), wrong+bad
		last = append(last, times[len(times)-1])
		table.Row(fmt.Sprint(round+1), fmt.Sprint(len(times)-bad), fmt.Sprint(bad), fmt.Sprint(after-before),
			report.Number(times[len(times)/2]), report.Number(times[len(times)-1]))
	}
	section.Tables = append(section.Tables, table)
	section.Figures = append(section.Figures,
		report.Low("stampede.statements", fmt.Sprintf("%d concurrent misses: times the statement ran, worst round", crowd), float64(worstCalls), "").Want(1, ours),
		report.Low("stampede.errors", fmt.Sprintf("%d concurrent misses: errors", crowd), float64(wrong), "").Want(0, ours),
		report.Low("stampede.last", fmt.Sprintf("%d concurrent misses: until the last was answered", crowd), slices.Max(last), "ms"))
	return ctx.Err()
}

// openAll opens connections, a few at a time, each with a small request.
func openAll(address string, n int, timeout time.Duration) []*load.Connection {
	connections := make([]*load.Connection, n)
	probe := load.NewRequest("probe", "GET", clients.Dashboard, "")
	var group sync.WaitGroup
	for worker := range 32 {
		group.Go(func() {
			for i := worker; i < n; i += 32 {
				connections[i] = load.NewConnection(address, timeout)
				_, _ = connections[i].Do(probe) // a connection that fails is opened, and counted, when it matters
			}
		})
	}
	group.Wait()
	return connections
}

// together has all connections ask in the same moment and returns the milliseconds each waited.
func together(ctx context.Context, connections []*load.Connection) (times []float64, bad int) {
	request := load.NewRequest(clients.OfDashboard, "GET", clients.Dashboard, "")
	times = make([]float64, len(connections))
	wrong := make([]bool, len(connections))
	gate := make(chan struct{})
	var group sync.WaitGroup
	var start time.Time
	for i, c := range connections {
		group.Go(func() {
			<-gate
			answer, err := c.Do(request)
			times[i] = float64(time.Since(start)) / float64(time.Millisecond)
			wrong[i] = err != nil || answer.Status != 200 || ctx.Err() != nil
		})
	}
	start = time.Now()
	close(gate)
	group.Wait()
	for _, w := range wrong {
		if w {
			bad++
		}
	}
	return times, bad
}
