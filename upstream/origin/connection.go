package origin

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// connection is a connection to the service that watches its own progress: a write that is not taken
// within the pause fails, and so does a read of a body. Reads and writes may run beside each other; of
// each, one at a time.
type connection struct {
	net.Conn
	raw   syscall.RawConn // nil where the system gives none
	pause time.Duration
	used  bool // by an exchange before this one

	sendBy  time.Time // all writes must be taken by then; zero: each within the pause
	written time.Time // when the write deadline was last moved

	mu    sync.Mutex // guards all below
	paced bool       // the answer's header is here: from now on each read has its own deadline
	read  time.Time  // when the read deadline was last moved
}

// dial connects within the service's connect_timeout and what the caller has left, handshake included.
func (o *Origin) dial(addr string, left time.Duration) (net.Conn, error) {
	timeout := o.config.ConnectTimeout
	if left > 0 && (timeout <= 0 || left < timeout) {
		timeout = left
	}
	ctx := context.Background()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	var dialer net.Dialer
	tcp, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, &dialError{err: err}
	}
	c := &connection{Conn: tcp, pause: max(bodyPause, o.config.Timeout)}
	if s, ok := tcp.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	if o.tls != nil {
		secure := tls.Client(tcp, o.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = tcp.Close()
			return nil, &dialError{err: err, handshake: true}
		}
		c.Conn = secure
	}
	return c, nil
}

// expectSent sets by when all that is written from now on must be taken.
func (c *connection) expectSent(by time.Time) error {
	c.sendBy = by
	return c.Conn.SetWriteDeadline(by)
}

// Write writes. It moves the deadline only when a good part of it is gone: setting one costs about as much as a small
// write.
func (c *connection) Write(b []byte) (int, error) {
	if now := time.Now(); c.sendBy.IsZero() && now.Sub(c.written) > c.pause/4 {
		if err := c.Conn.SetWriteDeadline(now.Add(c.pause)); err != nil {
			return 0, err
		}
		c.written = now
	}
	return c.Conn.Write(b)
}

// Read reads; of a body, within the pause.
func (c *connection) Read(b []byte) (int, error) {
	c.mu.Lock()
	if now := time.Now(); c.paced && now.Sub(c.read) > c.pause/4 {
		c.read = now
		_ = c.Conn.SetReadDeadline(now.Add(c.pause)) // fails only for a closed connection, as the read will
	}
	c.mu.Unlock()
	return c.Conn.Read(b)
}

// expectHead sets by when the answer's header must be here, unless it is.
func (c *connection) expectHead(by time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.paced {
		_ = c.Conn.SetReadDeadline(by)
	}
}

// expectBody sets that the rest arrives at its own pace, but for pauses.
func (c *connection) expectBody() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paced, c.read = true, time.Time{}
}

// rest makes the connection ready to wait for its next exchange.
func (c *connection) rest() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used, c.paced, c.written, c.sendBy = true, false, time.Time{}, time.Time{}
	return c.Conn.SetDeadline(time.Time{})
}

// quiet reports whether no more was read from the network than was asked for. Only TLS reads ahead of its
// reader: a record behind the answer's last one may be here already.
func (c *connection) quiet() bool {
	secure, ok := c.Conn.(*tls.Conn)
	if !ok {
		return true
	}
	_ = secure.SetReadDeadline(time.Unix(1, 0)) // what is not here yet is not waited for
	var b [1]byte
	_, err := secure.Read(b[:])
	return isTimeout(err) && secure.SetReadDeadline(time.Time{}) == nil
}

// lease is a connection for one exchange.
type lease struct {
	conn *connection
	br   *bufio.Reader
	give func(reuse bool) // gives the connection back, or closes it
}

// acquire returns a connection that is open, as far as can be seen, and holds nothing left over.
func (o *Origin) acquire(by time.Time) (*lease, error) {
	for {
		left := time.Until(by)
		if left <= 0 {
			return nil, context.DeadlineExceeded
		}
		cc, err := o.client.AcquireConn(left, false)
		if err != nil {
			if err == fasthttp.ErrNoFreeConns || err == fasthttp.ErrTimeout {
				err = errNoConnection
			}
			return nil, err
		}
		conn := cc.Conn().(*connection)
		if conn.used && !(conn.alive() && conn.quiet()) {
			o.client.CloseConn(cc)
			continue
		}
		l := &lease{conn: conn, br: o.client.AcquireReader(conn)}
		l.give = func(reuse bool) {
			// Bytes behind the answer would be taken for the next request's: such a connection is done.
			reuse = reuse && l.br.Buffered() == 0 && !o.retired.Load()
			o.client.ReleaseReader(l.br)
			if reuse && conn.rest() == nil {
				o.client.ReleaseConn(cc)
				return
			}
			o.client.CloseConn(cc)
		}
		return l, nil
	}
}
