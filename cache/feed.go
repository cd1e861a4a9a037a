package cache

import (
	"math"
	"time"
)

// Feed says how far a log hears of the changes that others make. It is immutable: a new state is a new
// value, swapped in by ChangeLog.SetFeed.
type Feed struct {
	Mode   string  // FeedWAL, FeedNotify or FeedOff
	Live   bool    // false: nothing is known to be current
	Reason string  // why it is not live; for people
	Since  Instant // since when Live is what it is
	Server string  // whose xids and WAL positions it speaks of: two live feeds of one server may compare them; empty: not known

	// Exported is what had been committed where the stream begins: what it does not bring. A fill is stored
	// only if it saw all of that. Exported.Replayed is the stream's first WAL position: what a standby must
	// have replayed for the same.
	Exported Snapshot
	Covered  map[uint32]Coverage // the relations whose changes arrive, by oid
}

// Coverage says from when on a relation's changes arrive. A relation that is published while it is being
// written misses what its writers did before.
type Coverage struct {
	// Writers are the transactions that held the relation for writing when it was published. A fill is stored
	// only if they had all ended in its snapshot.
	Writers []uint64
	After   Position // the log's end when the publication had been committed: a fill must have asked later
	Columns []int16  // by which the rows of its changes are told apart

	// Replayed is the WAL position at which the last of Writers had ended: what a standby must have replayed.
	// 0: it is not known, and no fill from a standby is stored.
	Replayed uint64
}

// Modes of a Feed.
const (
	FeedWAL    = "wal"    // from the write-ahead log
	FeedNotify = "notify" // from triggers that notify
	FeedOff    = "off"    // nobody's changes but this process's own: TTLs bound what others change
)

// SetFeed swaps the state of the feed in. Losing it and finding it again is two calls, and NewEpoch between
// them where changes may have been missed. It moves the log's end, so that a fill that asks from now on is
// told apart from one that asked when a Coverage.After was read:
//
//	fill: asks at position 3, reads a table that is not published yet
//	writer: changes it, and commits; nobody hears of it
//	feed: publishes the table; nobody writes it now; After is 3
//	fill: is to be stored, and must not be
//
// What was stored on its lifetime while nobody heard of a relation's changes is outdated with the state that
// says they are heard of: nobody knows what it missed, and from here on it would be taken for exact. The instances
// that share a log have not had it: see Admit.
func (l *ChangeLog) SetFeed(f *Feed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.next()
	begun := l.feed.Load().begun(f)
	for _, d := range begun {
		l.purge(at, d, false)
	}
	l.feed.Store(f) // before the log's end: who asks from there on is admitted by this state
	if len(begun) > 0 {
		l.publish(at)
	} else {
		l.position.Store(uint64(at))
	}
	if l.observer != nil {
		l.observer.Fed(f)
	}
}

// begun returns of what the next state's feed hears that nobody heard of by this one.
func (f *Feed) begun(next *Feed) []Dependency {
	if !next.heard() {
		return nil
	}
	if !f.heard() {
		return []Dependency{Everything}
	}
	var begun []Dependency
	for oid := range next.Covered {
		if _, before := f.Covered[oid]; !before {
			begun = append(begun, Relation(oid))
		}
	}
	return begun
}

// heard reports whether others' changes are heard of at all.
func (f *Feed) heard() bool { return f.Live && f.Mode != FeedOff }

// Feed returns the state of the feed. Not to be written.
func (l *ChangeLog) Feed() *Feed { return l.feed.Load() }

// Advance says that every change that was visible to anyone at asOf is in the log, and that the snapshot
// was taken on the primary before now: it settles, too. Of a snapshot that carries Replayed as well the log also
// holds every change up to that WAL position, which was asked for after asOf.
func (l *ChangeLog) Advance(asOf Instant, snapshot Snapshot) {
	l.Settle(snapshot)
	for {
		old := l.asOf.Load()
		if int64(asOf) <= old || l.asOf.CompareAndSwap(old, int64(asOf)) {
			break
		}
	}
	if snapshot.Replayed != 0 {
		l.replays.add(replay{asOf: asOf, lsn: snapshot.Replayed})
	}
	l.advanced(asOf, snapshot.Replayed)
}

// AsOf returns the last moment of which the log is known to hold every change.
func (l *ChangeLog) AsOf() Instant { return Instant(l.asOf.Load()) }

// watchGrace is how long what the catalogue has become may go unnoticed: a comparison each second, with room for a
// slow one or two.
const watchGrace = 5 * time.Second

// Watched says that what had become of the catalogue by asOf is in the log, which no feed need bring. Who says so
// once has to say so again and again.
func (l *ChangeLog) Watched(asOf Instant) { l.watched.Store(int64(asOf)) }

// Lag returns for how long the log may have been missing a change that others can see: no time without a
// feed, for then nobody promises more than own writes, and for ever when the feed is lost. The catalogue counts when
// nobody has looked at it for longer than that may be.
func (l *ChangeLog) Lag(now Instant) time.Duration {
	f := l.feed.Load()
	switch {
	case !f.Live:
		return math.MaxInt64
	case f.Mode == FeedOff:
		return 0
	}
	lag := max(now.Sub(l.AsOf()), 0)
	if asOf := l.watched.Load(); asOf != 0 {
		if unwatched := now.Sub(Instant(asOf)); unwatched > watchGrace {
			return max(lag, unwatched)
		}
	}
	return lag
}

// Admit tells whether what a fill read may be stored, as far as the feed goes: whether every change to the
// relations that the snapshot does not see is in the log or will come. Asked is the log's position before
// the snapshot was asked for. It allocates nothing.
func (l *ChangeLog) Admit(asked Position, s Snapshot, relations []uint32) Refusal {
	f := l.feed.Load()
	if !f.Live {
		return RefusedFeed
	}
	if f.Mode == FeedOff {
		return Storable
	}
	for _, oid := range relations {
		if _, covered := f.Covered[oid]; !covered {
			return RefusedFeed
		}
	}
	if !s.SeesAllOf(f.Exported) {
		return RefusedAdmission
	}
	for _, oid := range relations {
		c := f.Covered[oid]
		if c.After != 0 && asked <= c.After || !c.admits(s) {
			return RefusedAdmission
		}
	}
	return Storable
}

// admits reports whether everything that was written before the relation was published is in the snapshot.
func (c *Coverage) admits(s Snapshot) bool {
	if s.Replayed != 0 {
		return c.Replayed != 0 && c.Replayed <= s.Replayed
	}
	for _, xid := range c.Writers {
		if !s.Sees(xid) {
			return false
		}
	}
	return true
}
