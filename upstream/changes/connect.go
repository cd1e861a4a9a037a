package changes

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// settings are those by which the stream's texts are exactly those of every session that matters.
func settings(application string) map[string]string {
	return map[string]string{
		"application_name":     application,
		"TimeZone":             "UTC",
		"DateStyle":            "ISO, MDY",
		"bytea_output":         "hex",
		"client_encoding":      "UTF8",
		"search_path":          "pg_catalog",
		"statement_timeout":    "0",
		"idle_session_timeout": "0",
	}
}

// connect opens an ordinary connection.
func (f *Feed) connect(ctx context.Context) (*pgx.Conn, error) {
	return f.connectWith(ctx, settings(f.cfg.ApplicationName))
}

func (f *Feed) connectWith(ctx context.Context, settings map[string]string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig(string(f.cfg.URL))
	if err != nil {
		return nil, fmt.Errorf("read the database's URL: %w", err)
	}
	c.ConnectTimeout = f.cfg.ConnectTimeout
	c.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec // nothing named: a pooler is told by other signs
	for name, value := range settings {
		c.RuntimeParams[name] = value
	}
	// Nobody waits for long behind an ALTER PUBLICATION that waits. It is less than deadlock_timeout, after
	// which the server would cancel an autovacuum that is waited for.
	c.RuntimeParams["lock_timeout"] = "500ms"
	c.RuntimeParams["statement_timeout"] = "10s"
	ctx, cancel := context.WithTimeout(ctx, f.cfg.ConnectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", connectError(err))
	}
	// A probe is not held up by a lost standby. SET leaves reset_val to tell what other sessions have.
	if err := run(ctx, conn, "set synchronous_commit = local"); err != nil {
		shut(conn.PgConn())
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// connectReplication opens the replication connection.
func (f *Feed) connectReplication(ctx context.Context, s server) (*pgconn.PgConn, error) {
	c, err := pgconn.ParseConfig(string(f.cfg.URL))
	if err != nil {
		return nil, fmt.Errorf("read the database's URL: %w", err)
	}
	c.ConnectTimeout = f.cfg.ConnectTimeout
	for name, value := range settings(f.cfg.ApplicationName) {
		c.RuntimeParams[name] = value
	}
	c.RuntimeParams["replication"] = "database"
	// While a slot waits for whoever writes, it holds WAL, and the server does not look whether forebay still
	// lives. So it waits for one no longer than this, and is asked again.
	c.RuntimeParams["lock_timeout"] = "60s"
	c.RuntimeParams["logical_decoding_work_mem"] = "4MB" // a large transaction is streamed early and holds nobody up
	ctx, cancel := context.WithTimeout(ctx, f.cfg.ConnectTimeout)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect for replication: %w", replicationError(err, s))
	}
	return conn, nil
}

// connectError turns what lasts into a refusal that says what to do.
func connectError(err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case pgerrcode.ProtocolViolation: // a setting in the startup message, which no server refuses so
		return refuse("a connection pooler stands before the server", "give the URL of the server itself for changes")
	case pgerrcode.UndefinedObject: // a setting that is not known yet
		return refuse("the server is older than Postgres 14", "upgrade it")
	}
	return err
}

// replicationError turns what lasts into a refusal that says what to do.
func replicationError(err error, s server) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case pgerrcode.InsufficientPrivilege:
		return refuse("the role may not replicate", fmt.Sprintf("run ALTER ROLE %s REPLICATION; (on a managed service, grant its role for that)", s.role))
	case pgerrcode.TooManyConnections:
		return refuse("the server has no wal sender left", "raise max_wal_senders, or end a replication connection")
	case pgerrcode.ConfigurationLimitExceeded:
		return refuse("the server has no replication slot left", "raise max_replication_slots, or drop a slot that is not used (see pg_replication_slots)")
	}
	return err
}
