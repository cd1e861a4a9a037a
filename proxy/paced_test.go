package proxy

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"forebay/rules"
)

// deadlines is a connection that takes down what deadlines it is given and brings a byte with each read.
type deadlines struct {
	net.Conn
	read, write time.Time
	moved       int
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read, d.moved = t, d.moved+1; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }
func (d *deadlines) Read(b []byte) (int, error)         { return copy(b, "G"), nil }
func (d *deadlines) Write(b []byte) (int, error)        { return len(b), nil }

func TestTimeoutsAreThoseConfigured(t *testing.T) {
	t.Parallel()
	limits := rules.Server{HeaderTimeout: 2 * time.Second, BodyTimeout: 30 * time.Second, IdleTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	p := newPace(limits)
	d := &deadlines{}
	c := &pacedConn{Conn: d, pace: p, places: newPlaces(limits), from: netip.Addr{}}
	c.waiting.Store(true)
	at := func(now time.Duration) { p.now.Store(int64(now)) }
	read := func() {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	write := func() {
		if _, err := c.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, deadline time.Time, now, limit time.Duration) {
		t.Helper()
		got := deadline.Sub(p.began.Add(now))
		if got < limit || got > limit+limit/10 {
			t.Errorf("%s: %s, want %s or up to a tenth more", what, got, limit)
		}
	}

	read()
	want("a connection's first byte", d.read, 0, limits.HeaderTimeout)
	at(time.Second)
	read()
	want("the rest of a header", d.read, time.Second, limits.HeaderTimeout)
	c.body()
	read()
	want("a body", d.read, time.Second, limits.BodyTimeout)
	at(3 * time.Second)
	write()
	want("an answer", d.write, 3*time.Second, limits.WriteTimeout)
	read()
	want("the next request, after a body that had long", d.read, 3*time.Second, limits.IdleTimeout)

	// Ten seconds of hits, one in a millisecond: at any time the deadline is near what it has to be, and it is moved
	// seldom.
	before := d.moved
	for now := 3 * time.Second; now < 13*time.Second; now += time.Millisecond {
		at(now)
		write()
		read()
		want("the next request", d.read, now, limits.IdleTimeout)
		want("an answer", d.write, now, limits.WriteTimeout)
	}
	if moved := d.moved - before; moved > 40 {
		t.Errorf("10 000 requests in 10 s moved the deadline %d times", moved)
	}
}
