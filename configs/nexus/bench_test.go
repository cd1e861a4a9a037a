package nexus_test

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// BenchmarkMiss measures what each read route costs Postgres: its statements in one pipeline and one snapshot, each as
// prepared as its rule has it, one at a time, on as many clients as NEXUS_CLIENTS says. The p50 is reported beside the
// mean.
//
//	go test -run '^$' -bench Miss ./configs/nexus
func BenchmarkMiss(b *testing.B) {
	clients := cmp.Or(os.Getenv("NEXUS_CLIENTS"), "200000")
	start := time.Now()
	database := newDatabase(b, map[string]string{"nexus.clients": clients})
	b.Logf("%s clients loaded in %s", clients, time.Since(start).Round(10*time.Millisecond))
	script(b, database, nil, "vacuum clients") // what autovacuum does within a minute

	var ids, id string
	{
		conn := connect(b, database)
		ids = one[string](b, conn, "select array_agg(id)::text from (select id from clients order by md5(id::text) limit 100) as some")
		id = one[string](b, conn, "select id::text from clients order by md5(id::text) limit 1")
	}
	paged := func(query, status, program string) arguments {
		return search{query: query, status: status, program: program, limit: 20}.arguments()
	}
	f := func(name, route string, args arguments, statements ...string) {
		b.Run(name, func(b *testing.B) { benchmarkRoute(b, database, route, args, statements) })
	}
	f("dashboard", dashboardRoute, nil, "rows")
	f("search/ann", searchRoute, paged("ann", "", ""), "rows")
	f("search/ann,active", searchRoute, paged("ann", "active", ""), "rows")
	f("search/ann,active,PRIME", searchRoute, paged("ann", "active", "PRIME"), "rows")
	f("search/smith", searchRoute, paged("smith", "", ""), "rows")
	f("search/anna.smith", searchRoute, paged("anna.smith", "", ""), "rows")
	f("search/nobody", searchRoute, paged("nobody at all", "", ""), "rows")
	f("search/an", searchRoute, paged("an", "", ""), "rows")
	f("list", searchRoute, paged("", "", ""), "rows")
	f("list/active,PRIME", searchRoute, paged("", "active", "PRIME"), "rows")
	f("list/cancelled,HYBRID", searchRoute, paged("", "cancelled", "HYBRID"), "rows")
	f("analytics/30", analyticsRoute, arguments{"days": "30"}, "rows")
	f("analytics/365", analyticsRoute, arguments{"days": "365"}, "rows")
	f("analytics/365,PRIME", analyticsRoute, arguments{"days": "365", "program_type": "PRIME"}, "rows")
	f("by-ids/100", "GET /api/v1/optimized/clients/by-ids", arguments{"ids": ids}, "clients", "requested_count", "found_count", "missing_ids")
	f("client", "GET /api/v1/clients/{id}", arguments{"id": id}, "rows")
	f("export", "GET /api/v1/optimized/clients/bulk-export", nil, "rows")
}

func benchmarkRoute(b *testing.B, database, route string, args arguments, names []string) {
	conn := connect(b, database)
	exec(b, conn, "set max_parallel_workers_per_gather = 0") // as forebay reads
	if config, err := configuration(); err == nil && config.Rules.Rule(route).Query.CustomPlan {
		exec(b, conn, "set plan_cache_mode = force_custom_plan")
	}
	var statements []statement
	for i, name := range names {
		s := find(b, route, name)
		if _, err := conn.PgConn().Prepare(b.Context(), strconv.Itoa(i), s.text, nil); err != nil {
			b.Fatal(err)
		}
		statements = append(statements, s)
	}
	times := make([]time.Duration, 0, 1024)
	for b.Loop() {
		start := time.Now()
		if err := runRoute(b.Context(), conn.PgConn(), statements, args); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2])/1e6, "p50-ms")
}

// runRoute runs the prepared statements as one round trip.
func runRoute(ctx context.Context, conn *pgconn.PgConn, statements []statement, args arguments) error {
	p := conn.StartPipeline(ctx)
	if len(statements) > 1 {
		p.SendQueryParams("begin isolation level repeatable read", nil, nil, nil, nil)
	}
	for i, s := range statements {
		p.SendQueryPrepared(strconv.Itoa(i), s.values(args), nil, nil)
	}
	if len(statements) > 1 {
		p.SendQueryParams("commit", nil, nil, nil, nil)
	}
	if err := p.Sync(); err != nil {
		return err
	}
	for {
		results, err := p.GetResults()
		if err != nil || results == nil {
			return cmp.Or(err, p.Close())
		}
		if reader, ok := results.(*pgconn.ResultReader); ok {
			for reader.NextRow() {
			}
			if _, err := reader.Close(); err != nil {
				return cmp.Or(err, p.Close())
			}
		}
		if _, ok := results.(*pgconn.PipelineSync); ok {
			return p.Close()
		}
	}
}
