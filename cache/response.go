package cache

import (
	"fmt"
	"time"
)

// Field is one header field line. Its bytes are never written again.
type Field struct{ Name, Value []byte }

// StoredResponse is a response and all that decides its reuse. It is immutable once it was handed to a
// Store (its Standing alone moves, by itself): a changed response is a new value. Whoever holds one may
// read its bytes for as long as they like and must not write them. Safe for concurrent use.
//
// There may be millions: what many of them have alike is in Traits, and a test holds the rest to its size.
type StoredResponse struct {
	*Traits
	Body      []byte
	ETag      string     // strong, of the identity encoding; empty when the response has none
	Encodings *Encodings // the same body compressed; nil: nobody asked for that

	// Times (RFC 9111 s.4.2). Wall-clock times are for people and for other processes only.
	RequestTime  Moment        // when the request that brought it was sent
	ResponseTime Moment        // when it came
	Date         Moment        // its Date field, or ResponseTime
	Stored       Instant       // ResponseTime on this process's clock
	InitialAge   time.Duration // corrected_initial_age at Stored
	Lifetime     time.Duration // freshness_lifetime, jitter included

	Standing *Standing // nil only before the response is stored
}

// Kind tells what an entry is for.
type Kind uint8

const (
	// Ordinary is a response to serve.
	Ordinary Kind = iota
	// VaryIndex is no response: it says on which request fields (Vary) the key goes on.
	VaryIndex
	// Uncacheable is no response: requests for this key go forward without waiting for each other.
	Uncacheable
)

// Encodings are the forms of one body, best first; at most one per coding.
type Encodings []Encoding

// All returns them. Not to be written.
func (e *Encodings) All() []Encoding {
	if e == nil {
		return nil
	}
	return *e
}

// Encoding is a stored response's body under a content coding.
type Encoding struct {
	Coding string // gzip, br or zstd
	ETag   string // strong, of this encoding
	Body   []byte
}

// Directives are the response directives of a Cache-Control field (RFC 9111 s.5.2.2) that bear on reuse.
// An absent delta-seconds is -1.
type Directives struct {
	Present                                         bool // the response had a Cache-Control field at all
	NoStore, NoCache, Private, Public               bool
	MustRevalidate, ProxyRevalidate, MustUnderstand bool
	Immutable                                       bool
	MaxAge, SMaxAge                                 time.Duration
	StaleWhileRevalidate, StaleIfError              time.Duration
}

// Freshness tells how the time since a response came bears on serving it.
type Freshness uint8

const (
	// Fresh may be served as it is.
	Fresh Freshness = iota
	// Revalidatable is expired, and may be served while one refresh runs.
	Revalidatable
	// Emergency is expired, and may be served only when the source fails.
	Emergency
	// Expired may not be served.
	Expired
)

// String returns the freshness in lower case.
func (f Freshness) String() string {
	return [...]string{"fresh", "revalidatable", "emergency", "expired"}[f]
}

// AgeAt returns the response's current_age (RFC 9111 s.4.2.3).
func (r *StoredResponse) AgeAt(now Instant) time.Duration {
	return r.InitialAge + now.Sub(r.Stored)
}

// Asked returns when the request that brought the response was sent, on this process's clock.
func (r *StoredResponse) Asked() Instant { return r.Stored - Instant(r.ResponseTime-r.RequestTime) }

// FreshnessAt tells what the response's age allows. It knows nothing of changes: see Standing.
func (r *StoredResponse) FreshnessAt(now Instant) Freshness {
	late := r.AgeAt(now) - r.Lifetime
	switch {
	case late < 0:
		return Fresh
	case late < r.StaleWhileRevalidate:
		return Revalidatable
	case late < r.StaleIfError:
		return Emergency
	}
	return Expired
}

// UseAt tells how the response may be used: what its age allows, less what changes and purges forbid. It
// is the one place where a stored response is found fit to be served.
//
// A soft purge ends the lifetime now: the window of stale-while-revalidate opens if there is one. An
// outdated response is for emergencies only, whatever its age allows within stale-if-error.
func (r *StoredResponse) UseAt(now Instant) Freshness {
	freshness := r.FreshnessAt(now)
	verdict := r.Standing.Check()
	switch {
	case verdict == Current:
		return freshness
	case verdict == Softened && freshness <= Revalidatable && r.StaleWhileRevalidate > 0:
		return Revalidatable
	case r.StaleIfError > 0 && r.AgeAt(now) < r.Lifetime+r.StaleIfError:
		return Emergency
	}
	return Expired
}

// Remaining returns for how long after now a store has reason to keep the response; not positive: none.
func (r *StoredResponse) Remaining(now Instant) time.Duration {
	return r.Lifetime + max(r.StaleWhileRevalidate, r.StaleIfError) - r.AgeAt(now)
}

// WithEncoding returns a copy that also has e. The receiver stays as it is; both share their bytes and
// their standing.
func (r *StoredResponse) WithEncoding(e Encoding) *StoredResponse {
	c := *r
	all := r.Encodings.All()
	encodings := append(append(make(Encodings, 0, len(all)+1), all...), e)
	c.Encodings = &encodings
	return &c
}

// Encoding returns the body under the coding, or nil.
func (r *StoredResponse) Encoding(coding string) *Encoding {
	all := r.Encodings.All()
	for i := range all {
		if all[i].Coding == coding {
			return &all[i]
		}
	}
	return nil
}

// Size returns the bytes that the response occupies in memory, near enough to bound a store by them:
// bodies, fields and the structures that hold them, without the key, and without what it shares with others.
func (r *StoredResponse) Size() int {
	const structs = 112 + 64 // StoredResponse and Standing as the allocator rounds them up
	n := structs + len(r.Body) + len(r.ETag) + r.Traits.size()
	for _, e := range r.Encodings.All() {
		n += 80 + len(e.Body) + len(e.ETag)
	}
	if s := r.Standing; s != nil {
		n += s.size()
	}
	return n
}

// String names the response for a log or a test, without its contents.
func (r *StoredResponse) String() string {
	return fmt.Sprintf("stored response of rule %q: status %d, %d bytes, lifetime %s", r.Rule, r.Status, len(r.Body), r.Lifetime)
}
