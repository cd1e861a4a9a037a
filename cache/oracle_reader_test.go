package cache

import (
	"fmt"
	"slices"
)

// fill opens a fill or takes one a step further.
func (w *world) fill() {
	if len(w.fills) < 6 && w.rng.IntN(3) == 0 {
		f := &fakeFill{key: w.keys[w.rng.IntN(len(w.keys))], standby: w.plan.standby && w.rng.IntN(4) == 0}
		w.keeper.ask(f, w.db.lsn)
		w.fills = append(w.fills, f)
		return
	}
	if len(w.fills) == 0 {
		return
	}
	i := w.rng.IntN(len(w.fills))
	f := w.fills[i]
	first := !w.without().first
	switch {
	case f.snapshot.IsZero() && (first || f.read):
		w.takeSnapshot(f)
	case !f.read:
		w.readBody(f)
	default:
		w.fills = slices.Delete(w.fills, i, i+1)
		w.store(f)
	}
}

func (w *world) takeSnapshot(f *fakeFill) {
	if !f.standby {
		f.snapshot = w.db.snapshot()
		return
	}
	f.snapshot = Snapshot{Replayed: lsnOf(w.db.replayed)}
	f.xids = Snapshot{Xmin: w.db.next, Xmax: w.db.next}
}

func (w *world) readBody(f *fakeFill) {
	from := &w.db.primary
	if f.standby {
		from = &w.db.standby
	}
	for _, p := range f.key.parts {
		for row := range fakeRows {
			f.body[p.table][row] = from[p.table][row].stamp
		}
	}
	f.read = true
}

func (w *world) store(f *fakeFill) {
	w.counts.fills++
	if !w.keeper.keep(f) {
		w.counts.refused++
		return
	}
	w.counts.stored++
	f.key.stored, f.key.kept = f, f
}

// evict drops a response, and perhaps the nodes that only it held.
func (w *world) evict() {
	k := w.keys[w.rng.IntN(len(w.keys))]
	x, ok := w.keeper.(*exact)
	if ok && k.stored == nil && k.kept != nil { // another tier has it still
		if f := k.kept; x.again(f) {
			k.stored = f
		}
		return
	}
	k.stored = nil
	if !ok || w.rng.IntN(2) == 0 {
		return
	}
	for _, d := range k.dependencies {
		if _, ok := d.rowOid(); ok && !slices.ContainsFunc(w.keys, func(o *fakeKey) bool { return o.stored != nil && slices.Contains(o.dependencies, d) }) {
			x.vanish(d)
		}
	}
}

// look asks for what is stored, and checks it if it is served.
func (w *world) look(k *fakeKey) {
	w.counts.reads++
	f := k.stored
	if f == nil || w.noticed {
		return
	}
	if !w.keeper.current(f) {
		w.counts.outdated++
		w.blame(f)
		k.stored = nil
		return
	}
	w.counts.hits++
	for _, p := range k.parts {
		if row := w.lacks(f, p); row >= 0 && w.stale == "" {
			w.stale = fmt.Sprintf("%s served from snapshot %v, asked at %d: lacks a change of %s, row %d, that was applied (seed %d, step %d)",
				k.name, f.snapshot, f.asked, p, row, w.seed, w.counts.steps)
		}
	}
}

// lacks returns a row of which the body lacks an applied change, or -1.
func (w *world) lacks(f *fakeFill, p part) int {
	required, body := &w.required[p.table], &f.body[p.table]
	switch p.kind {
	case oneRow:
		if body[p.value] < required[p.value].any {
			return p.value
		}
	case list:
		for row := range fakeRows {
			if body[row] < required[row].status[p.value] {
				return row
			}
		}
	case wholeTable:
		for row := range fakeRows {
			if body[row] < required[row].any {
				return row
			}
		}
	}
	return -1
}

// blame counts what was outdated although it is what the database holds, and holds the cause to the rule.
func (w *world) blame(f *fakeFill) {
	if w.same(f) {
		w.counts.needless++
	}
	if f.standing == nil {
		return
	}
	c := f.standing.Cause()
	if w.without() != (removed{}) {
		return
	}
	if c == nil {
		w.stale = fmt.Sprintf("%s is outdated by nothing (seed %d, step %d)", f.key.name, w.seed, w.counts.steps)
	} else if c.Reason == ReasonChange && f.standing.Snapshot().Sees(c.Xid) {
		w.stale = fmt.Sprintf("%s is outdated by %d, which its snapshot %v sees (seed %d, step %d)", f.key.name, c.Xid, f.snapshot, w.seed, w.counts.steps)
	}
}

// same reports whether the body is what the primary would answer now.
func (w *world) same(f *fakeFill) bool {
	for _, p := range f.key.parts {
		for row := range fakeRows {
			now, body := &w.db.primary[p.table][row], f.body[p.table][row]
			switch {
			case p.kind == oneRow && row != p.value:
			case p.kind == list && body >= now.affected[p.value]:
			case body != now.stamp:
				return false
			}
		}
	}
	return true
}
