package redis

import (
	"fmt"
	"slices"
	"time"

	"forebay/cache"
)

// fault is something that happens to a server of Redis, or to who is connected to which.
func (w *oracleWorld) fault() {
	w.counts.faults++
	n := w.rng.IntN(len(w.servers))
	s := w.servers[n]
	kind := w.rng.IntN(12)
	switch {
	case w.days.kind == cuttingDays, w.days.kind == trimmingDays:
		kind = 8
	case w.days.kind == turningDays:
		kind = w.rng.IntN(6)
	case w.days.kind == splitDays:
		w.lag()
		return
	}
	switch kind {
	case 0, 1, 2:
		w.copies = append(w.copies, s.copyOf())
		if len(w.copies) > 4 {
			at := w.rng.IntN(len(w.copies))
			w.copies = slices.Delete(w.copies, at, at+1)
		}
	case 3, 4: // killed, and started with what it had saved; or an old dump is put in its place
		if len(w.copies) > 0 {
			s.putBack(w.oldCopy(), allOfIt)
		}
	case 5, 6:
		if len(w.copies) > 0 {
			s.putBack(w.oldCopy(), 1+w.rng.IntN(3))
		}
	case 7: // flushed, or killed without persistence
		s.putBack(oracleCopy{}, [...]int{allOfIt, allOfIt, chainOfIt, logOfIt}[w.rng.IntN(4)])
	case 8:
		w.cut(s)
	case 9: // the other server has followed this one up to now; who is connected to it writes there from now on
		if len(w.servers) > 1 {
			w.servers[1-n].putBack(s.copyOf(), allOfIt)
		}
	case 10:
		for _, i := range w.instances {
			if w.rng.IntN(2) == 0 {
				i.server = w.rng.IntN(len(w.servers))
			}
		}
	default:
		s.turnClock(time.Duration(w.rng.IntN(20_000)-10_000) * time.Millisecond)
	}
	if w.rng.IntN(3) == 0 { // what is split comes together again
		for _, i := range w.instances {
			i.server = n
		}
	}
}

// oldCopy is one of those that were made, often the newest.
func (w *oracleWorld) oldCopy() oracleCopy {
	return w.copies[max(w.rng.IntN(len(w.copies)), w.rng.IntN(len(w.copies)), w.rng.IntN(len(w.copies)))]
}

// lag has one of two servers follow the other up to now, or an instance that speaks to the other look at it once.
func (w *oracleWorld) lag() {
	first, last := 0, len(w.servers)-1
	i := w.instances[w.rng.IntN(len(w.instances))]
	switch {
	case w.rng.IntN(6) == 0:
		w.servers[last].putBack(w.servers[first].copyOf(), allOfIt)
	case i.server == first && w.counts.steps >= i.sleeps:
		i.server = last
		i.readChain()
		i.server = first
	default:
		i.server = first
	}
}

// cut takes the oldest entries out of a stream, the newest, or some between.
func (w *oracleWorld) cut(s oracleServer) {
	stream := oracleChain
	if w.rng.IntN(4) == 0 && w.days.kind == mixedDays {
		stream = oracleLog
	}
	length := s.length(stream)
	if length < 2 {
		return
	}
	k := 1 + w.rng.IntN(length-1)
	switch n := w.rng.IntN(8); {
	case n == 0 && w.days.kind == mixedDays:
		s.cut(stream, length-k, length)
	case n < 6 && w.days.kind != trimmingDays:
		from := max(0, length-2-w.rng.IntN(30))
		s.cut(stream, from, from+1+w.rng.IntN(min(8, length-1-from)))
	default:
		s.cut(stream, 0, k)
	}
}

// outage is something that happens to an instance or to the database.
func (w *oracleWorld) outage(i *oracleInstance) {
	if w.rng.IntN(1000) < w.days.crashes {
		w.crash()
		return
	}
	if (w.days.kind == cuttingDays || w.days.kind == trimmingDays) && w.rng.IntN(4) != 0 {
		return
	}
	switch w.rng.IntN(60) {
	case 1, 2:
		i.session, i.beats = false, nil
	case 3, 4: // restarted, killed or not
		if w.rng.IntN(2) == 0 {
			i.end()
		}
		w.restart(i)
	case 5, 6:
		i.sleeps = w.counts.steps + w.rng.IntN(400)
	case 7:
		w.pass(time.Duration(w.rng.IntN(4000)) * time.Millisecond)
	}
}

func (w *oracleWorld) restart(i *oracleInstance) {
	w.account(i)
	i.kill()
	w.counts.restarts++
	again := w.newOracleInstance(i.n)
	again.server = i.server
	w.instances[i.n] = again
}

func (w *oracleWorld) crash() {
	w.db.crash()
	for _, i := range w.instances {
		i.session, i.beats, i.waitFor = false, nil, nil
		i.fills = slices.DeleteFunc(i.fills, func(f *oracleFill) bool { return f.body == nil })
	}
}

// connect takes the feed a step further towards being live.
func (i *oracleInstance) connect() {
	switch {
	case i.killed:
	case i.session:
		i.coverStandbys()
	case !i.noticed:
		i.noticed = true
		i.log.SetFeed(&cache.Feed{Mode: cache.FeedWAL, Reason: "lost"})
		i.waitFor = slices.Clone(i.w.db.procs)
	case !slices.ContainsFunc(i.waitFor, func(tx *oracleTx) bool { return tx.lsn == 0 && slices.Contains(i.w.db.procs, tx) }):
		i.begin()
	}
}

// begin starts a feed: all that was running when its slot was asked for has ended.
func (i *oracleInstance) begin() {
	db := i.w.db
	db.flushTo(db.lsn)
	i.session, i.delivered = true, db.lsn
	i.beats = nil
	for _, tx := range db.procs {
		for n := range tx.writes {
			f := &tx.writes[n]
			f.published |= 1 << i.n
			f.applied &^= 1 << i.n
			if tx.lsn != 0 {
				f.applied |= 1 << i.n // was before the feed
			}
		}
	}
	exported := db.exported()
	clear(i.covered)
	for table := range oracleTables {
		i.covered[uint32(table+1)] = cache.Coverage{Replayed: exported.Replayed, Columns: i.columns}
	}
	i.w.without.newEpoch(i)
	i.w.counts.epochs++
	i.swap(&cache.Feed{Mode: cache.FeedWAL, Reason: "no heartbeat yet", Exported: exported, Server: fmt.Sprint("server ", db.started)})
	for table := range oracleTables {
		i.requireAll(&db.durable, table)
	}
}

// swap sets the feed as it is covered now.
func (i *oracleInstance) swap(f *cache.Feed) {
	next := *f
	next.Covered = make(map[uint32]cache.Coverage, len(i.covered))
	for oid, c := range i.covered {
		next.Covered[oid] = c
	}
	if i.w.without.begin {
		next.Exported.Replayed = 1
		for oid, c := range next.Covered {
			c.Replayed = min(c.Replayed, 1)
			next.Covered[oid] = c
		}
	}
	i.feed = &next
	i.log.SetFeed(&next)
}

// publish publishes a table, or takes one out.
func (i *oracleInstance) publish() {
	if i.killed || !i.session {
		return
	}
	table := i.w.rng.IntN(oracleTables)
	oid := uint32(table + 1)
	if _, ok := i.covered[oid]; ok {
		if i.w.rng.IntN(2) == 0 { // published more of the time
			return
		}
		delete(i.covered, oid)
		i.swap(i.feed)
		i.log.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Relation(oid)}})
		return
	}
	c := cache.Coverage{After: max(i.log.Position(), 1), Columns: i.columns}
	for _, tx := range i.w.db.procs {
		if slices.ContainsFunc(tx.writes, func(f oracleWrite) bool { return f.table == table }) {
			c.Writers = append(c.Writers, tx.xid)
		}
	}
	i.covered[oid] = c
	i.requireAll(&i.w.db.primary, table)
	i.coverStandbys()
	i.swap(i.feed)
}

// coverStandbys admits fills from standbys, and other instances' responses, once the writers have ended.
func (i *oracleInstance) coverStandbys() {
	changed := false
	for oid, c := range i.covered {
		if c.Replayed == 0 && !slices.ContainsFunc(i.w.db.procs, func(tx *oracleTx) bool { return slices.Contains(c.Writers, tx.xid) }) {
			c.Replayed, changed = i.w.db.lsn, true
			i.covered[oid] = c
		}
	}
	if changed {
		i.swap(i.feed)
	}
}

// deliver brings the next transaction that is flushed.
func (i *oracleInstance) deliver() {
	db := i.w.db
	if i.killed || !i.session || i.delivered >= db.flushed {
		return
	}
	tx := db.wal[i.delivered-db.base]
	i.delivered++
	c := cache.Change{Xid: tx.xid, LSN: tx.lsn}
	for n := range tx.writes {
		f := &tx.writes[n]
		if f.published&(1<<i.n) == 0 {
			continue
		}
		oid := uint32(f.table + 1)
		c.Dependencies = append(c.Dependencies, cache.Relation(oid), cache.Row(oid, 1, fmt.Sprint(f.row)))
		if slices.Contains(i.columns, 2) {
			c.Dependencies = append(c.Dependencies, cache.Row(oid, 2, fmt.Sprint(f.old)), cache.Row(oid, 2, fmt.Sprint(f.status)))
		}
		f.applied |= 1 << i.n
	}
	if len(c.Dependencies) > 0 {
		i.log.Commit(c)
	}
	i.account(tx)
	if i.delivered%256 == 0 {
		i.w.prune()
	}
}

// prune forgets what every feed has brought.
func (w *oracleWorld) prune() {
	least := w.db.flushed
	for _, i := range w.instances {
		if i.session {
			least = min(least, i.delivered)
		}
	}
	w.db.prune(least)
}

// beat begins a heartbeat or ends one.
func (i *oracleInstance) beat() {
	if i.killed || !i.session {
		return
	}
	if len(i.beats) < 3 && i.w.rng.IntN(2) == 0 {
		b := oracleBeat{asOf: i.clock.Now(), snapshot: i.w.db.snapshot()}
		b.snapshot.Replayed = i.w.db.lsn
		i.beats = append(i.beats, b)
		return
	}
	if len(i.beats) == 0 || i.beats[0].snapshot.Replayed > i.delivered {
		return
	}
	i.log.Advance(i.beats[0].asOf, i.beats[0].snapshot)
	i.beats = i.beats[1:]
	if !i.feed.Live {
		i.noticed = false
		live := *i.feed
		live.Live, live.Reason = true, ""
		i.swap(&live)
	}
}
