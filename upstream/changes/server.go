package changes

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

const oldestVersion = 140000 // pgoutput streams and brings messages from 14 on

// Identity says which server a connection leads to, and since when it runs. Transaction ids and positions
// of two connections may be compared only if these are equal, which is necessary and not sufficient: a
// crash changes nothing in it. A comparable value.
type Identity struct {
	System   string // system identifier; "" where the role may not know it
	Timeline string // eight hexadecimal digits
	Started  string // the server's start, in seconds since 1970
	Database uint32 // oid
}

// server is what a connection tells of the server.
type server struct {
	Identity
	version     int
	walLevel    string
	recovery    bool
	backend     uint32 // what the server itself calls the connection's process
	mayCreate   bool   // publications, in this database
	synchronous string // synchronous_commit of the database's sessions
	prepared    int    // max_prepared_transactions
	role        string
	database    string
}

// serverQuery is sent as a simple query: a replication connection knows no other.
const serverQuery = `select coalesce((select %s), ''),
  case when pg_catalog.pg_is_in_recovery() then '' else pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8) end,
  pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::text,
  d.oid, pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('wal_level'),
  pg_catalog.pg_is_in_recovery(), pg_catalog.pg_backend_pid(),
  pg_catalog.has_database_privilege(d.oid, 'CREATE'),
  coalesce((select s.reset_val from pg_catalog.pg_settings s where s.name = 'synchronous_commit'), ''),
  pg_catalog.current_setting('max_prepared_transactions'),
  pg_catalog.quote_ident(current_user), pg_catalog.quote_ident(d.datname)
from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()`

const systemIdentifier = "system_identifier::text from pg_catalog.pg_control_system()"

// meet asks the server who it is.
func meet(ctx context.Context, conn *pgconn.PgConn) (server, error) {
	row, err := onlyRow(ctx, conn, fmt.Sprintf(serverQuery, systemIdentifier))
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == pgerrcode.InsufficientPrivilege {
		row, err = onlyRow(ctx, conn, fmt.Sprintf(serverQuery, "''"))
	}
	if err != nil {
		return server{}, fmt.Errorf("ask who the server is: %w", err)
	}
	var numbers [4]uint64
	for i, at := range []int{3, 4, 7, 10} {
		if numbers[i], err = strconv.ParseUint(row[at], 10, 32); err != nil {
			return server{}, fmt.Errorf("read who the server is: %w", err)
		}
	}
	return server{
		Identity: Identity{System: row[0], Timeline: row[1], Started: row[2], Database: uint32(numbers[0])},
		version:  int(numbers[1]), walLevel: row[5], recovery: row[6] == "t", backend: uint32(numbers[2]),
		mayCreate: row[8] == "t", synchronous: row[9], prepared: int(numbers[3]), role: row[11], database: row[12],
	}, nil
}

// onlyRow runs a simple query that has one row.
func onlyRow(ctx context.Context, conn *pgconn.PgConn, sql string) ([]string, error) {
	rows, err := simple(ctx, conn, sql)
	switch {
	case err != nil:
		return nil, err
	case len(rows) != 1:
		return nil, fmt.Errorf("query answered %d rows; want 1", len(rows))
	}
	return rows[0], nil
}

// simple runs a simple query and returns the rows of its last statement.
func simple(ctx context.Context, conn *pgconn.PgConn, sql string) ([][]string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) == 0 {
		return nil, nil
	}
	last := results[len(results)-1]
	rows := make([][]string, len(last.Rows))
	for i, r := range last.Rows {
		rows[i] = make([]string, len(r))
		for j, v := range r {
			rows[i][j] = string(v)
		}
	}
	return rows, nil
}

// refuses returns why the log of this server cannot be followed; nil if it can.
func (s *server) refuses(conn *pgconn.PgConn) error {
	switch {
	case s.version < oldestVersion:
		return refuse("the server is older than Postgres 14", "upgrade it")
	case s.recovery:
		return refuse("the server is a standby", "give the URL of the primary")
	case conn.PID() != s.backend:
		return refuse("a connection pooler stands before the server", "give the URL of the server itself for changes")
	case s.walLevel != "logical" && s.version < 190000: // from 19 on a slot switches it on
		return refuse("wal_level is "+s.walLevel, "run ALTER SYSTEM SET wal_level = logical; and restart Postgres")
	case !s.mayCreate:
		return refuse("the role may not create a publication", fmt.Sprintf("run GRANT CREATE ON DATABASE %s TO %s;", s.database, s.role))
	}
	return nil
}

// altersSafely reports whether a running stream notices ALTER PUBLICATION for transactions in progress,
// too. Older minor versions lose what these wrote.
func (s *server) altersSafely() bool {
	major, minor := s.version/10000, s.version%10000
	switch major {
	case 14:
		return minor >= 19
	case 15:
		return minor >= 14
	case 16:
		return minor >= 10
	case 17:
		return minor >= 6
	}
	return major > 17
}
