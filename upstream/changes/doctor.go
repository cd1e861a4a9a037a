package changes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"forebay/cache"
)

// States of a Finding.
const (
	FindingOK   = "ok"
	FindingWarn = "warn" // works, and not as well as it could
	FindingFail = "fail" // changes, or some of them, are not followed
)

// Finding is what a check of the real world found. A value.
type Finding struct {
	Check  string // what was looked at, in a word or two
	State  string // FindingOK, FindingWarn or FindingFail
	Detail string // for people
	Fix    string // what to do, with the exact SQL where there is one; "" when nothing
}

const (
	longWriter   = time.Minute // a transaction that writes for longer holds a new slot up
	doctorTime   = 10 * time.Second
	lateStream   = time.Second // a lag that people should know of
	fewToSpare   = 1           // slots or wal senders that should be free for a restart
	keepsForever = -1          // max_slot_wal_keep_size without a limit
)

// Examine looks at the database as a feed of the configuration would find it, for the relations and the
// columns that its rows should be told apart by. It writes nothing. Status is of a running feed; nil: none
// runs.
func Examine(ctx context.Context, cfg Config, wanted map[uint32][]int16, status *Status) []Finding {
	d := &doctor{feed: &Feed{cfg: cfg.withDefaults()}}
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	d.examine(ctx, wanted)
	if status != nil {
		d.running(*status)
	}
	return d.findings
}

// Doctor is Examine with what the running feed knows.
func (f *Feed) Doctor(ctx context.Context) []Finding {
	status := f.Status()
	return Examine(ctx, f.cfg, *f.wanted.Load(), &status)
}

// doctor collects findings.
type doctor struct {
	feed     *Feed
	findings []Finding
}

func (d *doctor) add(check, state, fix, detail string, values ...any) {
	d.findings = append(d.findings, Finding{Check: check, State: state, Detail: fmt.Sprintf(detail, values...), Fix: fix})
}

// refused adds a finding for a reason, or says that all is well.
func (d *doctor) refused(check string, err error, well string, values ...any) bool {
	var r *refusal
	switch {
	case err == nil:
		d.add(check, FindingOK, "", well, values...)
	case errors.As(err, &r):
		d.add(check, FindingFail, r.fix, "%s", r.reason)
	default:
		d.add(check, FindingFail, "", "%s", err)
	}
	return err == nil
}

// examine makes all checks that can be made.
func (d *doctor) examine(ctx context.Context, wanted map[uint32][]int16) {
	if d.feed.cfg.Mode == ModeOff {
		d.add("mode", FindingWarn, "set postgres.changes to auto", "changes made outside forebay are not followed")
		if conn, err := d.feed.connect(ctx); err == nil { // there is nothing that it would have to be there for
			defer conn.Close(ctx)
			d.leftovers(ctx, conn)
		}
		return
	}
	conn, err := d.feed.connect(ctx)
	if !d.refused("connection", err, "the database answers") {
		return
	}
	defer conn.Close(ctx)
	s, err := meet(ctx, conn.PgConn())
	if !d.refused("server", err, "the server tells who it is") {
		return
	}
	if d.feed.cfg.Mode == ModeNotify {
		d.refused("notify", s.refusesTriggers(conn.PgConn()), "triggers may notify; each commit that does waits for its turn")
	} else {
		d.log(ctx, conn, s)
	}
	d.leftovers(ctx, conn)
	d.relations(ctx, conn, wanted)
}

// log checks what following the write-ahead log needs.
func (d *doctor) log(ctx context.Context, conn *pgx.Conn, s server) {
	d.version(s)
	for _, check := range []struct {
		name string
		with func(*server) // lets the checks before it pass, so that each is told
		ok   string
	}{
		{"primary", func(s *server) { s.walLevel, s.mayCreate = "logical", true }, "the server is a primary, and nothing stands before it"},
		{"wal_level", func(s *server) { s.recovery, s.mayCreate = false, true }, "wal_level is " + s.walLevel},
		{"publication", func(s *server) { s.recovery, s.walLevel = false, "logical" }, "the role may create a publication"},
	} {
		well := s
		check.with(&well)
		d.refused(check.name, well.refuses(conn.PgConn()), "%s", check.ok)
	}
	d.replication(ctx, s)
	d.limits(ctx, conn)
	d.writers(ctx, conn)
	d.commits(s)
}

func (d *doctor) version(s server) {
	if s.version >= oldestVersion && !s.altersSafely() {
		d.add("version", FindingWarn, "upgrade to the newest minor version", "Postgres %d.%d loses changes when a table is added to a running stream; forebay begins a new one instead, and an epoch with it", s.version/10000, s.version%10000)
	}
}

// replication tries to connect for it.
func (d *doctor) replication(ctx context.Context, s server) {
	conn, err := d.feed.connectReplication(ctx, s)
	if d.refused("replication", err, "the role may replicate") {
		_ = conn.Close(ctx) // it was for trying only
	}
}

const limitsQuery = `select pg_catalog.current_setting('max_replication_slots'),
  (select pg_catalog.count(*) from pg_catalog.pg_replication_slots)::text,
  pg_catalog.current_setting('max_wal_senders'), (select pg_catalog.count(*) from pg_catalog.pg_stat_replication)::text,
  (select setting from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'),
  (select pg_catalog.count(*) from pg_catalog.pg_replication_slots where not active and not temporary)::text`

// limits checks slots and what they may hold back.
func (d *doctor) limits(ctx context.Context, conn *pgx.Conn) {
	row, err := onlyRow(ctx, conn.PgConn(), limitsQuery)
	if err != nil {
		d.add("slots", FindingFail, "", "cannot read limits: %s", err)
		return
	}
	var n [6]int
	for i, text := range row {
		if n[i], err = strconv.Atoi(text); err != nil {
			d.add("slots", FindingFail, "", "cannot read limits: %s", err)
			return
		}
	}
	d.spare("slots", "max_replication_slots", n[0], n[1])
	d.spare("wal senders", "max_wal_senders", n[2], n[3])
	switch {
	case n[4] == keepsForever:
		d.add("WAL retention", FindingWarn, "run ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf();",
			"max_slot_wal_keep_size has no limit; forebay's slots are temporary and go with their connection, others' may fill the disk")
	default:
		d.add("WAL retention", FindingOK, "", "a slot holds back at most %d MB", n[4])
	}
	if n[5] > 0 {
		d.add("other slots", FindingWarn, "run SELECT slot_name, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) FROM pg_replication_slots WHERE NOT active; and drop what is not used",
			"%d permanent slots that are not forebay's are not in use, and hold back WAL", n[5])
	}
}

// What is published without a usable replica identity, by a publication of forebay's own whose name no
// instance holds.
const harmedQuery = `select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), pg_catalog.quote_ident(p.pubname)
from pg_catalog.pg_publication p
join pg_catalog.pg_publication_rel r on r.prpubid = p.oid
join pg_catalog.pg_class c on c.oid = r.prrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where pg_catalog.obj_description(p.oid, 'pg_publication') = $1 and (p.pubupdate or p.pubdelete)
  and c.relkind = 'r' and c.relreplident <> 'f'
  and not exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and ` + identityCondition + `)
  and not exists (select from pg_catalog.pg_locks l
    where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.classid = $2::int8::pg_catalog.oid
      and l.objid = (pg_catalog.hashtext(p.pubname::text)::int8 & 4294967295)::pg_catalog.oid
      and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()))
order by 1, 2`

// leftovers checks for publications that were left behind and make their tables' owners' statements fail.
// Forebay itself would take these tables out, but none runs.
func (d *doctor) leftovers(ctx context.Context, conn *pgx.Conn) {
	rows, err := conn.Query(ctx, harmedQuery, mark, lockClass)
	if err == nil {
		var table, name string
		_, err = pgx.ForEachRow(rows, []any{&table, &name}, func() error {
			d.add("writes to "+table, FindingFail, fmt.Sprintf("run DROP PUBLICATION %[1]s; or ALTER PUBLICATION %[1]s DROP TABLE ONLY %[2]s;", name, table),
				"UPDATEs and DELETEs of table %s fail now, its owner's, too: it has no usable replica identity, and publication %s, which was forebay's and which nobody claims, publishes it", table, name)
			return nil
		})
	}
	if err != nil {
		d.add("left publications", FindingFail, "", "cannot ask for publications: %s", err)
	}
}

// spare checks that some of a kind are left.
func (d *doctor) spare(check, setting string, most, used int) {
	fix := fmt.Sprintf("run ALTER SYSTEM SET %s = %d; and restart Postgres", setting, most+10)
	switch left := most - used; {
	case left >= fewToSpare+1:
		d.add(check, FindingOK, "", "%d of %d are in use", used, most)
	case left >= fewToSpare:
		d.add(check, FindingWarn, fix, "%d of %d are in use", used, most)
	default:
		d.add(check, FindingFail, fix, "all %d are in use", most)
	}
}

// writers checks who would hold up a new slot.
func (d *doctor) writers(ctx context.Context, conn *pgx.Conn) {
	row, err := onlyRow(ctx, conn.PgConn(), fmt.Sprintf(`select (select pg_catalog.count(*) from pg_catalog.pg_stat_activity
  where backend_xid is not null and pg_catalog.clock_timestamp() - xact_start > interval '%[1]d seconds')
  + (select pg_catalog.count(*) from pg_catalog.pg_prepared_xacts where pg_catalog.clock_timestamp() - prepared > interval '%[1]d seconds'),
  (%[2]s)`, int(longWriter.Seconds()), whoWritesQuery))
	switch {
	case err != nil:
		d.add("long writers", FindingFail, "", "cannot ask who writes: %s", err)
	case row[0] != "0":
		d.add("long writers", FindingWarn, "end them, or set idle_in_transaction_session_timeout",
			"%s transactions write for longer than %v; a new slot waits for them all; the oldest: %s", row[0], longWriter, row[1])
	default:
		d.add("long writers", FindingOK, "", "no transaction writes for long")
	}
}

func (d *doctor) commits(s server) {
	if s.synchronous == "off" {
		d.add("synchronous_commit", FindingWarn, "", "synchronous_commit is off: changes arrive when the server writes its log, some 150 ms after they are visible")
		return
	}
	d.add("synchronous_commit", FindingOK, "", "synchronous_commit is %s", s.synchronous)
}

// relations checks each of the wanted ones.
func (d *doctor) relations(ctx context.Context, conn *pgx.Conn, wanted map[uint32][]int16) {
	c, covered, uncovered, err := d.coverages(ctx, conn, wanted)
	if err != nil {
		d.add("tables", FindingFail, "", "%s", err)
		return
	}
	if c.events != "" {
		d.add("event triggers", FindingOK, "", "DDL arrives within its transaction")
	} else if d.feed.cfg.Mode != ModeNotify {
		d.add("event triggers", FindingWarn, "run what `forebay changes install` prints", "DDL is noticed by the catalogue poll, within %v", d.feed.cfg.Poll)
	}
	for _, u := range uncovered {
		state := FindingFail
		if u.Rows {
			state = FindingWarn
		}
		d.add("table "+u.Name, state, u.Fix, "%s", u.Reason)
	}
	d.add("tables", FindingOK, "", "%d relations can be followed", len(covered))
}

// coverages tells which of the wanted relations could be followed, and why not the others.
func (d *doctor) coverages(ctx context.Context, conn *pgx.Conn, wanted map[uint32][]int16) (*catalogue, map[uint32]cache.Coverage, []Uncovered, error) {
	c, err := readCatalogue(ctx, conn, wanted)
	if err != nil {
		return nil, nil, nil, err
	}
	w := &follower{feed: d.feed}
	if d.feed.cfg.Mode != ModeNotify {
		w.pub = &publication{}
	}
	covers := make(map[uint32]*cover)
	a := c.attribute(w.wantedOf(wanted), &attribution{})
	for oid, e := range c.relations {
		if e.kind == 'v' || e.kind == 'm' && c.events != "" || e.logged() && w.unfollowable(e) == nil {
			covers[oid] = &cover{relation: a.relations[oid]}
		}
	}
	covered, uncovered, _ := c.coverages(w.wantedOf(wanted), covers, w.why)
	return c, covered, uncovered, nil
}

// running checks the feed that runs.
func (d *doctor) running(s Status) {
	switch {
	case s.Mode == ModeOff:
		d.add("stream", FindingFail, "", "changes are not followed: %s", s.Reason)
	case !s.Live:
		d.add("stream", FindingFail, "", "not live: %s", s.Reason)
	case s.Lag > lateStream:
		d.add("stream", FindingWarn, "", "%v and %d bytes late", s.Lag.Round(time.Millisecond), s.LagBytes)
	default:
		words := []string{fmt.Sprintf("live in mode %s", s.Mode), fmt.Sprintf("%d relations covered", s.Covered)}
		if s.Publication != "" {
			words = append(words, fmt.Sprintf("publication %q", s.Publication), fmt.Sprintf("slot %q", s.Slot))
		}
		d.add("stream", FindingOK, "", "%s", strings.Join(words, ", "))
	}
}
