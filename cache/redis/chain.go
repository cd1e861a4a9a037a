package redis

import (
	"slices"
	"strings"
	"sync"
	"time"

	"forebay/cache"
)

const (
	maxChainMarks = 1 << 16
	maxLinks      = 16 // changes remembered of one dependency
	maxLooks      = 64 // looks that wait for the answer to their question
)

// chain is what this instance has read of the chain of changes, without a gap. Safe for concurrent use.
//
//	base        position of a value                head
//	 │ changes of before      │ changes that the value       │ changes that this process's
//	 │ are not known          │ is judged by here            │ own log judges by
type chain struct {
	bound time.Duration // how long ago it may be that the chain was known to be the newest
	most  int           // dependencies remembered in each of two generations

	mu      sync.RWMutex // guards all below
	id      uint64       // 0: none is held
	dead    uint64       // of which entries were lost, so that it is not believed again
	server  string       // of which it speaks; empty: not known yet
	base    uint64       // all changes that end after it are known
	last    streamID
	covered map[uint32]chainCover
	young   map[cache.Dependency]*links
	old     map[cache.Dependency]*links // of before young
	turned  uint64                      // where young begins
	epoch   uint64                      // counts this process's own
	looks   []chainLook                 // oldest first
	asOf    cache.Instant               // when the chain was the newest, for sure; 0: not known
}

// links are the newest changes to a dependency, oldest first.
type links struct {
	forgotten uint64 // where the newest that is not remembered ended
	list      []link
}

type link struct{ lsn, xid uint64 }

// chainLook is where the chain ended when this process looked, and what it asked the owner then.
type chainLook struct {
	at       cache.Instant // before anything was asked
	epoch    uint64        // of this process then
	question uint64        // a random number; 0: none was asked
	head     streamID
}

// What the chain says of a value.
type chainVerdict uint8

const (
	chainUnknown chainVerdict = iota // it cannot tell
	chainCurrent
	chainChanged
)

func newChain(bound time.Duration) *chain { return &chain{bound: bound, most: maxChainMarks} }

// lose forgets all. A dead chain is one of which this process has read what Redis no longer has.
func (c *chain) lose(dead bool) {
	if dead {
		c.dead = c.id
	}
	c.id, c.server, c.base, c.last, c.covered, c.young, c.old, c.turned = 0, "", 0, streamID{}, nil, nil, nil, 0
	c.looks, c.asOf = nil, 0
}

// newEpoch says that this process's own epoch is another one. That the owner's goes on has to be shown anew.
func (c *chain) newEpoch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.looks, c.asOf = nil, 0
}

// present returns the number of this process's epoch.
func (c *chain) present() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch
}

// next returns after which entry to read on.
func (c *chain) next() streamID {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.last
}

// meet compares where the chain ends now with what is held, and reports whether to read on. A head behind
// what was read is a Redis that has lost entries; another chain says nothing of this one's values.
func (c *chain) meet(look chainLook, id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.id != 0 && (id == 0 || id == c.id && look.head.less(c.last)):
		c.lose(true)
		return false
	case c.id != 0 && id != c.id:
		c.lose(false)
		return false
	case id == 0 || id == c.dead:
		return false
	}
	if look.epoch == c.epoch && look.question != 0 {
		if len(c.looks) == maxLooks {
			c.looks = slices.Delete(c.looks, 0, 1)
		}
		c.looks = append(c.looks, look)
	}
	return true
}

// take takes in the next entry. False: it does not follow what was read, and all is forgotten.
func (c *chain) take(e *chainEntry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.chain == c.dead:
		return false
	case c.id == 0:
		c.id, c.base, c.turned = e.chain, e.id.ms, e.id.ms
		c.young = make(map[cache.Dependency]*links)
	case e.chain != c.id:
		c.lose(false)
		return false
	case e.predecessor != c.last:
		c.lose(e.predecessor.less(c.last)) // or it was trimmed further than was read
		return false
	}
	c.last = e.id
	switch e.kind {
	case chainChange:
		c.add(e)
	case chainPosition:
		c.confirm(e.answers)
	case chainCoverage:
		c.server, c.covered = e.server, e.covered
	case chainEnd:
		c.lose(true)
	}
	return true
}

// giveUp is for an entry that cannot be read: it may say anything.
func (c *chain) giveUp(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose(false)
	c.dead = id
}

// confirm says that the owner, which had read these questions, has asked for a position since:
//
//	reader  asks ────────────────────────────────────────────> reads the position entry: the chain was the newest when it asked
//	owner         reads the question ── asks Postgres ── writes the position entry, which answers the question
//
// So the owner's session reached from its beginning to a moment after the question, whatever clocks say and
// whichever copies of the chain either of them was shown: a question is in no copy of before it was asked. That the
// head had not reached an entry would not do: of two copies that a reader is shown the second may be the newer one,
// and both of a chain that nobody writes any more.
func (c *chain) confirm(answers []uint64) {
	for n, look := range slices.Backward(c.looks) {
		if slices.Contains(answers, look.question) {
			c.asOf = max(c.asOf, look.at)
			c.looks = c.looks[n+1:]
			return
		}
	}
}

// add remembers a change.
func (c *chain) add(e *chainEntry) {
	if len(c.young) >= c.most {
		if c.old != nil {
			c.base = c.turned
		}
		c.old, c.young, c.turned = c.young, make(map[cache.Dependency]*links), e.predecessor.ms
	}
	for _, d := range e.dependencies {
		l := c.young[d]
		if l == nil {
			l = new(links)
			c.young[cache.Dependency(strings.Clone(string(d)))] = l
		}
		if len(l.list) == maxLinks {
			l.forgotten = l.list[0].lsn
			l.list = slices.Delete(l.list, 0, 1)
		}
		l.list = append(l.list, link{lsn: e.id.ms, xid: e.xid})
	}
}

// holds returns the chain that is held, if it was the newest lately.
func (c *chain) holds(now cache.Instant) (id uint64, server string, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.id, c.server, c.recent(now)
}

func (c *chain) recent(now cache.Instant) bool {
	return c.id != 0 && c.asOf != 0 && now.Sub(c.asOf) <= c.bound
}

// judge tells whether the value saw every change to its dependencies that is in the chain, and up to which WAL
// position that makes all of them.
func (c *chain) judge(v *value, now cache.Instant) (verdict chainVerdict, through uint64, server string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.recent(now) || v.chain != c.id || v.position < c.base || !c.covers(v) {
		return chainUnknown, 0, ""
	}
	if c.changed(cache.Everything, v) || slices.ContainsFunc(v.dependencies, func(d cache.Dependency) bool { return c.changed(d, v) }) {
		return chainChanged, 0, ""
	}
	return chainCurrent, max(c.last.ms, v.position), c.server
}

// covers reports whether all changes that may concern the value are in the chain, from its position on.
func (c *chain) covers(v *value) bool {
	for _, d := range v.dependencies {
		oid, ok := d.Table()
		if !ok {
			continue
		}
		cover, covered := c.covered[oid]
		if !covered || cover.since == 0 || cover.since > v.position {
			return false
		}
		if _, column, _, row := d.Row(); row && !slices.Contains(cover.columns, column) {
			return false
		}
	}
	return true
}

// changed reports whether a change to the dependency is in the chain that the value did not see, or may be.
func (c *chain) changed(d cache.Dependency, v *value) bool {
	for _, generation := range [...]map[cache.Dependency]*links{c.young, c.old} {
		l := generation[d]
		if l == nil {
			continue
		}
		if l.forgotten > v.position {
			return true
		}
		for _, one := range l.list {
			if one.lsn > v.position && !v.saw(one) {
				return true
			}
		}
	}
	return false
}

// saw reports whether the change is visible in the value's snapshot.
func (v *value) saw(l link) bool {
	if v.snapshot.Replayed != 0 {
		return l.lsn <= v.snapshot.Replayed
	}
	return v.snapshot.Sees(l.xid)
}
