package changes

import (
	"sync/atomic"
	"time"

	"forebay/cache"
)

// askAgain is how long an answer is waited for before it is asked for again.
const askAgain = time.Second

// asks keeps from asking a server again that says nothing since it was asked. Asking is more than useless then:
// where the window that this side of a TCP connection offers is smaller than a segment, as it may be for long on
// a loopback device, the server's kernel sends only when a timer of 200 ms or more runs out, and every packet
// that comes sets that timer back to its start. A stream that was asked every few milliseconds so stood still
// for good. The zero value is ready; heard and due may be called by one goroutine each.
type asks struct {
	answered atomic.Bool // something came since the last ask
	asked    bool
	at       cache.Instant // of the last ask
}

// heard is called when anything has come from the server.
func (a *asks) heard() {
	if !a.answered.Load() { // a read is cheaper than a write that others see
		a.answered.Store(true)
	}
}

// due reports whether the server is to be asked now, and takes it for asked if so.
func (a *asks) due(now cache.Instant) bool {
	if a.asked && !a.answered.Load() && now.Sub(a.at) < askAgain {
		return false
	}
	a.answered.Store(false)
	a.asked, a.at = true, now
	return true
}
