package redis_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// relay is a way to a server that can be cut without the server noticing. Safe for concurrent use.
type relay struct {
	listener net.Listener
	to       string

	mu    sync.Mutex // guards all below
	cut   bool
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// newRelay opens a way to the server of the URL.
func newRelay(t testing.TB, url string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, to: strings.TrimPrefix(url, "redis://"), conns: make(map[net.Conn]struct{})}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		_ = l.Close()
		r.block()
		r.wg.Wait()
	})
	return r
}

func (r *relay) url() string { return "redis://" + r.listener.Addr().String() }

// block ends every connection, and every new one at once.
func (r *relay) block() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true
	for c := range r.conns {
		_ = c.Close()
	}
}

func (r *relay) unblock() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = false
}

func (r *relay) accept() {
	for {
		from, err := r.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", r.to)
		if err != nil || !r.keep(from, to) {
			_ = from.Close()
			continue
		}
		r.wg.Go(func() { r.pump(from, to) })
		r.wg.Go(func() { r.pump(to, from) })
	}
}

// keep remembers a pair, unless the way is cut.
func (r *relay) keep(pair ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range pair {
		if r.cut {
			_ = c.Close()
		} else {
			r.conns[c] = struct{}{}
		}
	}
	return !r.cut
}

func (r *relay) pump(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_ = from.Close()
	_ = to.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, from)
}
