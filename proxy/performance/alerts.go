package performance

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

const (
	minReads   = 100 // reads from which a hit rate says something
	minSamples = 12  // of the pool, one minute of them, from which its use says something
)

// alert is a threshold of the configuration that the last minutes passed.
type alert struct {
	Alert       string  `json:"alert"`
	Value       float64 `json:"value"`
	Threshold   float64 `json:"threshold"`
	Description string  `json:"description"`
}

// The alerts, by the names under which metrics and health show them.
const (
	alertSlowQuery   = "slow_query"
	alertHitRate     = "hit_rate"
	alertPoolUse     = "pool_use"
	alertCacheMemory = "cache_memory"
)

// alerts lists the thresholds that are passed at present: over the last minutes, and only on enough
// queries or samples.
func (p *Performance) alerts() []alert {
	cfg, of := p.settings.Load(), p.minutesBack(recently)
	sum, pool, memory := p.total(of), p.samples.sum(of), p.deps.Memory()
	found := []alert{}
	if cfg.SlowQuery > 0 && sum.slow > 0 {
		found = append(found, alert{
			alertSlowQuery, seconds(sum.longest), seconds(cfg.SlowQuery),
			fmt.Sprintf("%d of %d queries in the last %d minutes took %s or longer, the slowest %s.", sum.slow, sum.queries(), recently, cfg.SlowQuery, brief(sum.longest)),
		})
	}
	if sum.reads >= minReads && sum.hitRate() < cfg.HitRate {
		found = append(found, alert{
			alertHitRate, rounded(sum.hitRate()), cfg.HitRate,
			fmt.Sprintf("%.1f %% of %d reads in the last %d minutes were answered from the cache.", sum.hitRate(), sum.reads, recently),
		})
	}
	if cfg.PoolUse > 0 && pool.count >= minSamples && pool.averageUse() > cfg.PoolUse {
		found = append(found, alert{
			alertPoolUse, rounded(pool.averageUse()), cfg.PoolUse,
			fmt.Sprintf("On average of %d samples of the last %d minutes, %.1f %% of the connections were in use.", pool.count, recently, pool.averageUse()),
		})
	}
	if memory.MaxBytes > 0 && memory.Bytes > memory.MaxBytes {
		found = append(found, alert{
			alertCacheMemory, megabytes(memory.Bytes), megabytes(memory.MaxBytes),
			fmt.Sprintf("The memory tier holds %.1f MB, above its bound of %.1f MB.", megabytes(memory.Bytes), megabytes(memory.MaxBytes)),
		})
	}
	return found
}

// register makes the gauges:
//
//	forebay_alert_active{alert}   1 while the alert is listed in health, else 0
//	forebay_history_bytes         memory that the history of queries occupies
func (p *Performance) register(set *metrics.Set) {
	if set == nil {
		return
	}
	for _, name := range []string{alertSlowQuery, alertHitRate, alertPoolUse, alertCacheMemory} {
		set.NewGauge(`forebay_alert_active{alert="`+name+`"}`, func() float64 {
			for _, a := range p.alerts() {
				if a.Alert == name {
					return 1
				}
			}
			return 0
		})
	}
	set.NewGauge("forebay_history_bytes", func() float64 { return float64(p.historySize()) })
}
