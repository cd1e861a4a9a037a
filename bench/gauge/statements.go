package gauge

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Statements reads what Postgres spent on the statements of one database, from pg_stat_statements. Its own
// are made in another database and not counted. Not safe for concurrent use.
type Statements struct {
	conn     *pgx.Conn
	database string
}

// Spent is what statements cost Postgres.
type Spent struct {
	Calls int64 `json:"calls"`
	// Bookkeeping is how many of the calls are for nobody's answer: transactions, snapshots, positions, catalogues.
	Bookkeeping int64 `json:"bookkeeping_calls"`
	// Time is of planning and executing, without the wait for a lock held by others taken out.
	Time time.Duration `json:"time_ns"`
	Rows int64         `json:"rows"`
}

// NewStatements opens a connection to admin, a database of the same server, and looks at the named database.
func NewStatements(ctx context.Context, admin, database string) (*Statements, error) {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return nil, fmt.Errorf("connect to read statistics: %w", err)
	}
	if _, err := conn.Exec(ctx, "create extension if not exists pg_stat_statements"); err != nil {
		_ = conn.Close(ctx)
		return nil, fmt.Errorf("create pg_stat_statements: %w", err)
	}
	return &Statements{conn: conn, database: database}, nil
}

// OwnStatements looks at the database that the URL names, from within: the few statements of the looking are
// counted, too.
func OwnStatements(ctx context.Context, url string) (*Statements, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database's URL: %w", err)
	}
	return NewStatements(ctx, url, config.Database)
}

// Spent returns what was spent so far: what a piece of work cost is the difference of two.
func (s *Statements) Spent(ctx context.Context) (Spent, error) {
	var spent Spent
	var millis float64
	err := s.conn.QueryRow(ctx, `select coalesce(sum(calls), 0)::bigint,
			coalesce(sum(calls) filter (where query ~ '^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\M|pg_catalog\.'), 0)::bigint,
			coalesce(sum(total_exec_time + total_plan_time), 0)::float8, coalesce(sum(rows), 0)::bigint
		from pg_stat_statements s join pg_database d on d.oid = s.dbid where datname = $1`, s.database).Scan(&spent.Calls, &spent.Bookkeeping, &millis, &spent.Rows)
	if err != nil {
		return spent, fmt.Errorf("read pg_stat_statements: %w", err)
	}
	spent.Time = time.Duration(millis * float64(time.Millisecond))
	return spent, nil
}

// Calls returns how often a statement was called whose text contains the words.
func (s *Statements) Calls(ctx context.Context, words string) (int64, error) {
	var calls int64
	err := s.conn.QueryRow(ctx, `select coalesce(sum(calls), 0)::bigint
		from pg_stat_statements s join pg_database d on d.oid = s.dbid where datname = $1 and position($2 in query) > 0`, s.database, words).Scan(&calls)
	if err != nil {
		return 0, fmt.Errorf("read pg_stat_statements: %w", err)
	}
	return calls, nil
}

const (
	calmLooks = 3                     // at which nothing runs, one after the other
	calmEvery = 50 * time.Millisecond // is looked
	calmTime  = time.Minute           // is waited at most
)

// Calm waits until no statement runs in the database any more, for some time at most: a service that was asked for
// more than it could answer goes on after its callers have left, and would be in the way of what is measured next.
func (s *Statements) Calm(ctx context.Context) error {
	ticker := time.NewTicker(calmEvery)
	defer ticker.Stop()
	start := time.Now()
	for quiet := 0; quiet < calmLooks && time.Since(start) < calmTime; {
		var active int
		if err := s.conn.QueryRow(ctx, `select count(*) from pg_stat_activity
			where datname = $1 and state = 'active' and backend_type = 'client backend' and pid <> pg_backend_pid()`, s.database).Scan(&active); err != nil {
			return fmt.Errorf("read pg_stat_activity: %w", err)
		}
		if quiet++; active > 0 {
			quiet = 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// Close closes the connection.
func (s *Statements) Close() { _ = s.conn.Close(context.Background()) }

// Less returns what was spent between an earlier reading and this one.
func (s Spent) Less(before Spent) Spent {
	return Spent{Calls: s.Calls - before.Calls, Bookkeeping: s.Bookkeeping - before.Bookkeeping, Time: s.Time - before.Time, Rows: s.Rows - before.Rows}
}
