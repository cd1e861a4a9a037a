package changes

import (
	"slices"

	"forebay/cache"
)

// maxValue is the length from which on a value is not told apart: no request asks for such a row.
const maxValue = 1 << 10 // bytes

// attribution says what a change to each relation concerns. Immutable; a relation that stays as it was
// keeps its pointer from one attribution to the next.
type attribution struct {
	relations map[uint32]*relation
}

// relation is a table whose changes may arrive, and what they concern. Immutable.
type relation struct {
	oid      uint32
	columns  []column // in the stream's order, to see whether a shape is the one the targets were made for
	identity byte
	targets  []target // itself first, then what it is a partition or an heir of
}

// target is what a change to a relation concerns: itself or an ancestor. Immutable.
type target struct {
	oid      uint32
	columns  []followed
	relation cache.Dependency
	whole    cache.Dependency
}

// followed is a column by which rows are told apart.
type followed struct {
	number int16 // in the target
	index  int   // in the stream's rows of the relation
}

func newTarget(oid uint32, columns []followed) target {
	return target{oid: oid, columns: columns, relation: cache.Relation(oid), whole: cache.Whole(oid)}
}

// equal reports whether both attribute every change alike.
func (r *relation) equal(other *relation) bool {
	return other != nil && r.oid == other.oid && r.identity == other.identity && slices.Equal(r.columns, other.columns) &&
		slices.EqualFunc(r.targets, other.targets, func(a, b target) bool {
			return a.oid == b.oid && slices.Equal(a.columns, b.columns)
		})
}

// follows reports whether the relation's rows are told apart by anything.
func (r *relation) follows() bool {
	return slices.ContainsFunc(r.targets, func(t target) bool { return len(t.columns) > 0 })
}

// fits reports whether rows of this shape are what the targets were made for. A shape from before or after
// a change of the table does not fit, and then rows are not told apart.
func (r *relation) fits(s *shape) bool {
	return s != nil && r.identity == s.identity && slices.Equal(r.columns, s.columns)
}

// attribute calls mark for each dependency that names a row the change touched, with its old value and its
// new. It returns false if one of them cannot be known.
func (r *relation) attribute(w *row, mark func(t *target, f followed, value []byte)) bool {
	for i := range r.targets {
		t := &r.targets[i]
		for _, f := range t.columns {
			if !r.attributeColumn(w, t, f, mark) {
				return false
			}
		}
	}
	return true
}

// attributeColumn handles one column. Without the old row, a column of the replica identity has the value
// it had: Postgres sends the old identity whenever a column of it changes.
func (r *relation) attributeColumn(w *row, t *target, f followed, mark func(*target, followed, []byte)) bool {
	if w.hasNew {
		if f.index >= len(w.new) || !markCell(w.new[f.index], t, f, mark) {
			return false
		}
		if w.oldKind == 0 {
			return w.inserted() || r.columns[f.index].key
		}
	}
	if f.index >= len(w.old) || w.oldKind == 'K' && !r.columns[f.index].key {
		return false
	}
	return markCell(w.old[f.index], t, f, mark)
}

// markCell marks a value; a null is equal to nothing, so nobody depends on it. False: the value is not there.
func markCell(c cell, t *target, f followed, mark func(*target, followed, []byte)) bool {
	switch {
	case c.kind == 'n':
		return true
	case c.kind != 't' || len(c.text) > maxValue:
		return false
	}
	mark(t, f, c.text)
	return true
}
