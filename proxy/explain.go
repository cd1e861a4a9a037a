package proxy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"forebay/cache"
	"forebay/rules"
	"forebay/upstream/postgres"
)

// Explanation tells an operator what becomes of a request and why. Its words are for people, its fields for
// programs.
type Explanation struct {
	Rule       string              `json:"rule"`
	Source     string              `json:"source"` // postgres, or the upstream's name
	Kind       string              `json:"kind,omitempty"`
	TTL        string              `json:"ttl"`
	Freshness  string              `json:"freshness"` // exact, bounded, ttl, or none: nothing is stored
	MaxLag     string              `json:"max_lag"`
	OnLost     string              `json:"on_lost"`
	Reason     string              `json:"reason"`          // why it is judged so, where there is something to say
	By         string              `json:"by"`              // rows, tables, fills or ttl: what outdates its responses
	Basis      string              `json:"basis"`           // the same for people, with the reasons why not fewer changes do
	Batch      string              `json:"batch,omitempty"` // how the items of a batch are sent
	Bypass     bool                `json:"bypass"`          // the kill switch is on for it
	Parameters []ExplainedArgument `json:"parameters"`
	Feed       ExplainedFeed       `json:"feed"`
	Stored     []ExplainedResponse `json:"stored"` // one for each caller and variant that something is stored for
	Verdict    string              `json:"verdict"`
}

// ExplainedArgument is a parameter as it is keyed and bound.
type ExplainedArgument struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Null  bool   `json:"null,omitempty"`
}

// ExplainedFeed is how changes are heard of now.
type ExplainedFeed struct {
	Mode   string  `json:"mode"`
	Live   bool    `json:"live"`
	Reason string  `json:"reason,omitempty"`
	Lag    float64 `json:"lag_seconds"`
}

// ExplainedResponse is one stored response, as it would be judged now.
type ExplainedResponse struct {
	Status       int                   `json:"status"`
	Bytes        int                   `json:"bytes"`
	Age          float64               `json:"age_seconds"`
	TTL          float64               `json:"ttl_seconds"` // what is left; negative: how long it has been expired
	Use          string                `json:"use"`         // fresh, revalidatable, emergency or expired
	Current      bool                  `json:"current"`
	Why          string                `json:"why"`
	Snapshot     string                `json:"snapshot"`
	Epoch        string                `json:"epoch"`
	Dependencies []ExplainedDependency `json:"dependencies"`
}

// ExplainedDependency is one thing whose changes concern the response, and how it was found.
type ExplainedDependency struct {
	On    string `json:"on"`
	Found string `json:"found"`
}

// Explain tells what becomes of a GET, or of a POST that only reads, with the header fields given. It changes
// nothing. An *OrderError says that no rule answers it.
func (p *Proxy) Explain(ctx context.Context, method, url string, header func(name string) [][]byte) (*Explanation, error) {
	s := p.state.Load()
	path, query := splitTarget([]byte(url))
	request := rules.Request{Method: method, Path: path, Query: query, Header: header}
	var match rules.Match
	if s.Config.Rules.Match(method, path, &match) != rules.Matched {
		return nil, &OrderError{Detail: fmt.Sprintf("No rule answers %s %q.", method, url)}
	}
	rule := match.Rule
	e := p.explainRule(s, rule)
	if !rule.Stores() || rule.ReadsBody() {
		if rule.ReadsBody() && rule.Stores() {
			e.Verdict = "its key is made of the request's body, which is not given here"
		} else {
			e.Verdict = "the rule stores nothing: each request goes to its source"
		}
		return e, nil
	}
	var input rules.Input
	if err := rule.ReadInput(&request, &match, &input); err != nil {
		return nil, &OrderError{Detail: fmt.Sprintf("The parameters of %q are not those of the rule %q: %s", url, rule.Name, err.Detail)}
	}
	if input.Unkeyed {
		e.Verdict = "services differ in what they read in this path: it passes through, and nothing is stored"
		return e, nil
	}
	for i := range rule.Params {
		a := input.Arguments[i]
		e.Parameters = append(e.Parameters, ExplainedArgument{Name: rule.Params[i].Name, Value: string(a.Text), Null: !a.Present})
	}
	prefix := string(rule.AppendKeyOf(nil, &input))
	for key, r := range p.memory.All() {
		if strings.HasPrefix(key, prefix) && r.Kind == cache.Ordinary {
			e.Stored = append(e.Stored, p.explainResponse(ctx, s, rule, r))
		}
	}
	e.Verdict = verdictOf(e)
	return e, nil
}

func (p *Proxy) explainRule(s *state, rule *rules.Rule) *Explanation {
	f := p.log.Feed()
	now := p.clock.Now()
	e := &Explanation{
		Rule: rule.Name, Source: rule.Upstream, Kind: rule.Kind, TTL: rule.TTL.String(), Freshness: rule.Freshness.String(),
		MaxLag: rule.MaxLag.String(), OnLost: rule.OnLost.String(),
		Bypass: p.bypassAll.Load() || s.routes[rule.Index].bypassed(),
		Feed:   ExplainedFeed{Mode: f.Mode, Live: f.Live, Reason: f.Reason, Lag: -1},
		Stored: []ExplainedResponse{}, Parameters: []ExplainedArgument{},
	}
	if f.Live {
		e.Feed.Lag = p.log.Lag(now).Seconds()
	}
	if rule.Upstream == "" {
		e.Source = "postgres"
		if rule.Batch != nil {
			e.Batch = s.Database.BatchWay(rule).String()
		}
	}
	c := Classification(s.Database, rule)
	e.Freshness, e.Reason, e.By, e.Basis = c.Freshness, c.Reason, c.By, c.Basis()
	return e
}

// Classification says how a rule's responses are outdated, also those of an HTTP service, of which nobody can see
// what it reads. Without one of these there may be no database.
func Classification(d *postgres.Database, rule *rules.Rule) postgres.Classification {
	switch {
	case rule.Upstream == "":
		return d.Classification(rule)
	case !rule.Stores():
		return postgres.Classification{Known: true, Freshness: "none", By: postgres.ByTTL, Reason: "it stores nothing"}
	case !rule.Primary:
		return postgres.Classification{Known: true, Freshness: "ttl", By: postgres.ByTTL, Reason: "nobody can see what an HTTP service reads"}
	}
	c := postgres.Classification{Known: true, Exact: true, Freshness: rule.Freshness.String(), By: postgres.ByTables, Tables: rule.DependsOn}
	for _, table := range rule.DependsOn {
		c.Whole = append(c.Whole, table+": the configuration declares that the service reads it")
	}
	return c
}

func (p *Proxy) explainResponse(ctx context.Context, s *state, rule *rules.Rule, r *cache.StoredResponse) ExplainedResponse {
	now := p.clock.Now()
	use, detail := p.judge(rule, r, now)
	current := r.Standing.Check() != cache.Outdated
	e := ExplainedResponse{
		Status: r.Status, Bytes: len(r.Body), Age: r.AgeAt(now).Seconds(), TTL: (r.Lifetime - r.AgeAt(now)).Seconds(),
		Use: use.String(), Current: current, Snapshot: r.Standing.Snapshot().String(), Epoch: r.Standing.Epoch(),
	}
	if r.TTLOnly {
		e.Snapshot = "none: changes do not concern it"
	}
	for _, d := range r.Standing.Dependencies() {
		e.Dependencies = append(e.Dependencies, ExplainedDependency{On: p.nameOf(ctx, s, d), Found: p.foundBy(s, rule, d)})
	}
	switch {
	case !current:
		e.Why = p.causeOf(ctx, s, r.Standing.Cause(), now)
	case detail == feedLost:
		e.Why = "nobody knows: changes are not heard of"
	case e.TTL < 0:
		e.Why = fmt.Sprintf("no change since, but its lifetime ended %s ago", (-time.Duration(e.TTL * float64(time.Second))).Abs().Round(time.Millisecond))
	case p.log.Feed().Mode == cache.FeedOff && !r.TTLOnly:
		e.Why = "every write through forebay to what it depends on is in its snapshot; other changes are not heard of"
	case r.TTLOnly:
		e.Why = "its lifetime has not ended"
	case Classification(s.Database, rule).By == postgres.ByTTL:
		e.Why = "its lifetime has not ended, and every write through forebay to what it depends on is in its snapshot"
	default:
		e.Why = "every change to what it depends on is in its snapshot"
	}
	return e
}

// causeOf says what outdated a response: outdated 3.2s ago by xid 7731 (UPDATE clients, 412 rows).
func (p *Proxy) causeOf(ctx context.Context, s *state, c *cache.Cause, now cache.Instant) string {
	if c == nil {
		return "outdated"
	}
	when := "outdated"
	if c.Applied != 0 {
		when += " " + now.Sub(c.Applied).Round(100*time.Millisecond).String() + " ago"
	}
	switch c.Reason {
	case cache.ReasonPurge:
		return "purged"
	case cache.ReasonEpoch:
		return "outdated: the connection that tells of changes was made anew, and what came between is not known"
	case cache.ReasonForgotten:
		return when + " by changes to " + p.nameOf(ctx, s, c.Dependency) + " that are no longer remembered one by one"
	case cache.ReasonChange:
	}
	who := " by a transaction"
	if c.Xid != 0 {
		who = fmt.Sprintf(" by xid %d", c.Xid)
	}
	var what []string
	for _, t := range c.Touched {
		what = append(what, fmt.Sprintf("%s %s, %s", t.Operation, p.tableName(s, t.Relation), rowsOf(t.Rows)))
	}
	if len(what) == 0 {
		what = []string{p.nameOf(ctx, s, c.Dependency)}
	}
	return when + who + " (" + strings.Join(what, "; ") + ")"
}

func rowsOf(n int) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

// nameOf says what a dependency is on: clients, or clients[id=42].
func (p *Proxy) nameOf(ctx context.Context, s *state, d cache.Dependency) string {
	if oid, column, value, ok := d.Row(); ok {
		name, err := "", error(nil)
		if s.Database != nil {
			name, err = s.Database.ColumnName(ctx, oid, column)
		}
		if err != nil || name == "" {
			name = fmt.Sprintf("column %d", column)
		}
		return fmt.Sprintf("%s[%s=%s]", p.tableName(s, oid), name, value)
	}
	if oid, ok := d.Oid(); ok {
		return p.tableName(s, oid)
	}
	if oid, ok := d.Table(); ok {
		return p.tableName(s, oid) + ", as far as rows cannot be told apart"
	}
	return strings.Replace(string(d), ":", " ", 1)
}

func (p *Proxy) tableName(s *state, oid uint32) string {
	if s.Database != nil {
		if name := s.Database.TableName(cache.Relation(oid)); name != "" {
			return name
		}
	}
	return fmt.Sprintf("relation %d", oid)
}

// foundBy says how it was found that the response depends on it.
func (p *Proxy) foundBy(s *state, rule *rules.Rule, d cache.Dependency) string {
	oid, table := d.Table()
	if !table {
		return "by the configuration"
	}
	if _, _, _, row := d.Row(); row {
		return "every mention of the table in the plan has this filter"
	}
	if slices.Contains(rule.DependsOn, p.tableName(s, oid)) {
		return "declared by depends_on"
	}
	if s.Database != nil && s.Database.Classification(rule).EveryFill {
		return "locked or scanned by this very statement"
	}
	return "locked by the statement"
}

// verdictOf sums up for whoever reads one line.
func verdictOf(e *Explanation) string {
	switch {
	case e.Bypass:
		return "the kill switch is on: each request goes to its source"
	case len(e.Stored) == 0:
		return "nothing is stored: the next request goes to its source"
	case len(e.Stored) > 1:
		return fmt.Sprintf("%d responses are stored, for different callers or variants", len(e.Stored))
	}
	r := e.Stored[0]
	switch r.Use {
	case cache.Fresh.String():
		return "the next request is a hit"
	case cache.Revalidatable.String():
		return "the next request gets what is stored, and has it refreshed"
	}
	return "the next request goes to its source: " + r.Why
}
