package redis

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"forebay/cache"
)

func purgeOf(tag string) cache.Purge {
	return cache.Purge{Dependencies: []cache.Dependency{cache.Tag(tag)}}
}

// post sends all that waits, as if the log had taken it.
func (b *outbox) post(now cache.Instant) []*outgoing {
	var all []*outgoing
	for {
		purges, changed := b.take(true)
		if len(purges)+len(changed) == 0 {
			return all
		}
		b.sentOff(purges, changed, nil, now)
		all = append(all, purges...)
	}
}

func TestAPurgeWaitsUntilItIsInTheLog(t *testing.T) {
	t.Parallel()
	h := known()
	b := newOutbox(h, 1)
	o := b.purge(purgeOf("a"))
	purges, _ := b.take(true)
	b.sentOff(purges, nil, errors.New("down"), 0)
	if err := <-o.done; err == nil {
		t.Error("the caller is told that it was shared")
	}
	if next, _ := b.next(); !next || b.pending() != 1 || h.judge(found(20)) != cache.Outdated {
		t.Error("forgotten after an attempt that failed")
	}
	b.post(0)
	if b.pending() != 1 || h.judge(found(20)) != cache.Outdated {
		t.Error("taken for shared before it was read back")
	}
	b.found(o.number)
	if b.pending() != 0 {
		t.Error("still waiting when it was read back")
	}
	if got := h.judge(found(20)); got != cache.Current {
		t.Errorf("%s: it is held against values by its place in the log from now on, which this history does not have", got)
	}
}

func TestAPurgeWhoseAnswerWasLostIsNotSentTwice(t *testing.T) {
	t.Parallel()
	b := newOutbox(known(), 1)
	o := b.purge(purgeOf("a"))
	purges, _ := b.take(true)
	b.found(o.number) // it landed, and was read before the attempt was known to have failed
	b.sentOff(purges, nil, errors.New("timeout"), 0)
	if next, _ := b.next(); next || b.pending() != 0 {
		t.Error("it waits to be sent again")
	}
}

func TestALogThatLostEntriesIsToldAgain(t *testing.T) {
	t.Parallel()
	b := newOutbox(known(), 1)
	old := b.purge(purgeOf("old"))
	b.post(0)
	b.found(old.number)
	later := cache.Instant(resendFor) + cache.Instant(time.Minute)
	recent := b.purge(purgeOf("recent"))
	unread := b.purge(purgeOf("unread"))
	b.post(later)
	b.found(recent.number)
	b.again(false, later)
	if sent := b.post(later); len(sent) != 1 || sent[0] != unread {
		t.Errorf("%d purges after a gap, want the one that was not read back", len(sent))
	}
	b.again(true, later)
	sent := b.post(later)
	if len(sent) != 2 || sent[0].number == old.number || sent[1].number == old.number {
		t.Errorf("%d purges in a new incarnation, want the two of the last ten minutes", len(sent))
	}
}

func TestTooManyPurgesBecomeOneOfEverything(t *testing.T) {
	t.Parallel()
	h := known()
	b := newOutbox(h, 1)
	first := b.purge(purgeOf("0"))
	for n := range maxOutgoing {
		b.purge(purgeOf(fmt.Sprint(n)))
	}
	if err := <-first.done; !errors.Is(err, errCollapsed) {
		t.Errorf("the first is told %v", err)
	}
	sent := b.post(0)
	if len(sent) != 2 || sent[0].purge.Dependencies[0] != cache.Everything {
		t.Errorf("%d are sent, the first about %v", len(sent), sent[0].purge.Dependencies)
	}
	if n := len(h.pending); n > 2 {
		t.Errorf("%d are held against values", n)
	}
	if got := h.judge(found(20)); got != cache.Outdated {
		t.Errorf("%s while everything is being purged", got)
	}
}

func TestPurgesThatAreDroppedAreNotLostWithTheLog(t *testing.T) {
	t.Parallel()
	const now = cache.Instant(time.Second)
	b := newOutbox(known(), 1)
	for range 3 {
		for n := range maxOutgoing {
			b.purge(purgeOf(fmt.Sprint(n)))
		}
		for _, o := range b.post(now) {
			b.found(o.number)
		}
	}
	if len(b.sent) > maxOutgoing+sendBatch {
		t.Errorf("%d are kept", len(b.sent))
	}
	b.again(true, now)
	if sent := b.post(now); len(sent) == 0 || sent[0].purge.Dependencies[0] != cache.Everything {
		t.Error("what could not be kept to be said again is not covered by a purge of everything")
	}
}

func TestTooManyChangesBecomeEverything(t *testing.T) {
	t.Parallel()
	b := newOutbox(known(), 1)
	b.change([]cache.Dependency{cache.Relation(1), cache.Relation(1), cache.Relation(2)})
	if _, changed := b.take(false); len(changed) != 0 {
		t.Error("told before its time")
	}
	_, changed := b.take(true)
	if len(changed) != 2 {
		t.Errorf("%v, want two tables", changed)
	}
	b.sentOff(nil, changed, errors.New("down"), 0)
	if _, again := b.take(true); len(again) != 2 {
		t.Errorf("%v after an attempt that failed, want two tables", again)
	}
	for n := range maxChanged + 1 {
		b.change([]cache.Dependency{cache.Relation(uint32(n))})
	}
	if _, changed := b.take(true); len(changed) != 1 || changed[0] != cache.Everything {
		t.Errorf("%d tables, want everything", len(changed))
	}
}
