package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lmittmann/tint"

	"forebay/rules"
)

// serveFlags are what the command line and the environment may say over the file.
type serveFlags struct {
	Listen      string `env:"FOREBAY_LISTEN" placeholder:"HOST:PORT" help:"Public listener; over listen in the file."`
	AdminListen string `env:"FOREBAY_ADMIN_LISTEN" placeholder:"HOST:PORT" help:"Admin listener; over admin.listen in the file."`
	LogLevel    string `env:"FOREBAY_LOG_LEVEL" placeholder:"LEVEL" help:"debug, info, warn or error; over log.level in the file."`
	LogFormat   string `env:"FOREBAY_LOG_FORMAT" placeholder:"FORMAT" help:"json, text or auto; over log.format in the file."`
	Bypass      bool   `env:"FOREBAY_BYPASS" help:"Serve nothing from the cache: the kill switch."`
}

// Validate refuses what the file's check would refuse.
func (f *serveFlags) Validate() error { return rules.CheckLog(f.LogLevel, f.LogFormat) }

// apply puts what was said over the configuration.
func (f *serveFlags) apply(c *rules.Config) {
	over := func(to *string, said string) {
		if said != "" {
			*to = said
		}
	}
	over(&c.Listen, f.Listen)
	over(&c.Admin.Listen, f.AdminListen)
	over(&c.Log.Level, f.LogLevel)
	over(&c.Log.Format, f.LogFormat)
	c.Bypass = c.Bypass || f.Bypass
}

// runCmd serves a configuration file.
type runCmd struct {
	serveFlags
	Config string `short:"c" required:"" env:"FOREBAY_CONFIG" type:"path" help:"Configuration file."`
}

// Run serves until it is told to end.
func (r *runCmd) Run(ctx context.Context) error {
	from := &fileSource{path: r.Config, flags: &r.serveFlags}
	config, err := from.load()
	if err != nil {
		return reportMistakes(err)
	}
	a, err := newApp(config, from, newLogger(config.Log))
	if err != nil {
		return err
	}
	if err := a.statementsFit(ctx, config); err != nil {
		return reportMistakes(err)
	}
	public, err := listen(config.Listen, "listen")
	if err != nil {
		return err
	}
	operator, err := listenAdmin(config)
	if err != nil {
		_ = public.Close()
		return err
	}
	return a.run(ctx, public, operator)
}

// fileSource is a configuration file with what the command line says over it.
type fileSource struct {
	path  string
	flags *serveFlags
	seen  atomic.Pointer[[]string] // files that the last good load read; a reload on demand loads beside who watches
}

func (f *fileSource) load() (*rules.Config, error) {
	config, err := rules.Load(f.path, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	f.flags.apply(config)
	seen := append([]string{f.path}, config.Files()...)
	f.seen.Store(&seen)
	return config, nil
}

func (f *fileSource) files() []string {
	if seen := f.seen.Load(); seen != nil {
		return *seen
	}
	return nil
}

// listen opens a listener, naming the setting when that fails.
func listen(address, setting string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("cannot listen on %s: something else does already; change %s in the configuration, or end the other program", address, setting)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s=%q: %w", setting, address, err)
	}
	return l, nil
}

// listenAdmin opens the admin listener, if there is to be one.
func listenAdmin(config *rules.Config) (net.Listener, error) {
	if config.Admin.Listen == "" {
		return nil, nil
	}
	return listen(config.Admin.Listen, "admin.listen")
}

// reportMistakes prints what is wrong with a configuration, a line each.
func reportMistakes(err error) error {
	var mistakes rules.Mistakes
	if !errors.As(err, &mistakes) {
		return err
	}
	for _, m := range mistakes {
		fmt.Fprintln(os.Stderr, m)
	}
	return errReported
}

// newLogger logs to standard error: for people on a terminal, for machines elsewhere.
func newLogger(config rules.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(config.Level)); err != nil {
		level = slog.LevelInfo
	}
	format := config.Format
	if format == "auto" {
		format = "json"
		if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			format = "text"
		}
	}
	if format == "text" {
		return slog.New(tint.NewTextHandler(os.Stderr, &tint.Options{Level: level, TimeFormat: time.TimeOnly}))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
