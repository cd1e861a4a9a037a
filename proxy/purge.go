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
	Matched int      // responses that this instance's memory held of it
	Shared  bool     // other instances hear of it
	Whole   []string // rules of which a prefix took more than begins with it: all that they had
}

// Purge carries the order out. When it returns, this instance serves none of what it names, nor what
// fetches under way bring; others hear of it through the shared tier.
func (p *Proxy) Purge(ctx context.Context, o PurgeOrder) (PurgeResult, error) {
	var result PurgeResult
	purge, err := p.resolve(ctx, o, &result)
	if err != nil {
		return PurgeResult{}, err
	}
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
func (p *Proxy) resolve(ctx context.Context, o PurgeOrder, result *PurgeResult) (cache.Purge, error) {
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
			may, all := beginWith(r.Pattern.Text, prefix)
			if may {
				purge.Dependencies = append(purge.Dependencies, cache.Rule(r.Name))
			}
			if may && !all && r.Stores() && !slices.Contains(result.Whole, r.Name) {
				result.Whole = append(result.Whole, r.Name)
			}
		}
	}
	for _, url := range o.URLs {
		path, query := splitTarget([]byte(url))
		_, prefix, err := p.keyPrefixOf(s, path, query)
		if err != nil {
			return purge, err
		}
		purge.KeyPrefixes = append(purge.KeyPrefixes, prefix)
	}
	return purge, nil
}

// keyPrefixOf returns the rule that a GET of the path and query has, and what every key of it begins with.
func (p *Proxy) keyPrefixOf(s *state, path, query []byte) (*rules.Rule, []byte, error) {
	request := rules.Request{Method: "GET", Path: path, Query: query}
	var match rules.Match
	if s.Config.Rules.Match(request.Method, path, &match) != rules.Matched {
		return nil, nil, &OrderError{Detail: fmt.Sprintf("No GET rule matches %q.", path)}
	}
	rule := match.Rule
	if !rule.Stores() {
		return nil, nil, &OrderError{Detail: fmt.Sprintf("The rule %q of %q stores nothing.", rule.Name, path)}
	}
	var input rules.Input
	if err := rule.ReadInput(&request, &match, &input); err != nil {
		return nil, nil, &OrderError{Detail: fmt.Sprintf("The parameters of %q are not those of the rule %q: %s", path, rule.Name, err.Detail)}
	}
	if input.Unkeyed {
		return nil, nil, &OrderError{Detail: fmt.Sprintf("Nothing is stored for %q: services differ in what they read in such a path.", path)}
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

// beginWith reports whether a path that the pattern matches may begin with the prefix, and whether all of them do.
func beginWith(pattern, prefix string) (may, all bool) {
	want := strings.Split(prefix, "/")
	have := strings.Split(pattern, "/")
	all = true
	for i, segment := range want {
		if i >= len(have) {
			return false, false
		}
		switch last := i == len(want)-1; {
		case have[i] == "**":
			return true, false
		case strings.HasPrefix(have[i], "{"):
			all = all && last && segment == ""
		case last && !strings.HasPrefix(have[i], segment), !last && have[i] != segment:
			return false, false
		}
	}
	return true, all
}
