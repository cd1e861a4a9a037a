package postgres

import (
	"sync/atomic"
	"time"

	"forebay/cache"
)

// shareFor is how old a snapshot may be that a fill takes over from another one, while no change came in
// since it was taken. Older would be as sound, and outdate more responses by changes that their bodies have
// seen: those that the stream brings only after the fill was sent. It brings most of them sooner than this.
const shareFor = 2 * time.Millisecond

// followAfter is how old a snapshot is when one fill of several takes the next one, while the others still share
// this: else all that are under way when its time ends would take one each, as many as there are connections.
const followAfter = shareFor / 2

// taken is a snapshot that a fill took and others may share. A statement that is sent after a snapshot came
// back sees all that the snapshot saw, on whichever connection to the same server: so it may be the one of
// another fill, if that is not too long ago. It is worth a third of what a small miss costs. Safe for concurrent use.
type taken struct {
	snapshot cache.Snapshot
	epoch    uint64         // of the server
	at       cache.Instant  // before it was asked for
	position cache.Position // of the log, before it was asked for

	followed atomic.Bool // a fill is taking the next one
}

// share takes over a snapshot that is at hand, unless a change came in since, which this fill's statement may
// see and the snapshot does not. Called after the log was asked for its position.
func (f *filling) share() {
	if f.readsStandby() || f.look != trusting || f.consistent() || f.call.Rule.Query.CustomPlan || !f.d.cfg.PreparedStatements {
		return // then more has to be said before the statement
	}
	t := f.d.shared.Load()
	if t == nil || t.epoch != f.s.epoch || t.position != f.fill.Asked {
		return
	}
	if t.lasts(f.sent.Sub(t.at), f.d.held.Load() > 1) {
		f.fill.Snapshot, f.sharing = t.snapshot, true
	}
}

// lasts reports whether a fill may take the snapshot over at that age, and not rather take the next one; several
// says that others are under way.
func (t *taken) lasts(age time.Duration, several bool) bool {
	if age >= shareFor {
		return false
	}
	return age < followAfter || !several || !t.followed.CompareAndSwap(false, true)
}

// offer lets others share the fill's own snapshot.
func (f *filling) offer(asked cache.Instant) {
	if f.fill.Refused == cache.Storable {
		f.d.shared.Store(&taken{snapshot: f.fill.Snapshot, epoch: f.s.epoch, at: asked, position: f.fill.Asked})
	}
}
