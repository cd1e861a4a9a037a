package postgres_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"forebay/upstream/postgres"
)

// The benchmarks here are ratios: what is compared takes turns in one run, so that what else the machine
// does hits both alike. They report the median of the pairs.

const benchSchema = `create table clients (id int primary key, name text not null, email text not null, status text not null,
  balance numeric(10,2) not null, active bool not null, tags text[] not null, created_at timestamptz not null);
insert into clients select i, 'Client number ' || i, 'client' || i || '@example.com', (array['active','paused','trial'])[i % 3 + 1],
  i / 7.0, i % 2 = 0, array['a', 'b'], timestamptz '2026-01-01' + i * interval '1 minute' from generate_series(1, 100000) i;
create table made (id bigint generated always as identity primary key, name text not null, email text not null, at timestamptz not null default now());
analyze clients;`

const benchRoutes = `
- route: GET /clients/{id}
  ttl: 60s
  params: {id: int}
  query: select id, name, email, status, balance, active, tags, created_at from clients where id = @id
  rows: one
- route: GET /clients
  ttl: 60s
  params: {after: int}
  query: select id, name, email, status, balance, active, tags, created_at from clients where id > @after order by id limit 50
- route: GET /aggregated
  ttl: 60s
  params: {after: int}
  query: select json_agg(c) from (select id, name, email, status, balance, active, tags, created_at from clients where id > @after order by id limit 50) c
  rows: value
- route: POST /made
  body: {name: text, email: text}
  query: insert into made (name, email) values (@name, @email) returning id
  rows: one
- route: POST /batch
  batch: {max_items: 50, item: {name: text, email: text}, failed: "@error"}
  query: insert into made (name, email) values (@name, @email) returning id
  rows: one
  response: {made: "@succeeded", failed: "@failed"}
- route: GET /export
  query: select id, name, email, status, balance, active, created_at from clients
  formats: [{accept: text/csv, filename: clients.csv}]
`

// side is one of the two that are compared.
type side struct {
	name string
	do   func(n int) // the work, n times
}

// cost is what a side took.
type cost struct{ elapsed, cpu time.Duration }

// compare lets the sides take turns and reports b.N times n units of each as ratios of the first to the
// second.
func compare(b *testing.B, s *site, n int, a, z side) {
	b.Helper()
	a.do(n)
	z.do(n)
	var elapsed, cpu []float64
	var first, second cost
	for b.Loop() {
		one, other := s.cost(b, a, n), s.cost(b, z, n)
		elapsed = append(elapsed, float64(one.elapsed)/float64(other.elapsed))
		cpu = append(cpu, float64(one.cpu)/float64(max(other.cpu, 1)))
		first, second = one, other
	}
	slices.Sort(elapsed)
	slices.Sort(cpu)
	b.ReportMetric(elapsed[len(elapsed)/2], "time-ratio")
	b.ReportMetric(cpu[len(cpu)/2], "cpu-ratio")
	b.ReportMetric(float64(first.elapsed.Microseconds())/float64(n), a.name+"-µs")
	b.ReportMetric(float64(second.elapsed.Microseconds())/float64(n), z.name+"-µs")
}

// cost measures the work n times: time, and CPU of this process and of the server's backends.
func (s *site) cost(b *testing.B, side side, n int) cost {
	b.Helper()
	before, start := s.cpu(b), time.Now()
	side.do(n)
	elapsed := time.Since(start)
	return cost{elapsed: elapsed, cpu: s.cpu(b) - before}
}

// cpu is the CPU time of this process and, where /proc has it, of the backends of the site's database.
func (s *site) cpu(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	total := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	pids := s.one(b, "select coalesce(string_agg(pid::text, ','), '') from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
	for pid := range strings.SplitSeq(pids, ",") {
		text, err := os.ReadFile("/proc/" + pid + "/schedstat") // nanoseconds on a CPU, first
		if err != nil {
			continue
		}
		if ran, _, ok := strings.Cut(string(text), " "); ok {
			ns, err := strconv.ParseInt(ran, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			total += time.Duration(ns)
		}
	}
	return total
}

// concurrently shares n units of work among eight.
func concurrently(n int, do func(i int)) {
	var work sync.WaitGroup
	for w := range 8 {
		work.Go(func() {
			for i := w; i < n; i += 8 {
				do(i)
			}
		})
	}
	work.Wait()
}

func (s *site) pgx(b *testing.B) *pgxpool.Pool {
	b.Helper()
	config, err := pgxpool.ParseConfig(s.url)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = int32(s.config.MaxConnections)
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return pool
}

// fills returns the side that runs a read of the site.
func (s *site) fills(b *testing.B, name string, calls []postgres.Call) side {
	return side{name, func(n int) {
		concurrently(n, func(i int) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if _, err := s.Fill(ctx, calls[i%len(calls)]); err != nil {
				b.Error(err)
			}
		})
	}}
}

// queries returns the side that runs the same statement straight through pgx, and reads every value.
func queries(b *testing.B, pool *pgxpool.Pool, sql string, arguments []any) side {
	return side{"pgx", func(n int) {
		concurrently(n, func(i int) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			rows, err := pool.Query(ctx, sql, arguments[i%len(arguments)])
			if err != nil {
				b.Error(err)
				return
			}
			size := 0
			for rows.Next() {
				for _, v := range rows.RawValues() {
					size += len(v)
				}
			}
			if rows.Close(); rows.Err() != nil || size == 0 {
				b.Error(rows.Err(), size)
			}
		})
	}}
}

// BenchmarkMiss compares a fill with the same statement straight through pgx: one row, and 50.
func BenchmarkMiss(b *testing.B) {
	s := newSite(b, benchSchema, benchRoutes)
	pool := s.pgx(b)
	f := func(name, route string) {
		var calls []postgres.Call
		var arguments []any
		for i := range 100 {
			calls = append(calls, s.call(b, fmt.Sprintf(route, i*997+1), ""))
			arguments = append(arguments, i*997+1)
		}
		sql := calls[0].Rule.Query.Statements[0].SQL
		b.Run(name, func(b *testing.B) {
			compare(b, s, 2000, s.fills(b, "forebay", calls), queries(b, pool, sql, arguments))
		})
	}
	f("one", "GET /clients/%d")
	f("fifty", "GET /clients?after=%d")
}

// BenchmarkList compares 50 rows encoded here with the same through json_agg.
func BenchmarkList(b *testing.B) {
	s := newSite(b, benchSchema, benchRoutes)
	var rows, aggregated []postgres.Call
	for i := range 100 {
		rows = append(rows, s.call(b, fmt.Sprintf("GET /clients?after=%d", i*997), ""))
		aggregated = append(aggregated, s.call(b, fmt.Sprintf("GET /aggregated?after=%d", i*997), ""))
	}
	compare(b, s, 2000, s.fills(b, "json_agg", aggregated), s.fills(b, "rows", rows))
}

// BenchmarkBatch compares a batch of 50 inserts with 50 single ones, one after another.
func BenchmarkBatch(b *testing.B) {
	s := newSite(b, benchSchema, benchRoutes)
	const item = `{"name": "New Client", "email": "new@example.com"}`
	batch, single := s.call(b, "POST /batch", "["+strings.Repeat(item+",", 49)+item+"]"), s.call(b, "POST /made", item)
	compare(b, s, 4, side{"batch", func(n int) {
		for range n {
			if _, err := s.WriteBatch(context.Background(), batch); err != nil {
				b.Fatal(err)
			}
		}
	}}, side{"single", func(n int) {
		for range n * 50 {
			if _, err := s.Write(context.Background(), single); err != nil {
				b.Fatal(err)
			}
		}
	}})
}

// BenchmarkExport compares an export as CSV with COPY of the same statement, read and thrown away.
func BenchmarkExport(b *testing.B) {
	s := newSite(b, benchSchema, benchRoutes)
	call := s.call(b, "GET /export", "")
	call.Format = 0
	conn, err := pgx.Connect(b.Context(), s.url)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	copied := "copy (" + call.Rule.Query.Statements[0].SQL + ") to stdout (format csv, header)"
	var exported, copiedBytes int64
	compare(b, s, 1, side{"export", func(int) {
		e, err := s.Export(context.Background(), call)
		if err != nil {
			b.Fatal(err)
		}
		if exported, err = io.Copy(io.Discard, e); err != nil {
			b.Fatal(err)
		}
	}}, side{"copy", func(int) {
		var w counter
		if _, err := conn.PgConn().CopyTo(context.Background(), &w, copied); err != nil {
			b.Fatal(err)
		}
		copiedBytes = int64(w)
	}})
	if exported < copiedBytes*9/10 {
		b.Fatalf("exported %d bytes, COPY wrote %d", exported, copiedBytes)
	}
	b.ReportMetric(float64(exported)/1e6, "MB")
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
