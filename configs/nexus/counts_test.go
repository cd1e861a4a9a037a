package nexus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// miscounted lists what client_counts counts otherwise than the table does.
const miscounted = `with truth as (
		select (created_at at time zone 'UTC')::date as day, program_type, status, count(*) as clients
		from clients group by grouping sets ((program_type, status), (day, program_type))
	), kept as (
		select created_on as day, program_type, status, sum(clients)::bigint as clients from client_counts group by 1, 2, 3 having sum(clients) <> 0
	)
	select count(*) from ((table truth except table kept) union all (table kept except table truth)) as differing`

// checkCounts may be called from any goroutine.
func checkCounts(t *testing.T, conn *pgx.Conn, when string) {
	t.Helper()
	var wrong int
	if err := conn.QueryRow(t.Context(), miscounted).Scan(&wrong); err != nil {
		t.Errorf("%s: %v", when, err)
	}
	if wrong != 0 {
		t.Errorf("%s: %d figures of client_counts are wrong", when, wrong)
	}
}

func TestCountsFollowEveryKindOfChange(t *testing.T) {
	t.Parallel()
	conn := connect(t, filled(t))
	checkCounts(t, conn, "after loading")
	for _, change := range []string{
		"insert into clients (name, email, program_type) values ('A', 'a@b.cc', 'PRIME')",
		"insert into clients (name, email, program_type) select 'N', n || '@b.cc', 'HYBRID' from generate_series(1, 300) n",
		"update clients set status = 'paused' where status = 'active' and program_type = 'PRIME'",
		"update clients set program_type = 'LONGEVITY', created_at = created_at - interval '1 day' where status = 'trial'",
		"update clients set notes = 'same figures'",
		"update clients set status = status where false",
		"insert into clients (name, email, program_type, status) values ('A', 'a@b.cc', 'PRIME', 'active') on conflict (email) do update set status = excluded.status",
		"delete from clients where status = 'cancelled'",
		"with gone as (delete from clients where status = 'inactive' returning *) insert into clients (name, email, program_type) select name, 'again' || email, 'HYBRID' from gone",
		"begin; delete from clients; rollback",
		"begin; update clients set status = 'active'; savepoint s; delete from clients; rollback to s; commit",
		"truncate clients cascade",
		"insert into clients (name, email, program_type) values ('A', 'a@b.cc', 'PRIME')",
		"set session_replication_role = replica; insert into clients (name, email, program_type) values ('B', 'b@b.cc', 'PRIME'); reset session_replication_role; call recount_clients()",
	} {
		script(t, conn.Config().ConnString(), nil, change)
		checkCounts(t, conn, change)
	}
}

// Writers at every isolation level change, abort and delete while readers compare the two in one snapshot.
func TestCountsAreExactInEverySnapshotWhileManyWrite(t *testing.T) {
	t.Parallel()
	database := filled(t)
	const writers, changes = 6, 120
	writing, stop := context.WithCancel(t.Context())
	var writes, reads sync.WaitGroup
	for w := range writers {
		conn := connect(t, database)
		writes.Go(func() { write(t, conn, rand.New(rand.NewPCG(7, uint64(w))), changes) })
	}
	for range 2 {
		conn := connect(t, database)
		reads.Go(func() {
			for writing.Err() == nil {
				checkCounts(t, conn, "while writing")
			}
		})
	}
	writes.Wait()
	stop()
	reads.Wait()

	conn := connect(t, database)
	checkCounts(t, conn, "in the end")
	// Each change added one row or more; if none were merged, there would be thousands for the 15 combinations.
	if n := one[int](t, conn, "select count(*) from client_counts where created_on is null"); n > 15+2*64 {
		t.Errorf("client_counts has %d rows for all days; they are not merged", n)
	}
}

// write makes changes, each in a transaction of a random kind.
func write(t *testing.T, conn *pgx.Conn, random *rand.Rand, changes int) {
	levels := []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.ReadCommitted, pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}
	for i := range changes {
		statement := []string{
			fmt.Sprintf("insert into clients (name, email, program_type) values ('W', gen_random_uuid() || '@w%d.example', 'PRIME')", i),
			"update clients set status = (array['active', 'paused', 'trial'])[1 + floor(3 * random())::int] where id = (select id from clients offset floor(1500 * random()) limit 1)",
			"update clients set program_type = 'HYBRID' where id in (select id from clients offset floor(1500 * random()) limit 5)",
			"delete from clients where id = (select id from clients offset floor(1500 * random()) limit 1)",
		}[random.IntN(4)]
		rollback := random.IntN(5) == 0
		err := pgx.BeginTxFunc(t.Context(), conn, pgx.TxOptions{IsoLevel: levels[random.IntN(len(levels))]}, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), statement); err != nil {
				return err
			}
			if rollback {
				return errChangedMind
			}
			return nil
		})
		var pg *pgconn.PgError
		if err != nil && !errors.Is(err, errChangedMind) && (!errors.As(err, &pg) || pg.Code != "40001" && pg.Code != "40P01") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

var errChangedMind = errors.New("changed my mind")

// The one thing that writers do to each other's rows is merging them; it must never wait nor fail.
func TestAnOpenWriterHoldsUpNobody(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, nil)
	const insert = "insert into clients (name, email, program_type) values ('C', gen_random_uuid() || '@example.com', 'PRIME')"
	conn, open := connect(t, database), connect(t, database)
	exec(t, conn, "set lock_timeout = '5s'")
	for range 50 {
		exec(t, conn, insert)
	}
	// The open one merges the rows of the others, and keeps them locked.
	exec(t, open, "begin")
	for range 100 {
		exec(t, open, insert)
	}
	for range 300 {
		exec(t, conn, insert)
	}
	checkCounts(t, conn, "while one is open")
	exec(t, open, "commit")
	// A strict transaction whose snapshot is older than the next merge.
	strict := connect(t, database)
	exec(t, strict, "begin isolation level repeatable read")
	before := one[int](t, strict, "select count(*) from clients")
	for range 100 {
		exec(t, conn, insert)
	}
	for range 100 {
		exec(t, strict, insert)
	}
	if n := one[int](t, strict, "select sum(clients)::int from client_counts where created_on is null"); n != before+100 {
		t.Errorf("the strict transaction counts %d clients, want %d", n, before+100)
	}
	exec(t, strict, "commit")
	checkCounts(t, conn, "in the end")
}
