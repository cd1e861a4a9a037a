// Package cachetest is the suite that every cache.Store must pass: what a tier promises to whoever reads
// through it, whatever it is made of.
package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"forebay/cache"
)

// Env is what a store under test works with.
type Env struct {
	Log   *cache.ChangeLog
	Clock cache.Clock
}

// OpenFunc makes an empty store with room for at least 64 MiB, and has it cleaned up with the test.
type OpenFunc func(t *testing.T, env Env) cache.Store

// Run runs the suite.
func Run(t *testing.T, open OpenFunc) {
	t.Helper()
	for _, c := range []struct {
		promise string
		check   func(t *testing.T, s *suite)
	}{
		{"a response comes back as it was stored", roundTrip},
		{"a key that was never stored is a miss", miss},
		{"the caller may reuse its key's bytes", keyCloned},
		{"keys are any bytes", binaryKeys},
		{"a response without a body comes back", emptyBody},
		{"a large body comes back whole", largeBody},
		{"storing again replaces", replaces},
		{"a deleted response is gone", deletes},
		{"a response keeps its remaining lifetime", remaining},
		{"what nothing can be done with is not returned", expired},
		{"without lifetime nothing is stored, and what was there goes or stays as it was", noLifetime},
		{"an index of variants and a memo come back as what they are", kinds},
		{"a change after storing outdates what comes back", outdatedLater},
		{"a change that the snapshot saw does not", seenChange},
		{"a purge after storing holds for what comes back", purgedLater},
		{"a soft purge stays soft", softPurged},
		{"ten thousand keys stay apart", manyKeys},
		{"a context that ended ends the call", cancelled},
		{"readers and writers do not disturb each other", stress},
	} {
		t.Run(c.promise, func(t *testing.T) {
			env := Env{Log: cache.NewChangeLog("suite"), Clock: cache.NewClock(time.Now())}
			c.check(t, &suite{Env: env, store: open(t, env)})
		})
	}
}

// suite is one check's store and what it works with.
type suite struct {
	Env
	store cache.Store
}

const relation = 16384

// response makes a response with something in every field.
func (s *suite) response(key, body string) *cache.StoredResponse {
	now := s.Clock.Now()
	wall := s.Clock.Wall(now).Round(0)
	r := &cache.StoredResponse{
		Traits: &cache.Traits{
			Status: 200, ContentType: []byte("application/json"),
			Header:               []cache.Field{{Name: []byte("X-One"), Value: []byte("1")}, {Name: []byte("X-Empty")}, {Name: []byte("X-One"), Value: []byte("2")}},
			StaleWhileRevalidate: 10 * time.Second, StaleIfError: time.Hour,
			Rule: "GET /api/things/{id}", Vary: []string{"accept", "accept-language"}, Kind: cache.Ordinary, Compressible: true,
			Directives: cache.Directives{Present: true, Public: true, MustUnderstand: true, MaxAge: time.Minute, SMaxAge: -1, StaleWhileRevalidate: -1, StaleIfError: -1},
		},
		Body: []byte(body), ETag: `"abc"`,
		Encodings: &cache.Encodings{{Coding: "gzip", ETag: `"abc-gzip"`, Body: []byte("\x1f\x8b" + body)}, {Coding: "br", ETag: `"abc-br"`}},

		RequestTime: cache.MomentOf(wall.Add(-3 * time.Second)), ResponseTime: cache.MomentOf(wall.Add(-2 * time.Second)), Date: cache.MomentOf(wall.Add(-2 * time.Second)),
		Stored: now, InitialAge: 5 * time.Second, Lifetime: time.Minute,
	}
	s.stand(key, r)
	return r
}

// stand gives the response a standing of its own: it saw all transactions below 100, but not 90.
func (s *suite) stand(key string, r *cache.StoredResponse) {
	snapshot := cache.Snapshot{Xmin: 90, Xmax: 100, Xip: []uint64{90}}
	r.Standing = s.Log.Stand([]byte(key), s.Log.Position(), snapshot, []cache.Dependency{cache.Relation(relation), cache.Tag("things"), cache.Rule(r.Rule)})
}

func (s *suite) set(t *testing.T, key string, r *cache.StoredResponse) {
	t.Helper()
	if err := s.store.Set(t.Context(), []byte(key), r); err != nil {
		t.Fatalf("set %q: %v", key, err)
	}
}

func (s *suite) get(t *testing.T, key string) *cache.StoredResponse {
	t.Helper()
	r, err := s.store.Get(t.Context(), []byte(key))
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return r
}

// must is get for what has to be there.
func (s *suite) must(t *testing.T, key string) *cache.StoredResponse {
	t.Helper()
	r := s.get(t, key)
	if r == nil {
		t.Fatalf("nothing stored under %q", key)
	}
	return r
}

// same compares two responses but for where they stand on the process's clock.
func same(want, got *cache.StoredResponse) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(cache.StoredResponse{}, "Stored", "Standing"),
		cmpopts.IgnoreFields(cache.Traits{}, "Head"), cmpopts.IgnoreUnexported(cache.Traits{}))
}

func roundTrip(t *testing.T, s *suite) {
	want := s.response("k", "body")
	for _, all := range []reflect.Value{reflect.ValueOf(*want), reflect.ValueOf(want.Traits).Elem()} {
		for f, v := range all.Fields() {
			// Both kinds are tried below and by other promises; a head is nothing that a tier knows of.
			if v.IsZero() && f.IsExported() && f.Name != "Kind" && f.Name != "TTLOnly" && f.Name != "Head" {
				t.Errorf("the suite's response has nothing in %s: a tier could lose it", f.Name)
			}
		}
	}
	s.set(t, "k", want)
	got := s.must(t, "k")
	if d := same(want, got); d != "" {
		t.Errorf("came back changed (-stored +found):\n%s", d)
	}
	if d := cmp.Diff(want.Standing.Snapshot(), got.Standing.Snapshot()); d != "" {
		t.Errorf("snapshot (-stored +found):\n%s", d)
	}
	if d := cmp.Diff(want.Standing.Dependencies(), got.Standing.Dependencies()); d != "" {
		t.Errorf("dependencies (-stored +found):\n%s", d)
	}
	if want.Standing.Asked() != got.Standing.Asked() || got.Standing.Key() != "k" {
		t.Errorf("asked %d key %q, want %d and %q", got.Standing.Asked(), got.Standing.Key(), want.Standing.Asked(), "k")
	}
	zero := s.response("zero", "x")
	zero.RequestTime, zero.Date, zero.TTLOnly = 0, 0, true
	s.set(t, "zero", zero)
	if d := same(zero, s.must(t, "zero")); d != "" {
		t.Errorf("without some times (-stored +found):\n%s", d)
	}
}

func miss(t *testing.T, s *suite) {
	s.set(t, "k", s.response("k", "body"))
	for _, key := range []string{"", "K", "k\x00", "other"} {
		if r := s.get(t, key); r != nil {
			t.Errorf("%q found %v", key, r)
		}
	}
}

func keyCloned(t *testing.T, s *suite) {
	key := []byte("first")
	if err := s.store.Set(t.Context(), key, s.response("first", "one")); err != nil {
		t.Fatal(err)
	}
	copy(key, "other")
	if r := s.get(t, "other"); r != nil {
		t.Errorf("found under the bytes that the caller wrote later: %v", r)
	}
	if got := s.must(t, "first"); string(got.Body) != "one" {
		t.Errorf("body %q, want %q", got.Body, "one")
	}
	variant := []byte("first|variant")
	if err := s.store.Set(t.Context(), variant, s.response("first", "two")); err != nil {
		t.Fatal(err)
	}
	clear(variant)
	if got := s.must(t, "first|variant"); string(got.Body) != "two" {
		t.Errorf("body of the variant %q, want %q", got.Body, "two")
	}
}

func binaryKeys(t *testing.T, s *suite) {
	keys := []string{"\x00", "\x00\x00", "\xff\xfe", "a\x00b", "a\r\nb", "é", strings.Repeat("long", 5000), ""}
	for i, key := range keys {
		s.set(t, key, s.response(key, fmt.Sprint(i)))
	}
	for i, key := range keys {
		if got := s.must(t, key); string(got.Body) != fmt.Sprint(i) {
			t.Errorf("%.20q: body %q, want %d", key, got.Body, i)
		}
	}
}

func emptyBody(t *testing.T, s *suite) {
	r := &cache.StoredResponse{Traits: &cache.Traits{Status: 204}, Stored: s.Clock.Now(), Lifetime: time.Minute}
	s.stand("k", r)
	s.set(t, "k", r)
	if got := s.must(t, "k"); got.Status != 204 || len(got.Body) != 0 || len(got.Encodings.All()) != 0 || len(got.Header) != 0 {
		t.Errorf("found %v with %d fields, %d encodings", got, len(got.Header), len(got.Encodings.All()))
	}
}

func largeBody(t *testing.T, s *suite) {
	body := strings.Repeat("0123456789abcdef", 3<<20/16)
	s.set(t, "k", s.response("k", body))
	if got := s.must(t, "k"); string(got.Body) != body {
		t.Errorf("%d bytes came back for %d", len(got.Body), len(body))
	}
}

func replaces(t *testing.T, s *suite) {
	first := s.response("k", "first")
	s.set(t, "k", first)
	held := s.must(t, "k")
	s.set(t, "k", s.response("k", "second, and longer"))
	if got := s.must(t, "k"); string(got.Body) != "second, and longer" {
		t.Errorf("body %q after replacing", got.Body)
	}
	if string(held.Body) != "first" || string(first.Body) != "first" {
		t.Errorf("who holds the first reads %q", held.Body)
	}
}

func deletes(t *testing.T, s *suite) {
	s.set(t, "k", s.response("k", "body"))
	s.set(t, "other", s.response("other", "stays"))
	held := s.must(t, "k")
	for range 2 {
		if err := s.store.Delete(t.Context(), []byte("k")); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	if r := s.get(t, "k"); r != nil {
		t.Errorf("found after delete: %v", r)
	}
	if string(held.Body) != "body" || s.get(t, "other") == nil {
		t.Errorf("deleting reached further than its key")
	}
}

func remaining(t *testing.T, s *suite) {
	r := s.response("k", "body")
	r.Stored -= cache.Instant(40 * time.Second) // it came 40 s ago, 5 s old: 15 s of its minute are left
	s.set(t, "k", r)
	before := s.Clock.Now()
	got := s.must(t, "k")
	if age, want := got.AgeAt(s.Clock.Now()), r.AgeAt(before); age < want {
		t.Errorf("age %s, want %s at the least: it became younger", age, want)
	} else if age > want+2*time.Second {
		t.Errorf("age %s, want about %s", age, want)
	}
	if got.FreshnessAt(s.Clock.Now()) != cache.Fresh || got.FreshnessAt(s.Clock.Now()+cache.Instant(16*time.Second)) != cache.Revalidatable {
		t.Errorf("fresh for another %s, want about 15s", got.Lifetime-got.AgeAt(s.Clock.Now()))
	}
}

func expired(t *testing.T, s *suite) {
	r := s.response("k", "body")
	r.StaleIfError, r.StaleWhileRevalidate = 0, 0
	r.Lifetime = r.InitialAge + 250*time.Millisecond
	s.set(t, "k", r)
	until := time.Now().Add(10 * time.Second)
	for s.get(t, "k") != nil {
		if r.Remaining(s.Clock.Now()) < -time.Second && time.Now().After(until) {
			t.Fatal("still found long after its end")
		}
	}
	if left := r.Remaining(s.Clock.Now()); left > 200*time.Millisecond { // in doubt about the time, a tier errs on the old side
		t.Errorf("gone %s before its end", left)
	}
	late := s.response("late", "body")
	late.Lifetime, late.StaleWhileRevalidate, late.StaleIfError = time.Second, 0, time.Hour
	s.set(t, "late", late)
	if got := s.must(t, "late"); got.FreshnessAt(s.Clock.Now()) != cache.Emergency {
		t.Errorf("kept for emergencies, and found %s", got.FreshnessAt(s.Clock.Now()))
	}
}

func noLifetime(t *testing.T, s *suite) {
	r := s.response("k", "body")
	r.Lifetime, r.StaleWhileRevalidate, r.StaleIfError = r.InitialAge, 0, 0
	s.set(t, "k", r)
	if got := s.get(t, "k"); got != nil {
		t.Errorf("found %v", got)
	}
	r.Lifetime = -time.Hour
	s.set(t, "k", r)
	if got := s.get(t, "k"); got != nil {
		t.Errorf("found %v", got)
	}
}

func kinds(t *testing.T, s *suite) {
	for _, kind := range []cache.Kind{cache.VaryIndex, cache.Uncacheable} {
		r := &cache.StoredResponse{Traits: &cache.Traits{Kind: kind, Rule: "r", Vary: []string{"origin"}}, Stored: s.Clock.Now(), Lifetime: time.Minute}
		s.stand("k", r)
		s.set(t, "k", r)
		if got := s.must(t, "k"); got.Kind != kind || len(got.Vary) != 1 || got.Vary[0] != "origin" {
			t.Errorf("kind %d vary %q, want kind %d", got.Kind, got.Vary, kind)
		}
	}
}

func outdatedLater(t *testing.T, s *suite) {
	for i, change := range []cache.Change{
		{Xid: 100, Dependencies: []cache.Dependency{cache.Relation(relation)}},
		{Xid: 90, Dependencies: []cache.Dependency{cache.Relation(relation)}, Visible: true},
		{Dependencies: []cache.Dependency{cache.Relation(relation)}},
	} {
		s.set(t, "k", s.response("k", "body"))
		if v := s.must(t, "k").Standing.Check(); i == 0 && v != cache.Current {
			t.Fatalf("%s before anything changed", v)
		}
		s.Log.Commit(change)
		if got := s.get(t, "k"); got != nil && got.Standing.Check() != cache.Outdated {
			t.Errorf("%s after the change %+v", got.Standing.Check(), change)
		}
		s.Log.NewEpoch("suite") // the next one starts afresh
	}
}

func seenChange(t *testing.T, s *suite) {
	s.set(t, "k", s.response("k", "body"))
	s.Log.Commit(cache.Change{Xid: 99, Dependencies: []cache.Dependency{cache.Relation(relation)}})
	s.Log.Commit(cache.Change{Xid: 500, Dependencies: []cache.Dependency{cache.Relation(relation + 1)}})
	if v := s.must(t, "k").Standing.Check(); v != cache.Current {
		t.Errorf("%s after changes that do not concern it", v)
	}
}

func purgedLater(t *testing.T, s *suite) {
	for _, p := range []cache.Purge{
		{Dependencies: []cache.Dependency{cache.Tag("things")}},
		{Dependencies: []cache.Dependency{cache.Everything}},
		{KeyPrefixes: [][]byte{[]byte("things/")}},
	} {
		s.set(t, "things/1", s.response("things/1", "body"))
		if v := s.must(t, "things/1").Standing.Check(); v != cache.Current {
			t.Fatalf("%s before it was purged", v)
		}
		s.Log.Purge(p)
		if got := s.get(t, "things/1"); got != nil && got.Standing.Check() != cache.Outdated {
			t.Errorf("%s after the purge %+v", got.Standing.Check(), p)
		}
	}
}

func softPurged(t *testing.T, s *suite) {
	s.set(t, "k", s.response("k", "body"))
	s.Log.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Tag("things")}, Soft: true})
	if v := s.must(t, "k").Standing.Check(); v != cache.Softened {
		t.Errorf("%s after a soft purge", v)
	}
	r := s.response("soft", "body")
	r.Standing.Soften()
	s.set(t, "soft", r)
	if v := s.must(t, "soft").Standing.Check(); v != cache.Softened {
		t.Errorf("%s: stored as expired", v)
	}
}

func manyKeys(t *testing.T, s *suite) {
	const n = 10_000
	var wg sync.WaitGroup
	for part := range 8 {
		wg.Go(func() {
			for i := part; i < n; i += 8 {
				key := fmt.Sprintf("key/%d", i)
				if err := s.store.Set(t.Context(), []byte(key), s.response(key, key)); err != nil {
					t.Errorf("set %s: %v", key, err)
					return
				}
			}
		})
	}
	wg.Wait()
	missing := 0
	for i := range n {
		key := fmt.Sprintf("key/%d", i)
		switch r := s.get(t, key); {
		case r == nil:
			missing++
		case string(r.Body) != key:
			t.Fatalf("%s found the body of %s", key, r.Body)
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d are missing although there is room", missing, n)
	}
}

func cancelled(t *testing.T, s *suite) {
	s.set(t, "k", s.response("k", "body"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := s.store.Get(ctx, []byte("k")); r != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v, %v", r, err)
	}
	if err := s.store.Set(ctx, []byte("k"), s.response("k", "new")); !errors.Is(err, context.Canceled) {
		t.Errorf("set: %v", err)
	}
	if err := s.store.Delete(ctx, []byte("k")); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	if got := s.must(t, "k"); string(got.Body) != "body" {
		t.Errorf("body %q: a cancelled call took effect", got.Body)
	}
}

// stress has writers replace a few keys, each body made of one byte repeated, while readers check that
// no body is a mixture and that no key has another's.
func stress(t *testing.T, s *suite) {
	const workers, rounds, keys = 8, 300, 5
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				key := fmt.Sprint(i % keys)
				if w%2 == 0 {
					body := key + strings.Repeat(string(rune('a'+w)), 1+i)
					if err := s.store.Set(t.Context(), []byte(key), s.response(key, body)); err != nil {
						t.Errorf("set: %v", err)
					}
					if i%50 == 49 {
						s.Log.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Tag("things")}})
						_ = s.store.Delete(t.Context(), []byte(key))
					}
					continue
				}
				r, err := s.store.Get(t.Context(), []byte(key))
				if err != nil {
					t.Errorf("get: %v", err)
				}
				if r == nil {
					continue
				}
				r.Standing.Check()
				if got := r.Body; string(got[:1]) != key || len(bytes.Trim(got[1:], string(got[1:2]))) != 0 {
					t.Errorf("key %s found %q", key, got)
				}
			}
		})
	}
	wg.Wait()
}

// Seed returns what FOREBAY_SEED says, by which a random test is run again as it failed, or the one given.
func Seed(t testing.TB, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv("FOREBAY_SEED")
	if text == "" {
		return otherwise
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("FOREBAY_SEED: %v", err)
	}
	return seed
}
