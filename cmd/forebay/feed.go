package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"sync"
	"time"

	"forebay/cache"
	"forebay/proxy/health"
	"forebay/rules"
	"forebay/upstream/changes"
	"forebay/upstream/postgres"
)

const (
	surveyRetry  = time.Second
	judgingEvery = time.Second            // how often the log says how far a survey has come
	lagWatch     = 100 * time.Millisecond // how often the feed's lag is compared with max_lag, for the log
)

// newFeed makes the change feed and what the database needs of it.
func (a *app) newFeed(config *rules.Postgres, deps *postgres.Deps) error {
	ddl := func() { a.database.Hurry() } // set before the feed runs
	feed, err := changes.New(feedConfig(config), changes.Deps{Log: a.log, Clock: a.clock, Logger: a.logger, Metrics: a.metrics, DDL: ddl})
	if err != nil {
		return fmt.Errorf("cannot use postgres.changes: %w", err)
	}
	a.feed = feed
	deps.Feed, deps.Uncovered = feed, feed.Uncovered
	deps.FeedServer = func() (postgres.Server, bool) {
		id, known := feed.Identity()
		return postgres.Server(id), known
	}
	a.metrics.NewGauge(`forebay_exact`, func() float64 {
		if a.log.Feed().Mode != cache.FeedOff && a.log.Lag(a.clock.Now()) <= a.maxLag() {
			return 1
		}
		return 0
	})
	return nil
}

// runFeed follows changes, finds out what rules depend on, and says when exact freshness begins and ends.
func (a *app) runFeed(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.survey(ctx)
		a.watchLag(ctx)
	}()
	err := a.feed.Run(ctx)
	<-done
	return err
}

// survey has what the rules read followed before anybody asks, and tries again while the database is away.
func (a *app) survey(ctx context.Context) {
	telling, stop := context.WithCancel(ctx)
	var told sync.WaitGroup
	told.Go(func() { a.tellJudging(telling) })
	defer told.Wait()
	defer stop()
	for ctx.Err() == nil {
		err := a.database.Survey(ctx, a.proxy.Config().Rules.Rules())
		if err == nil {
			return
		}
		a.logger.Debug("rules not surveyed yet", "err", err)
		if !isAway(err) {
			return // the rule's fills will look, and its requests say what is wrong
		}
		select {
		case <-ctx.Done():
		case <-time.After(surveyRetry):
		}
	}
}

// tellJudging logs how far the survey has come, until ctx ends.
func (a *app) tellJudging(ctx context.Context) {
	ticker := time.NewTicker(judgingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if reason := a.judging(); reason != "" {
				a.logger.Info(reason)
			}
		}
	}
}

// judging says how far the survey has come; "" if none is under way.
func (a *app) judging() string {
	judged, of := a.database.Judging()
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d rules are judged; responses of the others are stored from then on", judged, of)
}

// followTime is how long the demo waits for the change stream before it says how to try it.
const followTime = 10 * time.Second

// awaitFollowed waits until changes are followed, as long as that may take when nothing is wrong.
func (a *app) awaitFollowed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, followTime)
	defer cancel()
	for a.log.Lag(a.clock.Now()) > a.maxLag() || !a.database.Followed() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(lagWatch):
		}
	}
}

// resurvey has the rules surveyed anew, soon.
func (a *app) resurvey() {
	select {
	case a.surveys <- struct{}{}:
	default:
	}
}

// maxLag returns that of the configuration in place.
func (a *app) maxLag() time.Duration {
	select {
	case <-a.ready:
		return a.proxy.Config().MaxLag
	default:
		return a.config.MaxLag
	}
}

// isAway reports whether the database may answer if it is asked again.
func isAway(err error) bool {
	var e *postgres.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Class {
	case postgres.Unavailable, postgres.CircuitOpen, postgres.Busy, postgres.PoolExhausted, postgres.StatementTimeout, postgres.Deadline:
		return true
	}
	return false
}

// watchLag logs once each way.
func (a *app) watchLag(ctx context.Context) {
	ticker := time.NewTicker(lagWatch)
	defer ticker.Stop()
	exact, known, mode := false, false, ""
	told := make(map[uint32]bool)
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.surveys:
			a.survey(ctx)
		case <-ticker.C:
		}
		a.tellUncovered(told)
		lag := a.log.Lag(a.clock.Now())
		now := lag <= a.maxLag() && a.database.Followed()
		feed := a.log.Feed()
		switch {
		case known && now == exact && feed.Mode == mode:
			continue
		case now && feed.Mode == cache.FeedOff:
			a.logger.Info("changes made outside forebay are not followed", "reason", feed.Reason)
		case now:
			a.logger.Info("changes are followed", "mode", feed.Mode, "relations", len(feed.Covered))
		case known && lag != math.MaxInt64 && lag > a.maxLag():
			a.logger.Warn("news of changes is late; what is stored is not known to be current", "lag", lag, "max_lag", a.maxLag())
		}
		exact, known, mode = now, known || now, feed.Mode
	}
}

// tellUncovered logs once of each table that rules read and whose changes, or rows, cannot be followed.
func (a *app) tellUncovered(told map[uint32]bool) {
	now := make(map[uint32]bool)
	for _, u := range a.feed.Status().Uncovered {
		if u.Rows {
			continue
		}
		if now[u.Oid] = true; !told[u.Oid] {
			a.logger.Warn("changes of a table cannot be followed; what reads it goes by its lifetime", "table", u.Name, "reason", u.Reason, "fix", u.Fix)
		}
	}
	clear(told)
	maps.Copy(told, now)
}

// withoutAddresses keeps a connection's words, which name user and address, out of what anybody may read.
func withoutAddresses(reason string) string {
	if strings.Contains(reason, "connect") && strings.Contains(reason, "`") {
		return "the database cannot be reached"
	}
	return reason
}

// feedPart says how changes are heard of.
func (a *app) feedPart() health.Part {
	part := health.Part{Name: health.ChangeFeed, Level: health.Off, Reason: "the configuration has no postgres"}
	if a.feed == nil {
		return part
	}
	status, judging := a.feed.Status(), a.judging()
	part.State = status.Mode
	switch {
	case status.Mode == cache.FeedOff:
		part.Reason = withoutAddresses(status.Reason)
		if a.config.Postgres.Changes != changes.ModeOff {
			part.Level = health.Degraded // more was asked for
		}
	case !status.Live:
		part.Level, part.Reason = health.Down, withoutAddresses(status.Reason)
	case status.Lag > a.maxLag():
		part.Level = health.Degraded
		part.Reason = fmt.Sprintf("the news is %s late; max_lag is %s", status.Lag.Round(time.Millisecond), a.maxLag())
	case judging != "":
		part.Level, part.Reason = health.Degraded, judging
	case len(status.Uncovered) > 0:
		part.Level = health.Degraded
		part.Reason = fmt.Sprintf("%s: %s", status.Uncovered[0].Name, status.Uncovered[0].Reason)
	default:
		part.Level, part.Reason = health.Up, ""
	}
	return part
}
