package cache

import "slices"

// connect takes the feed a step further towards being live.
func (w *world) connect() {
	switch {
	case w.session:
		w.coverStandbys()
	case !w.noticed:
		w.noticed = true
		w.keeper.lost()
		w.waitFor = slices.Clone(w.db.procs)
	case !slices.ContainsFunc(w.waitFor, func(tx *fakeTx) bool { return tx.lsn == 0 && slices.Contains(w.db.procs, tx) }):
		w.begin()
	}
}

// begin starts a stream: all that was running when the slot was asked for has ended.
func (w *world) begin() {
	w.db.flushTo(w.db.lsn)
	w.session, w.noticed, w.recovered, w.delivered = true, false, false, w.db.lsn
	w.beats = nil
	for _, tx := range w.db.procs {
		tx.applied = false // what was told of it is forgotten
		for i := range tx.writes {
			tx.writes[i].applied = tx.lsn != 0 // was before the stream, or will come with it
		}
	}
	exported := w.db.exported()
	exported.Replayed = lsnOf(exported.Replayed)
	clear(w.covered)
	for table, published := range w.db.published {
		if published {
			w.covered[uint32(table)] = Coverage{Replayed: exported.Replayed}
		}
	}
	w.keeper.found(w.swap(exported))
	w.counts.epochs++
	for table := range fakeTables {
		if w.plan.lenient {
			w.requireAll(&w.db.primary, table)
		} else {
			w.requireAll(&w.db.durable, table)
		}
	}
}

// swap makes the feed that the world has got to.
func (w *world) swap(exported Snapshot) *Feed {
	covered := make(map[uint32]Coverage, len(w.covered))
	for oid, c := range w.covered {
		covered[oid] = c
	}
	w.feed = &Feed{Mode: FeedWAL, Live: true, Exported: exported, Covered: covered}
	return w.feed
}

// publish publishes a table, or takes one out.
func (w *world) publish() {
	if !w.plan.tables || !w.session {
		return
	}
	table := w.rng.IntN(fakeTables)
	oid := uint32(table)
	if w.db.published[table] {
		if w.rng.IntN(2) == 0 { // published more of the time
			return
		}
		w.db.published[table] = false
		delete(w.covered, oid)
		w.keeper.cover(w.swap(w.feed.Exported), []Dependency{Relation(oid)})
		return
	}
	w.db.published[table] = true
	c := Coverage{After: max(w.position(), 1)}
	for _, tx := range w.db.procs {
		if slices.ContainsFunc(tx.writes, func(f fakeWrite) bool { return f.table == table }) {
			c.Writers = append(c.Writers, tx.xid)
		}
	}
	w.covered[oid] = c
	w.requireAll(&w.db.primary, table)
	w.coverStandbys()
	w.keeper.cover(w.swap(w.feed.Exported), nil)
}

func (w *world) position() Position {
	if x, ok := w.keeper.(*exact); ok {
		return x.log.Position()
	}
	return 1
}

// coverStandbys admits fills from standbys once the writers have ended.
func (w *world) coverStandbys() {
	changed := false
	for oid, c := range w.covered {
		if c.Replayed == 0 && !slices.ContainsFunc(w.db.procs, func(tx *fakeTx) bool { return slices.Contains(c.Writers, tx.xid) }) {
			c.Replayed, changed = lsnOf(w.db.lsn), true
			w.covered[oid] = c
		}
	}
	if changed {
		w.keeper.cover(w.swap(w.feed.Exported), nil)
	}
}

// outage cuts the stream, crashes the database or promotes the standby.
func (w *world) outage() {
	if !w.plan.outages || w.rng.IntN(16) != 0 {
		return
	}
	kind := w.rng.IntN(3)
	if kind == 0 {
		w.session, w.beats = false, nil
		return
	}
	w.db.crash(kind == 2)
	w.session, w.beats, w.recovered = false, nil, true
	w.waitFor = nil
	w.fills = slices.DeleteFunc(w.fills, func(f *fakeFill) bool { return !f.read })
	for _, tx := range w.unanswered { // their connections broke: who knows
		w.keeper.commit(&Change{Dependencies: wholeOf(tx)}, tx.lsn)
	}
	w.unanswered = nil
}

// lsnOf leaves 0 for LSNs that are not known.
func lsnOf(lsn uint64) uint64 { return lsn + 1 }
