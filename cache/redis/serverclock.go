package redis

import (
	"sync/atomic"
	"time"

	"forebay/cache"
)

// slewPerLook is what a clock that was set back is followed by, each time that it is looked at: enough
// for clocks that run at different speeds, and slow enough that what was stored before is not made younger.
const slewPerLook = time.Millisecond

// serverClock is the clock of the server that holds the shared log, as all instances see it. Ages go on by
// it, because the hosts of two instances need not agree on the time. Every reading errs to the side on
// which responses get older. Safe for concurrent use; observe is for one goroutine at a time.
type serverClock struct {
	offsets atomic.Pointer[offsets]
}

// offsets is what to add to an Instant, in microseconds.
type offsets struct{ lower, upper int64 }

// observe takes in that the server said micros between two moments of this process.
func (c *serverClock) observe(asked, answered cache.Instant, micros int64) {
	o := offsets{lower: micros - inMicros(answered), upper: micros - inMicros(asked)}
	if old := c.offsets.Load(); old != nil {
		o.upper = max(o.upper, old.upper-slewPerLook.Microseconds())
	}
	c.offsets.Store(&o)
}

// earliest returns a time that the server's clock had reached at the moment.
func (c *serverClock) earliest(at cache.Instant) (micros int64, ok bool) {
	o := c.offsets.Load()
	if o == nil {
		return 0, false
	}
	return inMicros(at) + o.lower, true
}

// since returns how long before the moment the server's clock said micros, at the most; never negative.
func (c *serverClock) since(micros int64, at cache.Instant) (time.Duration, bool) {
	o := c.offsets.Load()
	if o == nil {
		return 0, false
	}
	const most = int64(100 * 365 * 24 * time.Hour / time.Microsecond)
	elapsed := inMicros(at) + 1 + o.upper - micros
	return time.Duration(min(max(elapsed, 0), most)) * time.Microsecond, true
}

func inMicros(i cache.Instant) int64 { return int64(i) / int64(time.Microsecond) }
