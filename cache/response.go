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
type StoredResponse struct {
	Status      int
	ContentType []byte
	ETag        []byte  // strong, of the identity encoding; empty when the response has none
	Header      []Field // the other end-to-end fields, in the order received; none that the server itself writes (Content-Length, Date, Age, Connection …)
	Body        []byte
	Encodings   []Encoding // the same body compressed, best first; at most one per coding

	// Times (RFC 9111 s.4.2). Wall-clock times are for people and for other processes only.
	RequestTime  time.Time     // when the request that brought it was sent
	ResponseTime time.Time     // when it came
	Date         time.Time     // its Date field, or ResponseTime
	Stored       Instant       // ResponseTime on this process's clock
	InitialAge   time.Duration // corrected_initial_age at Stored
	Lifetime     time.Duration // freshness_lifetime, jitter included

	// Reuse beyond the lifetime (RFC 5861), each counted from its end; zero forbids it.
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration

	Rule       string     // the name of the rule that made it
	Directives Directives // of its Cache-Control, for responses of an HTTP upstream
	Vary       []string   // lower-case names of the request fields it was selected by; of an index: those to key on
	Kind       Kind
	// Compressible says that the body is worth compressing for clients that ask for it; set before it is stored.
	Compressible bool
	TTLOnly      bool      // changes do not concern it: other instances, and this one after a restart, may use it
	Standing     *Standing // nil only before the response is stored
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

// Encoding is a stored response's body under a content coding.
type Encoding struct {
	Coding string // gzip, br or zstd
	ETag   []byte // strong, of this encoding
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
	c.Encodings = append(append(make([]Encoding, 0, len(r.Encodings)+1), r.Encodings...), e)
	return &c
}

// Encoding returns the body under the coding, or nil.
func (r *StoredResponse) Encoding(coding string) *Encoding {
	for i := range r.Encodings {
		if r.Encodings[i].Coding == coding {
			return &r.Encodings[i]
		}
	}
	return nil
}

// Size returns the bytes that the response occupies in memory, near enough to bound a store by them:
// bodies, fields and the structures that hold them, without the key.
func (r *StoredResponse) Size() int {
	const (
		structs = 352 + 160 // StoredResponse and Standing as the allocator rounds them up
		ofRow   = 88        // a row's node and its place among the others, which one response alone holds as a rule
	)
	n := structs + len(r.Body) + len(r.ContentType) + len(r.ETag) + len(r.Rule)
	for _, f := range r.Header {
		n += 48 + len(f.Name) + len(f.Value)
	}
	for _, e := range r.Encodings {
		n += 64 + len(e.Body) + len(e.ETag)
	}
	for _, v := range r.Vary {
		n += 16 + len(v)
	}
	if s := r.Standing; s != nil {
		n += 8*len(s.nodes) + 8*len(s.snapshot.Xip)
		for _, d := range s.dependencies {
			n += 16 + len(d)
			if _, ok := d.rowOid(); ok {
				n += ofRow
			}
		}
	}
	return n
}

// String names the response for a log or a test, without its contents.
func (r *StoredResponse) String() string {
	return fmt.Sprintf("stored response of rule %q: status %d, %d bytes, lifetime %s", r.Rule, r.Status, len(r.Body), r.Lifetime)
}
