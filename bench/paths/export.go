package paths

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"forebay/bench/gauge"
	"forebay/bench/report"
	"forebay/bench/stage"
)

// export compares the whole table as CSV with COPY of the same rows.
func (s *Settings) export(ctx context.Context, section *report.Section, forebay *stage.Forebay, st *stage.Stage) error {
	s.Step("paths · exports")
	conn, err := pgx.Connect(ctx, st.URL(stage.After))
	if err != nil {
		return fmt.Errorf("connect to copy: %w", err)
	}
	defer conn.Close(ctx)
	processes := gauge.ProcessesOf(forebay.Pid())
	before, err := processes.RSS()
	if err != nil {
		return err
	}
	var ours, copied, ratios []float64
	watched := gauge.WatchRSS(processes)
	highest := 0
	defer func() {
		if highest == 0 {
			watched() // it went wrong before anybody asked
		}
	}()
	for range max(s.rounds()/2, 1) {
		theirs, err := timed(func() (int64, error) {
			var n counter
			_, err := conn.PgConn().CopyTo(ctx, &n, "copy ("+export+") to stdout with (format csv, header)")
			return n.Load(), err
		})
		if err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		rate, err := timed(func() (int64, error) { return download(ctx, forebay.Address()) })
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		copied, ours, ratios = append(copied, theirs), append(ours, rate), append(ratios, rate/theirs)
	}
	highest = watched()
	r := gauge.Median(ratios)
	grown := float64(highest-before) / (1 << 20)
	section.Figures = append(section.Figures,
		report.High("paths.export", "export beside raw COPY: rate", r.Median, "×").Want(0.95, "goal").JudgedBy(r.Low).With("%s; %s and %s MB/s", r, report.Number(gauge.Median(ours).Median), report.Number(gauge.Median(copied).Median)),
		report.Low("paths.export.rss", "export: growth of RSS", grown, "MiB").Want(64, "goal"))
	return nil
}

// counter is a writer that counts. Safe for concurrent use.
type counter struct{ atomic.Int64 }

// Write counts.
func (c *counter) Write(b []byte) (int, error) {
	c.Add(int64(len(b)))
	return len(b), nil
}

// timed returns megabytes a second.
func timed(do func() (int64, error)) (float64, error) {
	start := time.Now()
	n, err := do()
	return float64(n) / 1e6 / time.Since(start).Seconds(), err
}

// download reads an export as it comes and keeps nothing of it.
func download(ctx context.Context, address string) (int64, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if _, err := io.WriteString(conn, "GET /export HTTP/1.1\r\nHost: bench\r\nAccept: text/csv\r\nConnection: close\r\n\r\n"); err != nil {
		return 0, err
	}
	var head strings.Builder
	buffer := make([]byte, 256<<10)
	var n int64
	for {
		got, err := conn.Read(buffer)
		if head.Len() < 16 {
			head.Write(buffer[:min(got, 64)])
		}
		n += int64(got)
		if err == io.EOF {
			break
		}
		if err != nil {
			return n, err
		}
	}
	if !strings.HasPrefix(head.String(), "HTTP/1.1 200") {
		return n, fmt.Errorf("answered with %q", shortened(head.String()))
	}
	return n, nil
}
