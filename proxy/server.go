package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/proxy/problem"
	"forebay/rules"
)

const (
	// serverName is what the Server field of a response says that has none of its service's.
	serverName = "forebay"

	// prefetch is how much of a request body is read before the handler runs, in the time that the header has; at
	// least a byte. The rest is streamed, in the body's own time.
	prefetch = 1 // bytes
)

// Server is the public listener: fasthttp with every limit set, times and the number of connections by
// pacedListener. Safe for concurrent use.
type Server struct {
	config rules.Server
	proxy  *Proxy
	http   *fasthttp.Server
	pace   *pace
	places *places
	logger *slog.Logger

	mu       sync.Mutex // guards all below
	listener *pacedListener
}

// NewServer makes a server for the proxy. It does not listen yet.
func NewServer(p *Proxy, config rules.Server, logger *slog.Logger) *Server {
	s := &Server{config: config, logger: logger, proxy: p, pace: newPace(config), places: newPlaces(config)}
	s.http = &fasthttp.Server{
		Handler:                      p.Handle,
		ErrorHandler:                 p.unreadable,
		Name:                         serverName,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		ReadBufferSize:               config.MaxHeaderSize,
		WriteBufferSize:              writeBuffer,
		ExpectHandler:                p.expected,
		MaxRequestBodySize:           prefetch,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		Concurrency:                  2 * config.MaxConnections, // never reached: a connection gives its place back before its worker is free
		CloseOnShutdown:              true,
		Logger:                       quietLogger{logger},
	}
	p.metrics.connectLimit.Set(float64(config.MaxConnections))
	p.connections = func() int { return int(s.http.GetOpenConnectionsCount()) }
	return s
}

// Serve answers connections of l until Shutdown. It takes l over.
func (s *Server) Serve(l net.Listener) error {
	s.pace.start()
	paced := &pacedListener{Listener: l, pace: s.pace, places: s.places, turnedAway: s.proxy.metrics.unmatched.Inc}
	s.mu.Lock()
	s.listener = paced
	s.mu.Unlock()
	if err := s.http.Serve(paced); err != nil {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// farewell is the share of the drain timeout, one in so many, that open connections have to bring a request.
const farewell = 10

// Shutdown stops accepting and waits for the requests that run, at most for the drain timeout.
//
// A client may be sending its next request just now on a connection that seems idle: were it closed, nobody could
// tell that client whether the request was carried out. So the next response of each connection says that it is the
// last one, and who brings no request meanwhile is closed without.
func (s *Server) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.DrainTimeout)
	defer cancel()
	defer s.pace.stop()
	s.proxy.leaving.Store(true)
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	last := time.NewTimer(s.config.DrainTimeout / farewell)
	defer last.Stop()
	select {
	case <-s.places.emptied():
	case <-last.C:
	case <-ctx.Done():
	}
	return s.http.ShutdownWithContext(ctx)
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

// quietLogger takes what fasthttp has to say about broken clients as debug messages.
type quietLogger struct{ logger *slog.Logger }

// Printf logs the message.
func (l quietLogger) Printf(format string, args ...any) {
	l.logger.Debug("http server", "message", fmt.Sprintf(format, args...))
}
