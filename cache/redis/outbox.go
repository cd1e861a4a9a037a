package redis

import (
	"maps"
	"slices"
	"sync"
	"time"

	"forebay/cache"
)

const (
	// resendFor is for how long a purge is said again when the log turns out to have lost entries.
	resendFor = 10 * time.Minute

	maxOutgoing  = 1024                  // purges that wait or may have to be said again; more become one of everything
	maxChanged   = 4096                  // dependencies in one change; more become everything
	changesEvery = 50 * time.Millisecond // writes are told at most this often, many in one entry

	sendBatch       = 100
	sendTimeout     = time.Second
	farewellTimeout = 500 * time.Millisecond
)

// outgoing is a purge of this instance on its way into the shared log.
type outgoing struct {
	entry
	done   chan error // gets what became of the first attempt
	sentAt cache.Instant
	found  bool // read back: every instance that follows the log reads it
}

// outbox holds what this instance has to say: purges until they are known to be in the log and for some
// time after, and the tables it wrote to until they were said once. Safe for concurrent use.
type outbox struct {
	history  *history
	instance uint64
	wake     chan struct{}

	mu      sync.Mutex // guards all below
	number  uint64
	waiting []*outgoing   // to be sent, oldest first
	sent    []*outgoing   // oldest first
	dropped cache.Instant // the newest attempt of what is not in sent any more, for want of room; 0: none
	changed map[cache.Dependency]struct{}
}

func newOutbox(h *history, instance uint64) *outbox {
	return &outbox{history: h, instance: instance, wake: make(chan struct{}, 1), changed: make(map[cache.Dependency]struct{})}
}

// purge takes a purge in. From now on it is held against every value of other instances.
func (b *outbox) purge(p cache.Purge) *outgoing {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) >= maxOutgoing {
		b.collapse()
	}
	o := b.add(entryPurge, p)
	b.nudge()
	return o
}

// outdate takes in that the values of exact rules that depend on one of these are doubted; by everything, those
// that this instance wrote. It is told and held
// against them as a purge is. Called under the log's lock.
func (b *outbox) outdate(p cache.Purge) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) >= maxOutgoing {
		b.collapse()
	}
	b.add(entryDoubt, p).tell(nil) // nobody waits for it
	b.nudge()
}

// add puts a purge in line. Called with mu held.
func (b *outbox) add(kind byte, p cache.Purge) *outgoing {
	b.number++
	o := &outgoing{entry: entry{kind: kind, instance: b.instance, number: b.number, purge: p}, done: make(chan error, 1)}
	b.history.await(o)
	b.waiting = append(b.waiting, o)
	return o
}

// collapse makes one purge of everything out of all that wait: a purge may be forgotten only by one that
// says more. Called with mu held.
func (b *outbox) collapse() {
	old := b.waiting
	b.waiting = nil
	all := b.add(entryPurge, cache.Purge{Dependencies: []cache.Dependency{cache.Everything}})
	all.tell(nil) // nobody waits for it
	for _, o := range old {
		b.history.found(o)
		o.tell(errCollapsed)
	}
}

// change notes that the dependencies were written to.
func (b *outbox) change(dependencies []cache.Dependency) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range dependencies {
		if len(b.changed) >= maxChanged {
			clear(b.changed)
			d = cache.Everything
		}
		b.changed[d] = struct{}{}
	}
	b.nudge()
}

// found notes that a purge was read back from the log.
func (b *outbox) found(number uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.waiting, func(o *outgoing) bool { return o.number == number }); i >= 0 {
		// Its answer was lost, and it landed all the same.
		o := b.waiting[i]
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.sent = append(b.sent, o)
	}
	for _, o := range b.sent {
		if o.number == number && !o.found {
			o.found = true
			b.history.found(o)
		}
	}
}

// again puts in line once more what was sent: all of it, or only what was not found in the log.
func (b *outbox) again(all bool, now cache.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tidy(now)
	forgotten := all && b.dropped != 0 && now.Sub(b.dropped) <= resendFor
	var repeat, keep []*outgoing
	for _, o := range b.sent {
		if o.found && !all {
			keep = append(keep, o)
			continue
		}
		if o.found {
			o.found = false
			b.history.await(o)
		}
		repeat = append(repeat, o)
	}
	b.sent, b.waiting = keep, append(repeat, b.waiting...)
	if forgotten || len(b.waiting) > maxOutgoing {
		b.collapse()
	}
	b.nudge()
}

// next tells whether purges and changes wait to be sent.
func (b *outbox) next() (purges, changes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) > 0, len(b.changed) > 0
}

// take returns what is to be sent next. Changes are held back until their time has come.
func (b *outbox) take(changes bool) (purges []*outgoing, changed []cache.Dependency) {
	b.mu.Lock()
	defer b.mu.Unlock()
	purges = slices.Clone(b.waiting[:min(len(b.waiting), sendBatch)])
	if changes && len(b.changed) > 0 {
		changed = slices.Collect(maps.Keys(b.changed))
		clear(b.changed)
	}
	return purges, changed
}

// sentOff notes what became of an attempt.
func (b *outbox) sentOff(purges []*outgoing, changed []cache.Dependency, err error, now cache.Instant) {
	if err != nil {
		b.change(changed)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range purges {
		o.tell(err)
		i := slices.Index(b.waiting, o)
		if err != nil || i < 0 { // not there: found in the log, or collapsed meanwhile
			continue
		}
		o.sentAt = now
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.sent = append(b.sent, o)
	}
	b.tidy(now)
}

// tidy drops what has been said for good, and bounds what is kept to be said again. Called with mu held.
func (b *outbox) tidy(now cache.Instant) {
	over := len(b.sent) - maxOutgoing
	b.sent = slices.DeleteFunc(b.sent, func(o *outgoing) bool {
		if !o.found {
			return false
		}
		old := now.Sub(o.sentAt) > resendFor
		if !old && over > 0 {
			over--
			b.dropped = o.sentAt
			return true
		}
		return old
	})
	if len(b.sent) > maxOutgoing { // sent and never read back: the log is written to, and cannot be followed
		b.waiting, b.sent = append(b.sent, b.waiting...), nil
		b.collapse()
	}
}

// tell lets whoever waits know of the first attempt.
func (o *outgoing) tell(err error) {
	select {
	case o.done <- err:
	default:
	}
}

func (b *outbox) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// pending returns how many purges are not known to be in the log.
func (b *outbox) pending() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.waiting)
	for _, o := range b.sent {
		if !o.found {
			n++
		}
	}
	return n
}
