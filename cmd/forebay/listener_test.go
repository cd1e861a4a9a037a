package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"forebay/rules"
)

// scriptedListener accepts as its errors say, one after the other; nil accepts.
type scriptedListener struct{ errs []error }

func (l *scriptedListener) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	client, server := net.Pipe()
	_ = client.Close()
	return server, nil
}

func (l *scriptedListener) Close() error   { return nil }
func (l *scriptedListener) Addr() net.Addr { return &net.TCPAddr{Port: 1} }

func TestAcceptingGoesOnAfterWhatPasses(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	behind := &scriptedListener{errs: []error{syscall.EMFILE, syscall.EMFILE, syscall.ECONNABORTED, nil, syscall.ENFILE, nil, net.ErrClosed, syscall.EBADF}}
	l := &steadyListener{Listener: behind, logger: slog.New(slog.NewTextHandler(&log, nil))}
	for i := range 2 {
		c, err := l.Accept()
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		_ = c.Close()
	}
	if n := strings.Count(log.String(), "too many open files"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, log.String())
	}
	for _, want := range []error{net.ErrClosed, syscall.EBADF} {
		if _, err := l.Accept(); !errors.Is(err, want) {
			t.Errorf("%v, want %v: that does not pass", err, want)
		}
	}
}

func TestClientsCannotTakeAllFiles(t *testing.T) {
	t.Parallel()
	config := &rules.Config{
		Server:    rules.Server{MaxConnections: 10_000},
		Postgres:  &rules.Postgres{MaxConnections: 10},
		Upstreams: map[string]*rules.Upstream{"a": {MaxConnections: 100}},
	}
	for files, want := range map[int]int{0: 10_000, 20_000: 10_000, 10_174: 10_000, 10_173: 9_999, 1024: 850, 256: 128} {
		var log bytes.Buffer
		got := withinFiles(config, files, slog.New(slog.NewTextHandler(&log, nil)))
		if got.MaxConnections != want || (log.Len() > 0) != (want < 10_000) {
			t.Errorf("with %d files %d connections, want %d; said: %s", files, got.MaxConnections, want, log.String())
		}
	}
	if config.Server.MaxConnections != 10_000 {
		t.Error("the configuration itself was changed")
	}
}
