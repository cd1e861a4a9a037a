package stage

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"forebay/bench/private"
)

// The databases. Admin is where the harness itself asks, so that its statements are not counted.
const (
	After  = "nexus"
	Before = "nexus_before"
	Admin  = "postgres"
)

// Config says what to set up.
type Config struct {
	// Binary is the forebay that is measured and that brings the old service along.
	Binary string
	// Clients is how many there are to be.
	Clients int
	// Step is told what is being done, for people who wait.
	Step func(format string, args ...any)
}

// Stage is what was set up. Safe for concurrent use.
type Stage struct {
	Postgres *private.Postgres
	Legacy   *private.Program
	Facts    []string // what a reader of the results has to know about it

	config Config
}

// Open sets everything up but forebay, of which scenarios start their own. The caller must Close it.
func Open(ctx context.Context, c Config) (*Stage, error) {
	c.Step("starting a private Postgres")
	// Durable as in earnest: fsync stays on.
	pg, err := private.StartPostgres(ctx, "shared_preload_libraries = 'pg_stat_statements'", "pg_stat_statements.track_planning = on",
		"shared_buffers = 1GB", "max_connections = 200", "max_replication_slots = 20", "max_wal_senders = 20")
	if err != nil {
		return nil, err
	}
	s := &Stage{Postgres: pg, config: c}
	if err := s.fill(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// fill loads the data and starts the old service.
func (s *Stage) fill(ctx context.Context) error {
	s.config.Step("making up %d clients", s.config.Clients)
	if err := s.load(ctx); err != nil {
		return err
	}
	s.config.Step("copying them to the old service's database, without the new indexes")
	if err := s.copyBefore(ctx); err != nil {
		return err
	}
	var version, tables string
	conn, err := pgx.Connect(ctx, s.URL(After))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, `select current_setting('server_version'), format('%s clients, %s sessions, %s progress records',
		(select count(*) from clients), (select count(*) from training_sessions), (select count(*) from client_progress))`).Scan(&version, &tables); err != nil {
		return fmt.Errorf("describe the data: %w", err)
	}
	s.Facts = append(s.Facts, fmt.Sprintf("PostgreSQL %s on the same machine, fsync on, 1 GB of shared buffers; %s, in two databases.", version, tables))
	s.Legacy, err = private.NewProgram(private.Plan{
		Name:    "legacy",
		Command: []string{s.config.Binary, "bench", "serve", "legacy", "--listen", "127.0.0.1:%PORT%", "--database", s.URL(Before)},
	})
	if err != nil {
		return err
	}
	return s.Legacy.Start(ctx)
}

// URL returns the URL of a database.
func (s *Stage) URL(database string) string { return s.Postgres.URL(database) }

// Close ends everything.
func (s *Stage) Close() {
	if s.Legacy != nil {
		s.Legacy.Stop()
	}
	s.Postgres.Stop()
}
