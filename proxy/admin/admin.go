// Package admin is the operator's listener, apart from the public one and on the loopback interface unless
// the configuration says otherwise.
//
//	GET  /livez (/live, /healthz)  200 while the process answers; asks nothing else
//	GET  /readyz (/ready)          200 or 503 with every part's state and reason; Redis never fails it
//	GET  /metrics                  Prometheus text
//	GET  /config                   the effective configuration as YAML, secrets masked
//	GET  /rules                    each rule, how it is judged (exact, ttl, …) and why
//	GET  /explain?url=/x           what becomes of a request, whether what is stored is current, and why
//	GET  /bypass                   what the kill switch is on for
//	GET  /debug/pprof/             profiles
//	POST /bypass                   {"all": true} or {"rule": "GET /x", "bypass": true}
//	POST /purge                    see PurgeRequest
//	PURGE /any/url                 purges that URL: all its variants and identities
//	POST /reload                   reads the configuration again; a bad one is refused and the old one stays
//
// # Who may
//
// The first three answer anyone who reaches the listener. The other reading routes answer callers on the
// same host, and others with the administrator's token. The routes that change something need the token
// whenever one is configured; when none is, they answer only if the listener is bound to a loopback
// address, and never a browser's request on behalf of some page (one with an Origin, or to a host by name).
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"forebay/proxy/health"
	"forebay/proxy/problem"
	"forebay/rules"
)

const (
	readTimeout  = 10 * time.Second
	writeTimeout = 3 * time.Minute // a profile is written after the seconds that it was asked for
	idleTimeout  = 75 * time.Second
	drainTimeout = 2 * time.Second
	actTimeout   = 30 * time.Second // of a purge or a reload
	maxBody      = 1 << 20          // bytes; a purge of maxTargets long URLs
	maxAtOnce    = 256              // connections
)

// Config is where the listener is.
type Config struct {
	Listen string // host:port
}

// Deps are what the listener reports on and what it may do. Functions must be safe for concurrent use and,
// but for Purge and Reload, return at once. An error that is a *problem.Problem is answered as it is; of
// Reload, any other error's text is shown to the operator; of the rest, it is logged and not shown.
type Deps struct {
	Token     func() rules.Secret // the administrator's; empty: none
	Parts     func() []health.Part
	Metrics   *metrics.Set
	Config    func() ([]byte, error) // YAML, secrets masked
	Rules     func() []RuleReport
	Explain   func(ctx context.Context, method, url string, header func(string) [][]byte) (any, error) // encoded as JSON
	Purge     func(ctx context.Context, purge PurgeRequest) (PurgeResult, error)
	Reload    func(ctx context.Context) error
	Bypass    func() BypassState
	SetBypass func(rule string, on bool) error // rule "": all
	Logger    *slog.Logger
}

// RuleReport is one rule, as /rules lists it.
type RuleReport struct {
	Name      string   `json:"name"`
	Source    string   `json:"source"`         // postgres, or the upstream's name
	Kind      string   `json:"kind,omitempty"` // the ttl class
	TTL       string   `json:"ttl"`            // 0s: never stored
	Freshness string   `json:"freshness"`      // exact: changes outdate it; own writes: those through forebay; ttl: time and purges only; none: nothing is stored
	Reason    string   `json:"reason"`         // why it is judged so
	By        string   `json:"by"`             // rows, tables, fills or ttl: what outdates its responses; empty while it is not known
	Judged    string   `json:"judged"`         // all of it in a sentence
	Tables    []string `json:"tables"`         // as far as found or declared
	Rows      []string `json:"rows"`           // of tables: those of which certain rows alone matter, as in "clients[id]"
	Whole     []string `json:"whole"`          // why rows of the others are not told apart, as in "orders: …"
	Tags      []string `json:"tags"`
	Batch     string   `json:"batch,omitempty"` // how the items of a batch are sent, and why not as one statement
	Bypass    bool     `json:"bypass"`
}

// BypassState is what the kill switch is on for.
type BypassState struct {
	All   bool     `json:"all"`
	Rules []string `json:"rules"` // by themselves, whatever All says
}

// ErrNoRule is what SetBypass returns for a rule that does not exist.
var ErrNoRule = errors.New("no such rule")

// Admin serves the operator's routes. Safe for concurrent use.
type Admin struct {
	cfg      Config
	deps     Deps
	loopback bool // what the listener is bound to; set by Serve before anything is served
}

// New makes the listener's handler. It does not listen yet.
func New(cfg Config, deps Deps) *Admin {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	return &Admin{cfg: cfg, deps: deps}
}

// Listen binds the configured address.
func (a *Admin) Listen() (net.Listener, error) {
	ln, err := net.Listen("tcp", a.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf(`cannot listen on %q for administrators: %w; set admin.listen to a free address, or to "" to do without`, a.cfg.Listen, err)
	}
	return ln, nil
}

// Run listens on the configured address and serves until ctx ends.
func (a *Admin) Run(ctx context.Context) error {
	ln, err := a.Listen()
	if err != nil {
		return err
	}
	return a.Serve(ctx, ln)
}

// Serve serves on ln until ctx ends, and closes it. It returns nil when ctx ended it. Call it once.
func (a *Admin) Serve(ctx context.Context, ln net.Listener) error {
	a.loopback = isLoopback(ln.Addr())
	server := &fasthttp.Server{
		Handler:                      a.Handle,
		ErrorHandler:                 refuse,
		Concurrency:                  maxAtOnce,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		MaxRequestBodySize:           maxBody,
		NoDefaultServerHeader:        true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		Logger:                       silent{},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve administrators: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.ShutdownWithContext(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop serving administrators: %w", err)
	}
	<-served
	return nil
}

// silent drops fasthttp's own log: what it reports are faults of single connections.
type silent struct{}

func (silent) Printf(string, ...any) {}

// refuse answers a request that could not be read.
func refuse(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small):
		problem.Write(ctx, problem.New(problem.HeaderTooLarge, "The request's header is too large."))
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		problem.Write(ctx, problem.New(problem.ContentTooLarge, fmt.Sprintf("The request's body is larger than %d bytes.", maxBody)))
	case errors.As(err, &timeout) && timeout.Timeout():
		problem.Write(ctx, problem.New(problem.RequestTimeout, "The request did not arrive in time."))
	default:
		problem.Write(ctx, problem.New(problem.Malformed, "The request could not be read."))
	}
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr.Network() == "unix"
	}
	return tcp.IP.IsLoopback()
}
