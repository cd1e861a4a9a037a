package postgres_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"forebay/cache"
	"forebay/upstream/postgres"
)

const exportRoutes = `
- route: GET /rows
  ttl: 60s
  params: {n: int, width: {type: int, default: 10}}
  query: select i as id, repeat('x', @width) as name, case when i % 2 = 0 then i / 3.0 end as share from (select generate_series(1, @n::int) as i) g
  formats:
    - {accept: text/csv, filename: rows.csv}
    - {accept: application/x-ndjson, filename: rows.ndjson}
- route: GET /cells
  query: select * from cells order by id
  formats:
    - {accept: text/csv, filename: rows.csv}
    - {accept: application/x-ndjson, filename: rows.ndjson}
- route: GET /titled
  query: select * from cells order by id
  formats:
    - {accept: text/csv, filename: rows.csv, columns: {t: Text, id: No.}}
- route: GET /broken
  query: select i, 1 / (i - 50000) as n from (select generate_series(1, 100000) as i) g
  formats:
    - {accept: text/csv, filename: rows.csv}
- route: GET /slow
  query: select i, pg_sleep(case when i = 1 then 0 else 60 end)::text as s from generate_series(1, 2) i
  formats:
    - {accept: text/csv, filename: rows.csv}
`

const cellsSchema = `create table cells (id int primary key, t text, n numeric);
insert into cells values (1, '=1+1', -5), (2, '+49 30 123', 0), (3, '@SUM', 1.50), (4, '-7', null), (5, '-2+3', 1), (6, '+4930', 1),
  (7, E'\t=x', 1), (8, E'\r=x', 1), (9, 'a "quoted", cell', 1), (10, null, 1), (11, '', 1), (12, E'two\nlines', 1), (13, '-7.5', 1), (14, '+', 1);`

// open starts the export of a route in its nth form.
func (s *site) open(t testing.TB, request string, format int) *postgres.Export {
	t.Helper()
	e, err := s.tryOpen(t, request, format)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func (s *site) tryOpen(t testing.TB, request string, format int) (*postgres.Export, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel() // bounds the start alone
	call := s.call(t, request, "")
	call.Format = format
	return s.Export(ctx, call)
}

func TestExportDefusesFormulasAndLeavesNumbers(t *testing.T) {
	t.Parallel()
	for way, option := range bothWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, cellsSchema, exportRoutes, option)
			text, err := io.ReadAll(s.open(t, "GET /cells", 0))
			if err != nil {
				t.Fatal(err)
			}
			records, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
			if err != nil {
				t.Fatalf("%v in %q", err, text)
			}
			want := [][]string{
				{"id", "t", "n"},
				{"1", "'=1+1", "-5"},
				{"2", "+49 30 123", "0"},
				{"3", "'@SUM", "1.50"},
				{"4", "-7", ""},
				{"5", "'-2+3", "1"},
				{"6", "+4930", "1"},
				{"7", "'\t=x", "1"},
				{"8", "'\r=x", "1"},
				{"9", `a "quoted", cell`, "1"},
				{"10", "", "1"},
				{"11", "", "1"},
				{"12", "two\nlines", "1"},
				{"13", "-7.5", "1"},
				{"14", "'+", "1"},
			}
			if !slices.EqualFunc(records, want, slices.Equal) {
				t.Errorf("read\n%q; want\n%q", records, want)
			}
		})
	}
}

func TestExportForms(t *testing.T) {
	t.Parallel()
	s := newSite(t, cellsSchema, exportRoutes)
	f := func(request string, format int, contentType, filename, begins string, lines int) {
		t.Helper()
		e := s.open(t, request, format)
		text, err := io.ReadAll(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Count(text, []byte("\n")); got != lines || !strings.HasPrefix(string(text), begins) {
			t.Errorf("%s: %d lines beginning with %.80q; want %d beginning with %q", request, got, text, lines, begins)
		}
		if e.ContentType != contentType || e.Filename != filename {
			t.Errorf("%s: %q as %q", request, e.ContentType, e.Filename)
		}
	}
	const asCSV = "text/csv; charset=utf-8; header=present"
	f("GET /rows?n=3", 0, asCSV, "rows.csv", "id,name,share\r\n1,xxxxxxxxxx,\r\n2,", 4)
	f("GET /rows?n=3", 1, "application/x-ndjson", "rows.ndjson", `{"id":1,"name":"xxxxxxxxxx","share":null}`+"\n", 3)
	f("GET /rows?n=0", 0, asCSV, "rows.csv", "id,name,share\r\n", 1)
	f("GET /rows?n=0", 1, "application/x-ndjson", "rows.ndjson", "", 0)
	f("GET /titled", 0, asCSV, "rows.csv", "Text,No.\r\n'=1+1,1\r\n", 16)
}

// A million rows are read in constant memory.
func TestExportOfAMillionRowsHoldsNone(t *testing.T) {
	s := newSite(t, "", exportRoutes)
	e := s.open(t, "GET /rows?n=1000000&width=100", 1)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	before, highest := heap(), int64(0)
	buffer, lines, size := make([]byte, 32<<10), 0, 0
	for i := 0; ; i++ {
		n, err := e.Read(buffer)
		lines += bytes.Count(buffer[:n], []byte("\n"))
		size += n
		if i%500 == 0 {
			highest = max(highest, heap())
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if lines != 1_000_000 {
		t.Errorf("read %d rows", lines)
	}
	if grown := highest - before; grown > 64<<20 {
		t.Errorf("%d MiB of rows grew the heap by %d MiB; want less than 64", size>>20, grown>>20)
	}
}

// The database waits for a reader who does not read, and is stopped when the reader goes.
func TestExportFollowsItsReader(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", exportRoutes)
	e := s.open(t, "GET /rows?n=50000000&width=100", 0)
	if _, err := e.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	const state = "select coalesce((select state || ' ' || coalesce(wait_event, '') from pg_stat_activity where datname = current_database() and query like '%generate_series%' and pid <> pg_backend_pid() and state = 'active'), 'gone')"
	eventually(t, "the server waits for its reader", func() bool { return s.one(t, state) == "active ClientWrite" })
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "the query has ended", func() bool { return s.one(t, state) == "gone" })
	if _, err := e.Read(make([]byte, 1)); err == nil {
		t.Error("a closed export can be read")
	}
	eventually(t, "its connection is free", func() bool { return s.Stats().InUse == 0 })
}

// Who is reading while the export is closed is woken up.
func TestExportIsClosedWhileItIsRead(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", exportRoutes+`
- route: GET /stuck
  query: select pg_sleep(case when i < 5000 then 0 else 60 end)::text || repeat('x', 100) as s from generate_series(1, 6000) i
  formats:
    - {accept: text/csv, filename: rows.csv}
`)
	e := s.open(t, "GET /stuck", 0)
	done := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, e); done <- err }()
	eventually(t, "the query sleeps", func() bool {
		return s.one(t, "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'") == "1"
	})
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-done:
		if err == nil {
			t.Error("the reader was told that this was all")
		}
	case <-time.After(patience):
		t.Fatal("the reader still waits")
	}
}

// What fails midway is never taken for the end.
func TestBrokenExportIsSeenToBeBroken(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", exportRoutes)
	f := func(name, request string, during func()) {
		t.Helper()
		e := s.open(t, request, 0)
		buffer := make([]byte, 1<<20)
		if _, err := e.Read(buffer); err != nil {
			t.Fatal(err)
		}
		during()
		n, err := io.Copy(io.Discard, e)
		if err == nil {
			t.Errorf("%s: %d bytes, then the end", name, n)
		}
		eventually(t, "the connection is given back", func() bool { return s.Stats().InUse == 0 })
		for o := range s.observed {
			if o.Err != nil {
				break
			}
		}
	}
	f("division by zero at row 50000", "GET /broken", func() {})
	f("terminated", "GET /rows?n=50000000&width=100", func() {
		s.one(t, "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and query like '%generate_series%' and pid <> pg_backend_pid()")
	})
}

// What goes wrong before the first row is an ordinary error.
func TestExportThatCannotBeginIsAnError(t *testing.T) {
	t.Parallel()
	s := newSite(t, cellsSchema, exportRoutes, noRetries)
	s.exec(t, "drop table cells")
	_, err := s.tryOpen(t, "GET /cells", 0)
	if e := failure(t, err); e.Status != 500 {
		t.Errorf("%s, %v", e.Class, e)
	}
	eventually(t, "the connection is given back", func() bool { return s.Stats().InUse == 0 })
}

// An export that does not move, because of the database or of its reader, ends by itself.
func TestExportThatStallsEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", exportRoutes, noRetries, func(c *postgres.Config) { c.ExportStall = 200 * time.Millisecond })
	_, err := s.tryOpen(t, "GET /slow", 0)
	if e := failure(t, err); e.Class != postgres.Deadline || s.BreakerState() != "closed" {
		t.Errorf("an export whose rows do not come is %s, %v", e.Class, e)
	}
	s = newSiteOn(t, s.url, exportRoutes, noRetries, func(c *postgres.Config) { c.ExportStall = 2 * time.Second })
	e := s.open(t, "GET /rows?n=50000000&width=100", 0) // nobody reads it
	eventually(t, "its connection is free", func() bool { return s.Stats().InUse == 0 })
	if _, err := io.Copy(io.Discard, e); err == nil {
		t.Error("an export that was ended looks complete")
	}
}

// No statement_timeout bounds an export, and the connection's next statement has its own again.
func TestExportOutlivesTheStatementTimeout(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", exportRoutes+`
- route: GET /paced
  query: select pg_sleep(0.3)::text as s from generate_series(1, 3)
  formats:
    - {accept: text/csv, filename: rows.csv}
- route: GET /timeout
  query: select current_setting('statement_timeout')
  rows: value
`, impatient, func(c *postgres.Config) { c.MaxConnections = 1 })
	text, err := io.ReadAll(s.open(t, "GET /paced", 0))
	if err != nil || bytes.Count(text, []byte("\n")) != 4 {
		t.Errorf("%q, %v", text, err)
	}
	if got := s.body(t, "GET /timeout"); got != `"400ms"` {
		t.Errorf("statement_timeout is %s afterwards", got)
	}
}

// The enveloped form stays bounded.
func TestEnvelopedFormIsBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", exportRoutes, func(c *postgres.Config) { c.StatementTimeout = time.Minute })
	_, err := s.Fill(t.Context(), s.call(t, "GET /rows?n=1000&width=100000", ""))
	if e := failure(t, err); e.Class != postgres.TooLarge || e.Status != 413 {
		t.Errorf("%s, status %d", e.Class, e.Status)
	}
	if got := s.BreakerState(); got != "closed" {
		t.Errorf("breaker is %s", got)
	}
	if f := s.fill(t, "GET /rows?n=2"); f.Refused != cache.Storable || len(f.Response.Body) == 0 {
		t.Error(fmt.Sprint("afterwards: ", f.Refused))
	}
}
