package cache

import "time"

// Fill is what a source brought home for one key: the response, and what decides whether it may be
// stored. Owned by the flight that asked for it.
type Fill struct {
	Response     *StoredResponse
	Asked        Position      // the log's position before the snapshot was asked for
	Snapshot     Snapshot      // at most as new as what the body read; zero if the source has none
	Dependencies []Dependency  // all relations and tags the body may depend on
	Refused      Refusal       // why it may not be stored; empty when it may
	Waited       time.Duration // of the time that it took: for a connection to the source, not for its answer
}

// Refusal is the reason for which a response is not stored, in one word that metrics and Cache-Status
// can carry.
type Refusal string

const (
	// Storable is the absence of a refusal.
	Storable Refusal = ""
	// RefusedRule : the rule gives no lifetime.
	RefusedRule Refusal = "no-ttl"
	// RefusedStatus : the status has no lifetime.
	RefusedStatus Refusal = "status"
	// RefusedDirective : no-store, private or the like (RFC 9111 s.3).
	RefusedDirective Refusal = "cache-control"
	// RefusedAuthorization : the request carried credentials that are no part of the key (RFC 9111 s.3.5).
	RefusedAuthorization Refusal = "authorization"
	// RefusedSetCookie : the response sets a cookie for one client.
	RefusedSetCookie Refusal = "set-cookie"
	// RefusedVary : the response varies on what cannot be keyed.
	RefusedVary Refusal = "vary"
	// RefusedSize : larger than the rule's maximum object size.
	RefusedSize Refusal = "too-large"
	// RefusedOutdated : a change that the fill did not see came while it was on its way.
	RefusedOutdated Refusal = "outdated"
	// RefusedSnapshot : the source could not say, or not reliably, what its body saw or depends on.
	RefusedSnapshot Refusal = "no-snapshot"
	// RefusedAdmission : changes that the fill did not see may have come before the feed of changes began.
	RefusedAdmission Refusal = "admission"
	// RefusedFeed : the feed of changes is lost, or does not bring those of a relation that the body read.
	RefusedFeed Refusal = "feed"
	// RefusedIncomplete : the body may have been cut short.
	RefusedIncomplete Refusal = "incomplete"
)
