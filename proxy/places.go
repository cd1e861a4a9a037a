package proxy

import (
	"bufio"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/proxy/problem"
	"forebay/rules"
)

const (
	// breath is what the listener takes after a connection for which there was no place at all: refusing others as
	// fast as they come would take what those that are served need.
	breath = 10 * time.Millisecond

	// refusalTime is what a client has to take a refusal of its connection.
	refusalTime = 100 * time.Millisecond

	// returnAfter is when a client that was refused is told to come again.
	returnAfter = time.Second
)

// places are how many connections clients may have, in all and from one address. Safe for concurrent use.
type places struct {
	limit   int // of all
	perAddr int // of one address; 0: none of its own

	mu    sync.Mutex // guards all below
	taken int
	of    map[netip.Addr]int // nil without a limit for one address
	empty chan struct{}      // closed when the last place is given back; nil: nobody waits for that
}

func newPlaces(config rules.Server) *places {
	p := &places{limit: config.MaxConnections, perAddr: config.MaxConnectionsPerIP}
	if p.perAddr > 0 {
		p.of = make(map[netip.Addr]int)
	}
	return p
}

// take takes a place for a connection from the address, or says why it has none.
func (p *places) take(from netip.Addr) *problem.Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.taken >= p.limit:
		return problem.New(problem.Overloaded, "As many connections are open as may be at once.")
	case p.of != nil && p.of[from] >= p.perAddr:
		return problem.New(problem.TooManyRequests, "As many connections are open from this address as it may have at once.")
	}
	p.taken++
	if p.of != nil {
		p.of[from]++
	}
	return nil
}

// leave gives the place back.
func (p *places) leave(from netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.tell()
	if p.of == nil {
		return
	}
	if p.of[from]--; p.of[from] == 0 {
		delete(p.of, from)
	}
}

// emptied returns a channel that is closed when no place is taken.
func (p *places) emptied() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	empty := make(chan struct{})
	p.empty = empty
	p.tell()
	return empty
}

// tell tells whoever waits for it that no place is taken. Called with the lock held.
func (p *places) tell() {
	if p.taken == 0 && p.empty != nil {
		close(p.empty)
		p.empty = nil
	}
}

// turnAway answers a connection that has no place, whatever it was about to ask, and closes it.
func turnAway(c net.Conn, q *problem.Problem) {
	q.RetryAfter = returnAfter
	var ctx fasthttp.RequestCtx
	problem.Write(&ctx, q)
	ctx.Response.Header.SetServer(serverName)
	ctx.SetConnectionClose()
	if c.SetWriteDeadline(time.Now().Add(refusalTime)) == nil {
		w := bufio.NewWriter(c)
		_ = ctx.Response.Write(w) // fails only for who has gone
		_ = w.Flush()
	}
	_ = c.Close()
}

// addressOf returns the address that a connection comes from; invalid where it has none.
func addressOf(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		addr, _ := netip.AddrFromSlice(tcp.IP)
		return addr.Unmap()
	}
	return netip.Addr{}
}
