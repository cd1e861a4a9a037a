package cache

import (
	"bytes"
	"time"
)

// Terms are what a rule allows for the responses of an HTTP service.
type Terms struct {
	TTL                  time.Duration         // of a 200
	Negative             map[int]time.Duration // of other statuses; one without is not stored
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration
}

// Answer is a response of an HTTP service, and what of its request decides whether a shared cache may
// store it. The request was a GET with nothing conditional in it.
type Answer struct {
	Status         int
	Fields         []Field   // every field line as it came, those about the connection too
	Sent, Received time.Time // of the request, and of the response's first byte
	// Authorized tells that the request carried credentials that are no part of the key: an Authorization
	// field, or cookies.
	Authorized bool
	Cut        bool // the body may have been cut short
}

// Reuse is what a shared cache may do with a response.
type Reuse struct {
	Refused    Refusal // empty: it may be stored; the rest holds either way
	Date       time.Time
	InitialAge time.Duration // at Answer.Received
	Lifetime   time.Duration
	// The windows after the lifetime, as the rule allows and the origin does not forbid.
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration
	Directives           Directives
	Vary                 []string // lower-case names, sorted
}

// understood are the statuses whose caching requirements this cache knows, which is what must-understand
// asks (RFC 9111 s.5.2.2.3).
var understood = [...]int{200, 203, 204, 300, 301, 302, 307, 308, 404, 405, 410, 414, 501}

// Judge tells what may be done with the answer: RFC 9111 s.3 and s.4.2, in their strictest reading.
//
// The lifetime is the origin's if it gives one, and never longer than the rule's. It counts from the
// response's origination, so a response that comes with an age has less of it left.
func (t *Terms) Judge(a *Answer) Reuse {
	u := Reuse{Directives: ParseDirectives(all(a.Fields, "Cache-Control"))}
	var varies bool
	u.Vary, varies = ParseVary(all(a.Fields, "Vary"))
	u.Date = a.date()
	u.InitialAge = a.initialAge(u.Date)
	u.Lifetime = t.ofStatus(a.Status)
	ruled := u.Lifetime
	if explicit, given := a.lifetime(&u.Directives, u.Date); given {
		u.Lifetime = min(u.Lifetime, explicit)
	}
	t.windows(&u)
	switch {
	case a.Cut:
		u.Refused = RefusedIncomplete
	case has(a.Fields, "Set-Cookie"), has(a.Fields, "Set-Cookie2"):
		u.Refused = RefusedSetCookie
	case a.forbidden(&u.Directives):
		u.Refused = RefusedDirective
	case a.Authorized && !u.Directives.Public && !u.Directives.MustRevalidate && u.Directives.SMaxAge < 0:
		u.Refused = RefusedAuthorization // RFC 9111 s.3.5
	case !varies:
		u.Refused = RefusedVary
	case ruled <= 0, a.partial():
		u.Refused = RefusedStatus
	case u.Lifetime <= u.InitialAge:
		u.Refused = RefusedDirective
	}
	return u
}

// ofStatus returns the rule's lifetime for the status; 0: none.
func (t *Terms) ofStatus(status int) time.Duration {
	if d, named := t.Negative[status]; named {
		return d
	}
	if status == 200 {
		return t.TTL
	}
	return 0
}

// windows sets how long past its lifetime the response may serve. The origin may shorten the rule's
// windows and forbid them (RFC 9111 s.4.2.4); s-maxage forbids as proxy-revalidate does (s.5.2.2.10),
// unless the origin gives a window beside it.
func (t *Terms) windows(u *Reuse) {
	d := &u.Directives
	if d.MustRevalidate || d.ProxyRevalidate {
		return
	}
	window := func(ruled, origins time.Duration) time.Duration {
		switch {
		case origins >= 0:
			return min(ruled, origins)
		case d.SMaxAge >= 0:
			return 0
		}
		return ruled
	}
	u.StaleWhileRevalidate = window(t.StaleWhileRevalidate, d.StaleWhileRevalidate)
	u.StaleIfError = window(t.StaleIfError, d.StaleIfError)
}

// lifetime returns the freshness_lifetime that the origin gives (RFC 9111 s.4.2.1), and whether it gives
// one. An Expires that is no date, or is there twice, has passed already (s.5.3).
func (a *Answer) lifetime(d *Directives, date time.Time) (time.Duration, bool) {
	switch {
	case d.SMaxAge >= 0:
		return d.SMaxAge, true
	case d.MaxAge >= 0:
		return d.MaxAge, true
	}
	lines := all(a.Fields, "Expires")
	if len(lines) == 0 {
		return 0, false
	}
	expires, ok := ParseDate(lines[0])
	if !ok || len(lines) > 1 {
		return 0, true
	}
	return max(expires.Sub(date), 0), true
}

// date returns when the response was made, by its own word, else when it came. A Date in the future is
// from a clock that is fast, and what Expires says is by the same clock.
func (a *Answer) date() time.Time {
	if t, ok := ParseDate(first(a.Fields, "Date")); ok {
		return t
	}
	return a.Received
}

// forbidden reports whether a directive keeps the response out of a shared cache. No-cache would allow to
// keep it and ask before each use; until that is done, it is not kept. CDN-Cache-Control (RFC 9213) and
// Surrogate-Control may forbid, and are not relied on for anything else.
func (a *Answer) forbidden(d *Directives) bool {
	if d.NoStore || d.Private || d.NoCache {
		return true
	}
	if d.MustUnderstand && !isUnderstood(a.Status) {
		return true
	}
	for _, name := range [...]string{"CDN-Cache-Control", "Surrogate-Control"} {
		if t := ParseDirectives(all(a.Fields, name)); t.NoStore || t.Private || t.NoCache {
			return true
		}
	}
	if d.Present {
		return false
	}
	pragma := ParseDirectives(all(a.Fields, "Pragma"))
	return pragma.NoCache
}

// MayTransform reports whether a response with these fields may be sent in a content coding that it did not come
// in: it has none yet, nobody forbids it (RFC 9111 s.5.2.2.6), and no digest of its bytes would be wrong then.
func MayTransform(fields []Field) bool {
	for _, name := range [...]string{"Content-Encoding", "Content-Digest", "Repr-Digest", "Digest", "Content-MD5"} {
		if has(fields, name) {
			return false
		}
	}
	for i := range fields {
		if !sameName(fields[i].Name, "Cache-Control") {
			continue
		}
		s := directiveScanner{rest: fields[i].Value}
		for s.next() {
			if sameName(s.name, "no-transform") {
				return false
			}
		}
	}
	return true
}

func isUnderstood(status int) bool {
	for _, s := range understood {
		if s == status {
			return true
		}
	}
	return false
}

// partial reports whether the response is no whole representation, or contradicts itself about that. A
// Content-Range in another unit than bytes is a service's own paging, PostgREST's for one: it belongs to
// the whole answer of this request and says nothing about its bytes.
func (a *Answer) partial() bool {
	if a.Status == 206 || a.Status < 200 || a.Status == 304 {
		return true
	}
	r := bytes.TrimLeft(first(a.Fields, "Content-Range"), " \t")
	return len(r) >= len("bytes") && sameName(r[:len("bytes")], "bytes")
}

// all returns the values of the field's lines; nil if there are none.
func all(fields []Field, name string) [][]byte {
	var lines [][]byte
	for i := range fields {
		if sameName(fields[i].Name, name) {
			lines = append(lines, fields[i].Value)
		}
	}
	return lines
}

// first returns the value of the field's first line; nil if there is none.
func first(fields []Field, name string) []byte {
	for i := range fields {
		if sameName(fields[i].Name, name) {
			return fields[i].Value
		}
	}
	return nil
}

func has(fields []Field, name string) bool {
	for i := range fields {
		if sameName(fields[i].Name, name) {
			return true
		}
	}
	return false
}

func sameName(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}
