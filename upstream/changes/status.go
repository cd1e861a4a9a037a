package changes

import (
	"cmp"
	"math"
	"slices"
	"time"

	"forebay/cache"
)

// Status is the feed as it is now, for health, doctor and explain. A value.
type Status struct {
	Mode        string // what it is doing: wal, notify or off
	Live        bool
	Reason      string        // why it is not live, or off; empty when it is live and not off
	Since       cache.Instant // of Live and Mode being what they are
	Lag         time.Duration // for how long a change may be missing; math.MaxInt64: not live
	LagBytes    uint64        // of the primary's log that are not in yet
	Epoch       string
	Publication string
	Slot        string
	Server      Identity    // zero while there is no session
	Covered     int         // relations whose changes arrive
	Uncovered   []Uncovered // until somebody does something about it; by oid, not to be written
	Pending     []Uncovered // for the moment: being published, or tried again; not to be written
	EventDDL    bool        // the event triggers bring DDL within its transaction; else the catalogue poll finds it
	AsyncCommit bool        // synchronous_commit is off by default: changes arrive when the server writes its log
	Commits     uint64
	Rows        uint64
	Epochs      uint64
	Collapsed   uint64
	Probes      uint64
}

// Uncovered is a relation that somebody depends on and whose changes, or rows, do not arrive. A value.
type Uncovered struct {
	Oid    uint32
	Name   string
	Rows   bool   // its changes do arrive, but its rows are not told apart as wanted
	Reason string // for people
	Fix    string // what to do, with the exact SQL where there is one; may be empty
}

// Status returns the feed as it is now.
func (f *Feed) Status() Status {
	f.face.mu.Lock()
	state, r := f.face.state, f.face.report
	f.face.mu.Unlock()
	return Status{
		Mode: state.Mode, Live: state.Live, Reason: state.Reason, Since: state.Since,
		Lag: f.lag(), LagBytes: f.lagBytes(),
		Epoch: r.epoch, Publication: r.publication, Slot: r.slot, Server: r.server,
		Covered: r.coveredAll, Uncovered: r.uncovered, Pending: r.pending, EventDDL: r.events, AsyncCommit: r.asyncCommit,
		Commits: f.metrics.commits.Get(), Rows: f.metrics.rows.Get(), Epochs: f.metrics.epochs.Get(),
		Collapsed: f.metrics.collapsed.Get(), Probes: f.metrics.probes.Get(),
	}
}

// Uncovered returns why the changes to a relation that is watched will not arrive until somebody does
// something about it, and "" if they arrive or will by themselves.
func (f *Feed) Uncovered(oid uint32) string {
	f.face.mu.Lock()
	list := f.face.report.uncovered
	f.face.mu.Unlock()
	at, found := slices.BinarySearchFunc(list, oid, func(u Uncovered, oid uint32) int { return cmp.Compare(u.Oid, oid) })
	for ; found && at < len(list) && list[at].Oid == oid; at++ {
		if !list[at].Rows {
			return list[at].Reason
		}
	}
	return ""
}

// Identity returns which server, and which start of it, the session follows. False: there is no session.
func (f *Feed) Identity() (Identity, bool) {
	f.face.mu.Lock()
	defer f.face.mu.Unlock()
	return f.face.report.server, f.face.report.known
}

func (f *Feed) lag() time.Duration { return f.log.Lag(f.clock.Now()) }

// lagSeconds is lag for metrics: while the feed is not live, since the last moment that is known.
func (f *Feed) lagSeconds() float64 {
	if lag := f.lag(); lag != math.MaxInt64 {
		return lag.Seconds()
	}
	return f.clock.Now().Sub(f.log.AsOf()).Seconds()
}

func (f *Feed) lagBytes() uint64 {
	behind, position := f.behind.Load(), f.position.Load()
	if position == 0 || behind < position {
		return 0
	}
	return behind - position
}
