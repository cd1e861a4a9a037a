package wire

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/bench/private"
)

// started is the server of this package's tests, started by the first test that needs it: fuzzing does
// without.
var started struct {
	sync.Once
	url  string
	stop func()
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if started.stop != nil {
		started.stop()
	}
	os.Exit(code)
}

func serverURL(t testing.TB) string {
	t.Helper()
	started.Do(func() { started.url, started.stop, started.err = private.DatabaseURL(context.Background()) })
	if started.err != nil {
		t.Fatalf("start postgres: %v", started.err)
	}
	return started.url
}

// server is a connection to a database of its own, with the session settings that the package asks for.
type server struct {
	conn *pgx.Conn
}

func newServer(t testing.TB) *server {
	t.Helper()
	ctx := context.Background()
	config, err := pgx.ParseConfig(serverURL(t))
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("forebay_wire_%d_%d", os.Getpid(), rand.Uint32())
	if _, err := admin.Exec(ctx, "create database "+name+" template template0 encoding 'UTF8'"); err != nil {
		t.Fatal(err)
	}
	config.Database = name
	for key, value := range SessionSettings() {
		config.RuntimeParams[key] = value
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close(ctx)
		if _, err := admin.Exec(ctx, "drop database "+name); err != nil {
			t.Error(err)
		}
		_ = admin.Close(ctx)
	})
	s := &server{conn: conn}
	s.exec(t, schema)
	return s
}

// fataler is what testing.TB and rapid.T have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (s *server) exec(t fataler, sql string) {
	t.Helper()
	if _, err := s.conn.PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
}

// result is what a statement answered.
type result struct {
	columns []Column
	rows    [][][]byte
}

// query runs a statement and asks for its columns in the formats that choose says.
func (s *server) query(t fataler, sql string, choose func(pgconn.FieldDescription) int16) result {
	t.Helper()
	ctx := context.Background()
	described, err := s.conn.PgConn().Prepare(ctx, "", sql, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	formats := make([]int16, len(described.Fields))
	for i, f := range described.Fields {
		formats[i] = choose(f)
	}
	answer := s.conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, formats).Read()
	if answer.Err != nil {
		t.Fatalf("%v\n%s", answer.Err, sql)
	}
	r := result{rows: answer.Rows}
	for _, f := range answer.FieldDescriptions {
		r.columns = append(r.columns, Column{Name: f.Name, OID: f.DataTypeOID, Format: f.Format})
	}
	return r
}

func inText(pgconn.FieldDescription) int16 { return 0 }

// catalogue reads the types that the statement's columns need.
func (s *server) catalogue(t fataler, sql string) Catalogue {
	t.Helper()
	ctx := context.Background()
	described, err := s.conn.PgConn().Prepare(ctx, "", sql, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	var oids []uint32
	for _, f := range described.Fields {
		oids = append(oids, f.DataTypeOID)
	}
	missing := Catalogue{}.Missing(oids)
	if len(missing) == 0 {
		return nil
	}
	var answer []byte
	if err := s.conn.QueryRow(ctx, CatalogueQuery, missing).Scan(&answer); err != nil {
		t.Fatalf("read catalogue: %v", err)
	}
	types, err := ParseCatalogue(answer)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if left := types.Missing(oids); len(left) > 0 {
		t.Fatalf("the catalogue lacks types %v", left)
	}
	return types
}

// sameAsServer runs "select …" and wants every row's object to be what the server's to_json says, once
// in the formats of FormatOf and once in text. It returns the objects.
func (s *server) sameAsServer(t fataler, sql string) []string {
	t.Helper()
	types := s.catalogue(t, sql)
	ask := fmt.Sprintf("select q.*, pg_catalog.to_json(q) from (%s) q", sql)
	chosen := s.query(t, ask, func(f pgconn.FieldDescription) int16 { return FormatOf(types, f.DataTypeOID) })
	text := s.query(t, ask, inText)
	objects := s.compare(t, types, chosen)
	if again := s.compare(t, types, text); !slices.Equal(objects, again) {
		t.Fatalf("in text %q, in the chosen formats %q", again, objects)
	}
	return objects
}

// compare encodes a result whose last column is the server's own object of the others.
func (s *server) compare(t fataler, types Catalogue, r result) []string {
	t.Helper()
	last := len(r.columns) - 1
	e, err := NewEncoder(types, r.columns[:last])
	if err != nil {
		t.Fatalf("%v", err)
	}
	var objects []string
	for _, row := range r.rows {
		got, err := e.AppendObject(nil, row[:last])
		if err != nil {
			t.Fatalf("%v\nrow %q", err, row)
		}
		if string(got) != string(row[last]) {
			t.Fatalf("\ngot  %s\nwant %s\nrow  %q", got, row[last], row[:last])
		}
		objects = append(objects, string(got))
	}
	return objects
}
