package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/proxy/problem"
	"forebay/rules"
)

// prefetch is how much of a request body is read before the handler runs; the rest is streamed.
const prefetch = 64 << 10 // bytes

// Server is the public listener: fasthttp with every limit set. Safe for concurrent use.
type Server struct {
	config rules.Server
	http   *fasthttp.Server
	logger *slog.Logger
}

// NewServer makes a server for the proxy. It does not listen yet.
func NewServer(p *Proxy, config rules.Server, logger *slog.Logger) *Server {
	s := &Server{config: config, logger: logger}
	s.http = &fasthttp.Server{
		Handler:                            p.Handle,
		ErrorHandler:                       p.unreadable,
		HeaderReceived:                     s.headerReceived,
		Name:                               "forebay",
		NoDefaultServerHeader:              true,
		NoDefaultContentType:               true,
		ReadBufferSize:                     config.MaxHeaderSize,
		WriteBufferSize:                    16 << 10,
		ReadTimeout:                        config.HeaderTimeout,
		IdleTimeout:                        config.IdleTimeout,
		MaxRequestBodySize:                 prefetch,
		StreamRequestBody:                  true,
		DisablePreParseMultipartForm:       true,
		Concurrency:                        config.MaxConnections,
		MaxConnsPerIP:                      config.MaxConnectionsPerIP,
		CloseOnShutdown:                    true,
		SleepWhenConcurrencyLimitsExceeded: 10 * time.Millisecond,
		Logger:                             quietLogger{logger},
	}
	p.metrics.connectLimit.Set(float64(config.MaxConnections))
	p.connections = func() int { return int(s.http.GetOpenConnectionsCount()) }
	return s
}

// Serve answers connections of l until Shutdown. It takes l over.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(&pacedListener{Listener: l, timeout: s.config.WriteTimeout}); err != nil {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting and waits for the requests that run, at most for the drain timeout.
func (s *Server) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.DrainTimeout)
	defer cancel()
	return s.http.ShutdownWithContext(ctx)
}

// headerReceived gives a body its own time: the header's would cut an upload short.
func (s *Server) headerReceived(h *fasthttp.RequestHeader) (c fasthttp.RequestConfig) {
	if n := h.ContentLength(); n > 0 || n == -1 {
		c.ReadTimeout = s.config.BodyTimeout
	}
	return c
}

// unreadable answers what never became a request: too large a header, too slow, or no HTTP.
func (p *Proxy) unreadable(ctx *fasthttp.RequestCtx, err error) {
	p.metrics.unmatched.Inc()
	var small *fasthttp.ErrSmallBuffer
	var netErr net.Error
	switch {
	case errors.As(err, &small):
		problem.Write(ctx, problem.New(problem.HeaderTooLarge, "The request's header is larger than this server accepts."))
	case errors.As(err, &netErr) && netErr.Timeout():
		problem.Write(ctx, problem.New(problem.RequestTimeout, "The request did not arrive in time."))
	default:
		problem.Write(ctx, problem.New(problem.Malformed, "The request is not well-formed HTTP/1.1."))
	}
	ctx.SetConnectionClose()
}

// pacedListener gives every write of its connections the same time. A deadline on the whole response,
// which is what fasthttp's WriteTimeout sets, would cut off an export that is long and makes progress.
type pacedListener struct {
	net.Listener
	timeout time.Duration
}

// Accept waits for a connection.
func (l *pacedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.timeout <= 0 {
		return c, nil
	}
	return &pacedConn{Conn: c, timeout: l.timeout}, nil
}

// pacedConn moves the write deadline only when half of it is gone: setting it costs as much as a small
// response's formatting.
type pacedConn struct {
	net.Conn
	timeout time.Duration
	set     atomic.Int64 // unix nanoseconds at which the deadline was last set
}

// Write writes, or fails when the client has taken nothing for the timeout.
func (c *pacedConn) Write(b []byte) (int, error) {
	now := time.Now()
	if now.UnixNano()-c.set.Load() > int64(c.timeout/2) {
		if err := c.SetWriteDeadline(now.Add(c.timeout)); err != nil {
			return 0, err
		}
		c.set.Store(now.UnixNano())
	}
	return c.Conn.Write(b)
}

// NetConn returns the connection behind, as tls.Conn's does: its way to end can be chosen there.
func (c *pacedConn) NetConn() net.Conn { return c.Conn }

// quietLogger takes what fasthttp has to say about broken clients as debug messages.
type quietLogger struct{ logger *slog.Logger }

// Printf logs the message.
func (l quietLogger) Printf(format string, args ...any) {
	l.logger.Debug("http server", "message", fmt.Sprintf(format, args...))
}
