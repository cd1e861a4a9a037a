package gauge

import (
	"slices"
	"sync"
	"time"
)

// PoolFunc returns the connections of a pool that are in use, and how many there may be.
type PoolFunc func() (inUse, limit float64, err error)

// PoolUse is how much of a pool was used, in percent.
type PoolUse struct {
	Mean    float64 `json:"mean"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
	Samples int     `json:"samples"`
}

// poolEvery is how often a pool is looked at: often enough for a p99, seldom enough not to be load.
const poolEvery = 20 * time.Millisecond

// WatchPool looks at the pool until the function that it returns is called, which tells what was seen.
func WatchPool(pool PoolFunc) (stop func() PoolUse) {
	if pool == nil {
		return func() PoolUse { return PoolUse{} }
	}
	ended := make(chan struct{})
	var seen []float64
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(poolEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
			}
			if inUse, limit, err := pool(); err == nil && limit > 0 {
				seen = append(seen, 100*inUse/limit)
			}
		}
	})
	return func() PoolUse {
		close(ended)
		watching.Wait()
		return use(seen)
	}
}

func use(seen []float64) PoolUse {
	if len(seen) == 0 {
		return PoolUse{}
	}
	slices.Sort(seen)
	sum := 0.0
	for _, v := range seen {
		sum += v
	}
	return PoolUse{Mean: sum / float64(len(seen)), P99: seen[min(len(seen)*99/100, len(seen)-1)], Max: seen[len(seen)-1], Samples: len(seen)}
}
