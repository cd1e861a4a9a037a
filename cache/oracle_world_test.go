package cache

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// world lets writers, a stream, fillers and readers take turns as a seed says, and looks at every response
// that is served: it must hold every change that had been applied when the request came.
type world struct {
	plan   plan
	seed   uint64
	rng    *rand.Rand
	db     *fakeDatabase
	keeper keeper
	keys   []*fakeKey
	fills  []*fakeFill
	beats  []fakeBeat

	session    bool // the stream is there
	noticed    bool // that it is not
	recovered  bool // the database crashed since the session began
	waitFor    []*fakeTx
	delivered  uint64 // LSN
	unanswered []*fakeTx
	covered    map[uint32]Coverage
	feed       *Feed

	required fakeRequired
	begins   int    // of 1000 steps, these days
	stale    string // the first stale response; empty: none
	counts   counts
}

// plan is what may happen in a world.
type plan struct {
	outages bool // crashes, promotions, cut streams
	tables  bool // published and unpublished
	standby bool // fills from there
	lenient bool // a change counts once it was applied and is visible: what users can see
}

// counts are for people, and so that a run cannot be quiet because nothing happened.
type counts struct {
	reads, hits, fills, stored, refused, outdated, needless, commits, crashes, epochs, steps int
}

func (c counts) String() string {
	return fmt.Sprintf("%d reads (%d served), %d commits, %d crashes, %d epochs, %d fills (%d stored, %d refused), %d outdated (%d of them needlessly), %d steps",
		c.reads, c.hits, c.commits, c.crashes, c.epochs, c.fills, c.stored, c.refused, c.outdated, c.needless, c.steps)
}

// fakeRequired are the stamps that what is served must have reached: of each row, and of each list for each row.
type fakeRequired [fakeTables][fakeRows]struct {
	any    uint64
	status [fakeStatuses]uint64
}

type partKind uint8

const (
	oneRow partKind = iota
	list
	wholeTable
)

// part is what a response holds of one table: a row, the rows of a status, or all.
type part struct {
	kind         partKind
	table, value int
}

func (p part) String() string {
	return fmt.Sprintf("table %d %s %d", p.table, [...]string{"row", "list", "all"}[p.kind], p.value)
}

func (p part) dependencies() []Dependency {
	oid := uint32(p.table)
	switch p.kind {
	case oneRow:
		return []Dependency{Row(oid, 1, fmt.Sprint(p.value)), Whole(oid)}
	case list:
		return []Dependency{Row(oid, 2, fmt.Sprint(p.value)), Whole(oid)}
	case wholeTable:
	}
	return []Dependency{Relation(oid)}
}

type fakeKey struct {
	name         string
	parts        []part
	tables       []uint32
	dependencies []Dependency
	stored, kept *fakeFill // in memory, and in another tier
}

func newFakeKey(parts ...part) *fakeKey {
	k := &fakeKey{name: fmt.Sprint(parts), parts: parts}
	for _, p := range parts {
		k.tables = append(k.tables, uint32(p.table))
		k.dependencies = append(k.dependencies, p.dependencies()...)
	}
	return k
}

type fakeFill struct {
	key        *fakeKey
	asked      Position
	generation uint64
	standby    bool
	snapshot   Snapshot
	xids       Snapshot // what pg_current_snapshot() says on a standby
	read       bool
	body       [fakeTables][fakeRows]uint64
	standing   *Standing
}

type fakeBeat struct {
	asOf     Instant
	snapshot Snapshot
	lsn      uint64
}

const maxTold = 4 // rows of a transaction and table that are told apart

func newWorld(seed uint64, p plan, keep func(*rand.Rand) keeper) *world {
	rng := rand.New(rand.NewPCG(seed, 0))
	w := &world{plan: p, seed: seed, rng: rng, db: newFakeDatabase(rng), keeper: keep(rng), covered: make(map[uint32]Coverage), noticed: true}
	for table := range fakeTables {
		for row := range fakeRows {
			w.keys = append(w.keys, newFakeKey(part{oneRow, table, row}))
		}
		for status := range fakeStatuses {
			w.keys = append(w.keys, newFakeKey(part{list, table, status}))
		}
		w.keys = append(w.keys, newFakeKey(part{kind: wholeTable, table: table}))
		other := (table + 1) % fakeTables
		w.keys = append(w.keys,
			newFakeKey(part{oneRow, table, 1}, part{kind: wholeTable, table: other}),
			newFakeKey(part{list, table, 1}, part{oneRow, table, 2}, part{list, other, 0}))
	}
	w.keeper.lost()
	return w
}

// run takes steps until so many responses were served and checked, or one was stale, or too little happens.
func (w *world) run(hits int) {
	for w.counts.hits < hits && w.stale == "" && w.counts.steps < 10_000+10*hits {
		w.step()
		w.counts.steps++
	}
	w.counts.commits, w.counts.crashes = w.db.commits, w.db.crashes
}

// step lets somebody go on, and then a few readers read. Some times are busy, and some are quiet.
func (w *world) step() {
	if w.counts.steps%256 == 0 {
		w.begins = [...]int{0, 3, 10, 30, 120}[w.rng.IntN(5)]
	}
	switch n := w.rng.IntN(1000); {
	case n < 120:
		if n < w.begins {
			w.writeSome()
		}
	case n < 300:
		w.goOnWriting()
	case n < 420:
		w.deliver()
	case n < 450:
		w.db.flushTo(w.db.flushed + w.rng.Uint64N(w.db.lsn-w.db.flushed+1))
	case n < 500:
		w.db.replayOne()
	case n < 560:
		w.answer()
	case n < 600:
		w.beat()
	case n < 930:
		w.fill()
	case n < 960:
		w.evict()
	case n < 990:
		w.connect()
	case n < 994:
		w.publish()
	default:
		w.outage()
	}
	for range 6 {
		w.look(w.keys[w.rng.IntN(len(w.keys))])
	}
}

func (w *world) writeSome() {
	if len(w.db.procs) > 12 {
		return
	}
	tx := w.db.begin()
	table := w.rng.IntN(fakeTables)
	if w.rng.IntN(20) == 0 {
		w.db.writeAll(tx, table)
		return
	}
	for range 1 + w.rng.IntN(3) {
		w.db.write(tx, table, w.rng.IntN(fakeRows))
		if w.rng.IntN(4) == 0 {
			table = w.rng.IntN(fakeTables)
		}
	}
}

// goOnWriting takes a transaction a step further. The first ones are the slow ones.
func (w *world) goOnWriting() {
	if len(w.db.procs) == 0 {
		return
	}
	i := len(w.db.procs) - 1 - min(w.rng.IntN(len(w.db.procs)), w.rng.IntN(len(w.db.procs)))
	tx := w.db.procs[i]
	switch {
	case w.db.mayBecomeVisible(tx):
		w.db.end(tx)
		w.account(tx)
		if tx.own {
			w.unanswered = append(w.unanswered, tx)
		}
	case tx.lsn != 0:
		w.db.flushTo(min(w.db.flushed+1, w.db.lsn))
	case w.rng.IntN(10) == 0:
		w.db.end(tx) // aborted
	case tx.own && !tx.applied && !w.recovered && w.rng.IntN(10) == 0:
		w.applyOwn(tx, false) // its outcome is not known
	default:
		if w.rng.IntN(4) == 0 {
			w.db.write(tx, w.rng.IntN(fakeTables), w.rng.IntN(fakeRows))
		}
		w.db.commit(tx)
		w.account(tx)
	}
}

// wholeOf is what a writer knows of its own transaction: the tables.
func wholeOf(tx *fakeTx) []Dependency {
	var list []Dependency
	for i := range tx.writes {
		list = append(list, Relation(uint32(tx.writes[i].table)), Whole(uint32(tx.writes[i].table)))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// answer ends a write that was made through the cache: the stream has brought it, or it is applied now.
func (w *world) answer() {
	if len(w.unanswered) == 0 {
		return
	}
	tx := w.unanswered[0]
	w.unanswered = w.unanswered[1:]
	if w.session && w.delivered >= tx.lsn {
		return
	}
	w.applyOwn(tx, true)
}

// applyOwn applies what a writer knows of its own transaction: that it wrote the tables.
func (w *world) applyOwn(tx *fakeTx, visible bool) {
	c := Change{Xid: tx.xid, Dependencies: wholeOf(tx), Visible: visible}
	if w.recovered { // since the feed began: which of its transactions that is cannot be said
		c.Xid = 0
	}
	w.keeper.commit(&c, tx.lsn)
	tx.applied = true
	for i := range tx.writes {
		tx.writes[i].applied = true
	}
	w.account(tx)
}

// deliver lets the stream bring the next transaction that is flushed.
func (w *world) deliver() {
	if !w.session || w.delivered >= w.db.flushed {
		return
	}
	tx := w.db.wal[w.delivered-w.db.base]
	w.delivered++
	if c := w.change(tx); len(c.Dependencies) > 0 {
		w.keeper.commit(&c, tx.lsn)
	}
	for i := range tx.writes {
		tx.writes[i].applied = tx.writes[i].applied || tx.writes[i].published
	}
	w.account(tx)
	if w.delivered%512 == 0 {
		w.db.prune(w.delivered)
	}
}

// change is what the stream makes of a transaction.
func (w *world) change(tx *fakeTx) Change {
	c := Change{Xid: tx.xid, LSN: lsnOf(tx.lsn)}
	var rows [fakeTables]int
	for i := range tx.writes {
		rows[tx.writes[i].table]++
	}
	without := w.without()
	for i := range tx.writes {
		f := &tx.writes[i]
		if !f.published {
			continue
		}
		oid := uint32(f.table)
		c.Dependencies = append(c.Dependencies, Relation(oid))
		if tx.coarse || rows[f.table] > maxTold {
			c.Dependencies = append(c.Dependencies, Whole(oid))
			continue
		}
		c.Dependencies = append(c.Dependencies, Row(oid, 1, fmt.Sprint(f.row)), Row(oid, 2, fmt.Sprint(f.status)))
		if !without.oldValue {
			c.Dependencies = append(c.Dependencies, Row(oid, 2, fmt.Sprint(f.old)))
		}
	}
	return c
}

func (w *world) without() removed {
	if x, ok := w.keeper.(*exact); ok {
		return x.without
	}
	return removed{}
}

// account requires the writes of a transaction once they were applied, and committed (or visible).
func (w *world) account(tx *fakeTx) {
	if tx.lsn == 0 || w.plan.lenient && !tx.visible {
		return
	}
	for i := range tx.writes {
		f := &tx.writes[i]
		// A writer of a table that was published meanwhile: who is admitted saw it end.
		_, covered := w.covered[uint32(f.table)]
		if f.applied || tx.visible && covered && !f.published {
			w.require(f.table, f.row, f.stamp, f.old, f.status)
		}
	}
}

func (w *world) require(table, row int, stamp uint64, statuses ...uint8) {
	r := &w.required[table][row]
	r.any = max(r.any, stamp)
	for _, s := range statuses {
		r.status[s] = max(r.status[s], stamp)
	}
}

// requireAll requires all that a state holds of a table.
func (w *world) requireAll(s *fakeState, table int) {
	for row := range fakeRows {
		from, r := &s[table][row], &w.required[table][row]
		r.any = max(r.any, from.stamp)
		for i := range r.status {
			r.status[i] = max(r.status[i], from.affected[i])
		}
	}
}

// beat begins a heartbeat or ends one.
func (w *world) beat() {
	if !w.session {
		return
	}
	if len(w.beats) < 3 && w.rng.IntN(2) == 0 {
		w.beats = append(w.beats, fakeBeat{asOf: Instant(w.counts.steps), snapshot: w.db.snapshot(), lsn: w.db.lsn})
		return
	}
	if len(w.beats) > 0 && w.beats[0].lsn <= w.delivered {
		w.keeper.heartbeat(w.beats[0].asOf, w.beats[0].snapshot)
		w.beats = w.beats[1:]
	}
}
