package redis

import (
	"bytes"
	"slices"
	"sync"

	"forebay/cache"
)

const (
	maxSamples    = 64
	maxEvents     = 1 << 16  // that wait to be written; more break the chain
	maxEventBytes = 32 << 20 // likewise
)

// tap is told what this process's log learns, and keeps what values and the chain say of it. Safe for
// concurrent use; nothing in it takes long, for the log's lock is held.
type tap struct {
	clock  cache.Clock
	outbox *outbox
	chain  *chain

	mu       sync.Mutex // guards all below
	live     bool       // the feed brings the changes of server, with their WAL positions
	server   string
	coverage []byte // the body that says what the feed brings
	done     uint64 // every change whose commit record ends there or before is in the log; 0: not known
	samples  []sample
	moments  []tapMoment // oldest first
	owning   bool
	events   []event // to be written to the chain, in this order
	size     int     // of their bodies
}

// sample says that the log had reached the position by the instant.
type sample struct {
	at       cache.Instant
	position cache.Position
}

// tapMoment says that what was visible to everybody when the log was at the position ends at or before lsn.
type tapMoment struct {
	position cache.Position
	lsn      uint64
}

// event is an entry of the chain to be.
type event struct {
	kind byte
	lsn  uint64
	body []byte
	asOf cache.Instant // of a position: when it had not been asked for yet
}

// Began forgets what cannot be compared any more. An owner's chain ends with its epoch.
func (t *tap) Began(string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live, t.server, t.coverage, t.done, t.samples, t.moments = false, "", nil, 0, nil, nil
	t.disown()
	t.chain.newEpoch()
}

// Committed passes on what the feed brings. What a writer applies by itself comes in with the feed as well.
func (t *tap) Committed(c *cache.Change) {
	if c.LSN == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = max(t.done, c.LSN)
	if t.owning {
		t.put(event{kind: chainChange, lsn: t.done, body: changeBody(c)})
	}
}

// Advanced notes how far the log is.
func (t *tap) Advanced(asOf cache.Instant, lsn uint64, at cache.Position) {
	if lsn == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = max(t.done, lsn)
	for _, s := range slices.Backward(t.samples) {
		if s.at <= asOf {
			t.moments = append(cut(t.moments), tapMoment{position: s.position, lsn: lsn})
			break
		}
	}
	t.samples = append(cut(t.samples), sample{at: t.clock.Now(), position: at})
	if !t.owning {
		return
	}
	if n := len(t.events); n > 0 && t.events[n-1].kind == chainPosition {
		t.events = t.events[:n-1] // the newer one says all that it does
	}
	t.put(event{kind: chainPosition, lsn: t.done, asOf: asOf})
}

// cut makes room for one more.
func cut[T any](list []T) []T {
	if len(list) < maxSamples {
		return list
	}
	return slices.Delete(list, 0, len(list)-maxSamples+1)
}

// Fed notes what the feed brings.
func (t *tap) Fed(f *cache.Feed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live, t.server = f.Live && f.Mode == cache.FeedWAL && f.Server != "", f.Server
	if !t.live {
		t.coverage = nil
		t.disown()
		return
	}
	body := coverageBody(f)
	if bytes.Equal(body, t.coverage) {
		return
	}
	t.coverage = body
	if t.owning {
		t.put(event{kind: chainCoverage, lsn: t.done, body: body})
	}
}

// Purged has what this process doubts held against the values of exact rules everywhere: what it noticed of
// the catalogue, others may not have noticed yet, and what it stored under a mistake is in Redis. What was read
// from the shared log is known to everybody, and says so.
func (t *tap) Purged(p *cache.Purge) {
	if p.At == 0 && !p.Soft {
		t.outbox.outdate(*p)
	}
}

// complete returns up to which WAL position all changes are in the log, and of which server.
func (t *tap) complete() (lsn uint64, server string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done, t.server, t.live && t.done != 0
}

// moment returns the newest place of the log of which it is known that whatever was visible to everybody there
// ends at or before the WAL position.
func (t *tap) moment(lsn uint64) (cache.Position, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range slices.Backward(t.moments) {
		if m.lsn <= lsn {
			return m.position, true
		}
	}
	return 0, false
}

// own begins to keep what has to be written, from the WAL position returned on. False: the feed is not live.
func (t *tap) own() (from uint64, coverage []byte, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.disown()
	if !t.live || t.done == 0 {
		return 0, nil, false
	}
	t.owning = true
	return t.done, t.coverage, true
}

// release ends what own began.
func (t *tap) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.disown()
}

func (t *tap) disown() { t.owning, t.events, t.size = false, nil, 0 }

// put keeps an event, or none any more when there are too many: a chain without one of them is none.
func (t *tap) put(e event) {
	if t.size += len(e.body); len(t.events) >= maxEvents || t.size > maxEventBytes {
		t.disown()
		return
	}
	t.events = append(t.events, e)
}

// take returns what is to be written next. False: it does not go on.
func (t *tap) take(most int) ([]event, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.events), most)
	taken := slices.Clone(t.events[:n])
	for i := range taken {
		t.size -= len(taken[i].body)
	}
	t.events = slices.Delete(t.events, 0, n)
	return taken, t.owning
}
