package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"forebay/proxy"
	"forebay/rules"
	"forebay/upstream/origin"
)

// settle is how long a changed file is left alone before it is read: editors write in several steps, and
// Kubernetes swaps a link.
const settle = 200 * time.Millisecond

// reloader puts a changed configuration in place. Safe for concurrent use.
type reloader struct {
	app  *app
	from source // nil: there is no file

	mu sync.Mutex // held during a reload
}

// run reloads at each SIGHUP and each change of a file, until ctx ends.
func (r *reloader) run(ctx context.Context) error {
	if r.from == nil {
		return nil
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	watcher, err := r.watch()
	if err != nil {
		r.app.logger.Warn("configuration files are not watched; send SIGHUP after a change", "err", err)
		watcher = &fsnotify.Watcher{}
	} else {
		defer watcher.Close()
	}
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			_ = r.reload(ctx) // said in the log
		case event := <-watcher.Events:
			if r.concerns(event.Name) {
				settled = time.After(settle)
			}
		case err := <-watcher.Errors:
			r.app.logger.Warn("watching configuration files failed", "err", err)
		case <-settled:
			settled = nil
			_ = r.reload(ctx)
		}
	}
}

// watch watches directories: a file that is replaced is another file.
func (r *reloader) watch() (*fsnotify.Watcher, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	for _, file := range r.from.files() {
		if err := watcher.Add(filepath.Dir(file)); err != nil {
			_ = watcher.Close()
			return nil, fmt.Errorf("watch %s: %w", filepath.Dir(file), err)
		}
	}
	return watcher, nil
}

// concerns reports whether the name is one of the configuration's files, or the link by which Kubernetes
// swaps a whole directory.
func (r *reloader) concerns(name string) bool {
	if filepath.Base(name) == "..data" {
		return true
	}
	for _, file := range r.from.files() {
		if filepath.Clean(name) == filepath.Clean(file) {
			return true
		}
	}
	return false
}

// reload reads the configuration and puts it in place, or keeps the old one and says why.
func (r *reloader) reload(ctx context.Context) error {
	if r.from == nil {
		return errors.New("this forebay was not started from a configuration file")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.replace(ctx)
	r.app.proxy.Reloaded(err == nil)
	if err != nil {
		r.app.logger.Error("configuration not reloaded, the old one stays", "err", err)
		return err
	}
	r.app.logger.Info("configuration reloaded")
	return nil
}

func (r *reloader) replace(ctx context.Context) error {
	config, err := r.from.load()
	if err != nil {
		return err
	}
	if changed := needRestart(r.app.config, config); len(changed) > 0 {
		r.app.logger.Warn("some changes need a restart and are not in place yet", "settings", strings.Join(changed, " "))
	}
	config.Postgres, config.Server, config.Cache = r.app.config.Postgres, r.app.config.Server, r.app.config.Cache
	if err := r.app.statementsFit(ctx, config); err != nil {
		return err
	}
	generation, err := r.app.generation(config)
	if err != nil {
		return err
	}
	r.app.performance.Use(config.Performance)
	r.app.proxy.Use(context.WithoutCancel(ctx), *generation)
	r.app.resurvey()
	return nil
}

// statementsFit has the database prepare every statement, if it answers now. The error is a rules.Mistakes.
func (a *app) statementsFit(ctx context.Context, config *rules.Config) error {
	if a.database == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	if err := a.database.Ping(ctx); err != nil {
		return nil // what is wrong will be said when it answers, by each rule
	}
	var wrong rules.Mistakes
	for _, m := range a.database.Prepare(ctx, config.Rules.Rules()) {
		if !m.Warning {
			wrong = append(wrong, m)
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

// needRestart names the settings that differ and are read once, when the process starts.
func needRestart(old, config *rules.Config) []string {
	var changed []string
	for _, s := range []struct {
		name     string
		old, now any
	}{
		{"listen", old.Listen, config.Listen},
		{"server", old.Server, config.Server},
		{"admin", old.Admin, config.Admin},
		{"postgres", old.Postgres, config.Postgres},
		{"cache", old.Cache, config.Cache},
		{"log", old.Log, config.Log},
	} {
		if !reflect.DeepEqual(s.old, s.now) {
			changed = append(changed, s.name)
		}
	}
	return changed
}

// generation makes what a configuration needs beside what lives as long as the process.
func (a *app) generation(config *rules.Config) (*proxy.Generation, error) {
	g := &proxy.Generation{Config: config, Database: a.database, Origins: make(map[string]*origin.Origin)}
	if config.Performance.Path != "" {
		g.Performance = a.performance
	}
	trusted, err := origin.ParseProxies(config.Server.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("cannot use server.trusted_proxies: %w", err)
	}
	for name, upstream := range config.Upstreams {
		o, err := origin.New(*upstream, origin.Deps{Clock: a.clock, Logger: a.logger, Metrics: a.metrics, Log: a.log, TrustedProxies: trusted})
		if err != nil {
			return nil, fmt.Errorf("cannot use upstreams.%s: %w", name, err)
		}
		g.Origins[name] = o
	}
	return g, nil
}
