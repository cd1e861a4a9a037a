package cache

import (
	"hash/maphash"
	"weak"
)

// rows are the nodes of rows, by the hash of their Row: those that responses hold and no others, however
// many that are. Two rows of one hash share a node: a refill, never a guess. Guarded by the log's lock.
//
// Nodes are held weakly, so that nobody need say that a response is gone; the collector says it. The places
// of nodes that are gone are swept when there have become twice as many places as nodes were left last time.
type rows struct {
	seed    maphash.Seed
	nodes   map[uint64]weak.Pointer[node]
	sweepAt int
	rings   map[uint32]*ring
	shared  ring // of the relations beyond maxRings
	marks   int  // that all rings have room for
}

const minSweep = 1024 // rows below which nothing is swept

func newRows() rows {
	return rows{seed: maphash.MakeSeed(), nodes: make(map[uint64]weak.Pointer[node]), sweepAt: minSweep, rings: make(map[uint32]*ring)}
}

func (r *rows) hash(d Dependency) uint64 { return maphash.String(r.seed, string(d)) }

// held returns the row's node, or nil when no response holds it.
func (r *rows) held(d Dependency) *node { return r.nodes[r.hash(d)].Value() }

// hold returns the row's node, making it from what its relation's ring knows when no response holds it.
func (r *rows) hold(d Dependency, oid uint32) *node {
	row := r.hash(d)
	if n := r.nodes[row].Value(); n != nil {
		return n
	}
	n := new(node)
	r.ring(oid).start(n, row)
	if len(r.nodes) >= r.sweepAt {
		r.sweep()
	}
	r.nodes[row] = weak.Make(n)
	return n
}

// mark remembers the change of a row, whether somebody holds it or not.
func (r *rows) mark(d Dependency, oid uint32, m *mark, settled *settlement) {
	row := r.hash(d)
	if n := r.nodes[row].Value(); n != nil {
		n.mark(*m, marksPerRow, settled)
	}
	at := r.rings[oid]
	if at == nil {
		at = r.newRing(oid)
	}
	r.marks += at.add(m, row, marksOfRings-r.marks, settled)
}

// ring returns what is remembered of the relation's row changes.
func (r *rows) ring(oid uint32) *ring {
	if at := r.rings[oid]; at != nil {
		return at
	}
	return &r.shared
}

// newRing gives the relation a ring of its own. Once there are maxRings it shares one, and always will.
func (r *rows) newRing(oid uint32) *ring {
	if len(r.rings) >= maxRings {
		return &r.shared
	}
	at := new(ring)
	r.rings[oid] = at
	return at
}

// sweep gives up the places of nodes that are gone.
func (r *rows) sweep() {
	live := 0
	for row, n := range r.nodes {
		if n.Value() == nil {
			delete(r.nodes, row)
		} else {
			live++
		}
	}
	r.sweepAt = max(2*live, minSweep)
}
