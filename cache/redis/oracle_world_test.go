package redis

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"forebay/cache"
)

// oracleWorld lets a database, servers of Redis and instances take turns as a seed says, and looks at every
// response that an instance serves: it must hold every change that was in that instance's log, and all that was
// there before its feed began.
type oracleWorld struct {
	seed    uint64
	rng     *rand.Rand
	url     string
	start   time.Time
	marks   int // dependencies that a chain remembers
	without oracleRemoved
	pass    func(time.Duration) // time

	db        *oracleDatabase
	keys      []*oracleKey
	instances []*oracleInstance
	servers   []oracleServer
	late      []func() // what is on its way, though nobody waits for it any more
	copies    []oracleCopy
	nested    int
	births    int
	only      int // kind of days; 0: any
	days      oracleDays

	stale  string // the first stale response; empty: none
	counts oracleCounts
}

// oracleCounts are for people, and so that a run cannot be quiet because nothing happened.
type oracleCounts struct {
	reads, shared, stored, commits, crashes, epochs, begun, breaks, faults, restarts, steps int
}

func (c oracleCounts) String() string {
	return fmt.Sprintf("%d reads checked (%d of them another instance's), %d stored, %d commits, %d crashes, %d epochs, %d chains begun, %d times broken, %d faults of Redis, %d restarts, %d steps",
		c.reads, c.shared, c.stored, c.commits, c.crashes, c.epochs, c.begun, c.breaks, c.faults, c.restarts, c.steps)
}

func (c *oracleCounts) add(o oracleCounts) {
	c.reads, c.shared, c.stored, c.commits, c.crashes = c.reads+o.reads, c.shared+o.shared, c.stored+o.stored, c.commits+o.commits, c.crashes+o.crashes
	c.epochs, c.begun, c.breaks, c.faults, c.restarts, c.steps = c.epochs+o.epochs, c.begun+o.begun, c.breaks+o.breaks, c.faults+o.faults, c.restarts+o.restarts, c.steps+o.steps
}

type oraclePart struct {
	kind         int // 0 a row, 1 the rows of a status, 2 all
	table, value int
}

type oracleKey struct {
	name   string
	parts  []oraclePart
	tables []uint32
}

func newOracleKey(parts ...oraclePart) *oracleKey {
	k := &oracleKey{name: fmt.Sprint(parts), parts: parts}
	for _, p := range parts {
		k.tables = append(k.tables, uint32(p.table+1))
	}
	return k
}

// dependencies returns what the response depends on where rows are told apart by these columns.
func (k *oracleKey) dependencies(columns []int16) []cache.Dependency {
	var list []cache.Dependency
	for _, p := range k.parts {
		oid, column := uint32(p.table+1), int16(p.kind+1)
		if p.kind == 2 || !slices.Contains(columns, column) {
			list = append(list, cache.Relation(oid))
		} else {
			list = append(list, cache.Row(oid, column, fmt.Sprint(p.value)), cache.Whole(oid))
		}
	}
	return list
}

func newOracleWorld(seed uint64, without oracleRemoved) *oracleWorld {
	rng := rand.New(rand.NewPCG(seed, 0))
	w := &oracleWorld{seed: seed, rng: rng, url: "redis://127.0.0.1:1", start: time.Now(), without: without, pass: time.Sleep, db: newOracleDatabase(rng)}
	w.marks = maxChainMarks
	if rng.IntN(2) == 0 && !without.trimmed || without.memory {
		w.marks = 1 + rng.IntN(12)
	}
	for table := range oracleTables {
		for row := range oracleRows {
			w.keys = append(w.keys, newOracleKey(oraclePart{0, table, row}))
		}
		for status := range oracleStatuses {
			w.keys = append(w.keys, newOracleKey(oraclePart{1, table, status}))
		}
		w.keys = append(w.keys, newOracleKey(oraclePart{2, table, 0}))
		w.keys = append(w.keys, newOracleKey(oraclePart{0, table, 1}, oraclePart{1, (table + 1) % oracleTables, 0}))
	}
	return w
}

// What days are like.
const (
	mixedDays    = 1 + iota // a little of everything
	cuttingDays             // the chain loses entries between others
	trimmingDays            // it is trimmed
	crashingDays            // the database crashes, and takes back what was read
	splitDays               // likewise, while instances go back and forth between a server of Redis and one that lags behind
	turningDays             // old copies of Redis are put back
	failingDays             // Redis refuses what it is asked
)

// oracleDays are what the world is like for a time.
type oracleDays struct {
	kind    int
	pace    time.Duration // a step takes, about
	writes  int           // begin, of 1000 steps
	busy    int           // steps in the beginning, after which nobody writes
	failing int           // of 1000 commands
	faults  int           // of Redis, of 1000 steps
	crashes int           // of 1000 things that happen to instances
	fills   int           // of 1000 steps
	slow    int           // the instance whose feed lags, or whose reading; less than 0: none
	first   int           // of the keys that are asked for, a third of all
	uneasy  int           // the instance that begins anew again and again, or its feed does, unless it writes the chain; likewise
}

// turn begins other days.
func (w *oracleWorld) turn() {
	kind := w.only
	if kind == 0 {
		kind = [...]int{mixedDays, mixedDays, cuttingDays, trimmingDays, crashingDays, splitDays, turningDays, failingDays}[w.rng.IntN(8)]
	}
	w.days = oracleDays{kind: kind, pace: 700 * time.Microsecond, crashes: 15, writes: [...]int{0, 3, 10, 30, 60}[w.rng.IntN(5)]}
	w.days.fills = [...]int{2, 6, 20, 60}[w.rng.IntN(4)]
	w.days.busy = [...]int{100, 300, 1024}[w.rng.IntN(3)]
	w.days.first = w.rng.IntN(len(w.keys))
	w.days.slow, w.days.uneasy = w.rng.IntN(2*oracleInstances)-oracleInstances, w.rng.IntN(2*oracleInstances)-oracleInstances
	switch kind {
	case mixedDays:
		w.days.faults, w.days.failing = [...]int{0, 0, 1, 3}[w.rng.IntN(4)], [...]int{0, 0, 1, 4, 30}[w.rng.IntN(5)]
	case cuttingDays, trimmingDays:
		w.days.faults, w.days.crashes, w.days.pace, w.days.writes, w.days.uneasy = 4, 0, 500*time.Microsecond, 20, w.rng.IntN(oracleInstances)
	case turningDays:
		w.days.faults, w.days.crashes, w.days.writes, w.days.uneasy = 3, 2, 20, w.rng.IntN(oracleInstances)
	case failingDays:
		w.days.failing, w.days.crashes, w.days.writes = 60, 2, 30
	case crashingDays:
		w.days.crashes, w.days.writes, w.days.pace = 60, 1+w.rng.IntN(12), 600*time.Microsecond
	case splitDays:
		w.days.faults, w.days.crashes, w.days.writes, w.days.pace = 8, 60, 1+w.rng.IntN(12), 600*time.Microsecond
	}
}

// people has that many instances live in it, and servers of Redis.
func (w *oracleWorld) people(instances int, servers ...oracleServer) {
	w.servers = servers
	w.turn()
	for n := range instances {
		w.instances = append(w.instances, w.newOracleInstance(n))
	}
}

// end leaves nothing behind.
func (w *oracleWorld) end() {
	for _, i := range w.instances {
		i.kill()
	}
}

// run takes steps until so many responses were served and checked, or one was stale, or too little happens.
func (w *oracleWorld) run(reads int) {
	for w.counts.reads < reads && w.stale == "" && w.counts.steps < 20_000+20*reads {
		w.step()
	}
	for _, i := range w.instances {
		w.account(i)
	}
	w.counts.commits, w.counts.crashes = w.db.commits, w.db.crashes
}

// account counts what the instance's metrics say, before they are gone.
func (w *oracleWorld) account(i *oracleInstance) {
	w.counts.begun += int(i.store.metrics.chainBegins.Get())
	w.counts.breaks += int(i.store.metrics.chainBreaks.Get())
}

// meanwhile has others go on while somebody waits for Redis.
func (w *oracleWorld) meanwhile() {
	if w.nested > 1 || w.rng.IntN(40) != 0 {
		return
	}
	w.nested++
	defer func() { w.nested-- }()
	for range 1 + w.rng.IntN(12) {
		w.step()
	}
}

// step lets somebody go on, and then a reader read. Some times are busy, and some are quiet.
func (w *oracleWorld) step() {
	w.counts.steps++
	if w.counts.steps%1024 == 0 {
		w.turn()
	}
	i := w.instances[w.rng.IntN(len(w.instances))]
	w.passSome()
	switch n := w.rng.IntN(1000); {
	case n < 60:
		if n < w.days.writes && w.counts.steps%1024 < w.days.busy {
			w.write()
		}
	case n < 160:
		w.goOnWriting()
	case n < 180:
		if w.days.kind == crashingDays && w.rng.IntN(16) != 0 {
			return
		}
		w.db.flushTo(w.db.flushed + w.rng.Uint64N(w.db.lsn-w.db.flushed+1))
	case n < 210:
		w.db.replayOne()
	case n < 210+w.days.faults:
		w.fault()
	case n < 240:
		w.arrive()
	default:
		if w.counts.steps >= i.sleeps {
			w.instance(i, n)
		}
	}
	for range 4 {
		i := w.instances[w.rng.IntN(len(w.instances))]
		if w.counts.steps >= i.sleeps {
			i.look(w.key())
		}
	}
}

// key is one of those that are asked for these days. What is stored under others gets old in Redis.
func (w *oracleWorld) key() *oracleKey {
	return w.keys[(w.days.first+w.rng.IntN(len(w.keys)/3))%len(w.keys)]
}

// passSome lets time go on. It flies while nobody writes the chain: there is little to see.
func (w *oracleWorld) passSome() {
	pace := w.days.pace
	if !slices.ContainsFunc(w.instances, func(i *oracleInstance) bool { return i.owner.chain != 0 }) {
		pace *= 8
	}
	w.pass(time.Duration(w.rng.IntN(int(2 * pace))))
}

// instance has one go on.
func (w *oracleWorld) instance(i *oracleInstance, n int) {
	if w.days.uneasy == i.n && i.owner.chain == 0 && w.rng.IntN(250) == 0 {
		if i.session, i.beats = false, nil; w.rng.IntN(2) == 0 {
			w.restart(i)
			return
		}
	}
	switch {
	case n < 360:
		if w.days.slow != i.n || w.days.kind == cuttingDays || w.days.kind == splitDays || w.rng.IntN(32) == 0 {
			i.deliver()
		}
	case n < 440:
		i.beat()
	case n < 640:
		if n-440 < w.days.fills || len(i.fills) > 0 {
			i.fill()
		}
	case n < 690:
		i.set()
	case n < 790:
		if w.days.slow != i.n || w.days.kind != cuttingDays && w.days.kind != splitDays || w.rng.IntN(16) == 0 { // so that what is cut was not read
			i.readChain()
		}
	case n < 870:
		i.writeChain()
	case n < 910:
		i.followLog()
	case n < 930:
		i.tellLog()
	case n < 975:
		i.connect()
	case n < 980:
		if w.days.kind == mixedDays && w.rng.IntN(4) == 0 {
			i.publish()
		}
	case n < 990:
		delete(i.memory, w.keys[w.rng.IntN(len(w.keys))])
	default:
		w.outage(i)
	}
}

// arrive has something land of which nobody knows any more.
func (w *oracleWorld) arrive() {
	if len(w.late) == 0 {
		return
	}
	n := w.rng.IntN(len(w.late))
	land := w.late[n]
	w.late = slices.Delete(w.late, n, n+1)
	if w.rng.IntN(2) == 0 {
		land()
	}
}

func (w *oracleWorld) write() {
	if len(w.db.procs) > 6 {
		return
	}
	tx := &oracleTx{xid: w.db.next, async: w.rng.IntN(2) == 0}
	w.db.next++
	w.db.procs = append(w.db.procs, tx)
	for range 1 + w.rng.IntN(2) {
		w.writeRow(tx)
	}
}

func (w *oracleWorld) writeRow(tx *oracleTx) {
	table := w.rng.IntN(oracleTables)
	published := uint(0)
	for _, i := range w.instances {
		if _, ok := i.covered[uint32(table+1)]; ok && i.session {
			published |= 1 << i.n
		}
	}
	w.db.write(tx, table, w.rng.IntN(oracleRows), published)
}

// goOnWriting takes a transaction a step further.
func (w *oracleWorld) goOnWriting() {
	if len(w.db.procs) == 0 {
		return
	}
	tx := w.db.procs[len(w.db.procs)-1-min(w.rng.IntN(len(w.db.procs)), w.rng.IntN(len(w.db.procs)))]
	switch {
	case tx.lsn != 0 && (tx.async || tx.lsn <= w.db.flushed):
		w.db.end(tx)
		for _, i := range w.instances {
			i.account(tx)
		}
	case tx.lsn != 0:
		w.db.flushTo(w.db.flushed + 1)
	case w.rng.IntN(10) == 0:
		w.db.end(tx) // aborted
	case w.rng.IntN(4) == 0:
		w.writeRow(tx)
	default:
		w.db.commit(tx)
		for _, i := range w.instances {
			i.account(tx)
		}
	}
}

// served checks what an instance serves.
func (w *oracleWorld) served(i *oracleInstance, r *oracleResponse) {
	w.counts.reads++
	if r.shared {
		w.counts.shared++
	}
	if w.stale != "" {
		return
	}
	for _, p := range r.key.parts {
		if row := i.lacks(r.Body, p); row >= 0 {
			w.stale = fmt.Sprintf("instance %d serves %s (stored elsewhere: %t) without a change of table %d, row %d, that it knows of (seed %d, step %d)",
				i.n, r.key.name, r.shared, p.table, row, w.seed, w.counts.steps)
			return
		}
	}
}

// lacks returns a row of which the body lacks what the instance requires, or -1.
func (i *oracleInstance) lacks(body []byte, p oraclePart) int {
	for row := range oracleRows {
		has, must := binary.LittleEndian.Uint64(body[(p.table*oracleRows+row)*8:]), &i.required[p.table][row]
		switch {
		case p.kind == 0 && row == p.value && has < must.any, p.kind == 1 && has < must.status[p.value], p.kind == 2 && has < must.any:
			return row
		}
	}
	return -1
}

// account requires of an instance what a transaction wrote, once it is applied there and committed.
func (i *oracleInstance) account(tx *oracleTx) {
	if tx.lsn == 0 {
		return
	}
	for n := range tx.writes {
		f := &tx.writes[n]
		// A writer of a table that was published meanwhile: who is admitted saw it end.
		_, covered := i.covered[uint32(f.table+1)]
		if f.applied&(1<<i.n) == 0 && !(i.session && tx.visible && covered && f.published&(1<<i.n) == 0) {
			continue
		}
		r := &i.required[f.table][f.row]
		r.any = max(r.any, f.stamp)
		r.status[f.old], r.status[f.status] = max(r.status[f.old], f.stamp), max(r.status[f.status], f.stamp)
	}
}

// requireAll requires all that a state holds of a table.
func (i *oracleInstance) requireAll(s *oracleState, table int) {
	for row := range oracleRows {
		from, r := &s[table][row], &i.required[table][row]
		r.any = max(r.any, from.stamp)
		for status := range r.status {
			r.status[status] = max(r.status[status], from.affected[status])
		}
	}
}
