package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sync/errgroup"

	"forebay/cache"
	"forebay/cache/memory"
	"forebay/cache/redis"
	"forebay/proxy"
	"forebay/proxy/admin"
	"forebay/proxy/performance"
	"forebay/rules"
	"forebay/upstream/changes"
	"forebay/upstream/postgres"
)

// app is a running forebay: all that lives as long as the process. Safe for concurrent use once made.
type app struct {
	config  *rules.Config // of the start; reloads change what the proxy holds
	logger  *slog.Logger
	clock   cache.Clock
	log     *cache.ChangeLog
	metrics *metrics.Set

	memory      *memory.Store
	collector   *collector
	shared      *redis.Store       // nil without Redis
	database    *postgres.Database // nil without Postgres
	feed        *changes.Feed      // nil without Postgres
	performance *performance.Performance
	proxy       *proxy.Proxy
	server      *proxy.Server
	admin       *admin.Admin
	reloader    *reloader
	ready       chan struct{} // closed when requests can be answered
	ending      atomic.Bool   // told to end, and answering what was begun
	surveys     chan struct{} // a word that the rules are others
}

// source gives the configuration anew, for a reload.
type source interface {
	load() (*rules.Config, error)
	// files are what a change of has to be noticed.
	files() []string
}

// newApp makes everything and starts nothing.
func newApp(config *rules.Config, from source, logger *slog.Logger) (*app, error) {
	a := &app{config: config, logger: logger, clock: cache.NewClock(time.Now()), metrics: metrics.NewSet(), ready: make(chan struct{}), surveys: make(chan struct{}, 1)}
	a.log = cache.NewChangeLog(rand.Text())
	a.memory = memory.New(memory.Config{MaxBytes: config.Cache.Memory}, a.clock, a.metrics)
	a.collector = newCollector(a.memory, config.Cache.Memory)
	deps := proxy.Deps{Clock: a.clock, Log: a.log, Memory: a.memory, Logger: logger, Metrics: a.metrics}
	if url := config.Cache.Redis; url != "" {
		shared, err := redis.New(redis.Config{URL: string(url), Prefix: config.Cache.RedisPrefix, Budget: config.Cache.RedisBudget, ShareExact: config.Cache.ShareExact, MaxLag: config.MaxLag},
			redis.Deps{Log: a.log, Clock: a.clock, Logger: logger, Metrics: a.metrics})
		if err != nil {
			return nil, fmt.Errorf("cannot use cache.redis: %w", err)
		}
		a.shared, deps.Shared = shared, shared
	}
	if config.Postgres != nil {
		of := postgres.Deps{Log: a.log, Clock: a.clock, Logger: logger, Metrics: a.metrics, Observe: a.observe}
		if err := a.newFeed(config.Postgres, &of); err != nil {
			return nil, err
		}
		database, err := postgres.New(postgres.ConfigOf(config.Postgres), of)
		if err != nil {
			return nil, fmt.Errorf("cannot use postgres: %w", err)
		}
		a.database, deps.Feed = database, a.feed
	}
	deps.Secret = config.Admin.Token
	a.proxy = proxy.New(deps)
	a.performance = performance.New(config.Performance, a.performanceDeps())
	a.server = proxy.NewServer(a.proxy, withinFiles(config, openFiles(), logger), logger)
	a.reloader = &reloader{app: a, from: from}
	if config.Admin.Listen != "" {
		a.admin = admin.New(admin.Config{Listen: config.Admin.Listen}, a.adminDeps())
	}
	a.metrics.NewGauge(fmt.Sprintf(`forebay_build_info{version=%q}`, version), func() float64 { return 1 })
	return a, nil
}

// run serves on the listeners until ctx ends, then drains. It takes the listeners over.
func (a *app) run(ctx context.Context, public, operator net.Listener) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	generation, err := a.generation(a.config)
	if err != nil {
		return err
	}
	a.proxy.Use(work, *generation)
	close(a.ready)
	var tasks errgroup.Group
	tasks.Go(func() error { return a.performance.Run(work) })
	tasks.Go(func() error { return a.reloader.run(work) })
	tasks.Go(func() error { return a.collector.run(work) })
	tasks.Go(func() error { return runPages(work, a.logger) })
	if a.database != nil {
		tasks.Go(func() error { return a.database.Run(work) })
		tasks.Go(func() error { return a.runFeed(work) })
	}
	if a.shared != nil {
		tasks.Go(func() error { return a.shared.Run(work) })
	}
	serving, done := errgroup.WithContext(ctx)
	if operator != nil {
		tasks.Go(func() error { return a.admin.Serve(work, &steadyListener{Listener: operator, logger: a.logger}) })
	}
	serving.Go(func() error { return a.server.Serve(&steadyListener{Listener: public, logger: a.logger}) })
	a.logger.Info("serving", "listen", public.Addr().String(), "admin", address(operator), "changes", a.changesMode(), "version", version)

	<-done.Done()
	a.ending.Store(true)
	a.logger.Info("draining", "timeout", a.config.Server.DrainTimeout)
	drained := a.server.Shutdown(context.WithoutCancel(ctx))
	a.proxy.Close()
	stop()
	for _, err := range []error{serving.Wait(), tasks.Wait()} {
		if err != nil {
			return err
		}
	}
	if drained != nil {
		return fmt.Errorf("requests were still running after server.drain_timeout=%s: %w", a.config.Server.DrainTimeout, drained)
	}
	a.logger.Info("stopped")
	return nil
}

// changesMode returns how changes are to be heard of.
func (a *app) changesMode() string {
	if a.config.Postgres == nil {
		return changes.ModeOff
	}
	return a.config.Postgres.Changes
}

// address names a listener that may not be there.
func address(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// observe tells the history which tables a rule's statements were found to touch.
func (a *app) observe(o postgres.Observation) { a.proxy.Touched(o.Rule, o.Tables) }
