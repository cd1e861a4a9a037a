package scenario

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"forebay/bench/clients"
	"forebay/bench/load"
	"forebay/bench/report"
	"forebay/bench/stage"
)

// SlowClients has many connections that send their request a byte at a time, and as many that ask for much
// and read nothing, beside ordinary users.
func (s *Settings) SlowClients(ctx context.Context, st *stage.Stage, population *clients.Population) (*report.Section, error) {
	slow := s.times(500, 40)
	section := report.NewSection("slow-clients", "Slow clients",
		fmt.Sprintf("%d connections send a byte of their request every half second, and %d ask for long lists and read nothing. The users beside them should not notice, and the slow ones should be cut off.", slow, slow))
	f, err := st.Clients(ctx, stage.Variant{})
	if err != nil {
		return section, err
	}
	defer f.Stop()
	window := s.lasting(12*time.Second, 500*time.Millisecond)
	run := func() *load.Result {
		return load.Run(ctx, load.Config{Address: f.Address(), Window: window, Timeout: s.Timeout, Seed: s.Seed}, s.users("by-id", population.ByID())).Of(readClass)
	}
	s.Step("slow clients · none yet")
	load.Run(ctx, load.Config{Address: f.Address(), Window: s.lasting(time.Second, 100*time.Millisecond), Timeout: s.Timeout, Seed: s.Seed + 1}, s.workers("by-id", population.ByID()))
	usual := run()
	s.Step("slow clients · %d", 2*slow)
	crawlers := crawl(ctx, f.Address(), slow)
	// What they all ask for at their start is a burst, and not slow.
	select {
	case <-time.After(s.lasting(2*time.Second, 200*time.Millisecond)):
	case <-ctx.Done():
	}
	beside := run()
	cut, open := crawlers.stop()

	table := report.Table{Title: fmt.Sprintf("%d users", s.Users), Columns: []string{"", "requests", "wrong or broken", "timeouts", "p50 ms", "p99 ms", "max ms"}}
	for i, r := range []*load.Result{usual, beside} {
		table.Row([]string{"alone", "beside slow clients"}[i], fmt.Sprint(r.Asked()), fmt.Sprint(r.Errors()), fmt.Sprint(r.Counts.Timeouts+r.Counts.Unserved), report.Number(r.Latency.P50), report.Number(r.Latency.P99), report.Number(r.Latency.Max))
	}
	section.Tables = append(section.Tables, table)
	section.Figures = append(section.Figures,
		report.Low("slow-clients.p99", "beside slow clients: p99 of users", beside.Latency.P99, "ms").Want(10, ours).With("alone: %s ms", report.Number(usual.Latency.P99)),
		report.Low("slow-clients.errors", "beside slow clients: errors and timeouts of users", float64(beside.Errors()+beside.Counts.Timeouts+beside.Counts.Unserved), "").Want(0, ours))
	if s.Quick {
		section.Note("Whether slow senders are cut off takes longer to see than a quick run lasts: header_timeout is 10 s.")
	} else {
		section.Figures = append(section.Figures,
			report.High("slow-clients.cut", "slow senders cut off after header_timeout", 100*share(cut, cut+open), "%").Want(100, ours).With("%d of %d", cut, cut+open))
	}
	return section, ctx.Err()
}

// crawlers are the slow clients.
type crawlers struct {
	cancel context.CancelFunc
	group  sync.WaitGroup
	cut    atomic.Int64 // senders that the server closed
	open   atomic.Int64 // senders that were still open at the end
}

// crawl starts n senders and n that do not read.
func crawl(ctx context.Context, address string, n int) *crawlers {
	ctx, cancel := context.WithCancel(ctx)
	c := &crawlers{cancel: cancel}
	for range n {
		c.group.Go(func() { c.sender(ctx, address) })
		c.group.Go(func() { c.hoarder(ctx, address) })
	}
	return c
}

// stop ends them and says how many senders had been cut off.
func (c *crawlers) stop() (cut, open int) {
	c.cancel()
	c.group.Wait()
	return int(c.cut.Load()), int(c.open.Load())
}

// sender sends a byte at a time.
func (c *crawlers) sender(ctx context.Context, address string) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		var b [512]byte
		for {
			// Whatever comes, a 408 for one, precedes the end.
			if _, err := conn.Read(b[:]); err != nil {
				return
			}
		}
	}()
	defer func() {
		_ = conn.Close()
		<-closed
	}()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	text := "GET " + clients.Dashboard + " HTTP/1.1\r\nHost: bench\r\nX-Slow: " + fmt.Sprintf("%0200d", 0)
	for i := range text {
		if _, err := conn.Write([]byte{text[i]}); err != nil {
			c.cut.Add(1)
			return
		}
		select {
		case <-ticker.C:
		case <-closed:
			c.cut.Add(1)
			return
		case <-ctx.Done():
			c.open.Add(1)
			return
		}
	}
}

// hoarder asks for long lists and reads none of them.
func (c *crawlers) hoarder(ctx context.Context, address string) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Otherwise the kernel would take megabytes for it, and the server would not notice that nobody reads.
		_ = tcp.SetReadBuffer(4 << 10)
	}
	request := []byte("GET " + clients.Search + "?limit=100 HTTP/1.1\r\nHost: bench\r\n\r\n")
	for range 10 {
		if _, err := conn.Write(request); err != nil {
			return
		}
	}
	<-ctx.Done()
}
