package redis

import (
	"fmt"
	"testing"
	"time"

	"forebay/cache"
)

// known makes a history that has read all of incarnation 7 from place 10 to 20.
func known() *history {
	h := newHistory()
	h.begin(7, 10)
	h.add(20, &entry{kind: entryStart})
	h.finish()
	return h
}

// found makes a value that was written when its writer had read incarnation 7 up to the place.
func found(at cache.SharedPosition) *value {
	return &value{stamp: stamp{incarnation: 7, shared: at}, key: "things/1", dependencies: []cache.Dependency{cache.Tag("a"), cache.Tag("b")}}
}

func TestAValueOfAnotherIsJudgedByAllThatIsKnown(t *testing.T) {
	t.Parallel()
	purge := func(p cache.Purge) func(*history) {
		return func(h *history) { h.add(30, &entry{kind: entryPurge, purge: p}) }
	}
	for name, c := range map[string]struct {
		happens func(*history)
		value   *value
		want    cache.Verdict
	}{
		"nothing":                     {func(*history) {}, found(20), cache.Current},
		"written at the base":         {func(*history) {}, found(10), cache.Current},
		"written before the base":     {func(*history) {}, found(9), cache.Outdated},
		"another incarnation":         {func(h *history) { h.begin(8, 10); h.finish() }, found(20), cache.Outdated},
		"place not known":             {func(*history) {}, &value{}, cache.Outdated},
		"not read to the end":         {func(h *history) { h.begin(7, 10) }, found(20), cache.Outdated},
		"entries missed":              {func(h *history) { h.lose(25) }, found(20), cache.Outdated},
		"written after what was lost": {func(h *history) { h.lose(25) }, found(25), cache.Current},
		"its tag":                     {purge(cache.Purge{Dependencies: []cache.Dependency{cache.Tag("b")}}), found(20), cache.Outdated},
		"its tag, before it":          {purge(cache.Purge{Dependencies: []cache.Dependency{cache.Tag("b")}}), found(30), cache.Current},
		"another tag":                 {purge(cache.Purge{Dependencies: []cache.Dependency{cache.Tag("c")}}), found(20), cache.Current},
		"everything":                  {purge(cache.Purge{Dependencies: []cache.Dependency{cache.Everything}}), found(20), cache.Outdated},
		"its key":                     {purge(cache.Purge{KeyPrefixes: [][]byte{[]byte("things/")}}), found(20), cache.Outdated},
		"its key, before it":          {purge(cache.Purge{KeyPrefixes: [][]byte{[]byte("things/")}}), found(30), cache.Current},
		"another key":                 {purge(cache.Purge{KeyPrefixes: [][]byte{[]byte("things/2")}}), found(20), cache.Current},
		"softly":                      {purge(cache.Purge{Dependencies: []cache.Dependency{cache.Tag("a")}, Soft: true}), found(20), cache.Softened},
		"softly by key":               {purge(cache.Purge{KeyPrefixes: [][]byte{[]byte("t")}, Soft: true}), found(20), cache.Softened},
		"ours, on its way": {func(h *history) {
			h.await(&outgoing{entry: entry{purge: cache.Purge{Dependencies: []cache.Dependency{cache.Tag("a")}}}})
		}, found(20), cache.Outdated},
		"ours by key, on its way": {func(h *history) {
			h.await(&outgoing{entry: entry{purge: cache.Purge{KeyPrefixes: [][]byte{[]byte("thing")}}}})
		}, found(1 << 40), cache.Outdated},
		"ours about another, on its way": {func(h *history) {
			h.await(&outgoing{entry: entry{purge: cache.Purge{Dependencies: []cache.Dependency{cache.Tag("c")}}}})
		}, found(20), cache.Current},
		"a change": {func(h *history) {
			h.add(30, &entry{kind: entryChange, purge: cache.Purge{Dependencies: []cache.Dependency{cache.Tag("a")}}})
		}, found(20), cache.Current},
	} {
		h := known()
		c.happens(h)
		if got := h.judge(c.value); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestWhatIsForgottenForWantOfRoomIsTakenForPurged(t *testing.T) {
	t.Parallel()
	h := known()
	for n := range maxKnownPrefixes + 1 {
		h.add(cache.SharedPosition(100+n), &entry{kind: entryPurge, purge: cache.Purge{KeyPrefixes: [][]byte{fmt.Appendf(nil, "other/%d", n)}}})
	}
	if got := h.judge(found(99)); got != cache.Outdated {
		t.Errorf("%s by key purges of which one is forgotten", got)
	}
	if got := h.judge(found(100)); got != cache.Current {
		t.Errorf("%s by key purges that are all known", got)
	}
	h = known()
	for n := range maxKnownDependencies + 1 {
		h.add(cache.SharedPosition(100+n), &entry{kind: entryPurge, purge: cache.Purge{Dependencies: []cache.Dependency{cache.Tag(fmt.Sprint(n))}}})
	}
	if got := h.judge(found(100)); got != cache.Outdated {
		t.Errorf("%s by tags that are forgotten", got)
	}
	if n := len(h.purged); n > maxKnownDependencies {
		t.Errorf("%d tags are remembered", n)
	}
}

func TestAResponseIsPlacedNoLaterThanWhatWasKnownWhenItWasAskedFor(t *testing.T) {
	t.Parallel()
	h := known()
	if _, _, ok := h.at(5); ok {
		t.Error("placed although nothing was known")
	}
	h.applied(3)
	h.add(30, &entry{kind: entryStart})
	h.applied(6)
	for local, want := range map[cache.Position]cache.SharedPosition{3: 20, 5: 20, 6: 30, 99: 30} {
		if incarnation, shared, ok := h.at(local); !ok || incarnation != 7 || shared != want {
			t.Errorf("asked for at %d: %d in %d, %v; want %d in 7", local, shared, incarnation, ok, want)
		}
	}
	if _, _, ok := h.at(2); ok {
		t.Error("placed from before anything was known")
	}
	for n := range 3 * maxMoments {
		h.applied(cache.Position(100 + n))
	}
	if len(h.moments) > maxMoments {
		t.Errorf("%d moments are remembered", len(h.moments))
	}
}

func TestTheServersClockMakesNothingYounger(t *testing.T) {
	t.Parallel()
	var c serverClock
	if _, ok := c.earliest(0); ok {
		t.Error("a time is known before the server was asked")
	}
	at := func(d time.Duration) cache.Instant { return cache.Instant(d) }
	c.observe(at(time.Second), at(time.Second+10*time.Millisecond), 1_000_000_000)
	written, _ := c.earliest(at(2 * time.Second))
	if elapsed, _ := c.since(written, at(2*time.Second)); elapsed < 10*time.Millisecond || elapsed > 20*time.Millisecond {
		t.Errorf("%s after it was written; the doubt is 10ms", elapsed)
	}
	// The server's clock is set back by an hour: what was written before stays as old as it was.
	c.observe(at(3*time.Second), at(3*time.Second), 1_000_000_000-3600_000_000)
	if elapsed, _ := c.since(written, at(3*time.Second)); elapsed < time.Second-2*slewPerLook {
		t.Errorf("%s after a second", elapsed)
	}
	if elapsed, _ := c.since(1<<62, at(3*time.Second)); elapsed != 0 {
		t.Errorf("%s since the future", elapsed)
	}
}
