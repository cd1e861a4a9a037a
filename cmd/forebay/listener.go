package main

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"syscall"
	"time"
)

const (
	firstPause   = 5 * time.Millisecond
	longestPause = 100 * time.Millisecond
	complainOnce = time.Second // in so long, however often it happens
)

// steadyListener goes on accepting after what passes by itself: files that have run out, because clients open
// connections faster than they are served, and clients who left before they were taken in. Whoever serves takes an
// error of Accept for the end. Used by one goroutine but for Close.
type steadyListener struct {
	net.Listener
	logger     *slog.Logger
	complained time.Time
}

// Accept waits for a connection.
func (l *steadyListener) Accept() (net.Conn, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		c, err := l.Listener.Accept()
		if err == nil || !passes(err) {
			return c, err
		}
		if time.Since(l.complained) > complainOnce {
			l.complained = time.Now()
			l.logger.Warn("no connection can be accepted now", "listen", l.Addr().String(), "err", err)
		}
		time.Sleep(pause)
	}
}

// passes reports whether accepting may succeed later on the same listener.
func passes(err error) bool {
	var number syscall.Errno
	return errors.As(err, &number) && slices.Contains([]syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.EPERM, syscall.EINTR,
	}, number)
}
