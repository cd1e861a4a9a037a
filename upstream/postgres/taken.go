package postgres

import (
	"time"

	"forebay/cache"
)

// shareFor is how old a snapshot may be that a fill takes over from another one, while no change came in
// since it was taken. Older would be as sound, and outdate more responses by changes that their bodies have
// seen: those that the stream brings only after the fill was sent. It brings most of them sooner than this.
const shareFor = 2 * time.Millisecond

// taken is a snapshot that a fill took and others may share. A statement that is sent after a snapshot came
// back sees all that the snapshot saw, on whichever connection to the same server: so it may be the one of
// another fill, if that is not too long ago. It is worth a third of what a small miss costs. Immutable.
type taken struct {
	snapshot cache.Snapshot
	epoch    uint64         // of the server
	at       cache.Instant  // before it was asked for
	position cache.Position // of the log, before it was asked for
}

// share takes over a snapshot that is at hand, unless a change came in since, which this fill's statement may
// see and the snapshot does not. Called after the log was asked for its position.
func (f *filling) share() {
	if f.readsStandby() || f.look != trusting || f.consistent() || f.call.Rule.Query.CustomPlan || !f.d.cfg.PreparedStatements {
		return // then more has to be said before the statement
	}
	t := f.d.shared.Load()
	if t != nil && t.epoch == f.s.epoch && t.position == f.fill.Asked && f.d.clock.Now().Sub(t.at) < shareFor {
		f.fill.Snapshot, f.sharing = t.snapshot, true
	}
}

// offer lets others share the fill's own snapshot.
func (f *filling) offer(asked cache.Instant) {
	if f.fill.Refused == cache.Storable {
		f.d.shared.Store(&taken{snapshot: f.fill.Snapshot, epoch: f.s.epoch, at: asked, position: f.fill.Asked})
	}
}
