package changes

import (
	"strings"
	"testing"

	"forebay/rules"
)

// findings by their check.
func findings(list []Finding) map[string]Finding {
	all := make(map[string]Finding)
	for _, f := range list {
		all[f.Check] = f
	}
	return all
}

func wants(t *testing.T, all map[string]Finding, check, state, fix string) {
	t.Helper()
	f, ok := all[check]
	if !ok || f.State != state || !strings.Contains(f.Fix, fix) || f.Detail == "" {
		t.Errorf("%s: %+v; want %s with %q", check, f, state, fix)
	}
}

func TestDoctorFindsWhatIsWrongWithTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable+`create table keyless (id int); create materialized view totals as select 1`)
	wanted := w.oids("keyless", "totals")
	wanted[w.oid("clients")] = []int16{1, 3}
	all := findings(Examine(t.Context(), Config{URL: rules.Secret(w.url)}, wanted, nil))
	wants(t, all, "table public.keyless", FindingFail, "ALTER TABLE public.keyless REPLICA IDENTITY FULL;")
	wants(t, all, "table public.totals", FindingFail, "forebay changes install")
	wants(t, all, "table public.clients.status", FindingWarn, "ALTER TABLE public.clients REPLICA IDENTITY FULL;")
	for _, check := range []string{"connection", "primary", "wal_level", "publication", "replication", "slots", "wal senders", "long writers", "synchronous_commit", "tables"} {
		wants(t, all, check, FindingOK, "")
	}
	wants(t, all, "event triggers", FindingWarn, "forebay changes install")
	wants(t, all, "WAL retention", FindingWarn, "max_slot_wal_keep_size")
	if n := w.number(`select count(*) from pg_publication`); n != 0 {
		t.Errorf("made %d publications; want nothing written", n)
	}
	p := w.follow(map[uint32][]int16{w.oid("clients"): {1}})
	all = findings(p.Doctor(t.Context()))
	wants(t, all, "stream", FindingOK, "")
	if _, told := all["table public.keyless"]; told {
		t.Error("tells of tables that nobody watches")
	}
}

func TestDoctorFindsWhatALeftPublicationBreaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create table "No key" (id int primary key); create table keyed (id int primary key); create table whole (id int)`)
	w.exec(`alter table whole replica identity full; create publication forebay_2 for table "No key", keyed, whole;
		comment on publication forebay_2 is '` + mark + `'; insert into "No key" values (1)`)
	const check = `writes to public."No key"`
	examine := func() map[string]Finding {
		return findings(Examine(t.Context(), Config{URL: rules.Secret(w.url)}, w.oids("other"), nil)) // rules need not read it any more
	}
	writes := func() error {
		_, err := w.PgConn().Exec(t.Context(), `update "No key" set id = id`).ReadAll()
		return err
	}
	w.exec(`create table other (id int primary key)`)
	if f, told := examine()[check]; told || writes() != nil {
		t.Errorf("before: %+v", f)
	}
	w.exec(`alter table "No key" drop constraint "No key_pkey"`)
	if writes() == nil {
		t.Fatal("the owner may write; this test is of nothing")
	}
	all := examine()
	wants(t, all, check, FindingFail, `DROP PUBLICATION forebay_2; or ALTER PUBLICATION forebay_2 DROP TABLE ONLY public."No key";`)
	if d := all[check].Detail; !strings.Contains(d, "fail now") || !strings.Contains(d, "publication forebay_2, which") {
		t.Errorf("tells %q", d)
	}
	for _, well := range []string{"writes to public.keyed", "writes to public.whole"} {
		if f, told := all[well]; told {
			t.Errorf("%+v", f)
		}
	}
	p := &publication{conn: w.another().Conn, name: "forebay_2"}
	if ok, err := p.lock(t.Context()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if f, told := examine()[check]; told {
		t.Errorf("an instance claims it and will take the table out: %+v", f)
	}
	if err := p.unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	wants(t, examine(), check, FindingFail, "")
	wants(t, findings(Examine(t.Context(), Config{URL: rules.Secret(w.url), Mode: ModeOff}, nil, nil)), check, FindingFail, "")
	w.exec(`alter publication forebay_2 drop table only public."No key"`)
	if f, told := examine()[check]; told || writes() != nil {
		t.Errorf("after: %+v", f)
	}
}

func TestDoctorFindsWhatTheRoleMayNotDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create table t (id int primary key)`)
	w.exec(`create role ` + w.name + ` login password 'x'`)
	t.Cleanup(func() { w.exec(`drop owned by ` + w.name + `; drop role ` + w.name) })
	url := rules.Secret(strings.Replace(w.url, "//postgres@", "//"+w.name+":x@", 1))
	all := findings(Examine(t.Context(), Config{URL: url}, w.oids("t"), nil))
	wants(t, all, "publication", FindingFail, "GRANT CREATE ON DATABASE "+w.name+" TO "+w.name+";")
	wants(t, all, "replication", FindingFail, "ALTER ROLE "+w.name+" REPLICATION;")
	wants(t, all, "table public.t", FindingFail, "GRANT postgres TO "+w.name+";")
}

func TestDoctorFindsWhatTheServerCannot(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t, "wal_level = replica", "max_prepared_transactions = 3", "max_replication_slots = 1", "synchronous_commit = off")
	w := newWorldOn(t, pg.URL("postgres"), `create table t (id int primary key)`)
	all := findings(Examine(t.Context(), Config{URL: rules.Secret(w.url)}, w.oids("t"), nil))
	wants(t, all, "wal_level", FindingFail, "ALTER SYSTEM SET wal_level = logical;")
	wants(t, all, "slots", FindingWarn, "ALTER SYSTEM SET max_replication_slots = 11;")
	wants(t, all, "synchronous_commit", FindingWarn, "")
	all = findings(Examine(t.Context(), Config{URL: rules.Secret(w.url), Mode: ModeNotify}, w.oids("t"), nil))
	wants(t, all, "notify", FindingFail, "ALTER SYSTEM SET max_prepared_transactions = 0;")
	wants(t, all, "table public.t", FindingFail, "forebay changes install")
	pg.Shutdown()
	all = findings(Examine(t.Context(), Config{URL: rules.Secret(w.url)}, nil, nil))
	wants(t, all, "connection", FindingFail, "")
	if strings.Contains(all["connection"].Detail, "password") {
		t.Errorf("tells %q", all["connection"].Detail)
	}
	if err := pg.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}
