package stage

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/jackc/pgx/v5"

	"forebay/bench/clients"
	"forebay/configs/nexus"
)

// load creates forebay's database and makes the data up.
func (s *Stage) load(ctx context.Context) error {
	if err := s.exec(ctx, Admin, "create database "+After, "create extension if not exists pg_stat_statements"); err != nil {
		return err
	}
	for _, name := range []string{"schema.sql", "data.sql"} {
		text, err := fs.ReadFile(nexus.Files, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		setting := "set nexus.clients = " + strconv.Itoa(s.config.Clients) + ";\n"
		if err := s.exec(ctx, After, setting+string(text)); err != nil {
			return fmt.Errorf("run %s: %w", name, err)
		}
	}
	return nil
}

// copyBefore makes the old service's database out of forebay's: the same rows with their keys, and nothing of
// what was added to read them fast. The rows are rewritten, so that what is gone takes no room in them.
func (s *Stage) copyBefore(ctx context.Context) error {
	if err := s.exec(ctx, Admin, "create database "+Before+" template "+After); err != nil {
		return err
	}
	return s.exec(ctx, Before, `do $$
declare
    command text;
begin
    for command in
        select format('drop trigger %I on clients', tgname) from pg_trigger where tgrelid = 'clients'::regclass and tgname like 'clients_count%'
    loop
        execute command;
    end loop;
    drop table client_counts;
    alter table clients drop column search_text;
    for command in
        select format('drop index %s', indexrelid::regclass) from pg_index
        where indrelid in ('clients'::regclass, 'training_programs'::regclass, 'training_sessions'::regclass, 'client_progress'::regclass)
            and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u'))
    loop
        execute command;
    end loop;
end $$`, "vacuum (full, analyze) clients")
}

// Tidy removes what batches created and what updates left behind, so that the next scenario finds the tables
// as the first one did.
func (s *Stage) Tidy(ctx context.Context) error {
	remove := "delete from clients where email like '" + clients.CreatedBy + "%'"
	if err := s.exec(ctx, After, remove, "vacuum (analyze) clients", "vacuum (analyze) client_counts"); err != nil {
		return err
	}
	// Nothing refers to them yet; without an index, looking for that would read every session for each of them.
	return s.exec(ctx, Before, "set session_replication_role = replica; "+remove, "vacuum (analyze) clients")
}

// exec runs statements in a database, each by itself.
func (s *Stage) exec(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return fmt.Errorf("connect to database %s: %w", database, err)
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		// The simple protocol takes a whole file.
		if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			return fmt.Errorf("run in database %s: %w", database, err)
		}
	}
	return nil
}

// IDs returns the first n ids of clients, or all that there are.
func (s *Stage) IDs(ctx context.Context, n int) ([]string, error) {
	conn, err := pgx.Connect(ctx, s.URL(After))
	if err != nil {
		return nil, fmt.Errorf("connect to ask for clients: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, "select id::text from clients order by id limit $1", n)
	if err != nil {
		return nil, fmt.Errorf("ask for clients: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read clients: %w", err)
	}
	return ids, nil
}
