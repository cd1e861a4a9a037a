package performance

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"forebay/proxy/problem"
)

// recommendation is a piece of advice with the figures it rests on. It is made anew from the last hour at
// each request, so it vanishes with them.
type recommendation struct {
	Category    string `json:"category"`
	Priority    string `json:"priority"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Impact      string `json:"impact"`
}

// The categories and priorities of recommendations.
const (
	categoryCache      = "cache"
	categoryQuery      = "query"
	categoryConnection = "connection"
	categoryMemory     = "memory"

	high   = "high"
	medium = "medium"
	low    = "low"
)

const (
	advised       = 60  // minutes that advice rests on
	minSlow       = 3   // slow queries of a rule from which they are not an accident
	minFailures   = 5   // the same of failures
	failureRate   = 5.0 // percent of a rule's queries that make failures worth a word
	minEvictions  = 100 // in the advised period
	fullCache     = 90  // percent of the memory bound from which evictions are for want of room
	mostOfATime   = 20  // percent of all time spent on misses that makes a rule's share high
	someOfTheTime = 5   // the same that makes it medium; below, low
	maxPerKind    = 5   // pieces of advice of one kind; those with most time at stake come first
)

type recommendationsReport struct {
	Recommendations      []recommendation `json:"recommendations"`
	TotalRecommendations int              `json:"total_recommendations"`
	GeneratedAt          string           `json:"generated_at"`
}

func (p *Performance) recommendations(q question) (any, *problem.Problem) {
	list := p.recommend(q.table)
	return recommendationsReport{Recommendations: list, TotalRecommendations: len(list), GeneratedAt: timestamp(p.deps.Now())}, nil
}

// evidence is what advice rests on: the last hour.
type evidence struct {
	cfg    *Config
	table  string
	total  tally
	routes []routeEvidence // most time spent on misses first
	pool   sampled
	stats  PoolStats
	memory MemoryStats
}

type routeEvidence struct {
	name string
	*facts
	tally
}

// share returns the percentage of all time spent on misses that is this route's.
func (e *evidence) share(r *routeEvidence) float64 {
	return percent(float64(r.missTime), float64(e.total.missTime))
}

// recommend returns the advice, most pressing first: about the rules that use the table, or about all
// rules, the pool and the cache.
func (p *Performance) recommend(table string) []recommendation {
	e := p.gather(table)
	list := slices.Concat(e.onHitRate(), e.onUnstored(), e.onRarelyHit(), e.onSlow(), e.onFailures())
	if table == "" {
		list = slices.Concat(list, e.onPool(), e.onMemory())
	}
	rank := map[string]int{high: 0, medium: 1, low: 2}
	slices.SortStableFunc(list, func(a, b recommendation) int { return rank[a.Priority] - rank[b.Priority] })
	if list == nil {
		list = []recommendation{}
	}
	return list
}

func (p *Performance) gather(table string) *evidence {
	of := p.minutesBack(advised)
	of.table = table
	e := &evidence{cfg: p.settings.Load(), table: table, pool: p.samples.sum(of), stats: p.pool(), memory: p.deps.Memory()}
	routes := groups[*RuleHandle]{}
	p.visit(of, func(h *RuleHandle, _ uint32, t *tally, _ []event) {
		routes.add(h, t)
		e.total.add(t)
	})
	for h, t := range routes {
		e.routes = append(e.routes, routeEvidence{h.name, h.facts.Load(), *t})
	}
	slices.SortFunc(e.routes, func(a, b routeEvidence) int {
		return cmp.Or(cmp.Compare(b.missTime, a.missTime), cmp.Compare(a.name, b.name))
	})
	return e
}

// onHitRate speaks of all reads together.
func (e *evidence) onHitRate() []recommendation {
	t := &e.total
	if t.reads < minReads || t.hitRate() >= e.cfg.HitRate {
		return nil
	}
	priority := medium
	if t.hitRate() < e.cfg.HitRate/2 {
		priority = high
	}
	of := "reads"
	if e.table != "" {
		of = "reads of " + shown(e.table)
	}
	misses := t.reads - t.hits
	return []recommendation{{
		categoryCache, priority, "Few reads are answered from the cache",
		fmt.Sprintf("In the last %d minutes %.1f %% of %d %s were answered from the cache (%d hits); the threshold is %s %%.",
			advised, t.hitRate(), t.reads, of, t.hits, number(e.cfg.HitRate)),
		fmt.Sprintf("At the threshold, %d of the %d misses would not have reached the database.", misses-min(missesAt(t.reads, e.cfg.HitRate), misses), misses),
	}}
}

// missesAt returns how many of the reads would miss at a hit rate.
func missesAt(reads uint64, hitRate float64) uint64 {
	return uint64(float64(reads)*(100-hitRate)/100 + 0.5)
}

// onUnstored speaks of rules whose responses are never stored although they are read a lot.
func (e *evidence) onUnstored() []recommendation {
	return e.each(func(r *routeEvidence) (recommendation, bool) {
		return recommendation{
			categoryCache, e.priority(r), "Responses of " + r.name + " are never stored",
			fmt.Sprintf("Its rule gives them no lifetime. In the last %d minutes it was read %d times, %s each, %s in all: %.0f %% of the time spent on misses.",
				advised, r.reads, brief(r.averageMiss()), brief(r.missTime), e.share(r)),
			fmt.Sprintf("A kind or a ttl would let repeated requests be answered without the database, of at most %s in an hour like the last.", brief(r.missTime)),
		}, !r.writes && !r.stores && r.reads >= minReads && e.share(r) >= someOfTheTime
	})
}

// onRarelyHit speaks of rules whose responses are stored and seldom served.
func (e *evidence) onRarelyHit() []recommendation {
	return e.each(func(r *routeEvidence) (recommendation, bool) {
		saved := r.misses - min(missesAt(r.reads, e.cfg.HitRate), r.misses)
		return recommendation{
			categoryCache, e.priority(r), r.name + " is seldom answered from the cache",
			fmt.Sprintf("In the last %d minutes %.1f %% of its %d reads were; its %d misses took %s each, %s in all. Its ttl is %s; the threshold is %s %%. "+
				"A longer ttl helps when the same requests come again after it; when changes to %s outdate them sooner, it does not.",
				advised, r.hitRate(), r.reads, r.misses, brief(r.averageMiss()), brief(r.missTime), r.ttl, number(e.cfg.HitRate), orItsTables(r.tableNames())),
			fmt.Sprintf("At the threshold, %d misses and %s of database time less in an hour like the last.", saved, brief(time.Duration(saved)*r.averageMiss())),
		}, !r.writes && r.stores && r.reads >= minReads && r.hitRate() < e.cfg.HitRate
	})
}

// onSlow speaks of rules whose statements take long.
func (e *evidence) onSlow() []recommendation {
	return e.each(func(r *routeEvidence) (recommendation, bool) {
		priority := medium
		if 20*r.slow >= r.misses || e.share(r) >= mostOfATime {
			priority = high
		}
		return recommendation{
			categoryQuery, priority, "Statements of " + r.name + " are slow",
			fmt.Sprintf("In the last %d minutes %d of its %d queries took %s or longer, the slowest %s. %d of them were not answered from the cache and took %s each%s; 95 %% of all took at most %s. It uses %s.",
				advised, r.slow, r.queries(), e.cfg.SlowQuery, brief(r.longest), r.misses, brief(r.averageMiss()), r.besideWait(), brief(r.quantile(0.95)), orItsTables(r.tableNames())),
			fmt.Sprintf("%.0f %% of the time spent on misses is this rule's: EXPLAIN (ANALYZE, BUFFERS) of its statement shows where it goes.", e.share(r)),
		}, e.cfg.SlowQuery > 0 && r.slow >= minSlow
	})
}

// besideWait says what the times of a rule do not count.
func (r *routeEvidence) besideWait() string {
	if r.averageWait() < time.Millisecond {
		return ""
	}
	return ", beside " + brief(r.averageWait()) + " of waiting for a connection"
}

// onFailures speaks of rules that often could not be answered.
func (e *evidence) onFailures() []recommendation {
	return e.each(func(r *routeEvidence) (recommendation, bool) {
		rate := percent(float64(r.failures), float64(r.queries()))
		return recommendation{
			categoryQuery, high, "Queries of " + r.name + " fail",
			fmt.Sprintf("In the last %d minutes %d of its %d queries (%.1f %%) could not be answered for a reason that was not the caller's.",
				advised, r.failures, r.queries(), rate),
			"The log names the reason of each; stale_if_error lets the cache answer meanwhile.",
		}, r.failures >= minFailures && rate >= failureRate
	})
}

// onPool speaks of the connection pool.
func (e *evidence) onPool() []recommendation {
	var list []recommendation
	if e.cfg.PoolUse > 0 && e.pool.count >= minSamples && e.pool.averageUse() > e.cfg.PoolUse {
		list = append(list, recommendation{
			categoryConnection, high, "The connection pool is nearly used up",
			fmt.Sprintf("On average of %d samples of the last %d minutes %.1f %% of its %d connections were in use, at most %.0f %%; the threshold is %s %%. %d acquisitions had to wait; requests waited %s in all.",
				e.pool.count, advised, e.pool.averageUse(), e.stats.Max, e.pool.peak, number(e.cfg.PoolUse), e.pool.waits, brief(e.total.waitTime)),
			"More hits or faster statements free connections; postgres.pool.max_connections gives more of them, as far as the database has cores for them.",
		})
	}
	if e.pool.timeouts > 0 {
		list = append(list, recommendation{
			categoryConnection, high, "Requests gave up waiting for a connection",
			fmt.Sprintf("In the last %d minutes %d acquisitions found none of the %d connections free in time, and %d had to wait.", advised, e.pool.timeouts, e.stats.Max, e.pool.waits),
			"Each was answered 503, or from the cache where its rule allows stale responses.",
		})
	}
	return list
}

// onMemory speaks of the memory tier's bound.
func (e *evidence) onMemory() []recommendation {
	m := e.memory
	over := m.MaxBytes > 0 && m.Bytes > m.MaxBytes
	if !over && (e.pool.evictions < minEvictions || m.use() < fullCache) {
		return nil
	}
	priority := medium
	if over || e.total.reads >= minReads && e.total.hitRate() < e.cfg.HitRate {
		priority = high
	}
	return []recommendation{{
		categoryMemory, priority, "The memory tier is full",
		fmt.Sprintf("It holds %d entries in %.1f MB, %.0f %% of its bound of %.1f MB, and gave up %d for want of room in the last %d minutes.",
			m.Entries, megabytes(m.Bytes), m.use(), megabytes(m.MaxBytes), e.pool.evictions, advised),
		fmt.Sprintf("A larger cache.memory keeps them; %.1f %% of %d reads were answered from the cache.", e.total.hitRate(), e.total.reads),
	}}
}

// each returns what advise has to say of the routes with most time at stake.
func (e *evidence) each(advise func(*routeEvidence) (recommendation, bool)) []recommendation {
	var list []recommendation
	for i := range e.routes {
		if r, ok := advise(&e.routes[i]); ok && len(list) < maxPerKind {
			list = append(list, r)
		}
	}
	return list
}

// priority weighs a route by its share of the time spent on misses.
func (e *evidence) priority(r *routeEvidence) string {
	switch share := e.share(r); {
	case share >= mostOfATime:
		return high
	case share >= someOfTheTime:
		return medium
	}
	return low
}

func orItsTables(names string) string {
	if names == "" {
		return "its tables"
	}
	return names
}

// brief writes a duration with three digits, as people say it.
func brief(d time.Duration) string {
	switch {
	case d >= 100*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond / 10).String()
}

// number writes a threshold without superfluous zeros.
func number(f float64) string { return fmt.Sprintf("%g", f) }
