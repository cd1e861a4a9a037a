package performance

import (
	"slices"
	"strings"
	"time"

	"forebay/proxy/health"
	"forebay/proxy/problem"
)

// recently is the period of health and of the alerts, in minutes.
const recently = 5

type cacheStatistics struct {
	TotalEntries   int     `json:"total_entries"`
	ActiveEntries  int     `json:"active_entries"`
	ExpiredEntries int     `json:"expired_entries"`
	CacheSizeMB    float64 `json:"cache_size_mb"`
}

type connectionPool struct {
	MaxConnections       int     `json:"max_connections"`
	ActiveConnections    int     `json:"active_connections"`
	AvailableConnections int     `json:"available_connections"`
	PoolUtilization      float64 `json:"pool_utilization"`
}

func (p *Performance) cacheStatistics() cacheStatistics {
	m := p.deps.Memory()
	return cacheStatistics{
		TotalEntries: m.Entries, ActiveEntries: m.Entries - m.Expired, ExpiredEntries: m.Expired, CacheSizeMB: megabytes(m.Bytes),
	}
}

func (p *Performance) connectionPool() connectionPool {
	s := p.pool()
	return connectionPool{
		MaxConnections: s.Max, ActiveConnections: s.Active, AvailableConnections: max(s.Max-s.Active, 0), PoolUtilization: rounded(s.utilization()),
	}
}

type healthReport struct {
	Status             health.Status         `json:"status"`
	ResponseTime       float64               `json:"response_time"` // of putting this report together
	PerformanceSummary recentSummary         `json:"performance_summary"`
	ConnectionPool     connectionPool        `json:"connection_pool"`
	CacheStatus        cacheStatus           `json:"cache_status"`
	Parts              map[string]partReport `json:"parts"`
	Alerts             []alert               `json:"alerts"`
}

type recentSummary struct {
	RecentQueries       uint64  `json:"recent_queries"`
	AverageResponseTime float64 `json:"average_response_time"`
	CacheHitRate        float64 `json:"cache_hit_rate"`
}

type cacheStatus struct {
	cacheStatistics
	MemoryLimitMB     float64 `json:"memory_limit_mb"`
	MemoryUtilization float64 `json:"memory_utilization"`
}

// partReport is a part, or several of one name with the worst of their states.
type partReport struct {
	State  string        `json:"state"`
	Reason string        `json:"reason"`
	Each   []namedReport `json:"each,omitempty"`
}

type namedReport struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// health tells how forebay is. It never asks a part that could keep it waiting: it reports what they last
// said of themselves.
func (p *Performance) health(question) (any, *problem.Problem) {
	start := p.deps.Clock()
	parts, memory := p.deps.Parts(), p.deps.Memory()
	sum := p.total(p.minutesBack(recently))
	r := healthReport{
		Status: health.Overall(parts, memory.Entries > 0),
		PerformanceSummary: recentSummary{
			RecentQueries: sum.queries(), AverageResponseTime: seconds(sum.averageResponse()), CacheHitRate: rounded(sum.hitRate()),
		},
		ConnectionPool: p.connectionPool(),
		CacheStatus: cacheStatus{
			cacheStatistics: p.cacheStatistics(), MemoryLimitMB: megabytes(memory.MaxBytes), MemoryUtilization: rounded(memory.use()),
		},
		Parts:  partReports(parts),
		Alerts: p.alerts(),
	}
	r.ResponseTime = seconds(p.deps.Clock().Sub(start))
	return r, nil
}

// partReports groups the parts by name. Those that every instance has are always there.
func partReports(parts []health.Part) map[string]partReport {
	reports := make(map[string]partReport)
	for _, name := range []string{health.Postgres, health.Redis, health.Upstreams, health.Breaker, health.ChangeFeed} {
		reports[name] = partReport{State: health.Off.String(), Reason: "not configured"}
	}
	worst := make(map[string]health.Level)
	for _, part := range parts {
		r, known := reports[part.Name], false
		if before, ok := worst[part.Name]; ok {
			known = gravity(before) >= gravity(part.Level)
		}
		if !known {
			worst[part.Name] = part.Level
			r.State, r.Reason = part.Word(), part.Reason
			if part.Of != "" && part.Reason != "" {
				r.Reason = part.Of + ": " + part.Reason
			}
		}
		if part.Of != "" {
			r.Each = append(r.Each, namedReport{Name: part.Of, State: part.Word(), Reason: part.Reason})
		}
		slices.SortFunc(r.Each, func(a, b namedReport) int { return strings.Compare(a.Name, b.Name) })
		reports[part.Name] = r
	}
	return reports
}

// gravity orders levels from what worries least to what worries most.
func gravity(l health.Level) int {
	return [...]int{health.Off: 0, health.Up: 1, health.Degraded: 2, health.Down: 3}[l]
}

type queryPerformance struct {
	PeriodMinutes           int               `json:"period_minutes"`
	TotalQueries            uint64            `json:"total_queries"`
	TotalExecutionTime      float64           `json:"total_execution_time"`
	AverageExecutionTime    float64           `json:"average_execution_time"`
	CacheHitRate            float64           `json:"cache_hit_rate"`
	QueryTypeDistribution   map[string]uint64 `json:"query_type_distribution"`
	TableAccessDistribution map[string]uint64 `json:"table_access_distribution"` // a query of two tables counts for both
	SlowestQueries          []slowestQuery    `json:"slowest_queries"`
}

type slowestQuery struct {
	QueryType     string  `json:"query_type"`
	Table         string  `json:"table"`
	ExecutionTime float64 `json:"execution_time"`
	Timestamp     string  `json:"timestamp"`
}

type metricsReport struct {
	QueryPerformance queryPerformance `json:"query_performance"`
	CacheStatistics  cacheStatistics  `json:"cache_statistics"`
	ConnectionPool   connectionPool   `json:"connection_pool"`
	PeriodMinutes    int              `json:"period_minutes"`
}

func (p *Performance) metrics(q question) (any, *problem.Problem) {
	return p.metricsReport(q), nil
}

func (p *Performance) metricsReport(q question) metricsReport {
	return metricsReport{
		QueryPerformance: p.queryPerformance(q), CacheStatistics: p.cacheStatistics(), ConnectionPool: p.connectionPool(), PeriodMinutes: q.minutes,
	}
}

// slowestListed is how many of the slowest queries metrics and analytics list.
const slowestListed = 10

func (p *Performance) queryPerformance(q question) queryPerformance {
	of := p.minutesBack(q.minutes)
	of.table = q.table
	var sum tally
	kinds, tables := make(map[string]uint64), make(map[string]uint64)
	p.visit(of, func(h *RuleHandle, _ uint32, t *tally, _ []event) {
		sum.add(t)
		facts := h.facts.Load()
		kinds[facts.kind] += t.queries()
		for _, table := range facts.tables {
			tables[shown(table)] += t.queries()
		}
	})
	of.threshold = 0
	slowest := []slowestQuery{}
	for _, l := range p.slowestOf(of, slowestListed) {
		f := p.factsOf(l.event)
		slowest = append(slowest, slowestQuery{
			QueryType: f.kind, Table: f.tableNames(), ExecutionTime: seconds(l.event.duration()), Timestamp: timestamp(p.when(l)),
		})
	}
	return queryPerformance{
		PeriodMinutes: q.minutes, TotalQueries: sum.queries(), TotalExecutionTime: seconds(sum.time()),
		AverageExecutionTime: seconds(sum.average()), CacheHitRate: rounded(sum.hitRate()),
		QueryTypeDistribution: kinds, TableAccessDistribution: tables, SlowestQueries: slowest,
	}
}

// factsOf returns what is known of the event's rule.
func (p *Performance) factsOf(e event) *facts { return (*p.handles.Load())[e.rule()].facts.Load() }

// tableNames lists the tables as one text, the first known first.
func (f *facts) tableNames() string {
	names := make([]string, len(f.tables))
	for i, t := range f.tables {
		names[i] = shown(t)
	}
	return strings.Join(names, ", ")
}

type slowReport struct {
	SlowQueries      []slowQuery `json:"slow_queries"`
	TotalSlowQueries uint64      `json:"total_slow_queries"`
	ThresholdSeconds float64     `json:"threshold_seconds"`
	PeriodMinutes    int         `json:"period_minutes"`
}

type slowQuery struct {
	QueryType     string  `json:"query_type"`
	TableName     string  `json:"table_name"`
	ExecutionTime float64 `json:"execution_time"`
	Timestamp     string  `json:"timestamp"`
	CacheHit      bool    `json:"cache_hit"`
}

func (p *Performance) slowQueries(q question) (any, *problem.Problem) {
	of := p.minutesBack(q.minutes)
	of.table, of.threshold = q.table, q.threshold
	found := []slowQuery{}
	for _, l := range p.slowestOf(of, keptSlowest) {
		f := p.factsOf(l.event)
		found = append(found, slowQuery{
			QueryType: f.kind, TableName: f.tableNames(), ExecutionTime: seconds(l.event.duration()), Timestamp: timestamp(p.when(l)), CacheHit: l.event.hit(),
		})
	}
	total := p.total(of)
	return slowReport{
		SlowQueries: found, TotalSlowQueries: max(total.slow, uint64(len(found))),
		ThresholdSeconds: seconds(q.threshold), PeriodMinutes: q.minutes,
	}, nil
}

// hour returns the beginning of the wall-clock hour of a minute.
func (p *Performance) hour(minute uint32) time.Time { return p.wall(minute).Truncate(time.Hour) }
