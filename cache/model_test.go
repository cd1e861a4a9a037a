package cache

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is a database with transactions, a log that hears of them early, late or never when they abort or
// the feed is lost, and fills that read it. Each action is one step of somebody; rapid draws who goes next.
type model struct {
	log    *ChangeLog
	bounds bounds
	epoch  int
	pins   map[Dependency]*node // rows that the collector is not to take: a schedule runs the same each time

	next      uint64
	running   map[uint64]*transaction
	all       []*transaction
	fills     []*modelFill
	stored    []*modelFill
	snapshots []Snapshot // heartbeats under way
	purges    []modelPurge
	marks     map[Dependency]int // marks of the epoch
	rowMarks  map[uint32]int     // the same of all rows of a table together
	before    map[uint64]bool    // what had become visible before the feed was found last
}

type transaction struct {
	xid     uint64
	touches []Dependency
	marked  bool
	atOnce  bool // marked only when its COMMIT was acknowledged
	at      Position
	last    Position // where it was marked again
	aborted bool
	visible bool
	epoch   int
}

type modelFill struct {
	key          string
	asked        Position
	epoch        int
	read         bool
	snapshot     Snapshot
	body         map[uint64]bool
	missed       bool // a part of what was there before the feed
	dependencies []Dependency
	standing     *Standing
}

type modelPurge struct {
	at    Position
	purge Purge
}

const (
	modelTables = 3
	modelRows   = 3
)

func newModel(t *rapid.T) *model {
	b := defaultBounds()
	b.marksPerNode = rapid.IntRange(1, 70).Draw(t, "marks of a node")
	b.marksPerRow = rapid.IntRange(1, 20).Draw(t, "marks of a row")
	b.marksPerRing = rapid.IntRange(1, 70).Draw(t, "marks of a ring")
	return &model{
		log: newChangeLog("0", b), bounds: b, next: 3, running: map[uint64]*transaction{}, marks: map[Dependency]int{},
		rowMarks: map[uint32]int{}, pins: map[Dependency]*node{}, before: map[uint64]bool{},
	}
}

func (m *model) snapshot() Snapshot {
	s := Snapshot{Xmin: m.next, Xmax: m.next, Xip: slices.Sorted(maps.Keys(m.running))}
	if len(s.Xip) > 0 {
		s.Xmin = s.Xip[0]
	}
	return s
}

// drawTouched draws what a transaction touches: of a table or two some rows, or what cannot be told apart.
func drawTouched(t *rapid.T) []Dependency {
	var list []Dependency
	for _, oid := range rapid.SliceOfNDistinct(rapid.Uint32Range(1, modelTables), 1, 2, rapid.ID).Draw(t, "tables") {
		list = append(list, Relation(oid))
		if rapid.IntRange(0, 3).Draw(t, "told apart") == 0 {
			list = append(list, Whole(oid))
			continue
		}
		for _, row := range rapid.SliceOfNDistinct(rapid.IntRange(1, modelRows), 1, 2, rapid.ID).Draw(t, "rows") {
			list = append(list, Row(oid, 1, fmt.Sprint(row)))
		}
	}
	return list
}

// drawRead draws what a response depends on: of a table or two all, or rows.
func drawRead(t *rapid.T) []Dependency {
	var list []Dependency
	for _, oid := range rapid.SliceOfNDistinct(rapid.Uint32Range(1, modelTables), 1, 2, rapid.ID).Draw(t, "tables") {
		if rapid.IntRange(0, 2).Draw(t, "all") == 0 {
			list = append(list, Relation(oid))
		} else {
			list = append(list, Row(oid, 1, fmt.Sprint(rapid.IntRange(1, modelRows).Draw(t, "row"))), Whole(oid))
		}
	}
	return list
}

func (m *model) begin(touches []Dependency) *transaction {
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
	m.log.Commit(Change{Xid: tx.xid, Dependencies: tx.touches, Visible: visible})
	for _, d := range tx.touches {
		if oid, ok := d.rowOid(); ok {
			m.rowMarks[oid]++ // a ring remembers twice what is applied twice
		}
	}
	if !tx.marked {
		for _, d := range tx.touches {
			m.marks[d]++
		}
		tx.at, tx.atOnce = m.log.Position(), true
	}
	tx.marked, tx.last, tx.atOnce = true, m.log.Position(), tx.atOnce && visible
}

// Begin starts a transaction.
func (m *model) Begin(t *rapid.T) { m.begin(drawTouched(t)) }

// MarkEarly applies a transaction that snapshots do not see yet, and perhaps never will.
func (m *model) MarkEarly(t *rapid.T) {
	if m.live() {
		m.mark(m.someRunning(t), false)
	}
}

// Become makes a transaction visible, whether it was marked or not.
func (m *model) Become(t *rapid.T) {
	tx := m.someRunning(t)
	m.finish(tx, false)
	if !m.live() {
		return // nobody tells
	}
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
	touched := drawTouched(t)
	visible := rapid.Bool().Draw(t, "acknowledged")
	for range rapid.IntRange(40, 100).Draw(t, "transactions") {
		tx := m.begin(touched)
		m.finish(tx, false)
		if m.live() {
			m.mark(tx, visible)
		}
	}
}

// Ask opens a fill: it notes the log's position.
func (m *model) Ask(t *rapid.T) {
	m.fills = append(m.fills, &modelFill{
		key: rapid.SampledFrom([]string{"a/1", "a/2", "b/1"}).Draw(t, "key"), asked: m.log.Position(), epoch: m.epoch, dependencies: drawRead(t),
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
	f.read, f.body = true, maps.Clone(m.before)
	for _, tx := range m.all {
		if tx.visible {
			f.body[tx.xid] = true
		}
	}
}

// Stand ties what was read to the log.
func (m *model) Stand(t *rapid.T) {
	f := m.someFill(t, func(f *modelFill) bool { return f.read })
	m.fills = slices.DeleteFunc(m.fills, func(o *modelFill) bool { return o == f })
	if !m.admit(t, f) {
		return
	}
	f.standing = m.log.Stand([]byte(f.key), f.asked, f.snapshot, f.dependencies)
	for i, d := range f.dependencies {
		if _, ok := d.rowOid(); ok {
			m.pins[d] = f.standing.nodes[i]
		}
	}
	m.stored = append(m.stored, f)
	m.judge(t, f)
}

// admit asks for admission, and holds the answer to what it is for.
func (m *model) admit(t *rapid.T, f *modelFill) bool {
	var oids []uint32
	for _, d := range f.dependencies {
		oid, _ := d.Table()
		oids = append(oids, oid)
	}
	refused := m.log.Admit(f.asked, f.snapshot, oids)
	if !m.live() {
		if refused != RefusedFeed {
			t.Fatalf("%q without a feed", refused)
		}
		return false
	}
	want := Storable
	for xid, exported := uint64(1), m.log.Feed().Exported; xid < exported.Xmax; xid++ {
		if exported.Sees(xid) && !f.snapshot.Sees(xid) {
			want = RefusedAdmission
		}
	}
	if refused != want {
		t.Fatalf("%q, want %q: snapshot %v, exported %v", refused, want, f.snapshot, m.log.Feed().Exported)
	}
	f.missed = f.epoch == m.epoch && !contains(f.body, m.before)
	return refused == Storable
}

// Forget drops what is stored on a row, and the collector takes its node.
func (m *model) Forget(t *rapid.T) {
	if len(m.pins) == 0 {
		t.Skip()
	}
	d := rapid.SampledFrom(slices.Sorted(maps.Keys(m.pins))).Draw(t, "row")
	m.stored = slices.DeleteFunc(m.stored, func(f *modelFill) bool { return slices.Contains(f.dependencies, d) })
	row := m.log.rows.hash(d)
	delete(m.log.rows.shard(row).nodes, row)
	delete(m.pins, d)
}

// Lose loses the feed: nothing is stored until it is found.
func (m *model) Lose(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "rarely") > 0 {
		t.Skip()
	}
	m.log.SetFeed(&Feed{Mode: FeedWAL})
}

// Find finds a feed, which begins here.
func (m *model) Find(t *rapid.T) {
	if m.live() {
		t.Skip()
	}
	for _, tx := range m.all {
		m.before[tx.xid] = m.before[tx.xid] || tx.visible
	}
	maps.DeleteFunc(m.before, func(_ uint64, visible bool) bool { return !visible })
	for _, tx := range m.running {
		tx.marked = false // what was told of it is dropped, and the feed will tell again
		tx.epoch = m.epoch + 1
	}
	m.endEpoch()
	m.all = slices.Collect(maps.Values(m.running))
	slices.SortFunc(m.all, func(a, b *transaction) int { return int(a.xid) - int(b.xid) })
	m.find()
}

func (m *model) find() {
	covered := map[uint32]Coverage{}
	for oid := range uint32(modelTables) {
		covered[oid+1] = Coverage{}
	}
	m.log.SetFeed(&Feed{Mode: FeedWAL, Live: true, Exported: m.snapshot(), Covered: covered})
}

func (m *model) live() bool { return m.log.Feed().Live }

func (m *model) endEpoch() {
	m.epoch++
	m.log.NewEpoch(fmt.Sprint(m.epoch))
	m.all, m.snapshots = nil, nil // what is stored from now on is judged by what happens from now on
	clear(m.marks)
	clear(m.rowMarks)
	clear(m.pins)
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
	p := Purge{Soft: rapid.Bool().Draw(t, "soft")}
	switch rapid.IntRange(0, 2).Draw(t, "by") {
	case 0:
		p.Dependencies = rapid.OneOf(rapid.Custom(drawRead), rapid.Custom(drawTouched)).Draw(t, "dependencies")
	case 1:
		p.KeyPrefixes = [][]byte{[]byte(rapid.SampledFrom([]string{"a/", "a/1", "b/1", "c"}).Draw(t, "prefix"))}
	case 2:
		p.Dependencies = []Dependency{Everything}
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
	m.next -= min(rapid.Uint64Range(0, 50).Draw(t, "taken back"), m.next-3)
	clear(m.before)
	m.endEpoch()
	m.find()
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

func TestNoScheduleServesWhatLacksAnAppliedChange(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		m.find()
		actions := map[string]func(*rapid.T){
			"begin": m.Begin, "mark early": m.MarkEarly, "become visible": m.Become, "abort": m.Abort, "apply again": m.Again, "burst": m.Burst,
			"ask": m.Ask, "take snapshot": m.TakeSnapshot, "read": m.Read, "stand": m.Stand, "look": m.Look,
			"heartbeat": m.Heartbeat, "beat": m.Beat, "purge": m.Purge, "new epoch": m.NewEpoch, "forget": m.Forget, "lose": m.Lose, "find": m.Find,
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
