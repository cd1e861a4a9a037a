package cache_test

import (
	"testing"
	"time"

	"forebay/cache"
)

// made returns a response that came 5 s old at the clock's zero, is fresh for a minute, may be served for
// another 30 s while it is refreshed and for an hour in emergencies.
func made(l *cache.ChangeLog) *cache.StoredResponse {
	return &cache.StoredResponse{
		Traits: &cache.Traits{Status: 200, StaleWhileRevalidate: 30 * time.Second, StaleIfError: time.Hour},
		Body:   []byte("body"), InitialAge: 5 * time.Second, Lifetime: time.Minute,
		Standing: l.Stand([]byte("key"), l.Position(), at(100), []cache.Dependency{clients}),
	}
}

func TestTimelineOfAResponse(t *testing.T) {
	t.Parallel()
	soft := cache.Purge{Dependencies: []cache.Dependency{clients}, Soft: true}
	for _, c := range []struct {
		at                         time.Duration
		current, softened, outdate cache.Freshness
	}{
		{0, cache.Fresh, cache.Revalidatable, cache.Emergency},
		{54 * time.Second, cache.Fresh, cache.Revalidatable, cache.Emergency},
		{55 * time.Second, cache.Revalidatable, cache.Revalidatable, cache.Emergency},
		{84 * time.Second, cache.Revalidatable, cache.Revalidatable, cache.Emergency},
		{85 * time.Second, cache.Emergency, cache.Emergency, cache.Emergency},
		{time.Hour + 54*time.Second, cache.Emergency, cache.Emergency, cache.Emergency},
		{time.Hour + 55*time.Second, cache.Expired, cache.Expired, cache.Expired},
	} {
		l := cache.NewChangeLog("e")
		r, now := made(l), cache.Instant(c.at)
		if got := r.UseAt(now); got != c.current || got != r.FreshnessAt(now) {
			t.Errorf("at %s: %s, want %s", c.at, got, c.current)
		}
		l.Purge(soft)
		if got := r.UseAt(now); got != c.softened {
			t.Errorf("at %s, softened: %s, want %s", c.at, got, c.softened)
		}
		commit(l, 100, true)
		if got := r.UseAt(now); got != c.outdate {
			t.Errorf("at %s, outdated: %s, want %s", c.at, got, c.outdate)
		}
		if left := r.Remaining(now); left > 0 != (c.current != cache.Expired) {
			t.Errorf("at %s: %s left to a response that is %s", c.at, left, c.current)
		}
	}
}

func TestWithoutWindowsAnOutdatedResponseMayNotBeServed(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	r := made(l)
	r.StaleIfError, r.StaleWhileRevalidate = 0, 0
	commit(l, 100, true)
	if got := r.UseAt(0); got != cache.Expired {
		t.Errorf("%s", got)
	}
}

func TestAnAddedEncodingLeavesTheOriginalAsItWas(t *testing.T) {
	t.Parallel()
	r := made(cache.NewChangeLog("e"))
	one := r.WithEncoding(cache.Encoding{Coding: "gzip", Body: []byte("z")})
	two := one.WithEncoding(cache.Encoding{Coding: "br", Body: []byte("b")})
	three := one.WithEncoding(cache.Encoding{Coding: "zstd", Body: []byte("s")})
	if len(r.Encodings.All()) != 0 || len(one.Encodings.All()) != 1 || two.Encodings.All()[1].Coding != "br" || three.Encodings.All()[1].Coding != "zstd" {
		t.Error("one copy wrote into another's encodings")
	}
	if two.Encoding("gzip") == nil || two.Encoding("zstd") != nil || two.Standing != r.Standing {
		t.Error("the copy lost something")
	}
	if two.Size() <= r.Size() {
		t.Errorf("%d bytes with encodings, %d without", two.Size(), r.Size())
	}
}

func TestDependenciesHaveOneSpelling(t *testing.T) {
	t.Parallel()
	if oid, ok := cache.Relation(4294967295).Oid(); !ok || oid != 4294967295 {
		t.Errorf("%d %t", oid, ok)
	}
	for _, d := range []cache.Dependency{cache.Tag("1"), cache.Rule("relation:1"), cache.Everything, "relation:", "relation:x", "relation:4294967296"} {
		if oid, ok := d.Oid(); ok {
			t.Errorf("%s is relation %d", d, oid)
		}
	}
	if cache.Tag("x") == cache.Rule("x") {
		t.Error("a tag is a rule")
	}
}

func TestAResponseOnRowsWeighsTheirNodes(t *testing.T) {
	t.Parallel()
	weigh := func(d ...cache.Dependency) int {
		r := cache.StoredResponse{Standing: cache.NewChangeLog("e").Stand([]byte("key"), 0, at(9), d)}
		return r.Size()
	}
	first, row, other := cache.Row(1, 1, "6"), cache.Row(1, 1, "7"), cache.Tag("1:1:7")
	if more := weigh(first, row) - weigh(first, other); len(row) != len(other) || more < 60 || more > 120 {
		t.Errorf("a row weighs %d bytes more than another dependency", more)
	}
}
