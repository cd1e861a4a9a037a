package cache

import (
	"hash/maphash"
	"weak"
)

// rows are the nodes of rows, by the hash of their Row: those that responses hold and no others, however
// many that are. Two rows of one hash share a node: a refill, never a guess. Guarded by the log's lock.
//
// Nodes are held weakly, so that nobody need say that a response is gone; the collector says it. The places
// of nodes that are gone are swept shard by shard: when a shard has twice as many places as were left last
// time, and one shard with each heartbeat.
type rows struct {
	bounds bounds
	seed   maphash.Seed
	shards [shards]shard
	turn   int // the shard to sweep next
	rings  map[uint32]*ring
	shared ring // of the relations beyond bounds.rings
	marks  int  // in all rings
}

// shard is one part of the rows, small enough to be swept in a tenth of a millisecond of a million.
type shard struct {
	nodes   map[uint64]weak.Pointer[node]
	sweepAt int // places
}

const (
	shards   = 1024
	minSweep = 16 // places of a shard below which they are left alone
)

func newRows(b bounds) *rows {
	return &rows{bounds: b, seed: maphash.MakeSeed(), rings: make(map[uint32]*ring)}
}

func (r *rows) hash(d Dependency) uint64 { return maphash.String(r.seed, string(d)) }

func (r *rows) shard(row uint64) *shard { return &r.shards[row%shards] }

// held returns the row's node, or nil when no response holds it.
func (r *rows) held(row uint64) *node { return r.shard(row).nodes[row].Value() }

// hold returns the row's node. When no response holds it, that is made from what its relation's ring knows: in own, or
// by itself if own is nil.
func (r *rows) hold(row uint64, oid uint32, own *rowTies) *node {
	s := r.shard(row)
	if n := s.nodes[row].Value(); n != nil {
		return n
	}
	n := new(node)
	if own != nil {
		n = &own.node
	}
	r.ring(oid).start(n, row)
	if len(s.nodes) >= s.sweepAt {
		s.sweep()
	}
	if s.nodes == nil {
		s.nodes = make(map[uint64]weak.Pointer[node])
	}
	s.nodes[row] = weak.Make(n)
	return n
}

// mark remembers the change of a row, whether somebody holds it or not.
func (r *rows) mark(d Dependency, oid uint32, m *mark, settled *settlement) {
	row := r.hash(d)
	if n := r.held(row); n != nil {
		n.mark(*m, r.bounds.marksPerRow, settled)
	}
	at := r.rings[oid]
	if at == nil {
		at = r.newRing(oid)
	}
	size := len(at.marks)
	room := size < r.bounds.marksPerRing && (r.marks < r.bounds.marksOfRings || size < r.bounds.marksPerRow)
	if room {
		r.marks++
	}
	at.add(m, row, room, settled)
}

// ring returns what is remembered of the relation's row changes.
func (r *rows) ring(oid uint32) *ring {
	if at := r.rings[oid]; at != nil {
		return at
	}
	return &r.shared
}

// newRing gives the relation a ring of its own. Once bounds.rings have one it shares one, and always will.
func (r *rows) newRing(oid uint32) *ring {
	if len(r.rings) >= r.bounds.rings {
		return &r.shared
	}
	at := new(ring)
	r.rings[oid] = at
	return at
}

// sweepNext gives up the places of one shard's nodes that are gone.
func (r *rows) sweepNext() {
	r.shards[r.turn].sweep()
	r.turn = (r.turn + 1) % shards
}

// sweep gives up the places of nodes that are gone.
func (s *shard) sweep() {
	places := len(s.nodes)
	for row, n := range s.nodes {
		if n.Value() == nil {
			delete(s.nodes, row)
		}
	}
	if len(s.nodes) < places/4 { // a map keeps the room that it once had
		nodes := make(map[uint64]weak.Pointer[node], len(s.nodes))
		for row, n := range s.nodes {
			nodes[row] = n
		}
		s.nodes = nodes
	}
	s.sweepAt = max(2*len(s.nodes), minSweep)
}
