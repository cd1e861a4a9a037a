package changes

import (
	"strings"
	"testing"
	"time"

	"forebay/cache"
	"forebay/rules"
)

// Publishing a table without a replica identity makes its owner's UPDATEs and DELETEs fail.
func TestWhatPublishingWouldHarmIsNotPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create table keyless (id int); insert into keyless values (1);
		create table nothing (id int primary key); alter table nothing replica identity nothing; insert into nothing values (1);
		create table deferred (id int primary key deferrable); insert into deferred values (1);
		create unlogged table unlogged (id int primary key);
		create materialized view totals as select 1 as n;
		create sequence numbers;
		create table plain (id int primary key);
		create view shown as select * from plain`)
	wanted := map[uint32][]int16{}
	for _, name := range []string{"keyless", "nothing", "deferred", "unlogged", "totals", "numbers", "plain", "shown"} {
		wanted[w.oid(name)] = nil
	}
	p := newTap(t, Config{URL: rules.Secret(w.url), Mode: ModeWAL})
	p.Watch(wanted)
	p.run()
	p.covered(w.oid("plain"))
	p.covered(w.oid("shown"))
	for name, fix := range map[string]string{
		"keyless":  "add a primary key, or run ALTER TABLE public.keyless REPLICA IDENTITY FULL;",
		"nothing":  "run ALTER TABLE public.nothing REPLICA IDENTITY DEFAULT;",
		"deferred": "REPLICA IDENTITY FULL",
		"unlogged": "run ALTER TABLE public.unlogged SET LOGGED;",
		"totals":   "forebay changes install",
		"numbers":  "ttl",
	} {
		if u := p.uncovered(w.oid(name)); !strings.Contains(u.Fix, fix) || u.Reason == "" {
			t.Errorf("%s: reason %q, fix %q; want one with %q", name, u.Reason, u.Fix, fix)
		}
	}
	if p.Uncovered(w.oid("keyless")) == "" || p.Uncovered(w.oid("plain")) != "" {
		t.Error("takes what lasts for what passes, or the other way round")
	}
	if got := w.text(`select string_agg(tablename, ',') from pg_publication_tables`); got != "plain" {
		t.Errorf("published %s; want plain alone", got)
	}
	w.exec(`update keyless set id = 2; delete from nothing; update deferred set id = 3`)
}

func TestALostPrimaryKeyTakesTheTableOutWithinAPoll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients, other := w.oid("clients"), w.oid("other")
	p := w.follow(map[uint32][]int16{clients: {1}, other: nil})
	table, row, apart := p.store(w, cache.Relation(clients)), p.store(w, cache.Row(clients, 1, "1"), cache.Whole(clients)), p.store(w, cache.Relation(other))
	w.exec(`alter table clients drop constraint clients_pkey`)
	u := p.uncovered(clients)
	p.eventually("it is not published", func() bool {
		return w.number(`select count(*) from pg_publication_tables where tablename = 'clients'`) == 0
	})
	w.exec(`update clients set name = 'the owner writes' where id = 1`)
	if !strings.Contains(u.Fix, "REPLICA IDENTITY FULL") {
		t.Errorf("fix %q", u.Fix)
	}
	table.outdated("the end of its coverage")
	row.outdated("the end of its coverage")
	apart.current("what happened to another table")
	w.exec(`alter table clients replica identity full`)
	p.covered(clients)
	table = p.store(w, cache.Relation(clients))
	w.exec(`update clients set name = 'x' where id = 1`)
	table.outdated("an update")
}

func TestWhateverIsDoneToThePublicationIsNoticed(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"a table taken out":          `alter publication forebay drop table clients`,
		"a table taken out and back": `alter publication forebay drop table clients; alter publication forebay add table clients`,
		"rows filtered":              `alter publication forebay set table clients where (id > 10)`,
		"columns narrowed":           `alter publication forebay set table clients (id)`,
		"actions narrowed":           `alter publication forebay set (publish = 'insert')`,
		"through the root":           `alter publication forebay set (publish_via_partition_root = true)`,
		"dropped":                    `drop publication forebay`,
		"renamed":                    `alter publication forebay rename to other`,
		"its table replaced":         `begin; alter table clients rename to old; create table clients (id int primary key, name text, status text); commit`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, clientsTable)
			clients := w.oid("clients")
			p := w.follow(map[uint32][]int16{clients: nil})
			before := p.store(w, cache.Relation(clients))
			w.exec(sql)
			if name == "its table replaced" { // whoever reads the name finds another table; that is the reader's to notice
				w.exec(`update old set name = 'x' where id = 1`)
				before.outdated("an update under another name")
				return
			}
			before.outdated("a publication that somebody altered")
			p.eventually("it is whole again", func() bool {
				return w.number(`select count(*) from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
					where p.pubname = 'forebay' and r.prrelid = 'clients'::regclass and r.prqual is null and r.prattrs is null and p.pubupdate and not p.pubviaroot`) == 1
			})
			p.covered(clients)
			again := p.store(w, cache.Relation(clients))
			w.exec(`update clients set name = 'x' where id = 2`)
			again.outdated("an update")
		})
	}
}

func TestATableThatIsLockedIsPublishedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients, other := w.oid("clients"), w.oid("other")
	p := w.follow(map[uint32][]int16{})
	p.live()
	locker := w.another()
	locker.exec(`begin; lock table clients in share update exclusive mode`) // as VACUUM does
	p.Watch(map[uint32][]int16{clients: nil, other: nil})
	p.covered(other)
	p.eventually("the reason is said", func() bool {
		u := p.Status().Pending
		return len(u) == 1 && u[0].Oid == clients && strings.Contains(u[0].Reason, "lock timeout")
	})
	if p.Uncovered(clients) != "" {
		t.Error("takes it for lasting")
	}
	locker.exec(`rollback`)
	p.covered(clients)
}

// VACUUM holds a table against ALTER PUBLICATION, and not against its owner's writes.
func TestATableThatCannotBeTakenOutIsReleasedAllTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients, other := w.oid("clients"), w.oid("other")
	p := newTap(t, Config{URL: rules.Secret(w.url), Poll: 2 * time.Second})
	p.Watch(map[uint32][]int16{clients: nil, other: nil})
	p.run()
	p.covered(clients)
	vacuum := w.another()
	w.exec(`alter table clients drop constraint clients_pkey`)
	vacuum.exec(`begin; lock table clients in share update exclusive mode`)
	p.uncovered(clients)
	p.eventually("the owner writes", func() bool {
		_, err := w.PgConn().Exec(t.Context(), `update clients set name = 'x' where id = 1`).ReadAll()
		return err == nil
	})
	p.covered(other)
	vacuum.exec(`rollback`)
}

func TestWhatIsMissingIsSaidWithItsFix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create table t (id int primary key)`)
	role := w.name
	w.exec(`create role ` + role + ` login password 'x'; grant usage, create on schema public to ` + role)
	t.Cleanup(func() { w.exec(`drop owned by ` + role + `; drop role ` + role) })
	url := rules.Secret(strings.Replace(w.url, "//postgres@", "//"+role+":x@", 1))
	p := newTap(t, Config{URL: url, Mode: ModeAuto})
	p.Watch(map[uint32][]int16{w.oid("t"): nil})
	p.run()
	said := func(fix string) {
		t.Helper()
		p.eventually(fix, func() bool { return strings.Contains(p.Status().Reason, fix) })
		if f := p.log.Feed(); f.Mode != cache.FeedOff || !f.Live {
			t.Errorf("feed %+v; want off and live: own writes are known", f)
		}
	}
	said(`GRANT CREATE ON DATABASE ` + w.name + ` TO ` + role)
	w.exec(`grant create on database ` + w.name + ` to ` + role)
	said(`ALTER ROLE ` + role + ` REPLICATION`)
	w.exec(`alter role ` + role + ` replication`)
	p.live()
	if u := p.uncovered(w.oid("t")); !strings.Contains(u.Reason, "belongs to postgres") {
		t.Errorf("reason %q; want that the table is not ours", u.Reason)
	}
	w.exec(`alter table t owner to ` + role)
	p.covered(w.oid("t"))
	p.stop()
}

func TestAServerWhoseLogSaysTooLittle(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t, "wal_level = replica")
	w := newWorldOn(t, pg.URL("postgres"), `create table t (id int primary key)`)
	auto := newTap(t, Config{URL: rules.Secret(w.url), Mode: ModeAuto}).run()
	wal := newTap(t, Config{URL: rules.Secret(w.url), Mode: ModeWAL}).run()
	for _, p := range []*tap{auto, wal} {
		p.eventually("the fix is said", func() bool { return strings.Contains(p.Status().Reason, "ALTER SYSTEM SET wal_level = logical") })
	}
	if f := auto.log.Feed(); f.Mode != cache.FeedOff || !f.Live {
		t.Errorf("auto: feed %+v; want off, and live with what this process does itself", f)
	}
	if f := wal.log.Feed(); f.Mode != cache.FeedWAL || f.Live {
		t.Errorf("wal: feed %+v; want not live", f)
	}
	// While it is down, what this process writes is known as well as before.
	kept := auto.log.Feed()
	pg.Kill()
	wal.eventually("it is noticed", func() bool { return !strings.Contains(wal.Status().Reason, "wal_level") })
	if auto.log.Feed() != kept {
		t.Errorf("auto: feed %+v; want what it was", auto.log.Feed())
	}
	if err := pg.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAPoolerInBetweenIsNoticed(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t) // its own: the others' may allow prepared transactions
	w := newWorldOn(t, pg.URL("postgres"), "")
	s, err := meet(t.Context(), w.PgConn())
	if err != nil || s.refuses(w.PgConn()) != nil || s.refusesTriggers(w.PgConn()) != nil {
		t.Fatalf("server %+v, %v; want no refusal", s, err)
	}
	s.backend++ // as a pooler does, which makes up process ids
	for _, err := range []error{s.refuses(w.PgConn()), s.refusesTriggers(w.PgConn())} {
		if err == nil || !strings.Contains(err.Error(), "pooler") {
			t.Errorf("refused with %v; want the pooler named", err)
		}
	}
}
