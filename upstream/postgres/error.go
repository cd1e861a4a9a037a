package postgres

import (
	"errors"
	"time"
)

// Error is a call that was not answered as asked. Detail, Hint, Field and Code are for the sender of the
// request and never carry a statement, an address or a value; Error() is for the operator. Safe for
// concurrent use.
type Error struct {
	Class      ErrorClass
	Status     int
	Code       string // SQLSTATE, where it helps the sender
	Detail     string // one human sentence
	Hint       string
	Field      string // the parameter at fault, or the column
	In         string // where in the request the parameter stands; "" of a column
	Items      []ItemError
	RetryAfter time.Duration
	Waited     time.Duration // of the time that it took: for a connection
	Err        error

	absent bool // of Unavailable: the database was not there, which is all that is known to be wrong
}

// ItemError is what is wrong with one item of an atomic batch.
type ItemError struct {
	Index               int
	Code, Field, Detail string
}

// Error returns the whole story, for the operator.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Class.String() + ": " + e.Detail
	}
	return e.Class.String() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrorClass tells whose fault an error is, and so what it may cause.
type ErrorClass uint8

const (
	// Unavailable : the database cannot be reached, refuses or is failing. Counts in the breaker.
	Unavailable ErrorClass = iota
	// CircuitOpen : the breaker lets nothing through.
	CircuitOpen
	// PoolExhausted : no connection became free in time.
	PoolExhausted
	// StatementTimeout : the server ended a statement that took too long. Counts in the breaker.
	StatementTimeout
	// Deadline : the caller's own time was up.
	Deadline
	// Canceled : the caller went away.
	Canceled
	// Busy : a lock, a deadlock or a serialization failure that repeating did not cure.
	Busy
	// Conflict : a unique, foreign or exclusion constraint refused the write.
	Conflict
	// Invalid : the database refused a value.
	Invalid
	// Raised : a function of the database raised an exception of its own.
	Raised
	// Forbidden : row security refused the row.
	Forbidden
	// TooLarge : the result is above a limit.
	TooLarge
	// OutcomeUnknown : the connection broke while a write was being committed.
	OutcomeUnknown
	// Unmet : a write's condition does not hold.
	Unmet
	// Fault : the rule and the database do not fit, or forebay is wrong.
	Fault
)

// String returns the class in lower case.
func (c ErrorClass) String() string {
	return [...]string{
		"unavailable", "circuit open", "pool exhausted", "statement timeout", "deadline", "canceled", "busy",
		"conflict", "invalid", "raised", "forbidden", "too large", "outcome unknown", "unmet", "fault",
	}[c]
}

// classOf returns the class of an error of this package.
func classOf(err error) ErrorClass {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Fault
}
