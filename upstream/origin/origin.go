package origin

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/sony/gobreaker/v2"
	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/rules"
)

const (
	bufferSize  = 32 << 10 // of a connection's reader: a header must fit in
	idleTimeout = 30 * time.Second
	bodyPause   = time.Minute // for how long a body may stand still, unless the service's timeout is longer
)

// Config is how one HTTP service is reached.
type Config = rules.Upstream

// Deps are what an Origin works with. All but TrustedProxies are needed.
type Deps struct {
	Clock   cache.Clock
	Log     *cache.ChangeLog
	Logger  *slog.Logger
	Metrics *metrics.Set
	// TrustedProxies are the peers whose word on where a request comes from is passed on. Of everybody else
	// the X-Forwarded fields and Forwarded are replaced.
	TrustedProxies []netip.Prefix
}

// Origin is one HTTP service. Safe for concurrent use.
type Origin struct {
	config  Config
	trusted []netip.Prefix
	host    string // of the URL, as a Host field has it
	base    string // the URL's path without a slash at its end
	tls     *tls.Config
	clock   cache.Clock
	log     *cache.ChangeLog
	logger  *slog.Logger
	metrics *originMetrics
	client  *fasthttp.HostClient // the pool of connections
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	opened  atomic.Int64 // cache.Instant at which the breaker opened last
	retired atomic.Bool  // another Origin has taken over

	mu      sync.Mutex // guards all below
	tunnels map[*tunnel]struct{}
	closed  bool
	running sync.WaitGroup // tunnels
}

// New makes an Origin. It connects to nothing before it is asked for something.
func New(config Config, deps Deps) (*Origin, error) {
	u, err := url.Parse(config.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the URL of an HTTP service; write it as http://127.0.0.1:8000", config.URL)
	}
	o := &Origin{
		config: config, trusted: deps.TrustedProxies, host: u.Host, base: strings.TrimRight(u.EscapedPath(), "/"),
		clock: deps.Clock, log: deps.Log, logger: deps.Logger, metrics: newMetrics(deps.Metrics, config.Name),
		tunnels: make(map[*tunnel]struct{}),
	}
	port := u.Port()
	if u.Scheme == "https" {
		o.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
		if port == "" {
			port = "443"
		}
	} else if port == "" {
		port = "80"
	}
	o.client = &fasthttp.HostClient{
		Addr:                net.JoinHostPort(u.Hostname(), port),
		DialTimeout:         o.dial,
		MaxConns:            config.MaxConnections,
		MaxConnWaitTimeout:  max(config.Timeout, time.Second),
		MaxIdleConnDuration: idleTimeout,
		ConnPoolStrategy:    fasthttp.LIFO,
		ReadBufferSize:      bufferSize,
	}
	o.breaker = o.newBreaker(config.Breaker)
	o.metrics.breaker.Set(0)
	o.metrics.limit.Set(float64(config.MaxConnections))
	return o, nil
}

// Name returns the service's name in the configuration.
func (o *Origin) Name() string { return o.config.Name }

// Health tells whether the service answers, as far as requests have shown: up, degraded while one request
// is let through to try, or down; and why not up.
func (o *Origin) Health() (state, reason string) {
	switch o.breaker.State() {
	case gobreaker.StateOpen:
		return "down", fmt.Sprintf("%d failures in a row; the next try is in %s", o.config.Breaker.Failures, max(o.untilTry(), 0).Round(time.Second))
	case gobreaker.StateHalfOpen:
		return "degraded", "one request is tried after failures"
	case gobreaker.StateClosed:
	}
	return "up", ""
}

// Retire is for an Origin that another has taken the place of: what runs goes on, idle connections are
// closed, and those in use are closed when they become idle.
func (o *Origin) Retire() {
	o.retired.Store(true)
	o.client.CloseIdleConnections()
}

// Close retires the Origin, ends its tunnels and waits for them.
func (o *Origin) Close() {
	o.Retire()
	o.mu.Lock()
	o.closed = true
	for t := range o.tunnels {
		t.cut()
	}
	o.mu.Unlock()
	o.running.Wait()
}

// ParseProxies reads what the configuration calls trusted proxies: networks, or single addresses.
func ParseProxies(texts []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	var errs []error
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%q is not a network; write it as 10.0.0.0/8", text))
			continue
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes, errors.Join(errs...)
}
