package proxy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"forebay/proxy/problem"
	"forebay/rules"
)

// paceTick is the resolution of a pace's clock, and the least that a deadline is late.
const paceTick = 25 * time.Millisecond

// paceShare is how much later than its limit, one part in so many, a deadline may be that is moved again and again:
// moved once in that time, it costs a busy connection next to nothing.
const paceShare = 16

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

// until returns the time at which the limit of what begins now is over. The clock may be a tick behind, and nobody
// is to get less.
func (p *pace) until(limit time.Duration) int64 { return p.now.Load() + int64(paceTick+limit) }

// slack is how much later than until a deadline may be that is moved again and again.
func slack(limit time.Duration) int64 { return int64(max(limit/paceShare, paceTick)) }

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
//	waiting for a request     idle (header for a connection's first): moved only when it is due before that
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
	loan    loan

	writeDue atomic.Int64 // the write deadline in place, on the same

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
	silent := c.waiting.Load() && !c.served.Load()
	if !c.free.Load() {
		if err := c.hurry(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(b)
	if silent && n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, io.EOF // who has asked nothing gets no answer
	}
	return n, err
}

// hurry sets the read deadline if another one is needed. Most requests come in one piece, so it is the second
// read of a request that notes when it began: right after its first bytes.
func (c *pacedConn) hurry() error {
	if c.waiting.Load() {
		c.waiting.Store(false)
		c.began = 0
		limit := c.pace.idle
		if !c.served.Load() {
			limit = c.pace.header
		}
		until := c.pace.until(limit)
		if late := c.due.Load() - until; late >= 0 && late <= slack(limit) {
			return nil
		}
		return c.setDue(until + slack(limit))
	}
	if c.began == 0 {
		c.began = c.pace.until(0)
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
	if limit := c.pace.write; limit > 0 {
		if until := c.pace.until(limit); c.writeDue.Load() < until {
			due := until + slack(limit)
			if err := c.Conn.SetWriteDeadline(c.pace.began.Add(time.Duration(due))); err != nil {
				return 0, err
			}
			c.writeDue.Store(due)
		}
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
