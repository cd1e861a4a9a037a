package cache_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"forebay/cache"
)

// model is a database with transactions, a log that hears of them early, late or never when they abort,
// and fills that read it. Each action is one step of somebody; rapid draws who goes next.
type model struct {
	log   *cache.ChangeLog
	epoch int

	next      uint64
	running   map[uint64]*transaction
	all       []*transaction
	fills     []*modelFill
	stored    []*modelFill
	snapshots []cache.Snapshot // heartbeats under way
	purges    []modelPurge
	marks     map[cache.Dependency]int // marks of the epoch
}

type transaction struct {
	xid     uint64
	touches []cache.Dependency
	marked  bool
	atOnce  bool // marked only when its COMMIT was acknowledged
	at      cache.Position
	aborted bool
	visible bool
	epoch   int
}

type modelFill struct {
	key          string
	asked        cache.Position
	epoch        int
	read         bool
	snapshot     cache.Snapshot
	body         map[uint64]bool
	dependencies []cache.Dependency
	standing     *cache.Standing
}

type modelPurge struct {
	at    cache.Position
	purge cache.Purge
}

var modelTables = []cache.Dependency{cache.Relation(1), cache.Relation(2), cache.Relation(3)}

func newModel() *model {
	return &model{log: cache.NewChangeLog("0"), next: 3, running: map[uint64]*transaction{}, marks: map[cache.Dependency]int{}}
}

func (m *model) snapshot() cache.Snapshot {
	s := cache.Snapshot{Xmin: m.next, Xmax: m.next, Xip: slices.Sorted(maps.Keys(m.running))}
	if len(s.Xip) > 0 {
		s.Xmin = s.Xip[0]
	}
	return s
}

func drawTables(t *rapid.T) []cache.Dependency {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(modelTables), 1, 2, rapid.ID).Draw(t, "tables")
}

func (m *model) begin(touches []cache.Dependency) *transaction {
	tx := &transaction{xid: m.next, touches: touches, epoch: m.epoch}
	m.next++
	m.running[tx.xid] = tx
	m.all = append(m.all, tx)
	return tx
}

func (m *model) finish(tx *transaction, aborted bool) {
	delete(m.running, tx.xid)
	tx.aborted, tx.visible = aborted, !aborted
}

func (m *model) mark(tx *transaction, visible bool) {
	m.log.Commit(cache.Change{Xid: tx.xid, Dependencies: tx.touches, Visible: visible})
	if !tx.marked {
		for _, d := range tx.touches {
			m.marks[d]++
		}
		tx.at, tx.atOnce = m.log.Position(), visible
	}
	tx.marked = true
}

// Begin starts a transaction.
func (m *model) Begin(t *rapid.T) { m.begin(drawTables(t)) }

// MarkEarly applies a transaction that snapshots do not see yet, and perhaps never will.
func (m *model) MarkEarly(t *rapid.T) { m.mark(m.someRunning(t), false) }

// Become makes a transaction visible, whether it was marked or not.
func (m *model) Become(t *rapid.T) {
	tx := m.someRunning(t)
	m.finish(tx, false)
	if !tx.marked { // the log hears of it, as it must, before anyone is told
		m.mark(tx, rapid.Bool().Draw(t, "acknowledged"))
	}
}

// Abort rolls a transaction back, whether it was marked or not.
func (m *model) Abort(t *rapid.T) { m.finish(m.someRunning(t), true) }

// Again applies a transaction that was applied before: once by its writer, once by the stream.
func (m *model) Again(t *rapid.T) {
	var marked []*transaction
	for _, tx := range m.all {
		if tx.marked && tx.epoch == m.epoch {
			marked = append(marked, tx)
		}
	}
	if len(marked) == 0 {
		t.Skip()
	}
	tx := rapid.SampledFrom(marked).Draw(t, "transaction")
	m.mark(tx, tx.visible)
}

// Burst commits more transactions than a node remembers.
func (m *model) Burst(t *rapid.T) {
	tables := drawTables(t)
	visible := rapid.Bool().Draw(t, "acknowledged")
	for range rapid.IntRange(40, 100).Draw(t, "transactions") {
		tx := m.begin(tables)
		m.finish(tx, false)
		m.mark(tx, visible)
	}
}

// Ask opens a fill: it notes the log's position.
func (m *model) Ask(t *rapid.T) {
	m.fills = append(m.fills, &modelFill{
		key: rapid.SampledFrom([]string{"a/1", "a/2", "b/1"}).Draw(t, "key"), asked: m.log.Position(), epoch: m.epoch, dependencies: drawTables(t),
	})
}

// TakeSnapshot is a fill's first half at the database.
func (m *model) TakeSnapshot(t *rapid.T) {
	f := m.someFill(t, func(f *modelFill) bool { return f.snapshot.IsZero() })
	f.snapshot = m.snapshot()
}

// Read is its second: the body may be newer than the snapshot, never older.
func (m *model) Read(t *rapid.T) {
	f := m.someFill(t, func(f *modelFill) bool { return !f.snapshot.IsZero() && !f.read })
	f.read, f.body = true, map[uint64]bool{}
	for _, tx := range m.all {
		if tx.visible {
			f.body[tx.xid] = true
		}
	}
}

// Stand ties what was read to the log.
func (m *model) Stand(t *rapid.T) {
	f := m.someFill(t, func(f *modelFill) bool { return f.read })
	f.standing = m.log.Stand([]byte(f.key), f.asked, f.snapshot, f.dependencies)
	m.fills = slices.DeleteFunc(m.fills, func(o *modelFill) bool { return o == f })
	m.stored = append(m.stored, f)
	m.judge(t, f)
}

// Look judges one stored response.
func (m *model) Look(t *rapid.T) {
	if len(m.stored) == 0 {
		t.Skip()
	}
	m.judge(t, rapid.SampledFrom(m.stored).Draw(t, "response"))
}

// Heartbeat takes a snapshot, and Beat tells the log of it later.
func (m *model) Heartbeat(*rapid.T) { m.snapshots = append(m.snapshots, m.snapshot()) }

// Beat applies the oldest heartbeat under way.
func (m *model) Beat(t *rapid.T) {
	if len(m.snapshots) == 0 {
		t.Skip()
	}
	m.log.Settle(m.snapshots[0])
	m.snapshots = m.snapshots[1:]
}

// Purge purges a table, a tag or a key prefix.
func (m *model) Purge(t *rapid.T) {
	p := cache.Purge{Soft: rapid.Bool().Draw(t, "soft")}
	switch rapid.IntRange(0, 2).Draw(t, "by") {
	case 0:
		p.Dependencies = drawTables(t)
	case 1:
		p.KeyPrefixes = [][]byte{[]byte(rapid.SampledFrom([]string{"a/", "a/1", "b/1", "c"}).Draw(t, "prefix"))}
	case 2:
		p.Dependencies = []cache.Dependency{cache.Everything}
	}
	m.log.Purge(p)
	m.purges = append(m.purges, modelPurge{at: m.log.Position(), purge: p})
}

// NewEpoch is a crash: running transactions are gone, and their xids are handed out again.
func (m *model) NewEpoch(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
		t.Skip()
	}
	for _, tx := range slices.Collect(maps.Values(m.running)) {
		m.finish(tx, true)
	}
	m.epoch++
	m.log.NewEpoch(fmt.Sprint(m.epoch))
	m.next -= min(rapid.Uint64Range(0, 50).Draw(t, "taken back"), m.next-3)
	m.all, m.snapshots = nil, nil // what is stored from now on is judged by what happens from now on
	clear(m.marks)
}

func (m *model) someRunning(t *rapid.T) *transaction {
	if len(m.running) == 0 {
		t.Skip()
	}
	return m.running[rapid.SampledFrom(slices.Sorted(maps.Keys(m.running))).Draw(t, "transaction")]
}

func (m *model) someFill(t *rapid.T, ready func(*modelFill) bool) *modelFill {
	var found []*modelFill
	for _, f := range m.fills {
		if ready(f) {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		t.Skip()
	}
	return rapid.SampledFrom(found).Draw(t, "fill")
}

// judge checks both halves of the rule: never served when it must not be, and served when it may.
func (m *model) judge(t *rapid.T, f *modelFill) {
	verdict := f.standing.Check()
	must, why := m.mustBe(f)
	if must != cache.Current && verdict < must {
		t.Fatalf("%s, and must be %s: %s", verdict, must, why)
	}
	if must == cache.Current && verdict != cache.Current && !m.mayForget(f) {
		t.Fatalf("%s, although it saw everything: snapshot %v asked %d", verdict, f.snapshot, f.asked)
	}
}

// mustBe returns the least that the response has to be judged, and for what.
func (m *model) mustBe(f *modelFill) (cache.Verdict, string) {
	must, why := cache.Current, ""
	for _, p := range m.purges {
		if p.at <= f.asked || !concerns(p.purge, f) {
			continue
		}
		if !p.purge.Soft {
			return cache.Outdated, fmt.Sprintf("purged at %d by %+v, asked for at %d", p.at, p.purge, f.asked)
		}
		must, why = cache.Softened, fmt.Sprintf("softened at %d, asked for at %d", p.at, f.asked)
	}
	if f.epoch != m.epoch {
		return cache.Outdated, "asked for in another epoch"
	}
	for _, tx := range m.all {
		if tx.marked && !tx.aborted && touches(tx, f) && !f.body[tx.xid] {
			return cache.Outdated, fmt.Sprintf("lacks transaction %d, applied at %d", tx.xid, tx.at)
		}
		if tx.marked && touches(tx, f) && !f.snapshot.Sees(tx.xid) {
			return cache.Outdated, fmt.Sprintf("snapshot %v does not see transaction %d", f.snapshot, tx.xid)
		}
	}
	return must, why
}

// mayForget reports whether a floor may have outdated the response: more was marked than is remembered,
// and not all of it was known to be visible when the response was asked for.
func (m *model) mayForget(f *modelFill) bool {
	for _, d := range f.dependencies {
		if m.marks[d] <= 64 {
			continue
		}
		for _, tx := range m.all {
			if tx.marked && slices.Contains(tx.touches, d) && (!tx.atOnce || tx.at > f.asked) {
				return true
			}
		}
	}
	return false
}

func concerns(p cache.Purge, f *modelFill) bool {
	for _, d := range p.Dependencies {
		if d == cache.Everything || slices.Contains(f.dependencies, d) {
			return true
		}
	}
	return slices.ContainsFunc(p.KeyPrefixes, func(prefix []byte) bool {
		return len(prefix) <= len(f.key) && f.key[:len(prefix)] == string(prefix)
	})
}

func touches(tx *transaction, f *modelFill) bool {
	return slices.ContainsFunc(tx.touches, func(d cache.Dependency) bool { return slices.Contains(f.dependencies, d) })
}

func TestNoScheduleServesWhatLacksAnAppliedChange(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		actions := map[string]func(*rapid.T){
			"begin": m.Begin, "mark early": m.MarkEarly, "become visible": m.Become, "abort": m.Abort, "apply again": m.Again, "burst": m.Burst,
			"ask": m.Ask, "take snapshot": m.TakeSnapshot, "read": m.Read, "stand": m.Stand, "look": m.Look,
			"heartbeat": m.Heartbeat, "beat": m.Beat, "purge": m.Purge, "new epoch": m.NewEpoch,
		}
		// What fills do is drawn more often: without responses there is nothing to judge.
		for _, name := range []string{"ask", "take snapshot", "read", "stand", "look"} {
			actions[name+" (2)"], actions[name+" (3)"] = actions[name], actions[name]
		}
		for range 6 { // a schedule long enough for what was stored to be judged after much has happened
			t.Repeat(actions)
		}
		for _, f := range m.stored {
			m.judge(t, f)
		}
	})
}
