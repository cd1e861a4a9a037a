package redis_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"forebay/cache"
	"forebay/cache/redis"
)

// BenchmarkGet compares a hit of this tier with a plain GET of go-redis for as many bytes: 1 KiB bodies
// under 10 000 keys, asked for by some callers at once. ns/op is the inverse of throughput; cpu-ns/op is this
// process's, without the server's.
//
//	go test -run '^$' -bench BenchmarkGet -count 10 ./cache/redis | benchstat -col /by -
func BenchmarkGet(b *testing.B) {
	const keys = 10_000
	cfg := redis.Config{URL: sharedURL, Prefix: prefix(), Budget: roomy}
	i := join(b, cfg)
	body := strings.Repeat("x", 1024)
	asked := make([][]byte, keys)
	for n := range keys {
		asked[n] = fmt.Appendf(nil, "GET /api/v1/clients/%08d-3f1d-4c39-9a35-8f6b8c1d2e4f", n)
		i.put(b, string(asked[n]), body)
	}
	plain := connect(b, cfg.URL)
	for n := range keys {
		if err := plain.Set(b.Context(), cfg.Prefix+"plain:"+string(asked[n]), body, time.Hour).Err(); err != nil {
			b.Fatal(err)
		}
	}
	for _, callers := range []int{1, 8, 64, 200} {
		b.Run(fmt.Sprintf("callers=%d/by=plain", callers), func(b *testing.B) {
			parallel(b, callers, func(n int) {
				if _, err := plain.Get(context.Background(), cfg.Prefix+"plain:"+string(asked[n%keys])).Bytes(); err != nil {
					b.Error(err)
				}
			})
		})
		b.Run(fmt.Sprintf("callers=%d/by=tier", callers), func(b *testing.B) {
			parallel(b, callers, func(n int) {
				r, err := i.Get(context.Background(), asked[n%keys])
				if err != nil || r == nil || r.UseAt(i.Clock.Now()) != cache.Fresh {
					b.Error(r, err)
				}
			})
		})
	}
}

// parallel runs b.N calls from so many callers, and reports the CPU that this process took.
func parallel(b *testing.B, callers int, call func(n int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	before := cpu()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for n := int(next.Add(1)); n <= b.N; n = int(next.Add(1)) {
				call(n * 7919)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
}

// cpu returns the CPU time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
