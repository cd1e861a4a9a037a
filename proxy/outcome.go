package proxy

import (
	"strconv"
	"time"
)

// Result is how a request ended, one word of a closed list: a metric label.
type Result uint8

// The results. Hits: Hit and Stale. Forwarded: Miss to Failed. Refused stands alone.
const (
	Hit       Result = iota // served from a tier, fresh and current
	Stale                   // served from a tier, expired or outdated, as the rule allows
	Miss                    // fetched from the source
	Collapsed               // answered by another request's fetch
	Bypass                  // forwarded without asking the cache: nothing of this rule, or of this kind of response, is stored
	Write                   // forwarded because it may change something
	Failed                  // forwarded, and the source had no answer
	Refused                 // answered with a problem without forwarding
	results   = iota
)

// String returns the result as a metric label.
func (r Result) String() string {
	return [...]string{"hit", "stale", "miss", "collapsed", "bypass", "write", "failed", "refused"}[r]
}

// Forward is why a request went forward (RFC 9211 s.2.2).
type Forward uint8

// The reasons of RFC 9211 that forebay has.
const (
	NotForwarded    Forward = iota
	ForwardBypass           // configured not to handle this request
	ForwardMethod           // the method's semantics
	ForwardURIMiss          // nothing stored for the key
	ForwardVaryMiss         // something, but for other request fields
	ForwardStale            // something, but expired or outdated
)

// String returns the value of the fwd parameter.
func (f Forward) String() string {
	return [...]string{"", "bypass", "method", "uri-miss", "vary-miss", "stale"}[f]
}

// Outcome is what became of a request. Written once, by the path; everything printed about the request
// is printed from it.
type Outcome struct {
	Result    Result
	Forward   Forward
	Status    int           // of what the source answered; 0: not forwarded, or no answer
	Stored    bool          // what the source answered is stored now
	Collapsed bool          // the request waited for another's fetch
	TTL       time.Duration // of a hit: what is left of its lifetime; negative: how long ago it ended
	Detail    string        // one token: why it is stale, why it is not stored
}

// AppendCacheStatus appends the outcome as a member of Cache-Status (RFC 9211).
func (o *Outcome) AppendCacheStatus(dst []byte) []byte {
	dst = append(dst, "forebay"...)
	switch {
	case o.Result == Hit || o.Result == Stale:
		dst = append(dst, "; hit; ttl="...)
		dst = strconv.AppendInt(dst, int64(o.TTL/time.Second), 10)
	case o.Forward != NotForwarded:
		dst = append(dst, "; fwd="...)
		dst = append(dst, o.Forward.String()...)
		if o.Status != 0 {
			dst = append(dst, "; fwd-status="...)
			dst = strconv.AppendInt(dst, int64(o.Status), 10)
		}
		if o.Stored {
			dst = append(dst, "; stored"...)
		}
		if o.Collapsed {
			dst = append(dst, "; collapsed"...)
		}
	}
	if o.Detail != "" {
		dst = append(dst, "; detail="...)
		dst = append(dst, o.Detail...)
	}
	return dst
}
