package cache

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
)

// tiesKept is how many ties a log finds again: of that many rules and tables, all responses share theirs.
const tiesKept = 1024

// knots finds the ties and the snapshot that another response has already. Safe for concurrent use.
type knots struct {
	seed  maphash.Seed
	ties  [tiesKept]atomic.Pointer[ties]
	saw   atomic.Pointer[Snapshot]
	every *Snapshot
}

func newKnots() *knots {
	all := AllSeeing()
	return &knots{seed: maphash.MakeSeed(), every: &all}
}

// snapshot returns the same snapshot in memory that is shared if it may be: with all responses that no change
// concerns, or with the one before, which saw the same as long as nobody writes.
func (k *knots) snapshot(s Snapshot) *Snapshot {
	if s.Xmin == k.every.Xmin && s.Xmax == k.every.Xmax && s.Replayed == 0 {
		return k.every
	}
	last := k.saw.Load()
	if last != nil && last.Xmin == s.Xmin && last.Xmax == s.Xmax && last.Replayed == s.Replayed && slices.Equal(last.Xip, s.Xip) {
		return last
	}
	kept := s // apart, so that what is found is not allocated first
	k.saw.Store(&kept)
	return &kept
}

// rowTies are the ties of a response of one row that nobody held, in one piece with the row's node. There is less of it
// so, and the collector, which looks for what is held weakly among all of its kind in a page, has fewer to look through.
//
// Who holds the node holds all of it, so it must lead to no other row's: responses of rows 1 and 2, then 2 and 3, then
// 3 and 4 would keep every node before theirs.
type rowTies struct {
	ties
	node node
	list [3]*node // the row's, its table's and Everything's
}

// newRowTies makes them if the dependencies are of one row; else it returns nil.
func newRowTies(dependencies []Dependency) *rowTies {
	rows := 0
	for _, d := range dependencies {
		if _, ok := d.rowOid(); ok {
			rows++
		}
	}
	if rows != 1 {
		return nil
	}
	return new(rowTies)
}

// tie returns ties to the dependencies by the nodes, which hold stands for: those of another response if they
// are the same. What it keeps it keeps alive, so rows are left out: their nodes go with their last response, which has
// ties of its own: those given, if any were made.
func (k *knots) tie(dependencies []Dependency, nodes []*node, own *rowTies) *ties {
	var h maphash.Hash
	h.SetSeed(k.seed)
	for _, d := range dependencies {
		if _, ok := d.rowOid(); ok {
			if own == nil {
				return &ties{dependencies: dependencies, nodes: slices.Clone(nodes)}
			}
			own.dependencies, own.nodes = dependencies, append(own.list[:0], nodes...)
			return &own.ties
		}
		_, _ = h.WriteString(string(d))
	}
	slot := &k.ties[h.Sum64()%tiesKept]
	if known := slot.Load(); known != nil && slices.Equal(known.dependencies, dependencies) && slices.Equal(known.nodes, nodes) {
		return known
	}
	t := &ties{dependencies: slices.Clone(dependencies), nodes: slices.Clone(nodes), shared: true}
	for i, d := range dependencies {
		t.dependencies[i] = Dependency(strings.Clone(string(d))) // it may be part of something larger, which goes sooner
	}
	slot.Store(t)
	return t
}

// size returns the bytes that a standing occupies beside itself, and does not share with others.
func (s *Standing) size() int {
	const ofRow = 88 // a row's node and its place among the others, which one response alone holds as a rule
	n := 0
	if s.snapshot != s.log.knots.every {
		n += 48 + 8*len(s.snapshot.Xip)
	}
	if s.shared {
		return n
	}
	n += 64 + 8*len(s.nodes)
	for _, d := range s.dependencies {
		n += 16 + len(d)
		if _, ok := d.rowOid(); ok {
			n += ofRow
		}
	}
	return n
}
