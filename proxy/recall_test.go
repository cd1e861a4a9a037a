package proxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/cache/memory"
	"forebay/rules"
)

// TestTwoTargetsOfOneSlotAreBothRemembered: otherwise each would take the other's place, hit after hit.
func TestTwoTargetsOfOneSlotAreBothRemembered(t *testing.T) {
	t.Parallel()
	c, s, log := newRecall(0), new(state), cache.NewChangeLog("test")
	store := memory.New(memory.Config{MaxBytes: 1 << 20}, cache.NewClock(time.Now()), metrics.NewSet())
	defer store.Close()
	first, _ := c.pair([]byte("/0"))
	for n := 1; ; n++ {
		target := fmt.Sprintf("/%d", n)
		if slot, _ := c.pair([]byte(target)); slot != first {
			continue
		}
		for _, remembered := range []string{"/0", target} {
			x, ctx := newExchange(), new(fasthttp.RequestCtx)
			ctx.Request.SetRequestURI(remembered)
			x.open(ctx, s, cache.NewClock(time.Now()).Now())
			x.route, x.key = &route{rule: new(rules.Rule), byTarget: true}, []byte("key of "+remembered)
			r := &cache.StoredResponse{Traits: new(cache.Traits), Lifetime: time.Minute, Standing: log.Stand(x.key, 0, cache.AllSeeing(), nil)}
			if err := store.Set(t.Context(), x.key, r); err != nil {
				t.Fatal(err)
			}
			c.remember(x, store, r)
		}
		for _, remembered := range []string{"/0", target} {
			if m := c.find(s, []byte(remembered)); m == nil || m.key != "key of "+remembered {
				t.Errorf("%s is remembered as %+v", remembered, m)
			} else if r := m.stored.Response(); r == nil || r != store.Glance(m.key) {
				t.Errorf("%s leads to %p, and %p is stored", remembered, r, store.Glance(m.key))
			}
		}
		if m := c.find(new(state), []byte(target)); m != nil {
			t.Error("after a reload the target is still remembered")
		}
		return
	}
}
