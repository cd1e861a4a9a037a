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
	"forebay/proxy"
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
		findings = append(append(findings, seen.rules...), seen.findings...)
		findings = append(findings, changes.Examine(ctx, feedConfig(p), seen.wanted, nil)...)
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
	rules    []changes.Finding // of each rule, how its responses are judged
	findings []changes.Finding // of all else
}

// survey finds out what the rules read, without running them, and how a feed would hear of that.
func survey(ctx context.Context, config *rules.Config) surveyed {
	w := &watcher{}
	log := cache.NewChangeLog("doctor")
	var foreseen changes.Foresight
	database, err := postgres.New(postgres.ConfigOf(config.Postgres), postgres.Deps{
		Log: log, Clock: cache.NewClock(time.Now()), Logger: slog.New(slog.DiscardHandler),
		Metrics: metrics.NewSet(), Feed: w, Uncovered: func(oid uint32) string { return reasonOf(foreseen.Uncovered, oid) },
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
	seen.wanted = w.wanted
	if foreseen, err = changes.Foresee(ctx, feedConfig(config.Postgres), w.wanted); err == nil {
		log.SetFeed(foreseen.Feed)
	}
	for _, r := range config.Rules.Rules() {
		if r.Batch != nil {
			seen.rules = append(seen.rules, changes.Finding{
				Check: "rule " + r.Name, State: changes.FindingOK, Detail: "a batch is sent " + database.BatchWay(r).String(),
			})
		}
		if r.Stores() {
			c := proxy.Classification(database, r)
			seen.tables = append(seen.tables, c.Tables...)
			seen.rules = append(seen.rules, ruleFinding(r, c))
		}
	}
	slices.Sort(seen.tables)
	seen.tables = slices.Compact(seen.tables)
	if config.Postgres.Standby != "" {
		seen.findings = append(seen.findings, examineStandby(ctx, database))
	}
	return seen
}

// feedConfig is the feed's configuration.
func feedConfig(config *rules.Postgres) changes.Config {
	cfg := changes.ConfigOf(config, config.Changes)
	if config.Publication != "" {
		cfg.Publication = config.Publication
	}
	return cfg
}

// reasonOf returns why changes to a relation would not be heard of; "" if they would.
func reasonOf(uncovered []changes.Uncovered, oid uint32) string {
	for i := range uncovered {
		if u := &uncovered[i]; u.Oid == oid && !u.Rows {
			return u.Reason
		}
	}
	return ""
}

// ruleFinding says how a rule's responses are judged. That one goes by its TTL is worth a second look, unless the
// configuration asks for it or nothing else can be had.
func ruleFinding(r *rules.Rule, c postgres.Classification) changes.Finding {
	f := changes.Finding{Check: "rule " + r.Name, State: changes.FindingOK, Detail: c.String()}
	if !c.Exact && r.Freshness != rules.TTLOnly && r.Upstream == "" {
		f.State = changes.FindingWarn
	}
	return f
}

func examineStandby(ctx context.Context, database *postgres.Database) changes.Finding {
	f := changes.Finding{Check: "standby", State: changes.FindingWarn}
	if err := database.Ping(ctx); err != nil {
		f.Detail = "it is not looked at, since the primary does not answer"
		return f
	}
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
