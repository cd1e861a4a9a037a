package postgres

import (
	"sync"

	"forebay/cache"
	"forebay/rules"
)

// vantages are the newest vantage and the tables that rules declare. Safe for concurrent use.
type vantages struct {
	mu     sync.Mutex // guards all below
	at     cache.Instant
	latest Vantage
	taken  bool
	rules  map[*rules.Rule]declaration
}

// declaration is what the names that a rule declares stand for. Immutable.
type declaration struct {
	generation uint64      // of the catalogue
	since      *comparison // after which they were read
	oids       []uint32
	leaves     []uint32 // the same, as the feed wants them
}

func (v *vantages) keep(at cache.Instant, taken Vantage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.at, v.latest, v.taken = at, taken, true
}

// recent returns the newest vantage if it is new enough to be shared.
func (v *vantages) recent(now cache.Instant) (Vantage, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.latest, v.taken && now.Sub(v.at) <= vantageFor
}

// tables returns what a rule declares, as of the catalogue's generation.
func (v *vantages) tables(rule *rules.Rule, generation uint64) ([]uint32, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d, ok := v.rules[rule]
	return d.oids, ok && d.generation == generation
}

func (v *vantages) know(rule *rules.Rule, generation uint64, since *comparison, oids []uint32, relations []relation) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.rules == nil {
		v.rules = make(map[*rules.Rule]declaration)
	}
	v.rules[rule] = declaration{generation: generation, since: since, oids: oids, leaves: oidsOf(relations)}
}

// keepOnly forgets the declarations of other rules: a reload makes new ones.
func (v *vantages) keepOnly(rs []*rules.Rule) {
	v.mu.Lock()
	defer v.mu.Unlock()
	kept := make(map[*rules.Rule]declaration, len(v.rules))
	for _, r := range rs {
		if d, ok := v.rules[r]; ok {
			kept[r] = d
		}
	}
	v.rules = kept
}

// each calls f with the tables that each rule declares, and since when.
func (v *vantages) each(f func(oids []uint32, since *comparison)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range v.rules {
		f(d.oids, d.since)
	}
}

// want adds the tables that rules declare to what the feed is to follow, as wholes.
func (v *vantages) want(wanted map[uint32][]int16) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range v.rules {
		for _, oid := range d.leaves {
			if _, ok := wanted[oid]; !ok {
				wanted[oid] = nil
			}
		}
	}
}
