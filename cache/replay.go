package cache

import "sync"

const (
	// maxReplays bounds how many heartbeats are remembered for standbys, and denseReplays how many of the newest
	// are all kept.
	maxReplays, denseReplays = 128, 16
)

// replays remember at which WAL position all lay that was visible to anyone at some moment: so that a standby's
// position tells as of when it is. Safe for concurrent use.
type replays struct {
	mu   sync.Mutex // guards list
	list []replay   // oldest first
}

type replay struct {
	asOf Instant
	lsn  uint64
}

// add remembers a heartbeat. When there are too many, some go from between others: the older, the farther apart.
func (r *replays) add(next replay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.list); n > 0 && (next.asOf <= r.list[n-1].asOf || next.lsn < r.list[n-1].lsn) {
		return
	}
	if len(r.list) == maxReplays {
		r.thin(next.asOf)
	}
	r.list = append(r.list, next)
}

// thin makes room: it leaves gaps of about a quarter of their age.
func (r *replays) thin(now Instant) {
	kept := r.list[:1]
	for i := 1; i < len(r.list); i++ {
		gap := func() Instant { return r.list[i+1].asOf - kept[len(kept)-1].asOf }
		if i >= len(r.list)-denseReplays || gap() > (now-r.list[i+1].asOf)/4 {
			kept = append(kept, r.list[i])
		}
	}
	if len(kept) == maxReplays {
		kept = append(kept[:0], kept[1:]...)
	}
	r.list = kept
}

func (r *replays) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = r.list[:0]
}

// ReplayedAsOf returns a moment such that who has replayed the log to this WAL position has all that was visible to
// anyone on the primary then; 0: not known. It is no later than the feed's own knowledge.
func (l *ChangeLog) ReplayedAsOf(lsn uint64) Instant {
	l.replays.mu.Lock()
	defer l.replays.mu.Unlock()
	for i := len(l.replays.list) - 1; i >= 0; i-- {
		if l.replays.list[i].lsn <= lsn {
			return l.replays.list[i].asOf
		}
	}
	return 0
}
