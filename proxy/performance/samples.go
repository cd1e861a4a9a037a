package performance

import (
	"sync"
	"time"
)

// sampleEvery is the time between two looks at the pool and the cache.
const sampleEvery = 5 * time.Second

// samples is what was seen of the pool and the cache, per minute. Safe for concurrent use.
type samples struct {
	mu      sync.Mutex // guards all below
	minutes [keptHours * 60]sampled
	pool    PoolStats   // as last seen
	memory  MemoryStats // as last seen
	seen    bool        // pool and memory are of an earlier sample: differences to them mean something
}

// sampled is the sum of a minute's samples. A value.
type sampled struct {
	minute    uint32
	count     int
	use       float64 // percent of the pool's connections handed out, summed over count
	peak      float64
	waits     uint64
	timeouts  uint64
	evictions uint64
}

// sample looks at the pool and the cache.
func (p *Performance) sample() {
	memory, pool := p.deps.Memory(), p.pool()
	minute := p.minutesBack(0).last
	s := &p.samples
	s.mu.Lock()
	defer s.mu.Unlock()
	at := &s.minutes[minute%uint32(len(s.minutes))]
	if at.minute != minute {
		*at = sampled{minute: minute}
	}
	use := pool.utilization()
	at.count++
	at.use += use
	at.peak = max(at.peak, use)
	if s.seen {
		at.waits += since(s.pool.Waits, pool.Waits)
		at.timeouts += since(s.pool.Timeouts, pool.Timeouts)
		at.evictions += since(s.memory.Evictions, memory.Evictions)
	}
	s.pool, s.memory, s.seen = pool, memory, true
}

// since returns by how much a counter grew; one that fell was made anew.
func since(before, now uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// sum returns the period's samples as one.
func (s *samples) sum(of period) sampled {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum sampled
	for minute := of.first; minute <= of.last; minute++ {
		at := &s.minutes[minute%uint32(len(s.minutes))]
		if at.minute != minute {
			continue
		}
		sum.count += at.count
		sum.use += at.use
		sum.peak = max(sum.peak, at.peak)
		sum.waits += at.waits
		sum.timeouts += at.timeouts
		sum.evictions += at.evictions
	}
	return sum
}

func (s sampled) averageUse() float64 { return ratio(s.use, float64(s.count)) }

// pool returns the pool's figures; zeros without Postgres.
func (p *Performance) pool() PoolStats {
	if p.deps.Pool == nil {
		return PoolStats{}
	}
	return p.deps.Pool()
}

func (s PoolStats) utilization() float64 { return percent(float64(s.Active), float64(s.Max)) }
func (m MemoryStats) use() float64       { return percent(float64(m.Bytes), float64(m.MaxBytes)) }
