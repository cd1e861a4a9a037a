package legacy

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/valyala/fasthttp"
)

// count asks for one figure.
func (s *Service) count(ctx context.Context, where string, args ...any) (int, error) {
	var n int
	if err := s.pool.QueryRow(ctx, "select count(*) from clients"+where, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count clients: %w", err)
	}
	return n, nil
}

// counter asks for several figures one after the other and keeps the first error.
type counter struct {
	ctx context.Context
	s   *Service
	err error
}

func (c *counter) of(where string, args ...any) int {
	if c.err != nil {
		return 0
	}
	n, err := c.s.count(c.ctx, where, args...)
	c.err = err
	return n
}

func (s *Service) dashboard(ctx context.Context) (any, error) {
	c := &counter{ctx: ctx, s: s}
	total := c.of("")
	active := c.of(" where status = $1", "active")
	prime := c.of(" where program_type = $1", "PRIME")
	longevity := c.of(" where program_type = $1", "LONGEVITY")
	if c.err != nil {
		return nil, c.err
	}
	rows, err := s.pool.Query(ctx, "select "+columns+" from clients order by updated_at desc limit 15")
	if err != nil {
		return nil, fmt.Errorf("query activity: %w", err)
	}
	newest, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("query activity: %w", err)
	}
	activity := []map[string]any{}
	for _, r := range newest {
		activity = append(activity, map[string]any{
			"client_id": r.ID, "client_name": r.Name, "activity_type": "profile_updated",
			"program_type": r.ProgramType, "status": r.Status, "timestamp": r.UpdatedAt,
		})
	}
	now := time.Now().UTC()
	return map[string]any{
		"metrics": map[string]any{
			"total_clients": total, "active_clients": active, "prime_clients": prime, "longevity_clients": longevity,
			"active_rate": percent(active, total), "generated_at": now,
		},
		"recent_activity": activity, "last_updated": now,
	}, nil
}

// filter is a WHERE clause that grows with what is asked for.
type filter struct {
	where string
	args  []any
}

// and adds a condition whose %d is the parameter's number.
func (f *filter) and(condition string, arg any) {
	f.args = append(f.args, arg)
	word := " and "
	if f.where == "" {
		word = " where "
	}
	f.where += word + fmt.Sprintf(condition, len(f.args))
}

func (s *Service) search(ctx context.Context, args *fasthttp.Args) (any, error) {
	f := &filter{}
	if q := string(args.Peek("query")); q != "" {
		f.and("(name ilike $%[1]d or email ilike $%[1]d)", "%"+q+"%")
	}
	for _, name := range []string{"status", "program_type"} {
		if v := string(args.Peek(name)); v != "" {
			f.and(name+" = $%d", v)
		}
	}
	limit, offset := args.GetUintOrZero("limit"), args.GetUintOrZero("offset")
	if limit == 0 {
		limit = 20
	}
	total, err := s.count(ctx, f.where, f.args...)
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, fmt.Sprintf("select %s from clients%s order by created_at desc limit %d offset %d", columns, f.where, limit, offset), f.args...)
	if err != nil {
		return nil, fmt.Errorf("search clients: %w", err)
	}
	found, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("search clients: %w", err)
	}
	return map[string]any{
		"clients": found,
		"pagination": map[string]any{
			"total_count": total, "limit": limit, "offset": offset, "has_more": offset+limit < total,
			"current_page": offset/limit + 1, "total_pages": (total + limit - 1) / limit,
		},
		"filters_applied": map[string]any{
			"query": string(args.Peek("query")), "status": string(args.Peek("status")), "program_type": string(args.Peek("program_type")),
		},
	}, nil
}

func (s *Service) analytics(ctx context.Context, args *fasthttp.Args) (any, error) {
	days := args.GetUintOrZero("days")
	if days == 0 {
		days = 30
	}
	program := string(args.Peek("program_type"))
	c := &counter{ctx: ctx, s: s}
	of := func(condition string, arg any) int {
		f := &filter{}
		if program != "" {
			f.and("program_type = $%d", program)
		}
		if condition != "" {
			f.and(condition, arg)
		}
		return c.of(f.where, f.args...)
	}
	statuses, programs := map[string]int{}, map[string]int{}
	total := of("", nil)
	for _, status := range []string{"active", "inactive", "paused", "trial", "cancelled"} {
		statuses[status] = of("status = $%d", status)
	}
	for _, p := range []string{"PRIME", "LONGEVITY", "HYBRID"} {
		programs[p] = of("program_type = $%d", p)
	}
	ends := time.Now().UTC()
	begins := ends.AddDate(0, 0, -days)
	current := of("created_at >= $%d", begins)
	both := of("created_at >= $%d", begins.AddDate(0, 0, -days))
	if c.err != nil {
		return nil, c.err
	}
	previous := both - current
	return map[string]any{
		"total_clients": total, "active_clients": statuses["active"], "active_rate": percent(statuses["active"], total),
		"status_distribution": statuses, "program_type_distribution": programs,
		"period_summary": map[string]any{"start_date": begins, "end_date": ends, "program_type_filter": program},
		"growth_metrics": map[string]any{
			"new_clients_current_period": current, "new_clients_previous_period": previous,
			"growth_rate_percentage": percent(current-previous, previous), "trend": trend(current, previous),
		},
		"period": map[string]any{"days": days, "start_date": begins, "end_date": ends},
	}, nil
}

func trend(current, previous int) string {
	switch {
	case current > previous:
		return "up"
	case current < previous:
		return "down"
	}
	return "stable"
}

// percent returns a share with two decimals.
func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return math.Round(10000*float64(part)/float64(whole)) / 100
}
