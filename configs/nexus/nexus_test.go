package nexus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/bench/private"
	"forebay/configs/nexus"
	"forebay/rules"
)

// server is the URL of a superuser's database on the tests' server; set by TestMain, then left alone.
var server string

// smallSize is how many clients tests read from.
const smallSize = 2000

func TestMain(m *testing.M) {
	url, stop, err := private.DatabaseURL(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server = url
	code := m.Run()
	stop()
	os.Exit(code)
}

// newDatabase makes a database with the schema and n clients; without n, with none.
func newDatabase(t testing.TB, settings map[string]string) string {
	t.Helper()
	name := "nexus_" + strconv.FormatInt(time.Now().UnixNano(), 36)
	script(t, server, nil, "create database "+name)
	t.Cleanup(func() { script(t, server, nil, "drop database "+name+" with (force)") })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	run(t, u.String(), nil, "schema.sql")
	if settings["nexus.clients"] != "" {
		run(t, u.String(), settings, "data.sql")
	}
	return u.String()
}

func run(t testing.TB, database string, settings map[string]string, file string) {
	t.Helper()
	text, err := nexus.Files.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	script(t, database, settings, string(text))
}

// script runs statements as one text, as a driver does.
func script(t testing.TB, database string, settings map[string]string, text string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	for name, value := range settings {
		if _, err := conn.Exec(ctx, "select set_config($1, $2, false)", name, value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.PgConn().Exec(ctx, text).ReadAll(); err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
}

// filled makes a database of smallSize clients.
func filled(t testing.TB) string {
	t.Helper()
	return newDatabase(t, map[string]string{"nexus.clients": strconv.Itoa(smallSize)})
}

func connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// begin opens a transaction in which now() stands still and all statements see the same; it ends with the test.
func begin(t testing.TB, database string) pgx.Tx {
	t.Helper()
	tx, err := connect(t, database).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// configuration is forebay.yaml, loaded once.
var configuration = sync.OnceValues(func() (*rules.Config, error) {
	text, err := nexus.Files.ReadFile("forebay.yaml")
	if err != nil {
		return nil, err
	}
	return rules.Parse("forebay.yaml", text, nexus.Files, func(name string) (string, bool) {
		if name == "DATABASE_URL" {
			return "postgres://nobody@127.0.0.1:1/none", true
		}
		return "", false
	})
})

// statement is one of the configuration's.
type statement struct {
	text       string
	parameters []string // the names of $1…$n
}

// find returns the statement of the rule; the name of an only one is rows.
func find(t testing.TB, route, name string) statement {
	t.Helper()
	config, err := configuration()
	if err != nil {
		t.Fatal(err)
	}
	rule := config.Rules.Rule(route)
	if rule == nil {
		t.Fatalf("no rule %q", route)
	}
	inputs := rule.Params
	if rule.Batch != nil {
		inputs = rule.Batch.Item
	}
	for _, s := range rule.Query.Statements {
		if s.Name != name {
			continue
		}
		found := statement{text: s.SQL}
		for _, i := range s.Params {
			if i < 0 {
				found.parameters = append(found.parameters, "body")
			} else {
				found.parameters = append(found.parameters, inputs[i].Name)
			}
		}
		return found
	}
	t.Fatalf("rule %q has no statement %q", route, name)
	return statement{}
}

// arguments are values as requests bring them: texts. A name that is not there is NULL.
type arguments map[string]string

func (s statement) values(args arguments) [][]byte {
	values := make([][]byte, len(s.parameters))
	for i, name := range s.parameters {
		if text, ok := args[name]; ok {
			values[i] = []byte(text)
		}
	}
	return values
}

// rows runs the statement as forebay does, values bound as texts, and decodes its rows into dst, a pointer to a slice.
func (s statement) rows(t testing.TB, conn *pgx.Conn, args arguments, dst any) {
	t.Helper()
	if err := s.run(t.Context(), conn, args, dst); err != nil {
		t.Fatal(err)
	}
}

func (s statement) run(ctx context.Context, conn *pgx.Conn, args arguments, dst any) error {
	text := "with q as (" + s.text + "\n) select coalesce(json_agg(q), '[]') from q"
	result := conn.PgConn().ExecParams(ctx, text, s.values(args), nil, nil, nil).Read()
	if result.Err != nil {
		return result.Err
	}
	return json.Unmarshal(result.Rows[0][0], dst)
}

// state returns the SQLSTATE and the column or constraint at fault.
func state(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return fmt.Sprint(err)
	}
	return strings.TrimSpace(pg.Code + " " + pg.ConstraintName + pg.ColumnName)
}

func exec(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func one[T any](t testing.TB, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	value, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// client is a client as responses show it.
type client struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Email       string          `json:"email"`
	Phone       *string         `json:"phone"`
	ProgramType string          `json:"program_type"`
	Status      string          `json:"status"`
	CreatedAt   time.Time       `json:"created_at"`
	UpdatedAt   time.Time       `json:"updated_at"`
	Notes       string          `json:"notes"`
	Metadata    json.RawMessage `json:"metadata"`
	IsActive    bool            `json:"is_active"`
	Days        int             `json:"program_duration_days"`
}

// everyClient reads the table without any statement of the configuration.
func everyClient(t testing.TB, conn *pgx.Conn) []client {
	t.Helper()
	var all []client
	text := one[string](t, conn, "select coalesce(json_agg(c), '[]')::text from clients c")
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	now := one[time.Time](t, conn, "select now()")
	for i := range all {
		all[i].IsActive = all[i].Status == "active"
		all[i].Days = max(0, int(now.Sub(all[i].CreatedAt)/(24*time.Hour)))
	}
	return all
}

func TestTheConfigurationHasNoMistakes(t *testing.T) {
	t.Parallel()
	if _, err := configuration(); err != nil {
		t.Fatal(err)
	}
}
