package load_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"forebay/bench/load"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// serve answers on a free port until the test ends.
func serve(t *testing.T, handler fasthttp.RequestHandler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{Handler: handler}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestOpenLoopChargesAStallToEverybodyWhoHadToWait(t *testing.T) {
	t.Parallel()
	const stall = 500 * time.Millisecond
	var n atomic.Int64
	address := serve(t, func(*fasthttp.RequestCtx) {
		if n.Add(1) == 5 {
			time.Sleep(stall)
		}
	})
	m := load.Run(t.Context(), load.Config{Address: address, Window: time.Second, Timeout: 5 * time.Second},
		load.Stream{Name: "x", Connections: 1, Rate: 100, New: load.Fixed(load.NewRequest("x", "GET", "/", ""))})
	r := m.Of("x")
	if got := r.Asked(); got < 99 || got > 101 {
		t.Errorf("a second at 100 a second had %d arrivals", got)
	}
	// One request took 500 ms. Those of the 49 that were due meanwhile waited 490, 480, … ms: a generator that
	// stops its clock while it waits would report a p90 of less than a millisecond.
	if want := float64(stall.Milliseconds()) / 2; r.Latency.P90 < want {
		t.Errorf("p90 is %v ms; the requests that were due during the stall are not in it", r.Latency.P90)
	}
}

func TestOpenLoopCountsWhatItCouldNotEvenSend(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	address := serve(t, func(*fasthttp.RequestCtx) { <-release })
	done := make(chan *load.Measured)
	go func() {
		done <- load.Run(t.Context(), load.Config{Address: address, Window: time.Second, Timeout: 10 * time.Second},
			load.Stream{Name: "x", Connections: 1, Rate: 10, New: load.Fixed(load.NewRequest("x", "GET", "/", ""))})
	}()
	timer := time.NewTimer(1300 * time.Millisecond)
	defer timer.Stop()
	<-timer.C
	close(release)
	r := (<-done).Of("x")
	if r.Counts.Answered != 1 || r.Counts.Unserved != r.Asked()-1 || r.Asked() != 10 {
		t.Errorf("of 10 arrivals one was sent and answered; counted: %+v", r.Counts)
	}
}

func TestCountsSayWhatBecameOfRequests(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	address := serve(t, func(ctx *fasthttp.RequestCtx) {
		ctx.Response.Header.Set("Cache-Status", []string{"forebay; hit; ttl=9", "forebay; hit; ttl=-9; detail=stale-if-error", "forebay; fwd=uri-miss; stored"}[n.Load()%3])
		if n.Add(1)%4 == 0 {
			ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		}
		ctx.SetBodyString("12345678")
	})
	m := load.Run(t.Context(), load.Config{Address: address, Window: time.Minute},
		load.Stream{Name: "x", Connections: 1, Count: 12, New: load.Fixed(load.NewRequest("x", "GET", "/", "")), Group: func(string) string { return "all" }})
	got := m.Of("x").Counts
	want := load.Counts{Answered: 9, Wrong: 3, Hits: 3, Stale: 3, Forwarded: 3, Bytes: 12 * 8}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if m.Of("all").Counts != want {
		t.Errorf("the group has %+v, want %+v", m.Of("all").Counts, want)
	}
	if m.Strange["x: status 503"] != 3 {
		t.Errorf("wrong answers are told as %v", m.Strange)
	}
	if m.Seconds > 30 || m.Of("x").Throughput == 0 {
		t.Errorf("a run that had its count lasted %v s at %v/s", m.Seconds, m.Of("x").Throughput)
	}
}

func TestAServerThatIsAwayIsCountedAndNotHammered(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	m := load.Run(t.Context(), load.Config{Address: address, Window: 500 * time.Millisecond},
		load.Stream{Name: "x", Connections: 1, New: load.Fixed(load.NewRequest("x", "GET", "/", ""))})
	if c := m.Of("x").Counts; c.Broken == 0 || c.Broken > 110 || c.Answered != 0 {
		t.Errorf("counted %+v", c)
	}
}

func TestDrawsAreTheSameForASeed(t *testing.T) {
	t.Parallel()
	draw := func(seed uint64) (keys []int) {
		k := load.NewKeys(load.Random(seed, 3), 1000, load.Distribution{Zipf: 1.1})
		for range 100 {
			keys = append(keys, k.Next())
		}
		return keys
	}
	first := 0
	for i, k := range draw(7) {
		if k != draw(7)[i] {
			t.Fatal("the same seed drew other keys")
		}
		if k < 10 {
			first++
		}
	}
	if first < 30 {
		t.Errorf("of 100 Zipf draws only %d were of the ten most popular of 1000", first)
	}
}
