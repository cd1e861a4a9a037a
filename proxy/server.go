package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

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
	http   *fasthttp.Server
	pace   *pace
	places *places
	refuse func()
	logger *slog.Logger
}

// NewServer makes a server for the proxy. It does not listen yet.
func NewServer(p *Proxy, config rules.Server, logger *slog.Logger) *Server {
	s := &Server{config: config, logger: logger, pace: newPace(config), places: newPlaces(config), refuse: p.metrics.unmatched.Inc}
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
	if err := s.http.Serve(&pacedListener{Listener: l, pace: s.pace, places: s.places, turnedAway: s.refuse}); err != nil {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting and waits for the requests that run, at most for the drain timeout.
func (s *Server) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.DrainTimeout)
	defer cancel()
	defer s.pace.stop()
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
