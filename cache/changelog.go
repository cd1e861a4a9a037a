package cache

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
)

// Position is a place in a ChangeLog. It grows with each mark and means nothing in another process
// or another epoch.
type Position uint64

// SharedPosition is a place in the log that instances share: the entry id of a Redis Stream with its
// milliseconds in the upper 42 bits and its sequence number in the lower 22. Zero is before everything.
type SharedPosition uint64

const (
	softened = 1 << 63      // the bit of Standing.verified that says: expired by an operator's word
	outdated = softened - 1 // the rest of it that nothing comes back from

	unknownXid = math.MaxUint64 - 1 // of changes that no snapshot but AllSeeing can be said to see
)

// ChangeLog is what this process knows of changes and purges. The two doors meet here: changes mark
// its nodes, lookups compare with them. Safe for concurrent use; nothing in it blocks on I/O.
type ChangeLog struct {
	bounds   bounds
	position atomic.Uint64 // of the newest complete mark or settlement
	marked   atomic.Uint64 // of the newest complete mark: what lookups compare with
	began    atomic.Uint64 // position of the epoch's beginning
	epoch    atomic.Pointer[era]
	settled  atomic.Pointer[settlement]
	feed     atomic.Pointer[Feed]
	asOf     atomic.Int64
	watched  atomic.Int64 // as of when the catalogue is known; 0: nobody watches it
	keys     keyPurges
	replays  replays
	knots    *knots
	observer Observer // nil: nobody

	mu       sync.RWMutex // guards all below; a mark is made under it
	nodes    map[Dependency]*node
	overflow *node // stands for every dependency beyond bounds.nodes
	rows     *rows
}

// era is an epoch of a log. Immutable.
type era struct {
	log   *ChangeLog
	epoch string
}

// settlement says that whoever asks for a snapshot from at on sees all that snapshot saw. Immutable.
type settlement struct {
	at       Position
	snapshot Snapshot
}

// NewChangeLog makes an empty log. Epoch names the only process, server and timeline whose xids and
// positions may be compared with its own.
func NewChangeLog(epoch string) *ChangeLog { return newChangeLog(epoch, defaultBounds()) }

func newChangeLog(epoch string, b bounds) *ChangeLog {
	l := &ChangeLog{bounds: b, knots: newKnots(), nodes: make(map[Dependency]*node), overflow: new(node), rows: newRows(b)}
	l.epoch.Store(&era{log: l, epoch: epoch})
	l.settled.Store(new(settlement))
	l.feed.Store(&Feed{Mode: FeedOff, Live: true})
	return l
}

// Position returns the log's end. A fill asks for it before it asks for its snapshot.
func (l *ChangeLog) Position() Position { return Position(l.position.Load()) }

// Epoch names what this log's xids and positions may be compared with.
func (l *ChangeLog) Epoch() string { return l.epoch.Load().epoch }

// NewEpoch outdates everything stored so far and every fill in flight: xids from before and after may
// not be compared, as after a crash that handed some out twice. What the log knew of the ended epoch's
// transactions is dropped with it.
//
// The order closes two races with a Stand or a Check beside it. Everything is purged before the epoch is
// renamed, so a response that stands under the new name and was asked for before is seen to be purged.
// And marks are dropped last while judges look at Everything last: one that misses a dropped mark
// meets the purge.
func (l *ChangeLog) NewEpoch(epoch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.next()
	all := l.node(Everything)
	all.purge(at, false)
	l.began.Store(uint64(at))
	l.publish(at)
	l.epoch.Store(&era{log: l, epoch: epoch})
	l.settled.Store(new(settlement))
	for _, n := range l.nodes {
		n.forget()
	}
	l.overflow.forget()
	l.replays.clear()
	l.rows = newRows(l.bounds) // who holds a row's old node was asked for before, and is purged
	if l.observer != nil {
		l.observer.Began(epoch)
	}
}

// Commit marks the change on what it touched. When it returns, every lookup judges by it. It costs the same
// for each dependency of the change, however many responses hang on it.
//
// One that comes late may bring the id of a transaction of an ended epoch, which the server has given away again.
// Marked by it, the other would be taken for marked already:
//
//	write:  commits xid 7, and waits for the stream; the server crashes, and 7 is lost
//	stream: begins an epoch
//	write:  marks 7, which all who ask from now on have seen
//	fill:   asks, and reads in a snapshot that 7 is yet to come in
//	stream: brings 7, another's
func (l *ChangeLog) Commit(c Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, settled := l.next(), l.settled.Load()
	if c.Epoch != "" && c.Epoch != l.Epoch() {
		c.Xid = 0
	}
	m := mark{at: at, xid: c.Xid, lsn: c.LSN, applied: c.Applied, touched: c.Touched}
	if c.Xid == 0 {
		m.xid = unknownXid
	}
	if c.Visible || c.Xid == 0 {
		m.visible = at
	}
	for _, d := range c.Dependencies {
		if oid, ok := d.rowOid(); ok {
			l.rows.mark(d, oid, &m, settled)
		} else {
			l.node(d).mark(m, l.bounds.marksPerNode, settled)
		}
	}
	l.publish(at)
	if l.observer != nil {
		l.tellCommitted(c)
	}
}

// Settle says that the snapshot was taken on the primary before now. Whatever it saw is seen by all who
// ask from now on, so those marks may be forgotten without any response being outdated by that. A change
// stream calls it with each of its heartbeats; without it the log is as sound, and forgets less well.
func (l *ChangeLog) Settle(snapshot Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows.sweepNext()
	at := l.next()
	if snapshot.Xmax != 0 {
		snapshot.Replayed = 0 // xids it is
		l.settled.Store(&settlement{at: at, snapshot: snapshot})
	}
	l.position.Store(uint64(at))
}

// Purge marks what the purge names. When it returns, no lookup serves it, and no fill that had asked
// before is stored under it.
func (l *ChangeLog) Purge(p Purge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.next()
	for _, d := range p.Dependencies {
		l.purge(at, d, p.Soft)
	}
	for _, prefix := range p.KeyPrefixes {
		l.keys.purge(at, string(prefix), p.Soft)
	}
	l.publish(at)
	if l.observer != nil {
		l.tellPurged(p)
	}
}

// purge marks the purge of one dependency. Rows are purged by the whole of their relation, for the node of
// a row is there only while it is held. Called with mu held for writing.
func (l *ChangeLog) purge(at Position, d Dependency, soft bool) {
	if oid, ok := d.rowOid(); ok {
		l.node(Whole(oid)).purge(at, soft)
		return
	}
	l.node(d).purge(at, soft)
	if oid, ok := d.Oid(); ok {
		l.node(Whole(oid)).purge(at, soft)
	}
}

// Stand ties a response to its dependencies, and judges it for the first time. Asked is the log's
// position before its snapshot was asked for; a zero snapshot sees nothing, so only what was known to be
// visible when it asked does not outdate it. The response always depends on Everything too.
//
// Marks from before asked are compared like those after: a change may be marked before snapshots see it.
//
//	stream: applies xid 7 at position 3; its commit is not visible yet
//	fill:   asks at position 3, reads the old row in a snapshot that does not see 7
//	commit: becomes visible
//	lookup: must find the mark at 3, or it serves the old row for good
func (l *ChangeLog) Stand(key []byte, asked Position, snapshot Snapshot, dependencies []Dependency) *Standing {
	var room [16]*node
	nodes, own := l.nodesOf(room[:0], dependencies)
	s := &Standing{key: string(key), asked: asked, snapshot: l.knots.snapshot(snapshot), ties: l.knots.tie(dependencies, nodes, own)}
	s.era = l.epoch.Load() // before it is judged: see NewEpoch
	s.verify(l.marked.Load())
	return s
}

// nodesOf appends the dependencies' nodes to the empty nodes, and last that of Everything. Own, if not nil, are the ties
// that a row's node was made in, which are to be the response's.
func (l *ChangeLog) nodesOf(nodes []*node, dependencies []Dependency) (of []*node, own *rowTies) {
	if own = newRowTies(dependencies); own == nil { // a row's node is seldom there
		if nodes = l.heldOf(nodes, dependencies); len(nodes) > len(dependencies) {
			return nodes, nil
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	nodes = nodes[:0]
	for _, d := range dependencies {
		nodes = append(nodes, l.hold(d, own))
	}
	return append(nodes, l.node(Everything)), own
}

// heldOf appends the nodes that are there.
func (l *ChangeLog) heldOf(nodes []*node, dependencies []Dependency) []*node {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, d := range dependencies {
		if n := l.held(d); n != nil {
			nodes = append(nodes, n)
		}
	}
	if n := l.nodes[Everything]; n != nil {
		nodes = append(nodes, n)
	}
	return nodes
}

// held returns the dependency's node, if it is there. Called with mu held.
func (l *ChangeLog) held(d Dependency) *node {
	if _, ok := d.rowOid(); ok {
		return l.rows.held(l.rows.hash(d))
	}
	return l.nodes[d]
}

// hold returns the dependency's node, making it if need be, that of a row in own. Called with mu held for writing.
func (l *ChangeLog) hold(d Dependency, own *rowTies) *node {
	if oid, ok := d.rowOid(); ok {
		return l.rows.hold(l.rows.hash(d), oid, own)
	}
	return l.node(d)
}

// publish moves the log's end to a mark. Last: a lookup that sees this position sees the marks. Called with
// mu held for writing.
func (l *ChangeLog) publish(at Position) {
	l.position.Store(uint64(at))
	l.marked.Store(uint64(at))
}

// next returns the position of a mark to come. Called with mu held for writing.
func (l *ChangeLog) next() Position { return Position(l.position.Load() + 1) }

// node returns the dependency's node, making it while there is room. Once a dependency shares the
// overflow it always does: nodes are never taken away. Called with mu held for writing.
func (l *ChangeLog) node(d Dependency) *node {
	if n := l.nodes[d]; n != nil {
		return n
	}
	if len(l.nodes) >= l.bounds.nodes && d != Everything {
		return l.overflow
	}
	n := new(node)
	l.nodes[Dependency(strings.Clone(string(d)))] = n // d may be a view of a large buffer
	return n
}
