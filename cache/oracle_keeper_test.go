package cache

import (
	"fmt"
	"math"
	"slices"
)

// keeper decides what a stored response is worth: the log, or what others do.
type keeper interface {
	ask(f *fakeFill, insert uint64)     // before the snapshot; insert is the end of the primary's log
	keep(f *fakeFill) bool              // false: it is not to be stored
	current(f *fakeFill) bool           // at lookup
	commit(c *Change, lsn uint64)       // a change is applied
	heartbeat(asOf Instant, s Snapshot) // everything visible at asOf was applied
	lost()                              // the feed
	found(feed *Feed)                   // a new one, after changes may have been missed
	cover(feed *Feed, uncovered []Dependency)
}

// removed are pieces of the rule taken out, to see that each is needed.
type removed struct {
	visibility bool // who asks after a change was applied is taken to have seen it
	admission  bool // what was before the stream does not matter
	writers    bool // nor do the transactions that wrote a table when it was published
	after      bool // nor when the fill asked
	epoch      bool // xids are compared across a crash
	floor      bool // what is forgotten is forgotten
	ring       bool // changes of rows that nobody holds are forgotten
	whole      bool // what cannot be told apart by rows is told to the relation only
	oldValue   bool // a change concerns the rows of its new value only
	order      bool // a heartbeat settles for those, too, who asked before it
	standby    bool // a standby's snapshot is taken like the primary's
	first      bool // the snapshot is taken after the body instead of before it
}

// exact is the log, whole or with a piece of it removed.
type exact struct {
	log     *ChangeLog
	without removed
	pins    map[Dependency]*node // rows that the collector is not to take: runs are the same each time
	epochs  int
}

func newExact(b bounds, without removed) *exact {
	return &exact{log: newChangeLog("0", b), without: without, pins: make(map[Dependency]*node)}
}

func (x *exact) ask(f *fakeFill, _ uint64) { f.asked = x.log.Position() }

func (x *exact) keep(f *fakeFill) bool {
	s := f.snapshot
	if x.without.standby && s.Replayed != 0 {
		s = f.xids
	}
	feed := x.log.Feed()
	admitted := x.log.Admit(f.asked, s, f.key.tables) == Storable
	if x.without.admission || x.without.writers || x.without.after {
		admitted = x.admitWithout(feed, f, s)
	}
	if !admitted {
		return false
	}
	return x.stand(f, s)
}

// again is what another tier does: it stands what it kept a second time, as it was.
func (x *exact) again(f *fakeFill) bool {
	return f.standing.Epoch() == x.log.Epoch() && x.stand(f, f.standing.Snapshot())
}

func (x *exact) stand(f *fakeFill, s Snapshot) bool {
	if x.without.ring {
		for _, r := range x.log.rows.rings {
			clear(r.heads)
		}
	}
	x.forget()
	f.standing = x.log.Stand([]byte(f.key.name), f.asked, s, f.key.dependencies)
	for i, d := range f.key.dependencies {
		if _, ok := d.rowOid(); ok {
			x.pins[d] = f.standing.nodes[i]
		}
	}
	return f.standing.Check() == Current
}

// admitWithout asks for admission by a feed from which a piece is removed.
func (x *exact) admitWithout(feed *Feed, f *fakeFill, s Snapshot) bool {
	less := *feed
	less.Covered = make(map[uint32]Coverage)
	for oid, c := range feed.Covered {
		if x.without.writers {
			c.Writers = nil
		}
		if x.without.after {
			c.After = 0
		}
		less.Covered[oid] = c
	}
	if x.without.admission {
		less.Exported = Snapshot{}
	}
	x.log.feed.Store(&less)
	defer x.log.feed.Store(feed)
	return x.log.Admit(f.asked, s, f.key.tables) == Storable
}

func (x *exact) current(f *fakeFill) bool { return f.standing.Check() == Current }

func (x *exact) commit(c *Change, _ uint64) {
	if x.without.visibility {
		c.Visible = true
	}
	if x.without.whole {
		c.Dependencies = slices.DeleteFunc(c.Dependencies, func(d Dependency) bool { return d[0] == 'w' })
	}
	x.log.Commit(*c)
	x.forget()
}

// forget drops the floors when they are removed.
func (x *exact) forget() {
	if !x.without.floor {
		return
	}
	for _, n := range x.log.nodes {
		n.raze()
	}
	for _, n := range x.pins {
		n.raze()
	}
	x.log.overflow.raze()
	for _, r := range x.log.rows.rings {
		r.past = history{}
	}
	x.log.rows.shared.past = history{}
}

func (n *node) raze() {
	if n.events != nil {
		n.events.forgotten, n.events.doubtful = floor{}, doubt{}
	}
}

func (x *exact) heartbeat(asOf Instant, s Snapshot) {
	x.log.Advance(asOf, s)
	if x.without.order {
		x.log.settled.Store(&settlement{snapshot: s, at: 1})
	}
}

func (x *exact) lost() { x.log.SetFeed(&Feed{Mode: FeedWAL, Reason: "lost"}) }

func (x *exact) found(feed *Feed) {
	if !x.without.epoch {
		x.epochs++
		x.log.NewEpoch(fmt.Sprint(x.epochs))
		clear(x.pins)
	}
	x.log.SetFeed(feed)
}

func (x *exact) cover(feed *Feed, uncovered []Dependency) {
	if x.without.after {
		x.log.feed.Store(feed) // nothing is news, and outdates what asked before
	}
	x.log.SetFeed(feed)
	if len(uncovered) > 0 {
		x.log.Purge(Purge{Dependencies: uncovered})
	}
}

// vanish is what the collector does to a row's node once nobody holds it any more.
func (x *exact) vanish(d Dependency) {
	row := x.log.rows.hash(d)
	delete(x.log.rows.shard(row).nodes, row)
	delete(x.pins, d)
}

// generations are what most write: a change deletes what depends on it. A count for each dependency says
// the same without a search. With leases a fill is stored only if nothing was deleted since it asked;
// without, whenever it comes.
type generations struct {
	of     map[Dependency]uint64
	all    uint64
	leases bool
}

func (g *generations) sum(k *fakeKey) uint64 {
	n := g.all
	for _, d := range k.dependencies {
		n += g.of[d]
	}
	return n
}

func (g *generations) ask(f *fakeFill, _ uint64) { f.generation = g.sum(f.key) }

func (g *generations) keep(f *fakeFill) bool {
	if !g.leases {
		f.generation = g.sum(f.key)
	}
	return g.current(f)
}

func (g *generations) current(f *fakeFill) bool { return f.generation == g.sum(f.key) }

func (g *generations) commit(c *Change, _ uint64) {
	for _, d := range c.Dependencies {
		g.of[d]++
	}
}

func (g *generations) heartbeat(Instant, Snapshot) {}
func (g *generations) lost()                       {}
func (g *generations) found(*Feed)                 { g.all++ }
func (g *generations) cover(*Feed, []Dependency)   { g.all++ }

// watermark compares the LSN of the newest change with the end of the log before the body was read.
type watermark struct {
	of  map[Dependency]uint64
	all uint64
}

func (w *watermark) ask(f *fakeFill, insert uint64) { f.generation = insert }
func (w *watermark) keep(f *fakeFill) bool          { return w.current(f) }

func (w *watermark) current(f *fakeFill) bool {
	newest := w.all
	for _, d := range f.key.dependencies {
		newest = max(newest, w.of[d])
	}
	return newest <= f.generation
}

func (w *watermark) commit(c *Change, lsn uint64) {
	for _, d := range c.Dependencies {
		w.of[d] = max(w.of[d], lsn)
	}
}

func (w *watermark) heartbeat(Instant, Snapshot) {}
func (w *watermark) lost()                       { w.all = math.MaxUint64 }
func (w *watermark) found(feed *Feed)            { w.all = feed.Exported.Replayed - 1 }
func (w *watermark) cover(*Feed, []Dependency)   {}
