package performance

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"forebay/proxy/problem"
)

type analyticsReport struct {
	metricsReport
	TableName       *string          `json:"table_name"` // null: all
	Recommendations []recommendation `json:"optimization_recommendations"`
	Usage           usage            `json:"usage"`
}

// usage tells who asks when: each route, each hour, each route by hour; and the period in at most
// timelinePoints equal parts.
type usage struct {
	ByRoute  []routeUsage `json:"by_route"`
	ByHour   []hourUsage  `json:"by_hour"`
	Timeline []spanUsage  `json:"timeline"`
}

type routeUsage struct {
	Route     string   `json:"route"`
	QueryType string   `json:"query_type"`
	Tables    []string `json:"tables"`
	usageSums
	P95ExecutionTime float64     `json:"p95_execution_time"`
	SlowQueries      uint64      `json:"slow_queries"` // at least as long as performance.slow_query
	ByHour           []hourUsage `json:"by_hour"`
}

type usageSums struct {
	TotalQueries         uint64  `json:"total_queries"`
	CacheHitRate         float64 `json:"cache_hit_rate"`
	TotalExecutionTime   float64 `json:"total_execution_time"`
	AverageExecutionTime float64 `json:"average_execution_time"`
}

type hourUsage struct {
	Hour string `json:"hour"`
	usageSums
}

type spanUsage struct {
	Start string `json:"start"`
	usageSums
}

// timelinePoints bounds the timeline, whatever the period.
const timelinePoints = 60

func sumsOf(t *tally) usageSums {
	return usageSums{
		TotalQueries: t.queries(), CacheHitRate: rounded(t.hitRate()), TotalExecutionTime: seconds(t.time()), AverageExecutionTime: seconds(t.average()),
	}
}

func (p *Performance) analytics(q question) (any, *problem.Problem) {
	r := analyticsReport{metricsReport: p.metricsReport(q), Usage: p.usage(q), Recommendations: p.recommend(q.table)}
	if q.table != "" {
		r.TableName = &q.table
	}
	return r, nil
}

// groups are tallies by what they are of.
type groups[K comparable] map[K]*tally

func (g groups[K]) add(of K, t *tally) {
	sum := g[of]
	if sum == nil {
		sum = new(tally)
		g[of] = sum
	}
	sum.add(t)
}

type routeHour struct {
	route *RuleHandle
	hour  time.Time
}

func (p *Performance) usage(q question) usage {
	of := p.minutesBack(q.minutes)
	of.table = q.table
	span := (q.minutes + timelinePoints - 1) / timelinePoints
	routes, hours := groups[*RuleHandle]{}, groups[time.Time]{}
	routeHours, spans := groups[routeHour]{}, groups[int]{}
	p.visit(of, func(h *RuleHandle, minute uint32, t *tally, _ []event) {
		hour := p.hour(minute)
		routes.add(h, t)
		hours.add(hour, t)
		routeHours.add(routeHour{h, hour}, t)
		spans.add(int(of.last-minute)/span, t) // counted from now, so that a span has the same end in each
	})
	u := usage{ByRoute: []routeUsage{}, ByHour: hoursOf(hours)}
	for h, t := range routes {
		f := h.facts.Load()
		own := groups[time.Time]{}
		for at, sum := range routeHours {
			if at.route == h {
				own[at.hour] = sum
			}
		}
		u.ByRoute = append(u.ByRoute, routeUsage{
			Route: h.name, QueryType: f.kind, Tables: shownAll(f.tables), usageSums: sumsOf(t),
			P95ExecutionTime: seconds(t.quantile(0.95)), SlowQueries: t.slow, ByHour: hoursOf(own),
		})
	}
	slices.SortFunc(u.ByRoute, func(a, b routeUsage) int {
		return cmp.Or(cmp.Compare(b.TotalExecutionTime, a.TotalExecutionTime), cmp.Compare(a.Route, b.Route))
	})
	for i := q.minutes / span; i >= 0; i-- {
		t := spans[i]
		if t == nil {
			t = new(tally)
		}
		start := max(int(of.last)-(i+1)*span+1, int(of.first))
		u.Timeline = append(u.Timeline, spanUsage{Start: timestamp(p.wall(uint32(start))), usageSums: sumsOf(t)})
	}
	return u
}

// hoursOf lists the hours that have queries, earliest first.
func hoursOf(hours groups[time.Time]) []hourUsage {
	list := make([]hourUsage, 0, len(hours))
	for _, hour := range slices.SortedFunc(maps.Keys(hours), time.Time.Compare) {
		list = append(list, hourUsage{Hour: timestamp(hour), usageSums: sumsOf(hours[hour])})
	}
	return list
}

func shownAll(tables []string) []string {
	list := make([]string, len(tables))
	for i, t := range tables {
		list[i] = shown(t)
	}
	return list
}
