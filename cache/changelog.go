package cache

import (
	"bytes"
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
	Xid          uint64 // top-level, 64-bit
	Dependencies []Dependency
}

// Purge is an operator's word that stored responses must not be served any more.
type Purge struct {
	Dependencies []Dependency   // every response that depends on one of them
	KeyPrefixes  [][]byte       // every response whose key begins with one of them
	Soft         bool           // expired rather than outdated: stale-while-revalidate may still serve it
	At           SharedPosition // its place in the shared log; 0 for a purge that is not there (yet)
}

const (
	marksPerNode = 64         // changes remembered one by one before the floor rises
	maxNodes     = 1 << 16    // dependencies told apart before the rest share one node
	maxPrefixes  = 256        // key purges remembered one by one
	outdated     = ^uint64(0) // the value of Standing.verified that nothing comes back from
)

// ChangeLog is what this process knows of changes and purges. The two doors meet here: changes mark
// its nodes, lookups compare with them. Safe for concurrent use; nothing in it blocks on I/O.
type ChangeLog struct {
	position atomic.Uint64 // of the newest complete mark
	epoch    atomic.Pointer[string]

	mu       sync.RWMutex // guards all below; a mark is made under it
	nodes    map[Dependency]*node
	overflow *node         // stands for every dependency beyond maxNodes
	prefixes []prefixPurge // oldest first
	forgot   Position      // the newest key purge no longer in prefixes
}

type prefixPurge struct {
	at     Position
	prefix []byte
	soft   bool
}

// node is what the log knows of one dependency.
type node struct {
	marked atomic.Uint64 // position of the newest mark of any kind; read without the lock

	mu         sync.Mutex // guards all below
	marks      []mark     // oldest first, at most marksPerNode
	forgotXid  uint64     // the greatest xid among the marks no longer remembered
	forgotAt   Position   // the newest position among them
	purged     Position   // responses asked for before it are outdated
	softPurged Position   // responses asked for before it are expired
}

type mark struct {
	at  Position
	xid uint64
}

// NewChangeLog makes an empty log. Epoch names the only process, server and timeline whose xids and
// positions may be compared with its own.
func NewChangeLog(epoch string) *ChangeLog {
	l := &ChangeLog{nodes: make(map[Dependency]*node), overflow: new(node)}
	l.epoch.Store(&epoch)
	return l
}

// Position returns the log's end. A fill asks for it before it asks for its snapshot.
func (l *ChangeLog) Position() Position { return Position(l.position.Load()) }

// Epoch names what this log's xids and positions may be compared with.
func (l *ChangeLog) Epoch() string { return *l.epoch.Load() }

// NewEpoch outdates everything stored so far and every fill in flight: xids from before and after may
// not be compared, as after a crash that handed some out twice.
func (l *ChangeLog) NewEpoch(epoch string) {
	l.epoch.Store(&epoch)
	l.Purge(Purge{Dependencies: []Dependency{Everything}})
}

// Commit marks the change on what it touched. When it returns, every lookup judges by it.
func (l *ChangeLog) Commit(c Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := Position(l.position.Load() + 1)
	for _, d := range c.Dependencies {
		n := l.node(d)
		n.mu.Lock()
		n.remember(mark{at: at, xid: c.Xid})
		n.mu.Unlock()
		n.marked.Store(uint64(at))
	}
	l.position.Store(uint64(at)) // last: a lookup that sees this position sees the marks
}

// Purge marks what the purge names. When it returns, no lookup serves it, and no fill that had asked
// before is stored under it.
func (l *ChangeLog) Purge(p Purge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := Position(l.position.Load() + 1)
	for _, d := range p.Dependencies {
		n := l.node(d)
		n.mu.Lock()
		if p.Soft {
			n.softPurged = at
		} else {
			n.purged = at
		}
		n.mu.Unlock()
		n.marked.Store(uint64(at))
	}
	for _, prefix := range p.KeyPrefixes {
		if len(l.prefixes) == maxPrefixes {
			l.forgot = l.prefixes[0].at
			l.prefixes = append(l.prefixes[:0], l.prefixes[1:]...)
		}
		l.prefixes = append(l.prefixes, prefixPurge{at: at, prefix: bytes.Clone(prefix), soft: p.Soft})
	}
	l.position.Store(uint64(at))
}

// Stand ties a response to its dependencies. Asked is the log's position before its snapshot was asked
// for; a zero snapshot sees nothing, so any later change to a relation outdates it. The response always
// depends on Everything too.
func (l *ChangeLog) Stand(key []byte, asked Position, snapshot Snapshot, dependencies []Dependency) *Standing {
	s := &Standing{log: l, asked: asked, snapshot: snapshot, dependencies: dependencies}
	l.mu.Lock()
	s.nodes = append(make([]*node, 0, len(dependencies)+1), l.node(Everything))
	for _, d := range dependencies {
		s.nodes = append(s.nodes, l.node(d))
	}
	verdict := l.prefixVerdict(key, asked)
	l.mu.Unlock()
	s.verified.Store(uint64(asked))
	switch verdict {
	case Outdated:
		s.verified.Store(outdated)
	case Softened:
		s.softened.Store(true)
	case Current:
	}
	return s
}

// prefixVerdict judges a fill by the key purges since it asked. Called with mu held.
func (l *ChangeLog) prefixVerdict(key []byte, asked Position) Verdict {
	if asked < l.forgot {
		return Outdated
	}
	verdict := Current
	for _, p := range l.prefixes {
		if p.at <= asked || !bytes.HasPrefix(key, p.prefix) {
			continue
		}
		if !p.soft {
			return Outdated
		}
		verdict = Softened
	}
	return verdict
}

// node returns the dependency's node, making it while there is room. Called with mu held for writing.
func (l *ChangeLog) node(d Dependency) *node {
	if n := l.nodes[d]; n != nil {
		return n
	}
	if len(l.nodes) >= maxNodes {
		return l.overflow
	}
	n := new(node)
	l.nodes[d] = n
	return n
}

// remember appends the mark, or raises the floor when there is no room. Called with n.mu held.
func (n *node) remember(m mark) {
	if len(n.marks) == marksPerNode {
		oldest := n.marks[0]
		n.forgotXid = max(n.forgotXid, oldest.xid)
		n.forgotAt = oldest.at
		n.marks = append(n.marks[:0], n.marks[1:]...)
	}
	n.marks = append(n.marks, m)
}
