package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"forebay/proxy"
	"forebay/proxy/admin"
	"forebay/proxy/health"
	"forebay/proxy/performance"
	"forebay/proxy/problem"
	"forebay/rules"
	"forebay/upstream/postgres"
)

// performanceDeps is what the performance endpoints report on.
func (a *app) performanceDeps() performance.Deps {
	deps := performance.Deps{
		Clock:   a.clock.Now,
		Now:     time.Now,
		Memory:  a.memoryStats,
		Parts:   a.parts,
		Clear:   a.clear,
		Do:      a.do,
		Token:   a.token,
		Metrics: a.metrics,
	}
	if a.database != nil {
		deps.Pool = a.poolStats
	}
	return deps
}

// adminDeps is what the operator's listener reports on and may do.
func (a *app) adminDeps() admin.Deps {
	return admin.Deps{
		Token:   a.token,
		Parts:   a.parts,
		Metrics: a.metrics,
		Config:  func() ([]byte, error) { return a.proxy.Config().Dump() },
		Rules:   a.ruleReports,
		Explain: a.explain,
		Purge:   a.purge,
		Reload:  a.reloader.reload,
		Bypass: func() admin.BypassState {
			all, named := a.proxy.Bypassed()
			return admin.BypassState{All: all, Rules: named}
		},
		SetBypass: a.setBypass,
		Logger:    a.logger,
	}
}

func (a *app) token() rules.Secret { return a.config.Admin.Token }

func (a *app) memoryStats() performance.MemoryStats {
	s := a.memory.Stats()
	return performance.MemoryStats{Entries: s.Entries, Expired: s.Expired, Bytes: s.Bytes, MaxBytes: s.MaxBytes, Evictions: s.EvictedSize}
}

func (a *app) poolStats() performance.PoolStats {
	s := a.database.Stats()
	return performance.PoolStats{Max: s.Max, Active: s.InUse, Waits: s.Waits, Timeouts: s.Timeouts}
}

// parts says how everything is that forebay stands on.
func (a *app) parts() []health.Part {
	var parts []health.Part
	if a.ending.Load() {
		parts = append(parts, health.Part{Name: health.Instance, Level: health.Down, State: "draining", Essential: true, Reason: "forebay was told to end"})
	}
	postgres := health.Part{Name: health.Postgres, Level: health.Off, Reason: "the configuration has no postgres"}
	breaker := health.Part{Name: health.Breaker, Of: health.Postgres, Level: health.Off, Reason: postgres.Reason}
	if a.database != nil {
		state, reason := a.database.Health()
		postgres.Level, postgres.Reason = levelOf(state), reason
		breaker.State = a.database.BreakerState()
		breaker.Level, breaker.Reason = levelOf(breaker.State), ""
		if breaker.Level != health.Up {
			breaker.Reason = "the database failed repeatedly; it is tried again by and by"
		}
		// Not essential while stored responses can be served without it: readiness is about answering.
		postgres.Essential = a.memory.Stats().Entries == 0
	}
	parts = append(parts, postgres, breaker)
	if a.database != nil {
		if state, reason, configured := a.database.StandbyHealth(); configured {
			parts = append(parts, health.Part{Name: health.Standby, Level: levelOf(state), Reason: reason})
		}
	}
	redis := health.Part{Name: health.Redis, Level: health.Off, Reason: "the configuration has no cache.redis"}
	if a.shared != nil {
		state, reason := a.shared.Health()
		redis.Level, redis.Reason = levelOf(state), reason
	}
	parts = append(parts, redis)
	origins := a.proxy.Origins()
	for _, name := range slices.Sorted(maps.Keys(origins)) {
		state, reason := origins[name].Health()
		parts = append(parts, health.Part{Name: health.Upstreams, Of: name, Level: levelOf(state), State: state, Reason: reason})
	}
	return append(parts, a.feedPart())
}

// levelOf reads a part's own word.
func levelOf(state string) health.Level {
	switch state {
	case "up", "closed":
		return health.Up
	case "degraded", "half-open":
		return health.Degraded
	case "off":
		return health.Off
	}
	return health.Down
}

// clear is POST cache/clear.
func (a *app) clear(ctx context.Context, table string) (int, error) {
	order := proxy.PurgeOrder{All: table == ""}
	if table != "" {
		order.Tables = []string{table}
	}
	result, err := a.proxy.Purge(ctx, order)
	var bad *proxy.OrderError
	if errors.As(err, &bad) {
		return 0, fmt.Errorf("%w: %s", performance.ErrNoTable, bad.Detail)
	}
	return result.Matched, err
}

func (a *app) do(ctx context.Context, method, target, body string) (performance.Answer, error) {
	status, text, hit, err := a.proxy.Do(ctx, method, target, body)
	return performance.Answer{Status: status, Body: text, Hit: hit}, err
}

func (a *app) purge(ctx context.Context, r admin.PurgeRequest) (admin.PurgeResult, error) {
	result, err := a.proxy.Purge(ctx, proxy.PurgeOrder{
		URLs: r.URLs, Prefixes: r.Prefixes, Tags: r.Tags, Tables: r.Tables, Rules: r.Rules,
		All: r.All, Soft: r.Mode == admin.Soft, DryRun: r.DryRun,
	})
	var bad *proxy.OrderError
	var failed *postgres.Error
	switch {
	case errors.As(err, &bad) && bad.Missing:
		return admin.PurgeResult{}, problem.New(problem.NotFound, bad.Detail)
	case errors.As(err, &bad):
		return admin.PurgeResult{}, problem.New(problem.InvalidParameter, bad.Detail)
	case errors.As(err, &failed):
		a.logger.Warn("purge not done", "err", err)
		p := problem.New(problem.Unavailable, "The database, which knows the tables, cannot be asked now, and nothing was purged; any other purge than by table needs no database.")
		p.RetryAfter = time.Second
		return admin.PurgeResult{}, p
	case err != nil:
		return admin.PurgeResult{}, err
	}
	answer := admin.PurgeResult{Matched: result.Matched, Mode: r.Mode, DryRun: r.DryRun, Shared: result.Shared, WholeRules: result.Whole}
	if a.shared != nil && !result.Shared && !r.DryRun {
		answer.Note = "Redis could not be told yet; the purge is sent again until it is, and holds here"
	}
	return answer, nil
}

func (a *app) setBypass(rule string, on bool) error {
	if !a.proxy.SetBypass(rule, on) {
		return admin.ErrNoRule
	}
	a.logger.Warn("bypass switched", "rule", cmp.Or(rule, "all"), "on", on)
	return nil
}

// ruleReports lists the rules and how each is judged.
func (a *app) ruleReports() []admin.RuleReport {
	_, bypassed := a.proxy.Bypassed()
	by := make(map[string]bool, len(bypassed))
	for _, name := range bypassed {
		by[name] = true
	}
	var reports []admin.RuleReport
	for _, r := range a.proxy.Config().Rules.Rules() {
		reports = append(reports, a.ruleReport(r, by[r.Name]))
	}
	return reports
}

func (a *app) ruleReport(r *rules.Rule, bypassed bool) admin.RuleReport {
	c := proxy.Classification(a.database, r)
	report := admin.RuleReport{
		Name: r.Name, Source: cmp.Or(r.Upstream, health.Postgres), Kind: r.Kind, TTL: r.TTL.String(), Tags: r.Tags, Bypass: bypassed,
		Freshness: c.Freshness, Reason: c.Reason, By: c.By, Judged: c.String(), Tables: c.Tables, Rows: c.Rows, Whole: c.Whole,
	}
	if !r.Stores() {
		report.TTL = "0s"
	}
	if r.Batch != nil {
		report.Batch = a.database.BatchWay(r).String()
	}
	if !c.Known {
		report.Tables = r.DependsOn
	}
	return report
}
