package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"forebay/cache"
	"forebay/cache/redis"
	"forebay/rules"
	"forebay/upstream/changes"
	"forebay/upstream/postgres"
)

// doctorCmd looks at the real world that a configuration is for.
type doctorCmd struct {
	Config string `short:"c" required:"" env:"FOREBAY_CONFIG" type:"path" help:"Configuration file."`
	JSON   bool   `name:"json" help:"Print it for programs."`
}

// Run prints what was found, each with what to do. It fails when something keeps changes from being followed.
func (d *doctorCmd) Run(ctx context.Context) error {
	config, err := rules.Load(d.Config, os.LookupEnv)
	if err != nil {
		return reportMistakes(err)
	}
	findings := examine(ctx, config)
	failed := 0
	for _, f := range findings {
		if f.State == changes.FindingFail {
			failed++
		}
	}
	if d.JSON {
		if err := json.NewEncoder(os.Stdout).Encode(findings); err != nil {
			return fmt.Errorf("print findings: %w", err)
		}
	} else {
		printFindings(findings)
	}
	if failed > 0 {
		return errReported
	}
	return nil
}

// examine looks at everything that the configuration stands on.
func examine(ctx context.Context, config *rules.Config) []changes.Finding {
	var findings []changes.Finding
	if p := config.Postgres; p != nil {
		seen := survey(ctx, config)
		findings = append(findings, seen.findings...)
		cfg := changes.ConfigOf(p, p.Changes)
		if p.Publication != "" {
			cfg.Publication = p.Publication
		}
		findings = append(findings, changes.Examine(ctx, cfg, seen.wanted, nil)...)
	} else {
		findings = append(findings, changes.Finding{Check: "postgres", State: changes.FindingOK, Detail: "the configuration has no postgres; responses of upstreams go by their lifetimes"})
	}
	return append(findings, examineRedis(ctx, config))
}

// watcher keeps what a database asks to have followed.
type watcher struct{ wanted map[uint32][]int16 }

// Watch keeps the set.
func (w *watcher) Watch(wanted map[uint32][]int16) { w.wanted = wanted }

// Wait waits for nothing: nobody writes.
func (w *watcher) Wait(context.Context, uint64) bool { return false }

// surveyed is what the rules were found to read.
type surveyed struct {
	wanted   map[uint32][]int16
	tables   []string
	findings []changes.Finding // of each rule, how its responses are judged
}

// survey finds out what the rules read, without running them.
func survey(ctx context.Context, config *rules.Config) surveyed {
	w := &watcher{}
	database, err := postgres.New(postgres.ConfigOf(config.Postgres), postgres.Deps{
		Log: cache.NewChangeLog("doctor"), Clock: cache.NewClock(time.Now()), Logger: slog.New(slog.DiscardHandler),
		Metrics: metrics.NewSet(), Feed: w,
	})
	if err != nil {
		return surveyed{findings: []changes.Finding{{Check: "postgres", State: changes.FindingFail, Detail: err.Error()}}}
	}
	defer database.Close()
	var seen surveyed
	if err := database.Survey(ctx, config.Rules.Rules()); err != nil {
		seen.findings = append(seen.findings, changes.Finding{
			Check: "statements", State: changes.FindingFail, Detail: err.Error(), Fix: "forebay check -c FILE says what is wrong with statements",
		})
	}
	for _, r := range config.Rules.Rules() {
		if r.Batch != nil {
			seen.findings = append(seen.findings, changes.Finding{
				Check: "rule " + r.Name, State: changes.FindingOK, Detail: "a batch is sent " + database.BatchWay(r).String(),
			})
		}
		if r.Query == nil || !r.Stores() {
			continue
		}
		c := database.Classification(r)
		seen.tables = append(seen.tables, c.Tables...)
		seen.findings = append(seen.findings, ruleFinding(r, c))
	}
	slices.Sort(seen.tables)
	seen.tables, seen.wanted = slices.Compact(seen.tables), w.wanted
	if config.Postgres.Standby != "" {
		seen.findings = append(seen.findings, examineStandby(ctx, database))
	}
	return seen
}

func ruleFinding(r *rules.Rule, c postgres.Classification) changes.Finding {
	f := changes.Finding{Check: "rule " + r.Name, State: changes.FindingOK}
	switch {
	case r.Freshness == rules.TTLOnly:
		f.Detail = "by its lifetime alone, as the configuration says"
	case !c.Known:
		f.State, f.Detail = changes.FindingWarn, "what it reads is not known yet"
	case !c.Exact:
		f.State, f.Detail = changes.FindingWarn, "by its lifetime alone: "+c.Reason
	default:
		on := append([]string{}, c.Rows...)
		for _, table := range c.Tables {
			if !hasRows(c.Rows, table) {
				on = append(on, table)
			}
		}
		f.Detail = "outdated by changes to " + strings.Join(on, ", ")
		if c.Reason != "" {
			f.State = changes.FindingWarn
			f.Detail += "; " + c.Reason
		}
	}
	return f
}

func examineStandby(ctx context.Context, database *postgres.Database) changes.Finding {
	f := changes.Finding{Check: "standby", State: changes.FindingWarn}
	found, err := database.ExamineStandby(ctx)
	switch {
	case err != nil:
		f.Detail, f.Fix = "the primary is read instead: "+err.Error(), "start it, or correct postgres.standby"
	case found.Reason != "":
		f.Detail, f.Fix = "the primary is read instead: "+found.Reason, found.Fix
	default:
		f.State, f.Detail = changes.FindingOK, fmt.Sprintf("it follows the primary and has %d bytes of its log to replay", found.Behind)
	}
	return f
}

// hasRows reports whether certain rows of the table alone matter.
func hasRows(rows []string, table string) bool {
	for _, r := range rows {
		if strings.HasPrefix(r, table+"[") {
			return true
		}
	}
	return false
}

func examineRedis(ctx context.Context, config *rules.Config) changes.Finding {
	f := changes.Finding{Check: "redis", State: changes.FindingOK, Detail: "none is configured; the memory tier is all there is"}
	url := config.Cache.Redis
	if url == "" {
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	shared, err := redis.New(redis.Config{URL: string(url), Prefix: config.Cache.RedisPrefix, Budget: time.Second},
		redis.Deps{Log: cache.NewChangeLog("doctor"), Clock: cache.NewClock(time.Now()), Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()})
	if err != nil {
		return changes.Finding{Check: "redis", State: changes.FindingFail, Detail: err.Error(), Fix: "correct cache.redis"}
	}
	done := make(chan error, 1)
	go func() { done <- shared.Run(ctx) }()
	state, reason := shared.Health()
	for state != "up" && ctx.Err() == nil {
		<-time.After(50 * time.Millisecond)
		state, reason = shared.Health()
	}
	cancel()
	<-done
	if state != "up" {
		f.State = changes.FindingWarn
		f.Detail = "it is " + state + ": " + reason + "; requests are served without it"
		f.Fix = "start it, or correct cache.redis"
		return f
	}
	f.Detail = "it answers"
	return f
}

func printFindings(findings []changes.Finding) {
	marks := map[string]string{changes.FindingOK: "ok  ", changes.FindingWarn: "warn", changes.FindingFail: "FAIL"}
	for _, f := range findings {
		fmt.Printf("%s  %s: %s\n", marks[f.State], f.Check, f.Detail)
		if f.Fix != "" {
			fmt.Printf("        %s\n", strings.ReplaceAll(f.Fix, "\n", "\n        "))
		}
	}
}
