package changes

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"forebay/cache"
	"forebay/rules"
)

const clientsTable = `create table clients (id int primary key, name text, status text);
	insert into clients select i, 'name ' || i, 'active' from generate_series(1, 1000) i;
	create table other (id int primary key);`

func TestAChangeOutdatesWhatDependsOnItAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients, other := w.oid("clients"), w.oid("other")
	p := w.follow(map[uint32][]int16{clients: {1}, other: nil})
	table := p.store(w, cache.Relation(clients))
	first := p.store(w, cache.Row(clients, 1, "1"), cache.Whole(clients))
	second := p.store(w, cache.Row(clients, 1, "2"), cache.Whole(clients))
	apart := p.store(w, cache.Relation(other))
	w.exec(`update clients set name = 'c' where id = 1`)
	table.outdated("the update")
	first.outdated("the update")
	second.current("an update of another row")
	apart.current("an update of another table")
	if c := first.Cause(); len(c.Touched) != 1 || c.Touched[0] != (cache.Touch{Relation: clients, Operation: "UPDATE", Rows: 1}) || c.LSN == 0 {
		t.Errorf("cause %+v; want an UPDATE of one row", c)
	}
	again := p.store(w, cache.Relation(clients))
	p.caught(w)
	again.current("a change that it saw")
}

func TestWhatIsRolledBackOutdatesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients, other := w.oid("clients"), w.oid("other")
	p := w.follow(map[uint32][]int16{clients: {1}, other: nil})
	table, apart := p.store(w, cache.Relation(clients)), p.store(w, cache.Relation(other))
	w.exec(`begin; update clients set name = 'x'; rollback`)
	w.exec(`begin; insert into other values (1); savepoint s; update clients set name = 'x'; rollback to s; commit`)
	apart.outdated("what was before the savepoint")
	p.caught(w)
	table.current("what was rolled back")
}

// A transaction above logical_decoding_work_mem arrives in chunks, before it is known how it ends.
func TestWhatIsRolledBackOfAStreamedTransactionOutdatesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable+`create table big (id int primary key, pad text);`)
	clients, other, big := w.oid("clients"), w.oid("other"), w.oid("big")
	p := w.follow(map[uint32][]int16{clients: {1}, other: nil, big: nil})
	table, apart, whole := p.store(w, cache.Relation(clients)), p.store(w, cache.Relation(other)), p.store(w, cache.Relation(big))
	fill := `insert into big select i, repeat('x', 500) from generate_series(%d, %d) i;`
	w.exec(`begin; update clients set name = 'x';` + fmt.Sprintf(fill, 1, 50_000))
	p.eventually("chunks arrive", func() bool { return p.Status().Rows > 30_000 })
	table.current("what is not committed")
	w.exec(`rollback`)
	p.caught(w)
	table.current("what was rolled back")
	whole.current("what was rolled back")
	w.exec(`begin; insert into other values (1);` + fmt.Sprintf(fill, 1, 20_000) + `
		savepoint s; update clients set name = 'y';` + fmt.Sprintf(fill, 20_001, 60_000))
	p.eventually("chunks arrive", func() bool { return p.Status().Rows > 30_000+50_000 })
	w.exec(`rollback to s;` + fmt.Sprintf(fill, 60_001, 60_100) + `commit`)
	apart.outdated("what was before the savepoint")
	whole.outdated("what was outside of the savepoint")
	p.caught(w)
	table.current("what was rolled back to the savepoint")
}

func TestCopyAndTruncateAreChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients := w.oid("clients")
	p := w.follow(map[uint32][]int16{clients: {1}})
	missing := p.store(w, cache.Row(clients, 1, "2000"), cache.Whole(clients))
	row := p.store(w, cache.Row(clients, 1, "1"), cache.Whole(clients))
	w.exec(`copy clients (id) from program 'echo 2000'`)
	missing.outdated("a COPY of that row")
	row.current("a COPY of another row")
	w.exec(`truncate clients`)
	row.outdated("TRUNCATE")
	if got := row.Cause().Touched[0].Operation; got != "TRUNCATE" {
		t.Errorf("operation %q; want TRUNCATE", got)
	}
}

const sessionsTable = `create table sessions (id int, region text, primary key (region, id)) partition by list (region);
	create table sessions_eu partition of sessions for values in ('eu');
	create table sessions_us (region text not null, extra int generated always as (1) stored, id int not null, primary key (region, id));
	alter table sessions_us drop column extra;
	alter table sessions attach partition sessions_us for values in ('us');
	insert into sessions values (1, 'eu'), (2, 'us'), (3, 'eu');`

func TestPartitionsAnswerForTheirTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sessionsTable)
	root, eu, us := w.oid("sessions"), w.oid("sessions_eu"), w.oid("sessions_us")
	p := w.follow(map[uint32][]int16{root: {1, 2}})
	all, inEU, inUS := p.store(w, cache.Relation(root)), p.store(w, cache.Relation(eu)), p.store(w, cache.Relation(us))
	one := p.store(w, cache.Row(root, 1, "1"), cache.Whole(root))
	listUS := p.store(w, cache.Row(root, 2, "us"), cache.Whole(root))
	other := p.store(w, cache.Row(root, 1, "3"), cache.Whole(root))
	w.exec(`update sessions set region = 'us' where id = 1`)
	for _, s := range []stored{all, inEU, inUS, one, listUS} {
		s.outdated("a row that moved")
	}
	other.current("another row that moved")
	inEU, inUS, all = p.store(w, cache.Relation(eu)), p.store(w, cache.Relation(us)), p.store(w, cache.Relation(root))
	w.exec(`truncate sessions_us`)
	inUS.outdated("TRUNCATE of the partition")
	all.outdated("TRUNCATE of a partition")
	other.outdated("TRUNCATE of a partition")
	inEU.current("TRUNCATE of another partition")
	all = p.store(w, cache.Relation(root))
	w.exec(`truncate sessions`)
	inEU.outdated("TRUNCATE of the table")
	all.outdated("TRUNCATE")
}

func TestAPartitionThatComesLaterIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sessionsTable)
	root := w.oid("sessions")
	p := w.follow(map[uint32][]int16{root: {1}})
	w.exec(`create table sessions_as partition of sessions for values in ('as')`)
	p.covered(w.oid("sessions_as"))
	p.covered(root)
	all := p.store(w, cache.Relation(root))
	w.exec(`insert into sessions values (9, 'as')`)
	all.outdated("an INSERT into the new partition")
}

func TestHeirsAnswerForTheirAncestors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create table parent (id int primary key); create table heir (primary key (id)) inherits (parent)`)
	parent := w.oid("parent")
	p := w.follow(map[uint32][]int16{parent: nil})
	all := p.store(w, cache.Relation(parent))
	w.exec(`insert into heir values (1)`)
	all.outdated("an INSERT into the heir")
}

func TestRowsAreToldApartByTheirOldAndNewValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable+`alter table clients replica identity full`)
	clients := w.oid("clients")
	p := w.follow(map[uint32][]int16{clients: {1, 3}})
	list := func(status string) stored { return p.store(w, cache.Row(clients, 3, status), cache.Whole(clients)) }
	active, idle, gone := list("active"), list("idle"), list("gone")
	w.exec(`update clients set status = 'idle' where id = 7`)
	active.outdated("an UPDATE away from it")
	idle.outdated("an UPDATE to it")
	idle = list("idle")
	w.exec(`delete from clients where id = 7`)
	idle.outdated("a DELETE")
	p.caught(w)
	gone.current("changes of other values")
	row := p.store(w, cache.Row(clients, 1, "8"), cache.Whole(clients))
	w.exec(`update clients set id = 8888 where id = 8`)
	row.outdated("an UPDATE of its key")
	w.exec(`insert into clients values (9999, 'n', null)`)
	p.caught(w)
	gone.current("an INSERT of a null")
}

func TestUnchangedToastIsUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create table notes (id int primary key, body text, n int);
		alter table notes replica identity full; alter table notes alter body set storage external;
		insert into notes values (1, repeat('x', 10000), 0)`)
	notes := w.oid("notes")
	p := w.follow(map[uint32][]int16{notes: {2}})
	list := p.store(w, cache.Row(notes, 2, "y"), cache.Whole(notes))
	w.exec(`update notes set n = 1`)
	list.outdated("an UPDATE whose value nobody sent")
}

func TestColumnsThatCannotBeFollowedAreSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable+`create table priced (id int primary key, price numeric, twice int generated always as (id * 2) stored);
		alter table priced replica identity full`)
	clients, priced := w.oid("clients"), w.oid("priced")
	p := w.follow(map[uint32][]int16{clients: {1, 3}, priced: {2, 3}})
	if got := p.log.Feed().Covered[clients].Columns; len(got) != 1 || got[0] != 1 {
		t.Errorf("rows of clients are told apart by %v; want the key alone", got)
	}
	if got := p.log.Feed().Covered[priced].Columns; len(got) != 0 {
		t.Errorf("rows of priced are told apart by %v; want none", got)
	}
	fixes := map[string]string{}
	for _, u := range p.Status().Uncovered {
		fixes[u.Name] = u.Fix
	}
	if fixes["public.clients.status"] != "run ALTER TABLE public.clients REPLICA IDENTITY FULL; if more WAL per write is worth it" || len(fixes) != 3 {
		t.Errorf("uncovered %v", p.Status().Uncovered)
	}
	w.exec(`alter table clients replica identity full`)
	p.eventually("status is followed", func() bool { return len(p.log.Feed().Covered[clients].Columns) == 2 })
}

// The values in the stream must be those that Postgres renders for the settings that all sessions pin.
func TestValuesAreAsPostgresRendersThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create type mood as enum ('sad', 'so so');
		create table v (id int primary key, a bool, b int2, c int8, d oid, e uuid, f date, g timestamp, h timestamptz, i mood, j bytea, k text, l varchar(20));
		alter table v replica identity full`)
	w.exec(`set timezone = 'America/New_York'; set datestyle = 'German'; set bytea_output = 'escape'`)
	v := w.oid("v")
	columns := []int16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}
	p := w.follow(map[uint32][]int16{v: columns})
	if got := p.log.Feed().Covered[v].Columns; len(got) != len(columns) {
		t.Fatalf("rows are told apart by %v; want all", got)
	}
	reader := w.another()
	reader.exec(`set timezone = 'UTC'; set datestyle = 'ISO, MDY'; set bytea_output = 'hex'`)
	insert := `insert into v values (1, true, -1, 9007199254740993, 4294967295, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '01.02.2026',
		'2026-01-02 03:04:05.678', '2026-07-02 03:04:05+02', 'so so', '\x00ff', E'it''s Ω', '')`
	w.exec(`begin;` + insert)
	row := map[string]string{}
	names := []string{"id", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}
	w.exec(`set local timezone = 'UTC'; set local datestyle = 'ISO, MDY'; set local bytea_output = 'hex'`)
	for _, name := range names {
		row[name] = w.text(`select ` + name + ` from v`)
	}
	var lists []stored
	for i, name := range names {
		lists = append(lists, p.store(reader, cache.Row(v, columns[i], row[name]), cache.Whole(v)))
	}
	w.exec(`commit`)
	for i, name := range names {
		lists[i].outdated("an INSERT of " + name + " = " + row[name])
	}
}

func TestWaitKnowsWhatCameIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	p := w.follow(map[uint32][]int16{w.oid("clients"): nil})
	w.exec(`begin; update clients set name = 'x' where id = 1`)
	xid := w.number(`select pg_current_xact_id()`)
	came := make(chan bool)
	go func() { came <- p.Wait(t.Context(), xid) }()
	w.exec(`commit`)
	if !<-came {
		t.Error("did not come in")
	}
	lsn := w.number(`select pg_current_wal_insert_lsn() - '0/0'`)
	if !p.Wait(t.Context(), xid) {
		t.Error("is forgotten")
	}
	p.eventually("the position is passed", func() bool { return p.Passed(lsn) })
	p.stop()
	if p.Wait(t.Context(), xid+1000) || p.Passed(1) {
		t.Error("a feed that has stopped hears of transactions")
	}
}

// "As of t" is never overstated: whatever was acknowledged before t is marked when the log says t.
func TestAsOfIsNeverOverstated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients := w.oid("clients")
	p := newTap(t, Config{URL: rules.Secret(w.url), Heartbeat: 5 * time.Millisecond, Probe: 2 * time.Millisecond})
	p.Watch(map[uint32][]int16{clients: {1}})
	p.run()
	p.covered(clients)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 200 {
		id := 1 + random.IntN(1000)
		s := p.store(w, cache.Row(clients, 1, fmt.Sprint(id)), cache.Whole(clients))
		mode := []string{"on", "off", "local"}[random.IntN(3)]
		w.exec(fmt.Sprintf(`begin; set local synchronous_commit = %s; update clients set name = 'r%d' where id = %d; commit`, mode, i, id))
		acknowledged := p.clock.Now()
		p.eventually("as of then", func() bool { return p.log.AsOf() >= acknowledged })
		if s.Check() != cache.Outdated {
			t.Fatalf("seed %d, round %d, synchronous_commit %s: current as of a time at which the change was visible", seed, i, mode)
		}
	}
}

// A writer that idles leaves the log unflushed behind it, and the stream with it: on a server whose WAL
// writer sleeps for ten seconds, for about as long.
func TestAnIdleWriterDoesNotHoldUpTheHeartbeat(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t, "wal_writer_delay = 10s")
	w := newWorldOn(t, pg.URL("postgres"), clientsTable)
	p := w.follow(map[uint32][]int16{w.oid("clients"): nil})
	idle, started := w.another(), time.Now()
	for i := range 15 {
		idle.exec(fmt.Sprintf(`begin; update clients set name = 'idle' where id = %d`, i+1))
		before := p.clock.Now()
		p.eventually("the heartbeat comes round", func() bool { return p.log.AsOf() > before })
		idle.exec(`rollback`)
	}
	if time.Since(started) > patience {
		t.Error("each heartbeat waited for the WAL writer")
	}
}

func TestAHugeTransactionTakesLittleMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create table big (id int primary key, n int); alter table big replica identity full;
		insert into big select i, 0 from generate_series(1, 500000) i`)
	big := w.oid("big")
	p := w.follow(map[uint32][]int16{big: {1, 2}})
	row := p.store(w, cache.Row(big, 1, "1"), cache.Whole(big))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan uint64)
	go func() {
		most := uint64(0)
		for row.Check() == cache.Current {
			runtime.ReadMemStats(&after)
			most = max(most, after.HeapInuse)
			time.Sleep(5 * time.Millisecond)
		}
		done <- most
	}()
	w.exec(`set statement_timeout = '60s'; update big set n = n + 1`)
	row.outdated("an update of every row")
	if most := <-done; most > before.HeapInuse+48<<20 {
		t.Errorf("the heap grew from %d to %d MiB", before.HeapInuse>>20, most>>20)
	}
	if s := p.Status(); s.Collapsed != 1 || s.Rows < 500_000 {
		t.Errorf("%d of %d rows collapsed; want one transaction of 500000", s.Collapsed, s.Rows)
	}
	if touched := row.Cause().Touched[0]; touched.Rows != 500_000 {
		t.Errorf("touched %+v; want 500000 rows", touched)
	}
}

// What is read of a table between the coming of a partition and the poll that finds it is outdated by that: what is
// written to the partition meanwhile does not come in.
func TestAPartitionThatComesBetweenPolls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create table accounts (id int, region text, primary key (id, region)) partition by list (region);
		create table accounts_eu partition of accounts for values in ('eu')`)
	accounts := w.oid("accounts")
	p := newTap(t, Config{URL: rules.Secret(w.url), Poll: time.Hour})
	wanted := map[uint32][]int16{accounts: {1, 2}}
	p.wanted.Store(&wanted) // without a word that has the catalogue polled once more
	p.run()
	p.covered(accounts)
	w.exec(`create table accounts_us partition of accounts for values in ('us')`)
	list := p.store(w, cache.Row(accounts, 2, "us"), cache.Whole(accounts))
	w.exec(`insert into accounts values (1, 'us')`)
	p.caught(w)
	list.current("an insert that nobody hears of") // else the test proves nothing
	p.Watch(wanted)
	list.outdated("the partition that was found")
	p.eventually("the partition is followed", func() bool {
		_, refused := p.try(w, cache.Row(accounts, 2, "us"))
		return refused == cache.Storable
	})
	one, other := p.store(w, cache.Row(accounts, 1, "2"), cache.Whole(accounts)), p.store(w, cache.Row(accounts, 1, "3"), cache.Whole(accounts))
	w.exec(`insert into accounts values (2, 'us')`)
	one.outdated("an insert into the partition")
	other.current("it")
}
