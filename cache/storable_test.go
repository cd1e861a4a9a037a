package cache_test

import (
	"strings"
	"testing"
	"time"

	"forebay/cache"
)

// noon is when the answers of these tests were asked for; they came at once.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fieldsOf reads Name: value lines.
func fieldsOf(lines ...string) (fields []cache.Field) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, cache.Field{Name: []byte(name), Value: []byte(value)})
	}
	return fields
}

func judge(lines ...string) cache.Reuse {
	terms := cache.Terms{TTL: time.Hour, StaleWhileRevalidate: time.Minute, StaleIfError: 2 * time.Minute}
	return terms.Judge(&cache.Answer{Status: 200, Fields: fieldsOf(lines...), Sent: noon, Received: noon})
}

// The origin may shorten what the rule allows, and never lengthens it; what cannot be read is the shortest.
func TestALifetimeIsTheOriginsAndAtMostTheRules(t *testing.T) {
	t.Parallel()
	f := func(want time.Duration, lines ...string) {
		t.Helper()
		u := judge(lines...)
		got := u.Lifetime
		if u.Refused != cache.Storable {
			got = 0
		}
		if got != want {
			t.Errorf("%q: %s, want %s", lines, got, want)
		}
	}
	const date = "Date: Sun, 01 Mar 2026 12:00:00 GMT"
	f(time.Hour)
	f(time.Minute, "Cache-Control: max-age=60")
	f(time.Hour, "Cache-Control: max-age=7200")
	f(time.Hour, "Cache-Control: max-age=99999999999999999999")
	f(30*time.Second, "Cache-Control: max-age=60, s-maxage=30")
	f(90*time.Second, "Cache-Control: s-maxage=90, max-age=60")
	f(time.Minute, "Cache-Control: MAX-AGE=\"60\"")
	f(time.Minute, `Cache-Control: other="max-age=1, no-store", max-age=60`)
	f(10*time.Second, "Cache-Control: max-age=60", "Cache-Control: max-age=10")
	f(0, "Cache-Control: max-age=60, max-age=0")
	f(0, "Cache-Control: max-age=1.5")
	f(0, "Cache-Control: max-age=-1")
	f(0, "Cache-Control: max-age")
	f(0, "Cache-Control: max-age=")
	f(0, "Cache-Control: max-age=60 s-maxage=60")
	f(0, `Cache-Control: max-age="60`)
	f(0, "Cache-Control: max-age=60, must-understand, no-store")
	f(time.Hour, "Cache-Control: x-no-store, no-storex, public")

	f(time.Minute, date, "Expires: Sun, 01 Mar 2026 12:01:00 GMT")
	f(time.Minute, date, "Expires: Sunday, 01-Mar-26 12:01:00 GMT")
	f(time.Minute, date, "Expires: Sun Mar  1 12:01:00 2026")
	f(0, date, "Expires: 0")
	f(0, date, "Expires: Sun, 1 Mar 2026 12:01:00 GMT")
	f(0, date, "Expires: Sun, 01 Mar 2026 12:01:00 CET")
	f(0, date, "Expires: Sun, 01 Mar 2026 12:01:00 GMT", "Expires: Sun, 01 Mar 2026 12:01:00 GMT")
	f(0, date, "Expires: Sun, 01 Mar 2026 11:59:00 GMT")
	f(10*time.Second, date, "Expires: Sun, 01 Mar 2026 13:00:00 GMT", "Cache-Control: max-age=10")
	// Both by a clock that is an hour fast.
	f(time.Minute, "Date: Sun, 01 Mar 2026 13:00:00 GMT", "Expires: Sun, 01 Mar 2026 13:01:00 GMT")

	f(0, "Pragma: no-cache")
	f(time.Hour, "Pragma: no-cache", "Cache-Control: public") // Cache-Control goes before it
	f(0, "CDN-Cache-Control: no-store")
	f(0, "Surrogate-Control: private")
}

func TestAnAgeIsWhatIsToldAndWhatTheWayTook(t *testing.T) {
	t.Parallel()
	f := func(want time.Duration, lines ...string) {
		t.Helper()
		terms := cache.Terms{TTL: time.Hour}
		u := terms.Judge(&cache.Answer{Status: 200, Fields: fieldsOf(lines...), Sent: noon, Received: noon.Add(2 * time.Second)})
		if u.InitialAge != want {
			t.Errorf("%q: %s, want %s", lines, u.InitialAge, want)
		}
	}
	f(2 * time.Second)
	f(52*time.Second, "Age: 50")
	f(52*time.Second, "Age: 50, 10")
	f(2*time.Second, "Age: -5")
	f(2*time.Second, "Age: soon")
	f(2*time.Second, "Date: Sun, 01 Mar 2026 12:00:02 GMT")
	f(2*time.Second, "Date: Sun, 01 Mar 2026 14:00:00 GMT") // a clock that is fast makes nothing younger
	f(2*time.Second, "Date: Sun, 01 Mar 2026 11:59:55 GMT") // nor one that is a little late anything older
	f(62*time.Second, "Date: Sun, 01 Mar 2026 11:59:00 GMT")
	f(92*time.Second, "Date: Sun, 01 Mar 2026 11:59:00 GMT", "Age: 90")
	f(62*time.Second, "Date: Sun, 01 Mar 2026 11:59:00 GMT", "Age: 10")
}

func TestAnOriginMayForbidToServeWhatIsStale(t *testing.T) {
	t.Parallel()
	f := func(revalidate, onError time.Duration, control string) {
		t.Helper()
		u := judge("Cache-Control: " + control)
		if u.StaleWhileRevalidate != revalidate || u.StaleIfError != onError {
			t.Errorf("%s: %s and %s, want %s and %s", control, u.StaleWhileRevalidate, u.StaleIfError, revalidate, onError)
		}
	}
	f(time.Minute, 2*time.Minute, "max-age=60")
	f(0, 0, "max-age=60, must-revalidate")
	f(0, 0, "max-age=60, proxy-revalidate")
	f(0, 0, "max-age=60, must-revalidate, stale-while-revalidate=30, stale-if-error=30")
	f(0, 0, "s-maxage=60")
	f(30*time.Second, 0, "s-maxage=60, stale-while-revalidate=30")
	f(30*time.Second, 2*time.Minute, "max-age=60, stale-while-revalidate=30")
	f(time.Minute, 40*time.Second, "max-age=60, stale-while-revalidate=3600, stale-if-error=40")
	f(0, 0, "max-age=60, stale-while-revalidate=0, stale-if-error=0")
}

func TestWhoIsAuthorizedIsAskedToBeTold(t *testing.T) {
	t.Parallel()
	for control, want := range map[string]cache.Refusal{
		"max-age=60":                  cache.RefusedAuthorization,
		"max-age=60, immutable":       cache.RefusedAuthorization,
		"max-age=60, public":          cache.Storable,
		"max-age=60, must-revalidate": cache.Storable,
		"s-maxage=60":                 cache.Storable,
		"s-maxage=60, private":        cache.RefusedDirective,
	} {
		terms := cache.Terms{TTL: time.Hour}
		u := terms.Judge(&cache.Answer{Status: 200, Fields: fieldsOf("Cache-Control: " + control), Sent: noon, Received: noon, Authorized: true})
		if u.Refused != want {
			t.Errorf("%s: refused because of %q, want %q", control, u.Refused, want)
		}
	}
}
