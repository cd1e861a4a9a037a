package changes

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"forebay/cache"
	"forebay/rules"
)

// rows makes a table of n rows on a server of its own, which flushes its log as in earnest.
func rows(b testing.TB, n int) *world {
	pg := startPostgres(b, "fsync = on")
	return newWorldOn(b, pg.URL("postgres"), fmt.Sprintf(`create table rows (id int primary key, n int); insert into rows select i, 0 from generate_series(1, %d) i`, n))
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFollow is how much of this process's CPU one change costs: of transactions of one row, as fast
// as the server sends them, and of one of very many.
func BenchmarkFollow(b *testing.B) {
	for name, perTransaction := range map[string]int{"1 row": 1, "1000 rows": 1000, "100000 rows": 100_000} {
		b.Run(name, func(b *testing.B) {
			const total = 100_000
			w := rows(b, total)
			table := w.oid("rows")
			p := newTap(b, Config{URL: rules.Secret(w.url), Mode: ModeWAL, MaxRows: 10_000})
			p.Watch(map[uint32][]int16{table: {1}})
			p.run()
			p.covered(table)
			w.exec(`set statement_timeout = 0; set synchronous_commit = off`)
			for b.Loop() {
				before, started, busy := p.Status().Rows, time.Now(), cpu()
				w.exec(fmt.Sprintf(`do $$ begin for i in 0..%d loop
					update rows set n = n + 1 where id between i * %d + 1 and (i + 1) * %d; commit; end loop; end $$`, total/perTransaction-1, perTransaction, perTransaction))
				written := time.Since(started)
				p.caught(w)
				took, busy := time.Since(started), cpu()-busy
				if n := p.Status().Rows - before; n != total {
					b.Fatalf("%d rows arrived; want %d", n, total)
				}
				b.ReportMetric(float64(total)/took.Seconds(), "changes/s")
				b.ReportMetric(float64(busy.Microseconds())/total, "µs-cpu/change")
				b.ReportMetric(busy.Seconds()/total*10_000, "cores-at-10000/s")
				b.ReportMetric((took-written).Seconds()*1000, "ms-behind")
			}
		})
	}
}

// BenchmarkHugeTransaction is by how much the process grows while one transaction changes five million rows
// that are told apart by two columns, and how long after its commit changes are known again.
func BenchmarkHugeTransaction(b *testing.B) {
	const total = 5_000_000
	w := rows(b, total)
	table := w.oid("rows")
	w.exec(`alter table rows replica identity full`)
	p := newTap(b, Config{URL: rules.Secret(w.url), Mode: ModeWAL})
	p.Watch(map[uint32][]int16{table: {1, 2}})
	p.run()
	p.covered(table)
	for b.Loop() {
		before, most, done := resident(), 0, make(chan struct{})
		var watching sync.WaitGroup
		watching.Go(func() {
			for {
				most = max(most, resident())
				select {
				case <-done:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
		started, rows := time.Now(), p.Status().Rows
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		if _, err := simple(ctx, w.PgConn(), `update rows set n = n + 1; select 1`); err != nil {
			b.Fatal(err)
		}
		cancel()
		committed := time.Now()
		p.eventually("all rows arrive", func() bool { return p.Status().Rows-rows == total && p.Status().Lag < time.Second })
		close(done)
		watching.Wait()
		b.ReportMetric(float64(most-before)/(1<<20), "MiB-grown")
		behind := time.Since(committed)
		b.ReportMetric(behind.Seconds(), "s-behind")
		b.ReportMetric(behind.Seconds()/(total/100_000), "of-n/100000-s") // how long exact mode may be away after n rows
		b.ReportMetric(committed.Sub(started).Seconds(), "s-update")
	}
}

// resident returns the bytes of memory that the process has.
func resident() int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int
	_, _ = fmt.Sscan(string(text), &size, &pages)
	return pages * os.Getpagesize()
}

// BenchmarkLatency is the time from a commit's acknowledgement to its mark, at about 1 000 commits/s by
// eight writers, with synchronous_commit on and off. What is marked before it is acknowledged counts as 0.
func BenchmarkLatency(b *testing.B) {
	for _, mode := range []string{"on", "off"} {
		b.Run("synchronous_commit "+mode, func(b *testing.B) {
			w := rows(b, 10_000)
			table := w.oid("rows")
			p := newTap(b, Config{URL: rules.Secret(w.url), Mode: ModeWAL})
			p.Watch(map[uint32][]int16{table: {1}})
			p.run()
			p.covered(table)
			for b.Loop() {
				h := latency(b, w, p, mode)
				for _, q := range []float64{50, 90, 99, 99.9} {
					b.ReportMetric(float64(h.ValueAtQuantile(q))/1000, fmt.Sprintf("p%v-ms", q))
				}
				b.ReportMetric(float64(h.TotalCount())/latencyTime.Seconds(), "commits/s")
			}
		})
	}
}

const latencyTime = 5 * time.Second

// latency measures with eight writers, each due every 8 ms.
func latency(b *testing.B, w *world, p *tap, mode string) *hdrhistogram.Histogram {
	var mu sync.Mutex
	all := hdrhistogram.New(1, 10_000_000, 3) // µs
	var group sync.WaitGroup
	for i := range 8 {
		writer := w.another()
		writer.exec(`set synchronous_commit = ` + mode)
		group.Go(func() {
			ticker := time.NewTicker(8 * time.Millisecond)
			defer ticker.Stop()
			for end, n := time.Now().Add(latencyTime), 0; time.Now().Before(end); n++ {
				<-ticker.C
				row, err := onlyRow(context.Background(), writer.PgConn(), fmt.Sprintf(`update rows set n = n + 1 where id = %d returning pg_current_xact_id()`, 1+i*1000+n%1000))
				acknowledged := time.Now()
				if err != nil {
					b.Error(err)
					return
				}
				var xid uint64
				_, _ = fmt.Sscan(row[0], &xid)
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				if !p.Wait(ctx, xid) {
					b.Error("a commit did not come in")
				}
				cancel()
				mu.Lock()
				_ = all.RecordValue(time.Since(acknowledged).Microseconds())
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return all
}

// BenchmarkMark is what the mark of a commit costs in the log with very many dependants.
func BenchmarkMark(b *testing.B) {
	for _, dependants := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(dependants), func(b *testing.B) {
			log := cache.NewChangeLog("bench")
			held := make([]*cache.Standing, dependants)
			for i := range held {
				held[i] = log.Stand(nil, log.Position(), cache.AllSeeing(), []cache.Dependency{cache.Row(1, 1, fmt.Sprint(i)), cache.Whole(1)})
			}
			c := cache.Change{Dependencies: []cache.Dependency{cache.Relation(1), cache.Row(1, 1, "7")}}
			for b.Loop() {
				c.Xid++
				log.Commit(c)
			}
		})
	}
}
