package nexus_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

const analyticsRoute = "GET /api/v1/optimized/clients/analytics/performance"

// analytics is the data of the analytics route.
type analytics struct {
	Total      int            `json:"total_clients"`
	Active     int            `json:"active_clients"`
	ActiveRate float64        `json:"active_rate"`
	Statuses   map[string]int `json:"status_distribution"`
	Programs   map[string]int `json:"program_type_distribution"`
	Summary    summary        `json:"period_summary"`
	Growth     growth         `json:"growth_metrics"`
	Period     period         `json:"period"`
}

type summary struct {
	Start   time.Time `json:"start_date"`
	End     time.Time `json:"end_date"`
	Program *string   `json:"program_type_filter"`
}

type growth struct {
	Current  int     `json:"new_clients_current_period"`
	Previous int     `json:"new_clients_previous_period"`
	Rate     float64 `json:"growth_rate_percentage"`
	Trend    string  `json:"trend"`
}

type period struct {
	Days  int       `json:"days"`
	Start time.Time `json:"start_date"`
	End   time.Time `json:"end_date"`
}

// percent is a share in percent with two decimals, 0 of nothing.
func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return math.Round(1e4*float64(part)/float64(whole)) / 100
}

// naiveAnalytics looks at every client.
func naiveAnalytics(all []client, now time.Time, days int, program string) analytics {
	length := time.Duration(days) * 24 * time.Hour
	start := now.Add(-length)
	a := analytics{
		Statuses: map[string]int{}, Programs: map[string]int{},
		Summary: summary{Start: start, End: now}, Period: period{Days: days, Start: start, End: now},
	}
	if program != "" {
		a.Summary.Program = &program
	}
	for _, c := range all {
		if program != "" && c.ProgramType != program {
			continue
		}
		a.Total++
		if c.Status == "active" {
			a.Active++
		}
		a.Statuses[c.Status]++
		a.Programs[c.ProgramType]++
		switch {
		case !c.CreatedAt.Before(now):
		case !c.CreatedAt.Before(start):
			a.Growth.Current++
		case !c.CreatedAt.Before(start.Add(-length)):
			a.Growth.Previous++
		}
	}
	a.ActiveRate = percent(a.Active, a.Total)
	a.Growth.Rate = percent(a.Growth.Current-a.Growth.Previous, a.Growth.Previous)
	if a.Growth.Previous == 0 && a.Growth.Current > 0 {
		a.Growth.Rate = 100
	}
	a.Growth.Trend = map[int]string{-1: "down", 0: "stable", 1: "up"}[cmp.Compare(a.Growth.Current, a.Growth.Previous)]
	return a
}

// compareAnalytics runs the statement for many periods and programs.
func compareAnalytics(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	all := everyClient(t, conn)
	now := one[time.Time](t, conn, "select now()")
	statement := find(t, analyticsRoute, "rows")
	for _, days := range []int{1, 2, 7, 30, 182, 365} {
		for _, program := range []string{"", "PRIME", "HYBRID"} {
			args := arguments{"days": strconv.Itoa(days)}
			if program != "" {
				args["program_type"] = program
			}
			var got []analytics
			statement.rows(t, conn, args, &got)
			if d := gocmp.Diff([]analytics{naiveAnalytics(all, now, days, program)}, got); d != "" {
				t.Errorf("%d days, program %q (-want +got):\n%s", days, program, d)
			}
		}
	}
}

func TestAnalyticsCountWhatLookingAtEveryClientCounts(t *testing.T) {
	t.Parallel()
	tx := begin(t, filled(t))
	compareAnalytics(t, tx.Conn())
}

func TestAnalyticsOfNoClientsAreZeros(t *testing.T) {
	t.Parallel()
	tx := begin(t, newDatabase(t, nil))
	compareAnalytics(t, tx.Conn())
}

func TestAnalyticsPutClientsIntoTheRightPeriodToTheMicrosecond(t *testing.T) {
	t.Parallel()
	tx := begin(t, newDatabase(t, nil))
	// At each edge of a period and of a UTC day, and one microsecond to either side; and in the future.
	exec(t, tx.Conn(), `insert into clients (name, email, program_type, created_at)
		select 'Edge', 'edge' || row_number() over () || '@example.com', (array['PRIME', 'HYBRID'])[1 + n % 2], edge + shift * interval '1 microsecond'
		from generate_series(0, 62) as n, generate_series(-1, 1) as shift,
			lateral (values (now() - make_interval(hours => 24 * n)),
				(date_trunc('day', now(), 'UTC') - make_interval(hours => 24 * n)), (now() + make_interval(hours => 7 * n))) as edges (edge)`)
	compareAnalytics(t, tx.Conn())
}

func TestAnalyticsDoNotHangOnTheSessionsTimeZone(t *testing.T) {
	t.Parallel()
	tx := begin(t, filled(t))
	exec(t, tx.Conn(), "set local timezone = 'Pacific/Kiritimati'") // 14 hours ahead of UTC
	compareAnalytics(t, tx.Conn())
}

// A rate has two decimals in the text itself, as money has.
func TestRatesAreNumbersWithTwoDecimals(t *testing.T) {
	t.Parallel()
	conn := connect(t, newDatabase(t, nil))
	rates := func() []string {
		var rows []struct {
			ActiveRate json.Number `json:"active_rate"`
			Growth     struct {
				Rate json.Number `json:"growth_rate_percentage"`
			} `json:"growth_metrics"`
		}
		find(t, analyticsRoute, "rows").rows(t, conn, arguments{"days": "30"}, &rows)
		var dashboards []struct {
			Metrics struct {
				ActiveRate json.Number `json:"active_rate"`
			} `json:"metrics"`
		}
		find(t, dashboardRoute, "rows").rows(t, conn, nil, &dashboards)
		return []string{rows[0].ActiveRate.String(), rows[0].Growth.Rate.String(), dashboards[0].Metrics.ActiveRate.String()}
	}
	if d := gocmp.Diff([]string{"0.00", "0.00", "0.00"}, rates()); d != "" {
		t.Errorf("of no clients (-want +got):\n%s", d)
	}
	exec(t, conn, `insert into clients (name, email, program_type, status) values
		('A', 'a@example.com', 'PRIME', 'active'), ('B', 'b@example.com', 'PRIME', 'active'), ('C', 'c@example.com', 'PRIME', 'trial')`)
	if d := gocmp.Diff([]string{"66.67", "100.00", "66.67"}, rates()); d != "" {
		t.Errorf("of three clients (-want +got):\n%s", d)
	}
}

const dashboardRoute = "GET /api/v1/optimized/clients/dashboard"

func TestDashboardShowsTheFiguresAndTheNewest(t *testing.T) {
	t.Parallel()
	tx := begin(t, filled(t))
	all := everyClient(t, tx.Conn())
	type figures struct {
		Total     int       `json:"total_clients"`
		Active    int       `json:"active_clients"`
		Prime     int       `json:"prime_clients"`
		Longevity int       `json:"longevity_clients"`
		Rate      float64   `json:"active_rate"`
		At        time.Time `json:"generated_at"`
	}
	want := figures{Total: len(all), At: one[time.Time](t, tx.Conn(), "select now()")}
	for _, c := range all {
		want.Active += count(c.Status == "active")
		want.Prime += count(c.ProgramType == "PRIME")
		want.Longevity += count(c.ProgramType == "LONGEVITY")
	}
	want.Rate = percent(want.Active, want.Total)
	var got []struct {
		Metrics  figures `json:"metrics"`
		Activity []struct {
			ID      string    `json:"client_id"`
			Name    string    `json:"client_name"`
			Type    string    `json:"activity_type"`
			Program string    `json:"program_type"`
			Status  string    `json:"status"`
			At      time.Time `json:"timestamp"`
		} `json:"recent_activity"`
		At time.Time `json:"last_updated"`
	}
	find(t, dashboardRoute, "rows").rows(t, tx.Conn(), nil, &got)
	if d := gocmp.Diff(want, got[0].Metrics); d != "" {
		t.Errorf("metrics (-want +got):\n%s", d)
	}
	if !got[0].At.Equal(want.At) {
		t.Errorf("last_updated = %s, want %s", got[0].At, want.At)
	}

	slices.SortFunc(all, func(a, b client) int { return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), strings.Compare(a.ID, b.ID)) })
	var lines, wantLines []string
	for _, c := range all[:15] {
		wantLines = append(wantLines, fmt.Sprint(c.ID, c.Name, "profile_updated", c.ProgramType, c.Status, c.UpdatedAt))
	}
	for _, a := range got[0].Activity {
		lines = append(lines, fmt.Sprint(a.ID, a.Name, a.Type, a.Program, a.Status, a.At))
	}
	if d := gocmp.Diff(wantLines, lines); d != "" {
		t.Errorf("recent activity (-want +got):\n%s", d)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A plan that hides what it reads would have to be looked at on every fill.
func TestTheDashboardsFunctionIsReadInPlace(t *testing.T) {
	t.Parallel()
	conn := connect(t, newDatabase(t, nil))
	rows, err := conn.Query(t.Context(), "explain select * from get_client_dashboard_metrics()")
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if plan := strings.Join(lines, "\n"); !strings.Contains(plan, "on client_counts") {
		t.Errorf("the plan does not show client_counts:\n%s", plan)
	}
}
