package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/proxy/problem"
	"forebay/rules"
)

// prefetch is how much of a request body is read before the handler runs; the rest is streamed, under the
// body's own time.
const prefetch = 8 << 10 // bytes

// Server is the public listener: fasthttp with every limit set, times by pacedConn. Safe for concurrent use.
type Server struct {
	config rules.Server
	http   *fasthttp.Server
	pace   *pace
	logger *slog.Logger
}

// NewServer makes a server for the proxy. It does not listen yet.
func NewServer(p *Proxy, config rules.Server, logger *slog.Logger) *Server {
	s := &Server{config: config, logger: logger, pace: newPace(config)}
	s.http = &fasthttp.Server{
		Handler:                            p.Handle,
		ErrorHandler:                       p.unreadable,
		Name:                               "forebay",
		NoDefaultServerHeader:              true,
		NoDefaultContentType:               true,
		ReadBufferSize:                     config.MaxHeaderSize,
		WriteBufferSize:                    writeBuffer,
		ExpectHandler:                      p.expected,
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
	s.pace.start()
	if err := s.http.Serve(&pacedListener{Listener: l, pace: s.pace}); err != nil {
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
