package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"forebay/cache"
	"forebay/rules"
	"forebay/upstream/postgres"
)

// PurgeOrder says what an operator wants dropped.
type PurgeOrder struct {
	URLs     []string // path and query; every variant and every caller's
	Prefixes []string // of paths; one that reaches into a parameter purges all of that rule
	Tags     []string
	Tables   []string
	Rules    []string
	All      bool
	Soft     bool // expire: stale-while-revalidate and stale-if-error may still serve it
	DryRun   bool // only count
}

// OrderError is an order that cannot be carried out as given. Nothing was purged.
type OrderError struct {
	Detail  string
	Missing bool // what it names does not exist
}

// Error returns the detail, a sentence for the operator.
func (e *OrderError) Error() string { return e.Detail }

// PurgeResult tells what a purge did.
type PurgeResult struct {
	Matched int  // responses that this instance's memory held of it
	Shared  bool // other instances hear of it
}

// Purge carries the order out. When it returns, this instance serves none of what it names, nor what
// fetches under way bring; others hear of it through the shared tier.
func (p *Proxy) Purge(ctx context.Context, o PurgeOrder) (PurgeResult, error) {
	purge, err := p.resolve(ctx, o)
	if err != nil {
		return PurgeResult{}, err
	}
	var result PurgeResult
	var keys [][]byte
	for key, r := range p.memory.All() {
		if concerns(purge, key, r) {
			result.Matched++
			keys = append(keys, []byte(key))
		}
	}
	if o.DryRun {
		return result, nil
	}
	p.metrics.purges.Inc()
	p.log.Purge(purge)
	if !o.Soft {
		// Marked is enough to keep them from being served as current. Removed is what keeps them from
		// emergencies as well.
		for _, key := range keys {
			_ = p.memory.Delete(ctx, key)
		}
	}
	if p.shared != nil {
		err := p.shared.Purge(ctx, purge)
		if result.Shared = err == nil; err != nil {
			p.logger.Warn("purge not shared yet, will be sent again", "err", err)
		}
	}
	return result, nil
}

// resolve turns the order into what the log and the stores understand.
func (p *Proxy) resolve(ctx context.Context, o PurgeOrder) (cache.Purge, error) {
	purge := cache.Purge{Soft: o.Soft}
	s := p.state.Load()
	if o.All {
		purge.Dependencies = append(purge.Dependencies, cache.Everything)
	}
	for _, tag := range o.Tags {
		purge.Dependencies = append(purge.Dependencies, cache.Tag(tag))
	}
	for _, name := range o.Rules {
		if s.Config.Rules.Rule(name) == nil {
			return purge, &OrderError{Detail: fmt.Sprintf("There is no rule %q; name it as the configuration does, method and path.", name), Missing: true}
		}
		purge.Dependencies = append(purge.Dependencies, cache.Rule(name))
	}
	for _, table := range o.Tables {
		if s.Database == nil {
			return purge, &OrderError{Detail: fmt.Sprintf("The table %q is of no database: the configuration has none.", table)}
		}
		list, err := s.Database.TableDependencies(ctx, table)
		var refused *postgres.Error
		switch {
		case errors.As(err, &refused) && refused.Class == postgres.Invalid:
			return purge, &OrderError{Detail: refused.Detail, Missing: true}
		case err != nil:
			return purge, fmt.Errorf("find table %q: %w", table, err)
		}
		purge.Dependencies = append(purge.Dependencies, list...)
	}
	for _, prefix := range o.Prefixes {
		for _, r := range s.Config.Rules.Rules() {
			if mayBeginWith(r.Pattern.Text, prefix) {
				purge.Dependencies = append(purge.Dependencies, cache.Rule(r.Name))
			}
		}
	}
	for _, url := range o.URLs {
		_, prefix, err := p.keyPrefixOf(s, url)
		if err != nil {
			return purge, err
		}
		purge.KeyPrefixes = append(purge.KeyPrefixes, prefix)
	}
	return purge, nil
}

// keyPrefixOf returns the rule that a GET of the URL has, and what every key of it begins with.
func (p *Proxy) keyPrefixOf(s *state, url string) (*rules.Rule, []byte, error) {
	path, query := splitTarget([]byte(url))
	request := rules.Request{Method: "GET", Path: path, Query: query}
	var match rules.Match
	if s.Config.Rules.Match(request.Method, path, &match) != rules.Matched {
		return nil, nil, &OrderError{Detail: fmt.Sprintf("No GET rule matches %q.", url)}
	}
	rule := match.Rule
	if !rule.Stores() {
		return nil, nil, &OrderError{Detail: fmt.Sprintf("The rule %q of %q stores nothing.", rule.Name, url)}
	}
	var input rules.Input
	if err := rule.ReadInput(&request, &match, &input); err != nil {
		return nil, nil, &OrderError{Detail: fmt.Sprintf("The parameters of %q are not those of the rule %q: %s", url, rule.Name, err.Detail)}
	}
	return rule, rule.AppendKeyOf(nil, &input), nil
}

// concerns reports whether the purge is about the response.
func concerns(purge cache.Purge, key string, r *cache.StoredResponse) bool {
	for _, prefix := range purge.KeyPrefixes {
		if strings.HasPrefix(key, string(prefix)) {
			return true
		}
	}
	for _, d := range purge.Dependencies {
		if d == cache.Everything || r.Standing != nil && dependsOn(r.Standing.Dependencies(), d) {
			return true
		}
	}
	return false
}

// dependsOn reports whether one of the dependencies is on d, or on rows of the table that d is.
func dependsOn(dependencies []cache.Dependency, d cache.Dependency) bool {
	table, isTable := d.Oid()
	return slices.ContainsFunc(dependencies, func(on cache.Dependency) bool {
		oid, ofTable := on.Table()
		return on == d || isTable && ofTable && oid == table
	})
}

// mayBeginWith reports whether a path that the pattern matches may begin with the prefix.
func mayBeginWith(pattern, prefix string) bool {
	want := strings.Split(prefix, "/")
	have := strings.Split(pattern, "/")
	for i, segment := range want {
		if i >= len(have) {
			return false
		}
		switch last := i == len(want)-1; {
		case have[i] == "**":
			return true
		case strings.HasPrefix(have[i], "{"):
		case last && !strings.HasPrefix(have[i], segment), !last && have[i] != segment:
			return false
		}
	}
	return true
}
