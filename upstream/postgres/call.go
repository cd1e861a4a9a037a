package postgres

import (
	"time"

	"forebay/cache"
	"forebay/rules"
)

// Call is one request to a SQL rule. The database reads its input until the method returns, an export
// until it is closed; it keeps nothing of it.
type Call struct {
	Rule   *rules.Rule
	Input  *rules.Input
	Format int // which of Rule.Query.Formats; -1: the rule's own form

	Primary  bool   // not from a standby
	Replayed uint64 // what a standby must have replayed to answer: a WAL position

	If *Condition // of a Write; nil: none
}

// format returns the form that was chosen, or nil.
func (c Call) format() *rules.Format {
	if c.Format < 0 || c.Format >= len(c.Rule.Query.Formats) {
		return nil
	}
	return &c.Rule.Query.Formats[c.Format]
}

// Written is a committed write.
type Written struct {
	Response *cache.StoredResponse // never stored; status, type, fields and body are its answer
	Change   cache.Change          // applied to the log already; no dependencies if nothing was changed
	LSN      string                // the WAL position behind the write, before its commit record
	Waited   time.Duration         // of the time that it took: for a connection
}

// Observation is what one statement took. Tables are those that its rule's answer depends on, or those
// that were written, as far as they are known by then.
type Observation struct {
	Rule      string
	Kind      string // of the rule; empty if it names none
	Statement string // as the rule's templates name it
	Tables    []string
	Duration  time.Duration
	Rows      int
	Err       error
	Write     bool
}

// PoolStats is the pool as it is now.
type PoolStats struct {
	Max       int
	InUse     int
	Available int // could be handed out now: idle, or not opened yet
	Waiting   int
	Waits     uint64 // requests that found every connection in use
	Timeouts  uint64 // waits that ended without a connection
}
