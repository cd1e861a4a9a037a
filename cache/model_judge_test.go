package cache

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"
)

// judge checks both halves of the rule: never served when it must not be, and served when it may.
func (m *model) judge(t *rapid.T, f *modelFill) {
	verdict := f.standing.Check()
	must, why := m.mustBe(f)
	if must != Current && verdict < must {
		t.Fatalf("%s, and must be %s: %s", verdict, must, why)
	}
	if must == Current && verdict != Current && !m.mayForget(f) {
		t.Fatalf("%s, although it saw everything: snapshot %v asked %d", verdict, f.snapshot, f.asked)
	}
}

// mustBe returns the least that the response has to be judged, and for what.
func (m *model) mustBe(f *modelFill) (Verdict, string) {
	must, why := Current, ""
	for _, p := range m.purges {
		if p.at <= f.asked || !concerns(p.purge, f) {
			continue
		}
		if !p.purge.Soft {
			return Outdated, fmt.Sprintf("purged at %d by %+v, asked for at %d", p.at, p.purge, f.asked)
		}
		must, why = Softened, fmt.Sprintf("softened at %d, asked for at %d", p.at, f.asked)
	}
	if f.epoch != m.epoch {
		return Outdated, "asked for in another epoch"
	}
	if f.missed {
		return Outdated, "lacks what was there before the feed"
	}
	for _, tx := range m.all {
		if tx.marked && !tx.aborted && touches(tx, f) && !f.body[tx.xid] {
			return Outdated, fmt.Sprintf("lacks transaction %d, applied at %d", tx.xid, tx.at)
		}
		if tx.marked && touches(tx, f) && !f.snapshot.Sees(tx.xid) {
			return Outdated, fmt.Sprintf("snapshot %v does not see transaction %d", f.snapshot, tx.xid)
		}
	}
	return must, why
}

// mayForget reports whether a floor may have outdated the response: more was marked than is remembered,
// and not all of it was known to be visible when the response was asked for.
func (m *model) mayForget(f *modelFill) bool {
	for _, d := range f.dependencies {
		oid, isRow := d.rowOid()
		few, ofTable := max(m.bounds.marksPerNode/fewMarks, 1), false
		if isRow {
			few, ofTable = max(m.bounds.marksPerRow/fewMarks, 1), m.rowMarks[oid] > m.bounds.marksPerRing
		}
		if m.marks[d] <= few && !ofTable {
			continue
		}
		for _, tx := range m.all {
			if tx.marked && concernsRowsOf(tx, d, ofTable, oid) && (!tx.atOnce || tx.last > f.asked) {
				return true
			}
		}
	}
	return false
}

// concernsRowsOf reports whether the transaction touched d, or any row of d's table.
func concernsRowsOf(tx *transaction, d Dependency, ofTable bool, oid uint32) bool {
	return slices.ContainsFunc(tx.touches, func(touched Dependency) bool {
		of, isRow := touched.rowOid()
		return touched == d || ofTable && isRow && of == oid
	})
}

// concerns reports whether a purge is of the response: of a relation with its rows, of a row with its table's.
func concerns(p Purge, f *modelFill) bool {
	for _, d := range p.Dependencies {
		if d == Everything || slices.Contains(f.dependencies, d) {
			return true
		}
		_, isRow := d.rowOid()
		_, isRelation := d.Oid()
		if oid, _ := d.Table(); (isRow || isRelation) && slices.Contains(f.dependencies, Whole(oid)) {
			return true
		}
	}
	return slices.ContainsFunc(p.KeyPrefixes, func(prefix []byte) bool {
		return len(prefix) <= len(f.key) && f.key[:len(prefix)] == string(prefix)
	})
}

// contains reports whether all of part are in whole.
func contains(whole, part map[uint64]bool) bool {
	for xid := range part {
		if !whole[xid] {
			return false
		}
	}
	return true
}

func touches(tx *transaction, f *modelFill) bool {
	return slices.ContainsFunc(tx.touches, func(d Dependency) bool { return slices.Contains(f.dependencies, d) })
}
