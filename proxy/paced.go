package proxy

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"forebay/proxy/problem"
	"forebay/rules"
)

// paceTick is the resolution of a pace's clock.
const paceTick = 50 * time.Millisecond

// pace is how long the connections of a listener may take for what. Its clock is coarse: to ask for the time
// and to move a deadline with every request would cost more than finding the response. Safe for concurrent
// use.
type pace struct {
	header, body, idle, write time.Duration
	now                       atomic.Int64 // since began
	began                     time.Time
	ended                     chan struct{}
	once                      sync.Once
}

func newPace(config rules.Server) *pace {
	return &pace{
		header: config.HeaderTimeout, body: config.BodyTimeout, idle: config.IdleTimeout, write: config.WriteTimeout,
		began: time.Now(), ended: make(chan struct{}),
	}
}

// start has the clock go until stop.
func (p *pace) start() {
	p.now.Store(int64(time.Since(p.began)))
	go func() {
		ticker := time.NewTicker(paceTick)
		defer ticker.Stop()
		for {
			select {
			case <-p.ended:
				return
			case <-ticker.C:
				p.now.Store(int64(time.Since(p.began)))
			}
		}
	}()
}

func (p *pace) stop() { p.once.Do(func() { close(p.ended) }) }

// pacedListener gives its connections a place and a pace.
type pacedListener struct {
	net.Listener
	pace       *pace
	places     *places
	turnedAway func() // called for each connection that had no place
	once       sync.Once
}

// Close stops accepting. It may be called again.
func (l *pacedListener) Close() (err error) {
	l.once.Do(func() { err = l.Listener.Close() })
	return err
}

// Accept waits for a connection that has a place.
func (l *pacedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addressOf(c)
		q := l.places.take(from)
		if q == nil {
			paced := &pacedConn{Conn: c, pace: l.pace, places: l.places, from: from}
			paced.waiting.Store(true)
			return paced, nil
		}
		l.turnedAway()
		turnAway(c, q)
		if q.Type == problem.Overloaded {
			time.Sleep(breath)
		}
	}
}

// pacedConn sets the deadlines of a client's connection by itself.
//
//	waiting for a request     idle (header for a connection's first): moved only when it is due within that time
//	in the midst of a header  header, from the request's first byte
//	in the midst of a body    body, from the same
//	writing                   write, for each piece: an export that is long and makes progress is not cut off
//
// Who sets a deadline on it has taken its reading over: a tunnel, or an upload that is given up. Reads and
// writes may come from two goroutines.
type pacedConn struct {
	net.Conn
	pace *pace

	waiting atomic.Bool  // nothing of the next request was read: set by writing
	served  atomic.Bool  // something was written: what is waited for is not the first request
	inBody  atomic.Bool  // of the request under way
	began   int64        // when its first bytes had come; 0: not known yet. Owned by whoever reads
	due     atomic.Int64 // the read deadline in place, on the pace's clock
	free    atomic.Bool  // somebody else sets the deadlines
	written atomic.Int64 // when the write deadline was last set
	loan    loan

	places *places
	from   netip.Addr
	closed atomic.Bool
}

// Close gives the place back, before the client may know that it is free, and closes the connection.
func (c *pacedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.places.leave(c.from)
	}
	return c.Conn.Close()
}

// Read reads, or fails when the client takes too long.
func (c *pacedConn) Read(b []byte) (int, error) {
	if !c.free.Load() {
		if err := c.hurry(); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(b)
}

// hurry sets the read deadline if another one is needed. Most requests come in one piece, so it is the second
// read of a request that notes when it began: right after its first bytes.
func (c *pacedConn) hurry() error {
	now := c.pace.now.Load()
	if c.waiting.Load() {
		c.waiting.Store(false)
		c.began = 0
		limit := c.pace.idle
		if !c.served.Load() {
			limit = c.pace.header
		}
		if c.due.Load()-now >= int64(limit) {
			return nil
		}
		return c.setDue(now + int64(limit+limit/2)) // moved once in half that time, so that nobody gets less
	}
	if c.began == 0 {
		c.began = max(now, 1)
	}
	if c.inBody.Load() {
		return c.setDue(c.began + int64(c.pace.body))
	}
	return c.setDue(c.began + int64(c.pace.header))
}

func (c *pacedConn) setDue(due int64) error {
	if due == c.due.Load() {
		return nil
	}
	c.due.Store(due)
	return c.Conn.SetReadDeadline(c.pace.began.Add(time.Duration(due)))
}

// body says that what is read from now on is a request's body.
func (c *pacedConn) body() { c.inBody.Store(true) }

// Write writes, or fails when the client has taken nothing for the time it has.
func (c *pacedConn) Write(b []byte) (int, error) {
	if !c.waiting.Load() {
		c.waiting.Store(true)
		if c.inBody.Load() {
			c.inBody.Store(false)
		}
	}
	if !c.served.Load() {
		c.served.Store(true)
	}
	now := c.pace.now.Load()
	if set := c.written.Load(); c.pace.write > 0 && (set == 0 || now-set > int64(c.pace.write/2)) {
		if err := c.Conn.SetWriteDeadline(c.pace.began.Add(time.Duration(now) + c.pace.write + c.pace.write/2)); err != nil {
			return 0, err
		}
		c.written.Store(max(now, 1))
	}
	if c.loan.body != nil && len(b) < writeBuffer {
		return c.loan.flush(c.Conn, b)
	}
	return c.Conn.Write(b)
}

// SetReadDeadline takes the reading over.
func (c *pacedConn) SetReadDeadline(t time.Time) error {
	c.free.Store(true)
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline takes the reading over, and sets the deadline of writing as well.
func (c *pacedConn) SetDeadline(t time.Time) error {
	c.free.Store(true)
	return c.Conn.SetDeadline(t)
}

// NetConn returns the connection behind, as tls.Conn's does: its way to end can be chosen there.
func (c *pacedConn) NetConn() net.Conn { return c.Conn }
