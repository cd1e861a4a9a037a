package rules

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// performance compiles what the performance endpoints show and run. The rules must be there before.
func (c *compiler) performance() Performance {
	f := &c.file.Performance
	c.positive("performance.slow_query", f.SlowQuery)
	c.percent("performance.hit_rate", f.HitRate)
	c.percent("performance.pool_use", f.PoolUse)
	if p := f.Path; p != "" && (!strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || strings.ContainsAny(p, "{}*?#% ")) {
		c.mistake("performance.path", "%q is no path; write it as /api/v1/performance, without a slash at the end, or \"\" to switch the endpoints off", p)
	}
	c.dashboard(&f.Dashboard)
	p := Performance{
		Path: f.Path, SlowQuery: time.Duration(f.SlowQuery), HitRate: f.HitRate, PoolUse: f.PoolUse,
		Dashboard: f.Dashboard.Rule, ClientMetrics: f.Dashboard.ClientMetrics, Activity: f.Dashboard.RecentActivity,
	}
	for i, e := range f.Benchmark {
		path := item("performance.benchmark", i)
		if e.Name == "" || slices.ContainsFunc(p.Benchmark, func(o Operation) bool { return o.Name == e.Name }) {
			c.mistake(path, "its name is %q; give each operation a name of its own, by which the result calls it", e.Name)
		}
		p.Benchmark = append(p.Benchmark, c.operation(path, e))
	}
	return p
}

func (c *compiler) percent(path string, v float64) {
	if v < 0 || v > 100 {
		c.mistake(path, "%v is no percentage; want 0 to 100", v)
	}
}

func (c *compiler) dashboard(d *dashboardSection) {
	const path = "performance.dashboard"
	d.Rule = strings.Join(strings.Fields(d.Rule), " ")
	if d.Rule != "" {
		rule := c.config.Rules.Rule(d.Rule)
		switch {
		case rule == nil && c.isRoute(d.Rule):
			// It is switched off, or has a mistake of its own.
			if i := c.routeIndex(d.Rule); !c.file.Routes[i].Enabled {
				c.mistake(path+".rule", "the route %q is switched off; set enabled: true there, or show another", d.Rule)
			}
		case rule == nil:
			c.mistake(path+".rule", "there is no route %q%s", d.Rule, c.nearRoute(d.Rule))
		case rule.Writes():
			c.mistake(path+".rule", "the route %q writes; show the response of one that reads", d.Rule)
		case rule.Pattern.Names() != nil:
			c.mistake(path+".rule", "the route %q has parameters in its path, and nothing says which; show one without", d.Rule)
		}
	}
	for _, p := range []struct{ key, pointer string }{{"client_metrics", d.ClientMetrics}, {"recent_activity", d.RecentActivity}} {
		switch {
		case p.pointer != "" && !strings.HasPrefix(p.pointer, "/"):
			c.mistake(join(path, p.key), "%q is no JSON pointer; write it as /data/metrics", p.pointer)
		case p.pointer != "" && d.Rule == "":
			c.mistake(join(path, p.key), "there is no rule whose response it could point into; name one with rule")
		}
	}
}

func (c *compiler) routeIndex(name string) int {
	return slices.IndexFunc(c.file.Routes, func(e *routeEntry) bool { return e.name() == name })
}

func (c *compiler) isRoute(name string) bool { return c.routeIndex(name) >= 0 }

// nearRoute suggests the route that was probably meant; a list of all would be too long.
func (c *compiler) nearRoute(name string) string {
	best, distance := "", 1+len(name)/3
	for _, r := range c.config.Rules.Rules() {
		if d := edits(name, r.Name); d < distance {
			best, distance = r.Name, d
		}
	}
	if best == "" {
		return "; name one exactly as it is written in routes"
	}
	return "; did you mean " + strconv.Quote(best) + "?"
}

func (c *compiler) operation(path string, e operationEntry) Operation {
	words := strings.Fields(e.Request)
	if len(words) != 2 || !strings.HasPrefix(words[1], "/") {
		c.mistake(path, "its request is %q; write METHOD target, as in GET /api/v1/clients?limit=10, percent-encoded", e.Request)
		return Operation{Name: e.Name}
	}
	op := Operation{Name: e.Name, Method: words[0], Target: words[1], Body: e.Body}
	if e.Body != "" && !json.Valid([]byte(e.Body)) {
		c.mistake(path+".body", "it is not JSON; write it in single quotes, as in '{\"query\":\"ann\"}'")
	}
	target, _, _ := strings.Cut(op.Target, "?")
	var m Match
	switch c.config.Rules.Match(op.Method, []byte(target), &m) {
	case NoRoute:
		c.mistake(path+".request", "no route matches %s; ask for a path that one does", e.Request)
	case MethodNotAllowed:
		c.mistake(path+".request", "%s has routes for %s, not for %s", target, strings.Join(m.Allow, ", "), op.Method)
	case Matched:
		if m.Rule.Writes() && op.Method != "GET" && op.Method != "HEAD" {
			c.mistake(path+".request", "it would change data each time the benchmark runs; ask for a route that reads")
		}
	}
	return op
}
