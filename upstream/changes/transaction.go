package changes

import (
	"maps"
	"slices"

	"forebay/cache"
)

const (
	maxParts = 256 // savepoints told apart; what the rest did counts as done even if it is rolled back
	fewMarks = 16  // rows up to which duplicates are searched for one by one
	truncate = 3   // the place of TRUNCATE among operations
)

// operations are in the order of touched.counts.
var operations = [...]string{"INSERT", "UPDATE", "DELETE", "TRUNCATE"}

// transaction is what has arrived of one, collapsed. Owned by the goroutine that receives.
type transaction struct {
	xid    uint32
	main   part
	parts  map[uint32]*part  // by subtransaction, of a streamed one, for those may be rolled back alone
	shapes map[uint32]*shape // that it sent while streaming: nobody else's until it commits
}

// part is a transaction without its subtransactions, or one of these.
type part struct {
	touched    map[uint32]*touched
	everything bool // something happened that may concern every response
	ddl        bool // the catalogue was changed, as the event triggers tell
}

// touched is what a part did to one relation.
type touched struct {
	relation *relation // by which its rows were attributed; nil: it is not in the attribution
	fitting  *shape    // the last one that was found to fit the relation
	counts   [len(operations)]int
	whole    bool // the rows are not told apart (any more)
	marks    []cache.Dependency
	seen     map[cache.Dependency]struct{} // the marks, once there are more than a few
}

// changedCatalogue reports whether the event triggers told of a change to the catalogue.
func (t *transaction) changedCatalogue() bool {
	for _, p := range t.parts {
		if p.ddl {
			return true
		}
	}
	return t.main.ddl
}

func newTransaction(xid uint32) *transaction { return &transaction{xid: xid} }

// part returns where to note what the subtransaction does.
func (t *transaction) part(xid uint32) *part {
	if xid == t.xid {
		return &t.main
	}
	if p := t.parts[xid]; p != nil {
		return p
	}
	if len(t.parts) >= maxParts {
		return &t.main
	}
	if t.parts == nil {
		t.parts = make(map[uint32]*part)
	}
	p := new(part)
	t.parts[xid] = p
	return p
}

// rollback forgets what the subtransaction did.
func (t *transaction) rollback(xid uint32) {
	delete(t.parts, xid)
	t.shapes = nil // the server sends them again
}

func (p *part) touch(oid uint32, a *attribution) *touched {
	if t := p.touched[oid]; t != nil {
		return t
	}
	if p.touched == nil {
		p.touched = make(map[uint32]*touched)
	}
	r := a.relations[oid]
	t := &touched{relation: r, whole: r == nil || !r.follows()}
	p.touched[oid] = t
	return t
}

// fits reports whether rows of the shape may be told apart.
func (t *touched) fits(s *shape) bool {
	if s != t.fitting && t.relation.fits(s) {
		t.fitting = s
	}
	return s != nil && s == t.fitting
}

// collapse stops telling rows apart.
func (t *touched) collapse() { t.whole, t.marks, t.seen = true, nil, nil }

// mark notes a row, once.
func (t *touched) mark(at *target, f followed, value []byte) {
	d := cache.Row(at.oid, f.number, string(value))
	if t.seen == nil {
		if slices.Contains(t.marks, d) {
			return
		}
		if len(t.marks) == fewMarks {
			t.seen = make(map[cache.Dependency]struct{}, 4*fewMarks)
			for _, m := range t.marks {
				t.seen[m] = struct{}{}
			}
		}
	}
	if t.seen != nil {
		if _, again := t.seen[d]; again {
			return
		}
		t.seen[d] = struct{}{}
	}
	t.marks = append(t.marks, d)
}

// change returns the transaction as the log takes it, and whether rows of it could not be told apart. A
// relation that the attribution sees with other eyes by now is marked as a whole, in the old way and the
// new.
func (t *transaction) change(a *attribution) (c cache.Change, collapsed bool) {
	set := make(map[cache.Dependency]struct{})
	mark := func(d cache.Dependency) {
		if _, again := set[d]; !again {
			set[d] = struct{}{}
			c.Dependencies = append(c.Dependencies, d)
		}
	}
	counts := make(map[uint32][len(operations)]int)
	for p := range t.all() {
		if p.everything {
			mark(cache.Everything)
		}
		for oid, d := range p.touched {
			now := a.relations[oid]
			whole := d.whole || now != d.relation
			collapsed = collapsed || whole && d.relation != nil && d.relation.follows()
			markTargets(oid, d.relation, whole, mark)
			if now != d.relation {
				markTargets(oid, now, true, mark)
			}
			for _, m := range d.marks {
				mark(m)
			}
			sum := counts[oid]
			for i, n := range d.counts {
				sum[i] += n
			}
			counts[oid] = sum
		}
	}
	for _, oid := range slices.Sorted(maps.Keys(counts)) {
		c.Touched = append(c.Touched, touch(oid, counts[oid]))
	}
	return c, collapsed
}

// all ranges over the parts that were not rolled back.
func (t *transaction) all() func(yield func(*part) bool) {
	return func(yield func(*part) bool) {
		if !yield(&t.main) {
			return
		}
		for _, p := range t.parts {
			if !yield(p) {
				return
			}
		}
	}
}

// markTargets marks the relation and its ancestors, and those changes that are not told apart.
func markTargets(oid uint32, r *relation, whole bool, mark func(cache.Dependency)) {
	if r == nil {
		mark(cache.Relation(oid))
		mark(cache.Whole(oid))
		return
	}
	for i := range r.targets {
		mark(r.targets[i].relation)
		if whole || len(r.targets[i].columns) == 0 {
			mark(r.targets[i].whole)
		}
	}
}

// touch says for people what was done to the relation.
func touch(oid uint32, counts [len(operations)]int) cache.Touch {
	t := cache.Touch{Relation: oid}
	for i, name := range operations {
		if counts[i] == 0 {
			continue
		}
		if t.Operation != "" {
			t.Operation += "+"
		}
		t.Operation += name
		if i < truncate {
			t.Rows += counts[i]
		}
	}
	return t
}
