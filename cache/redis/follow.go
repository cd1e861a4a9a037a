package redis

import (
	"context"
	"errors"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"forebay/cache"
)

const (
	// logBound is how old this instance's knowledge of the shared log may be when it serves a value by it.
	logBound = 3 * time.Second

	followBlock   = 500 * time.Millisecond // how long Redis holds a read of the log that finds nothing
	followTimeout = time.Second            // for an answer, beyond that
	followPage    = 500                    // entries a read
	retryFirst    = 50 * time.Millisecond
	retryMost     = time.Second
)

// follower reads the shared log and applies it. Owned by follow's goroutine.
type follower struct {
	*Store
	attached    bool
	forked      bool // entries that were read are not in the log any more
	incarnation uint64
	followed    uint64              // the incarnation it was last attached to
	last        streamID            // read and applied
	seen        map[uint64]streamID // the last applied of each incarnation
	looked      cache.Instant
	target      streamID // the log's end when it was last looked at
	targetAt    cache.Instant
	knownAt     cache.Instant // all that the log had then is applied
}

func newFollower(s *Store) *follower {
	return &follower{Store: s, seen: make(map[uint64]streamID), knownAt: s.clock.Now()}
}

// follow reads the shared log until ctx ends.
func (s *Store) follow(ctx context.Context) {
	f := newFollower(s)
	wait := retryFirst
	for ctx.Err() == nil {
		err := f.step(ctx)
		if err == nil {
			wait = retryFirst
			continue
		}
		if ctx.Err() == nil {
			s.health.followFailed(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
	}
}

// step reads once, from the start if need be.
func (f *follower) step(ctx context.Context) error {
	if !f.attached {
		return f.attach(ctx)
	}
	if f.forked || f.clock.Now().Sub(f.looked) >= followBlock {
		if err := f.look(ctx); err != nil || !f.attached {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, followBlock+followTimeout)
	defer cancel()
	streams, err := f.tail.XRead(ctx, &goredis.XReadArgs{
		Streams: []string{f.logKey, f.last.String()}, Count: followPage, Block: followBlock,
	}).Result()
	if err != nil && !errors.Is(err, goredis.Nil) {
		return err
	}
	for _, stream := range streams {
		f.takeAll(stream.Messages)
	}
	f.advance()
	return nil
}

// attach reads all that the log still has. What was applied before is not applied again.
func (f *follower) attach(ctx context.Context) error {
	f.known.Store(0)
	h, err := f.lookFor(ctx, 0)
	if err != nil {
		return err
	}
	f.incarnation, f.last, f.forked = 0, streamID{}, false
	from := "-"
	for f.last.less(h.last) {
		messages, err := f.page(ctx, from)
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			break
		}
		f.takeAll(messages)
		from = streamID{f.last.ms, f.last.seq + 1}.String()
	}
	if f.incarnation != h.incarnation {
		return errors.New("the shared log changed while it was read")
	}
	f.history.finish()
	if f.followed != 0 && f.followed != f.incarnation {
		f.breakOff()
	}
	f.attached, f.followed = true, f.incarnation
	f.advance()
	return nil
}

func (f *follower) page(ctx context.Context, from string) ([]goredis.XMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	return f.control.XRangeN(ctx, f.logKey, from, "+", followPage).Result()
}

// look compares the log's end with what was read. A log that has lost what was read begins a new
// incarnation, in which no value from before is believed.
func (f *follower) look(ctx context.Context) error {
	lost := uint64(0)
	if f.forked {
		lost = f.incarnation
	}
	h, err := f.lookFor(ctx, lost)
	if err == nil && h.incarnation == f.incarnation && h.last.less(f.last) {
		h, err = f.lookFor(ctx, f.incarnation)
	}
	if err != nil {
		return err
	}
	if h.incarnation != f.incarnation {
		f.known.Store(0)
		f.attached = false
		return nil
	}
	f.advance()
	return nil
}

// lookFor looks at the log's end, and at the server's clock.
func (f *follower) lookFor(ctx context.Context, lost uint64) (head, error) {
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	before := f.clock.Now()
	h, err := f.lookAt(ctx, lost)
	if err != nil {
		return h, err
	}
	f.looked = f.clock.Now()
	f.server.observe(before, f.looked, h.micros)
	f.target, f.targetAt = h.last, before
	return h, nil
}

// advance says how recent this instance's knowledge is, once it has read up to where the log ended when
// it was last looked at.
func (f *follower) advance() {
	if !f.attached || f.forked || f.last.less(f.target) {
		return
	}
	f.knownAt = f.targetAt
	f.known.Store(int64(f.knownAt) + int64(logBound))
	f.metrics.lastSuccess.Set(float64(f.clock.Wall(f.targetAt).UnixMilli()) / 1000)
	f.health.followed()
}

func (f *follower) takeAll(messages []goredis.XMessage) {
	for _, m := range messages {
		f.take(m)
	}
}

// take applies one entry: first to what values of other instances are judged by, then to this process's
// log. A value that is judged in between is caught by the log, since it was asked for before:
//
//	get:    notes position 4 of the local log, asks Redis
//	follow: adds the purge to history, applies it to the local log at position 5
//	get:    finds the value: history forbids it; had it looked a moment earlier, standing since 4 < 5 does
func (f *follower) take(m goredis.XMessage) {
	e, err := parseEntry(m)
	if err != nil {
		f.takeUnknown(e)
		return
	}
	at, _ := e.id.position()
	f.link(&e)
	f.last = e.id
	f.history.add(at, &e)
	own := e.instance == f.instance
	if own {
		f.outbox.found(e.number)
	}
	if !own && f.seen[e.incarnation].less(e.id) {
		f.apply(&e, at)
	}
	f.remember(e.incarnation, e.id)
	f.history.applied(f.log.Position())
}

// link checks that the entry follows what was read.
func (f *follower) link(e *entry) {
	before, _ := e.predecessor.position()
	switch {
	case e.incarnation != f.incarnation:
		f.incarnation, f.forked = e.incarnation, false
		f.history.begin(e.incarnation, before)
		if f.attached {
			f.history.finish()
			f.followed = e.incarnation
			f.breakOff()
		}
	case f.last.less(e.predecessor):
		f.metrics.gaps.Inc()
		f.logger.Warn("missed entries of the shared log, purging everything", "from", f.last.String(), "to", e.predecessor.String())
		f.history.lose(before)
		f.log.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Everything}})
		f.outbox.again(false, f.clock.Now())
	case e.predecessor.less(f.last):
		f.forked = true
	}
}

// apply lets this process's log know.
func (f *follower) apply(e *entry, at cache.SharedPosition) {
	switch e.kind {
	case entryPurge:
		e.purge.At = at
		f.log.Purge(e.purge)
		f.metrics.purgesHeard.Inc()
	case entryChange:
		f.log.Commit(cache.Change{Dependencies: e.purge.Dependencies})
		f.metrics.changesHeard.Inc()
	case entryDoubt:
		f.log.Purge(cache.Purge{Dependencies: e.doubted(), KeyPrefixes: e.purge.KeyPrefixes, At: at})
	}
}

// takeUnknown applies an entry that cannot be read: it may say anything, so it is taken to say everything.
func (f *follower) takeUnknown(e entry) {
	f.metrics.unknown.Inc()
	f.logger.Warn("shared log has an entry that cannot be read, purging everything", "id", e.id.String())
	at, _ := e.id.position()
	all := entry{kind: entryPurge, purge: cache.Purge{Dependencies: []cache.Dependency{cache.Everything}}}
	if f.last.less(e.id) {
		f.last = e.id
	}
	f.history.add(at, &all)
	f.log.Purge(all.purge)
	f.history.applied(f.log.Position())
}

// breakOff is what a new incarnation means for the old: what this instance purged lately may have been
// lost before others read it, so it is said again. An instance that did not follow for longer than others
// say things again cannot know what it missed.
func (f *follower) breakOff() {
	f.metrics.breaks.Inc()
	f.logger.Warn("shared log begins anew, values from before are not believed", "incarnation", incarnationText(f.incarnation))
	f.outbox.again(true, f.clock.Now())
	if f.clock.Now().Sub(f.knownAt) > resendFor {
		f.log.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Everything}})
	}
}

// remember notes what was applied, of a bounded number of incarnations.
func (f *follower) remember(incarnation uint64, id streamID) {
	if len(f.seen) >= 64 {
		clear(f.seen)
	}
	f.seen[incarnation] = id
}
