package cache

import "time"

// Instant is a moment on this process's monotonic clock: the time since the clock was made. Lifetimes
// are reckoned in Instants, so a step of the wall clock neither ages nor rejuvenates anything.
type Instant time.Duration

// Clock turns moments into Instants and back. It is a value, safe for concurrent use.
type Clock struct{ start time.Time }

// NewClock makes a clock whose zero is start, which must carry a monotonic reading.
func NewClock(start time.Time) Clock { return Clock{start: start} }

// Now returns the present Instant.
func (c Clock) Now() Instant { return Instant(time.Since(c.start)) }

// At returns the Instant of a time with a monotonic reading.
func (c Clock) At(t time.Time) Instant { return Instant(t.Sub(c.start)) }

// Wall returns the wall-clock time of an Instant, as the clock stood at its start.
func (c Clock) Wall(i Instant) time.Time { return c.start.Add(time.Duration(i)) }

// Sub returns the time from earlier to i.
func (i Instant) Sub(earlier Instant) time.Duration { return time.Duration(i - earlier) }
