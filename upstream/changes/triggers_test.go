package changes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"forebay/cache"
	"forebay/rules"
)

func (w *world) oids(names ...string) map[uint32][]int16 {
	wanted := make(map[uint32][]int16)
	for _, name := range names {
		wanted[w.oid(name)] = nil
	}
	return wanted
}

func TestEventTriggersBringDDLWithinItsTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable+sessionsTable+`create materialized view totals as select count(*) from clients; create table apart (id int primary key)`)
	p := w.follow(w.oids("clients", "sessions", "apart"))
	if u := w.oid("totals"); u != 0 {
		p.Watch(w.oids("clients", "sessions", "apart", "totals"))
		p.uncovered(u)
	}
	w.exec(DDLSQL())
	w.exec(DDLSQL()) // may be run again
	totals, clients, sessions, apart := w.oid("totals"), w.oid("clients"), w.oid("sessions"), w.oid("apart")
	p.covered(totals)
	view, other := p.store(w, cache.Relation(totals)), p.store(w, cache.Relation(apart))
	w.exec(`refresh materialized view totals`)
	view.outdated("REFRESH")
	if view.Cause().Xid == 0 {
		t.Errorf("cause %+v; want the transaction", view.Cause())
	}
	table, row := p.store(w, cache.Relation(clients)), p.store(w, cache.Row(clients, 1, "1"), cache.Whole(clients))
	w.exec(`begin; alter table clients add column more int default 7; rollback`)
	p.caught(w)
	table.current("DDL that was rolled back")
	w.exec(`alter table clients add column more int default 7`)
	table.outdated("DDL")
	row.outdated("DDL")
	if table.Cause().Xid == 0 {
		t.Errorf("cause %+v; want the transaction", table.Cause())
	}
	leaf, root := p.store(w, cache.Relation(w.oid("sessions_eu"))), p.store(w, cache.Relation(sessions))
	w.exec(`alter table sessions add column more int`)
	leaf.outdated("DDL of its table")
	root.outdated("DDL")
	root = p.store(w, cache.Relation(sessions))
	w.exec(`drop table sessions_us`)
	root.outdated("the drop of a partition")
	w.exec(`create index on apart (id); create temp table t (id int); comment on table apart is 'x'`)
	p.Watch(w.oids("clients", "sessions", "apart", "totals", "other")) // alters the publication
	p.covered(w.oid("other"))
	p.caught(w)
	other.current("DDL of other tables")
	w.exec(`create function f() returns int language sql as 'select 1'`)
	other.outdated("what may change the meaning of any statement")
	w.exec(`create unique index on totals (count); insert into clients (id, name, status) values (7777, 'Una', 'new')`)
	p.covered(totals)
	view = p.store(w, cache.Relation(totals))
	w.exec(`begin; alter event trigger ` + eventCommand + ` disable; refresh materialized view concurrently totals;
		alter event trigger ` + eventCommand + ` enable always; commit`)
	view.outdated("a REFRESH that the event trigger was kept from telling")
	p.covered(totals)
	view = p.store(w, cache.Relation(totals))
	w.exec(UninstallSQL())
	view.outdated("the end of hearing of REFRESH")
	p.uncovered(totals)
}

func TestNotifyTellsWhichTablesChanged(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t) // its own: the others' may allow prepared transactions
	w := newWorldOn(t, pg.URL("postgres"), clientsTable+sessionsTable+`create table keyless (id int)`)
	clients, sessions, eu, other := w.oid("clients"), w.oid("sessions"), w.oid("sessions_eu"), w.oid("other")
	cfg := Config{URL: rules.Secret(w.url), Mode: ModeNotify}
	p := newTap(t, cfg)
	wanted := w.oids("clients", "sessions", "keyless")
	wanted[clients] = []int16{1}
	p.Watch(wanted)
	p.run()
	if u := p.uncovered(clients); u.Fix != "install them with `forebay changes install --notify`" {
		t.Errorf("fix %q", u.Fix)
	}
	w.notify("clients", "sessions", "keyless")
	w.notify("clients", "sessions", "keyless") // may be run again
	want := "clients,keyless,sessions_eu,sessions_us"
	if got := w.triggered(); got != want {
		t.Errorf("triggers on %s; want %s", got, want)
	}
	p.covered(clients)
	p.covered(sessions)
	p.covered(w.oid("keyless"))
	if _, refused := p.try(w, cache.Relation(other)); refused != cache.RefusedFeed {
		t.Errorf("a fill of a table without triggers: %q", refused)
	}
	table, leaf, root := p.store(w, cache.Relation(clients)), p.store(w, cache.Relation(eu)), p.store(w, cache.Relation(sessions))
	w.exec(`begin; update clients set name = 'x'; rollback`)
	w.exec(`begin; insert into sessions values (7, 'eu'); savepoint s; update clients set name = 'x'; rollback to s; commit`)
	leaf.outdated("an INSERT through its table")
	root.outdated("an INSERT")
	p.caught(w)
	table.current("what was rolled back")
	w.exec(`begin; set local session_replication_role = replica; update clients set name = 'y' where id = 1`)
	xid := w.number(`select pg_current_xact_id()`)
	came := make(chan bool)
	go func() { came <- p.Wait(t.Context(), xid) }()
	w.exec(`commit`)
	table.outdated("an UPDATE of a replica")
	if !<-came {
		t.Error("did not come in")
	}
	root = p.store(w, cache.Relation(sessions))
	w.exec(`truncate sessions`)
	root.outdated("TRUNCATE")
	table = p.store(w, cache.Relation(clients))
	w.exec(`begin; alter table clients disable trigger ` + triggerRows + `; update clients set name = 'z';
		alter table clients enable always trigger ` + triggerRows + `; commit`)
	table.outdated("a change that its trigger was kept from telling")
	p.covered(clients)
	table = p.store(w, cache.Relation(clients))
	w.exec(`alter table clients disable trigger ` + triggerRows)
	table.outdated("the end of its coverage")
	p.uncovered(clients)
	before := p.store(w, cache.Relation(sessions))
	w.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'forebay' limit 1`)
	before.outdated("the end of its epoch")
	p.covered(sessions)
	w.exec(UninstallSQL())
	p.uncovered(sessions)
	if n := w.number(`select count(*) from pg_trigger where tgname like 'forebay%'`); n != 0 {
		t.Errorf("%d triggers are left", n)
	}
}

// notify installs the triggers of mode notify.
func (w *world) notify(tables ...string) {
	w.t.Helper()
	sql, err := NotifySQL(w.t.Context(), Config{URL: rules.Secret(w.url)}, tables)
	if err != nil {
		w.t.Fatal(err)
	}
	w.exec(sql)
}

// triggered lists the tables that have both triggers.
func (w *world) triggered() string {
	w.t.Helper()
	return w.text(`select coalesce(string_agg(name, ','), '') from (select tgrelid::regclass::text as name from pg_trigger
		where tgname like 'forebay_notify_%' and tgenabled = 'A' group by 1 having count(*) = 2 order by 1) t`)
}

// An older version put triggers on partitioned tables, too, and these clone those for rows to their leaves.
func TestTriggersAreOnLeavesWhateverWasThere(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t) // its own: the others' may allow prepared transactions
	const script = `create table plain (id int); create table pt (id int) partition by range (id);
		create table pt1 partition of pt for values from (0) to (10);
		create table pt2 partition of pt for values from (10) to (20) partition by range (id);
		create table "Pt 21" partition of pt2 for values from (10) to (15); create table pt22 partition of pt2 for values from (15) to (20)`
	older := schemaSQL + notifySQL + fmt.Sprintf(notifyCreateSQL, "pt", triggerRows, triggerTruncate) +
		"alter table only pt enable trigger " + triggerRows // the server finds it after its clones now
	const leaves = `"Pt 21",pt1,pt22`
	for _, c := range []struct {
		before, name, want string
	}{
		{"", "pt", leaves},
		{"", "pt2", `"Pt 21",pt22`},
		{"", "pt1", "pt1"},
		{older, "pt", leaves},
		{older, "pt22", leaves}, // what others have of the partitioned table's is not lost
		{older, "plain", ""},
	} {
		w := newWorldOn(t, pg.URL("postgres"), script)
		w.exec(c.before)
		if c.want != "" {
			w.notify(c.name)
			if got := w.triggered(); got != c.want {
				t.Errorf("%s: triggers on %s; want %s", c.name, got, c.want)
			}
		}
		w.exec(UninstallSQL())
		if n := w.number(`select count(*) from pg_trigger where tgname like 'forebay%'`); n != 0 {
			t.Errorf("%s: uninstalling left %d triggers", c.name, n)
		}
	}
	w := newWorldOn(t, pg.URL("postgres"), script+`; create view v as select * from plain`)
	for _, name := range []string{"v", "nowhere"} {
		if sql, err := NotifySQL(t.Context(), Config{URL: rules.Secret(w.url)}, []string{name}); err == nil {
			t.Errorf("%s: would run %s", name, sql)
		}
	}
}

func TestNoTriggersWhereTransactionsArePrepared(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t, "max_prepared_transactions = 3")
	w := newWorldOn(t, pg.URL("postgres"), clientsTable)
	sql, err := NotifySQL(t.Context(), Config{URL: rules.Secret(w.url)}, []string{"clients"})
	var r *refusal
	if !errors.As(err, &r) || sql != "" || !strings.Contains(r.fix, "ALTER SYSTEM SET max_prepared_transactions = 0;") {
		t.Errorf("%q, %v; want to be told what to do", sql, err)
	}
}

func TestUninstallRemovesWhatIsForebaysAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable+`create schema forebay; create function forebay.theirs() returns int language sql as 'select 1'`)
	w.exec(`create publication theirs for table clients; create publication forebay; comment on publication forebay is '` + mark + `'`)
	w.exec(UninstallSQL())
	if got := w.text(`select string_agg(pubname, ',') || (select count(*) from pg_proc where proname = 'theirs') from pg_publication`); got != "theirs1" {
		t.Errorf("left %s; want theirs", got)
	}
	if err := w.Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
}
