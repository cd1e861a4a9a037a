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

// tie returns ties to the dependencies by the nodes, which hold stands for: those of another response if they
// are the same. What it keeps it keeps alive, so rows are left out: their nodes go with their last response.
func (k *knots) tie(dependencies []Dependency, nodes []*node) *ties {
	var h maphash.Hash
	h.SetSeed(k.seed)
	for _, d := range dependencies {
		if _, ok := d.rowOid(); ok {
			return &ties{dependencies: dependencies, nodes: slices.Clone(nodes)}
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
