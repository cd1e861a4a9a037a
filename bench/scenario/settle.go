package scenario

import (
	"context"
	"time"

	"forebay/bench/load"
)

// settling bounds the wait for responses to be stored.
const settling = 10 * time.Second

// settle asks for things until all of them come from the cache, or the time is up, and returns the share of the
// last pass that did. A forebay that follows changes stores nothing before it has heard that it follows those of
// the tables that are read, which it learns from the first requests.
func settle(ctx context.Context, address string, requests []*load.Request) float64 {
	c := load.NewConnection(address, settling)
	defer c.Close()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for start := time.Now(); ; {
		hits := 0
		for _, r := range requests {
			if answer, err := c.Do(r); err == nil && answer.From == load.Hit {
				hits++
			}
		}
		if hits == len(requests) || time.Since(start) > settling {
			return share(hits, len(requests))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return share(hits, len(requests))
		}
	}
}
