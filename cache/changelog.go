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

// Change is a transaction that touched dependencies. It may be applied before its commit is visible,
// or before it is known whether it commits: a mark too many is a refill.
type Change struct {
	// Xid is top-level and 64-bit. 0 is one that is not known, or not comparable with this log's: all that
	// was asked for before the change was applied is outdated by it, and nothing that was asked for after.
	Xid          uint64
	Dependencies []Dependency

	// Visible says that every snapshot asked for from now on sees the transaction, because its COMMIT was
	// acknowledged. Leave it unset in doubt: then only a snapshot can show that the change was seen.
	Visible bool
}

// Purge is an operator's word that stored responses must not be served any more.
type Purge struct {
	Dependencies []Dependency   // every response that depends on one of them
	KeyPrefixes  [][]byte       // every response whose key begins with one of them
	Soft         bool           // expired rather than outdated: stale-while-revalidate may still serve it
	At           SharedPosition // its place in the shared log; 0 for a purge that is not there (yet)
}

const (
	maxNodes = 1 << 16 // dependencies told apart before the rest share one node

	outdated   = math.MaxUint64     // the value of Standing.verified that nothing comes back from
	unknownXid = math.MaxUint64 - 1 // of changes that no snapshot but AllSeeing can be said to see
)

// ChangeLog is what this process knows of changes and purges. The two doors meet here: changes mark
// its nodes, lookups compare with them. Safe for concurrent use; nothing in it blocks on I/O.
type ChangeLog struct {
	position atomic.Uint64 // of the newest complete mark
	epoch    atomic.Pointer[string]
	settled  atomic.Pointer[settlement]
	keys     keyPurges

	mu       sync.RWMutex // guards all below; a mark is made under it
	nodes    map[Dependency]*node
	overflow *node // stands for every dependency beyond maxNodes
}

// settlement says that whoever asks for a snapshot from at on sees all that snapshot saw. Immutable.
type settlement struct {
	at       Position
	snapshot Snapshot
}

// NewChangeLog makes an empty log. Epoch names the only process, server and timeline whose xids and
// positions may be compared with its own.
func NewChangeLog(epoch string) *ChangeLog {
	l := &ChangeLog{nodes: make(map[Dependency]*node), overflow: new(node)}
	l.epoch.Store(&epoch)
	l.settled.Store(new(settlement))
	return l
}

// Position returns the log's end. A fill asks for it before it asks for its snapshot.
func (l *ChangeLog) Position() Position { return Position(l.position.Load()) }

// Epoch names what this log's xids and positions may be compared with.
func (l *ChangeLog) Epoch() string { return *l.epoch.Load() }

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
	l.position.Store(uint64(at))
	l.epoch.Store(&epoch)
	l.settled.Store(new(settlement))
	for _, n := range l.nodes {
		n.forget()
	}
	l.overflow.forget()
}

// Commit marks the change on what it touched. When it returns, every lookup judges by it.
func (l *ChangeLog) Commit(c Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, settled := l.next(), l.settled.Load()
	m := mark{at: at, xid: c.Xid}
	if c.Xid == 0 {
		m.xid = unknownXid
	}
	if c.Visible || c.Xid == 0 {
		m.visible = at
	}
	for _, d := range c.Dependencies {
		l.node(d).mark(m, settled)
	}
	l.position.Store(uint64(at)) // last: a lookup that sees this position sees the marks
}

// Settle says that the snapshot was taken on the primary before now. Whatever it saw is seen by all who
// ask from now on, so those marks may be forgotten without any response being outdated by that. A change
// stream calls it with each of its heartbeats; without it the log is as sound, and forgets less well.
func (l *ChangeLog) Settle(snapshot Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.next()
	l.settled.Store(&settlement{at: at, snapshot: snapshot})
	l.position.Store(uint64(at))
}

// Purge marks what the purge names. When it returns, no lookup serves it, and no fill that had asked
// before is stored under it.
func (l *ChangeLog) Purge(p Purge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.next()
	for _, d := range p.Dependencies {
		l.node(d).purge(at, p.Soft)
	}
	for _, prefix := range p.KeyPrefixes {
		l.keys.purge(at, string(prefix), p.Soft)
	}
	l.position.Store(uint64(at))
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
	s := &Standing{log: l, key: string(key), asked: asked, snapshot: snapshot, dependencies: dependencies}
	s.nodes = l.nodesOf(dependencies)
	s.epoch = l.epoch.Load() // before it is judged: see NewEpoch
	s.verify(l.position.Load())
	return s
}

// nodesOf returns the dependencies' nodes, and last that of Everything.
func (l *ChangeLog) nodesOf(dependencies []Dependency) []*node {
	nodes := make([]*node, 0, len(dependencies)+1)
	l.mu.RLock()
	for _, d := range dependencies {
		if n := l.nodes[d]; n != nil {
			nodes = append(nodes, n)
		}
	}
	if n := l.nodes[Everything]; n != nil {
		nodes = append(nodes, n)
	}
	l.mu.RUnlock()
	if len(nodes) == cap(nodes) {
		return nodes
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	nodes = nodes[:0]
	for _, d := range dependencies {
		nodes = append(nodes, l.node(d))
	}
	return append(nodes, l.node(Everything))
}

// next returns the position of a mark to come. Called with mu held for writing.
func (l *ChangeLog) next() Position { return Position(l.position.Load() + 1) }

// node returns the dependency's node, making it while there is room. Once a dependency shares the
// overflow it always does: nodes are never taken away. Called with mu held for writing.
func (l *ChangeLog) node(d Dependency) *node {
	if n := l.nodes[d]; n != nil {
		return n
	}
	if len(l.nodes) >= maxNodes && d != Everything {
		return l.overflow
	}
	n := new(node)
	l.nodes[Dependency(strings.Clone(string(d)))] = n // d may be a view of a large buffer
	return n
}
