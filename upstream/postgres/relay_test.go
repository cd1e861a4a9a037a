package postgres_test

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// relay stands between a Database and its server and breaks what passes, as networks do.
type relay struct {
	listener net.Listener
	target   string // guarded by mu where a test leads elsewhere
	url      string
	deaf     atomic.Bool  // what the server says is lost
	turns    atomic.Int64 // how often a client spoke after the server had

	mu      sync.Mutex // guards all below
	conns   map[net.Conn]bool
	refuses bool
	work    sync.WaitGroup
}

// newRelay makes one in front of the database, until the test ends.
func newRelay(t testing.TB, database string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, target: u.Host, conns: make(map[net.Conn]bool)}
	u.Host = l.Addr().String()
	r.url = u.String()
	r.work.Add(1)
	go r.serve()
	t.Cleanup(func() {
		_ = l.Close()
		r.cut()
		r.work.Wait()
	})
	return r
}

func (r *relay) serve() {
	defer r.work.Done()
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", r.leads())
		if err != nil || !r.add(client, server) {
			_ = client.Close()
			continue
		}
		spoke := new(atomic.Bool) // the server did, last
		go r.pass(server, client, func() bool {
			if spoke.Swap(false) {
				r.turns.Add(1)
			}
			return true
		})
		go r.pass(client, server, func() bool { spoke.Store(true); return !r.deaf.Load() })
	}
}

func (r *relay) leads() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.target
}

// lead has new connections go to another server; those that are there stay.
func (r *relay) lead(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}

func (r *relay) add(client, server net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuses {
		_ = server.Close()
		return false
	}
	r.conns[client], r.conns[server] = true, true
	r.work.Add(2)
	return true
}

// pass copies until one side ends; what must not pass is read and dropped.
func (r *relay) pass(to, from net.Conn, passes func() bool) {
	defer r.work.Done()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && passes() {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
}

// cut breaks every connection there is.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
	}
	clear(r.conns)
}

// refuse turns new connections away, or lets them in again.
func (r *relay) refuse(refuses bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuses = refuses
}
