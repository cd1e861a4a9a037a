package proxy

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"forebay/cache"
	"forebay/cache/memory"
	"forebay/proxy/performance"
	"forebay/rules"
	"forebay/upstream/origin"
	"forebay/upstream/postgres"
)

// Deps are what a Proxy works with. All but Shared, Feed and Secret are needed.
type Deps struct {
	Clock   cache.Clock
	Log     *cache.ChangeLog
	Memory  *memory.Store
	Shared  SharedTier   // nil: memory alone
	Feed    FeedPosition // nil: no changes are followed
	Secret  rules.Secret // that tokens are signed by; empty: one of this process's own
	Logger  *slog.Logger
	Metrics *metrics.Set
}

// SharedTier is the tier that instances share.
type SharedTier interface {
	cache.Store
	// Purge tells every instance of the purge, sooner or later. The caller has applied it to its own log.
	// May block up to the tier's budget; an error means that it will be sent again.
	Purge(ctx context.Context, p cache.Purge) error
	// Change tells other instances of a write, as soon as that can be done without waiting.
	Change(c cache.Change)
}

// Proxy answers requests. Safe for concurrent use.
type Proxy struct {
	clock   cache.Clock
	log     *cache.ChangeLog
	memory  *memory.Store
	shared  SharedTier
	feed    FeedPosition
	logger  *slog.Logger
	metrics *proxyMetrics

	commitKey []byte

	state       atomic.Pointer[state]
	traits      *cache.KnownTraits
	bypassAll   atomic.Bool  // the kill switch
	leaving     atomic.Bool  // each connection's next response is its last
	audits      atomic.Int64 // under way
	exports     exports
	flights     *flights
	turns       turns
	exchanges   sync.Pool
	connections func() int
	background  sync.WaitGroup // what Use started
}

// Generation is a configuration with all that was made for it. A reload swaps one for another.
type Generation struct {
	Config      *rules.Config
	Database    *postgres.Database        // nil without Postgres
	Origins     map[string]*origin.Origin // by upstream name
	Performance *performance.Performance  // nil when switched off
}

// state is a generation in the form that the path wants. Immutable but for the routes' switches.
type state struct {
	Generation
	routes  []*route // by rules.Rule.Index
	encoder *encoder // nil: nothing is compressed
	recall  *recall
	ended   context.CancelFunc
}

// route is a rule with what requests to it need at hand.
type route struct {
	rule     *rules.Rule
	origin   *origin.Origin // of an upstream rule
	cors     *crossOrigin
	metrics  ruleMetrics
	record   *performance.RuleHandle // nil unless the rule runs SQL
	vary     []byte                  // the value of Vary that every response of the rule has
	fields   []cache.Field           // that every response of a rule that runs SQL has
	byTarget bool                    // the request target alone decides the key
	bypass   *atomic.Bool            // the kill switch of this rule, over reloads
	doubted  atomic.Bool             // the audit found a difference; until a reload, or the switch is turned off

	complained atomic.Int64 // the cache.Instant of its last failure that was logged
	unsaid     atomic.Int64 // failures since then
}

// New makes a proxy. It answers nothing before Use.
func New(deps Deps) *Proxy {
	p := &Proxy{
		clock: deps.Clock, log: deps.Log, memory: deps.Memory, shared: deps.Shared, feed: deps.Feed,
		commitKey: newCommitKey(string(deps.Secret)),
		logger:    deps.Logger, metrics: newMetrics(deps.Metrics), flights: newFlights(), traits: cache.NewKnownTraits(),
		connections: func() int { return 0 },
	}
	p.exchanges.New = func() any { return newExchange() }
	return p
}

// Use puts a generation in place of the one before. Requests under way end by the rules that they began
// with; what these store cannot be found by the new ones unless both mean the same. Kill switches stay as they are,
// but for the file's own when that has changed. Callers take turns.
func (p *Proxy) Use(ctx context.Context, g Generation) {
	ctx, cancel := context.WithCancel(ctx)
	old := p.state.Load()
	s := &state{Generation: g, ended: cancel, recall: newRecall(g.Config.Cache.Memory)}
	all := g.Config.Rules.Rules()
	s.routes = make([]*route, len(all))
	for i, r := range all {
		s.routes[i] = p.newRoute(g, r, old)
	}
	if g.Config.Cache.Compress {
		s.encoder = newEncoder(p.memory, p.metrics, g.Config.Cache.CompressMin)
		p.background.Go(func() { s.encoder.run(ctx) })
	}
	if old == nil || old.Config.Bypass != g.Config.Bypass {
		p.bypassAll.Store(g.Config.Bypass)
	}
	p.state.Store(s)
	if old != nil {
		old.ended()
		for _, o := range old.Origins {
			o.Retire()
		}
	}
}

// bypassed reports whether the rule's requests pass the cache by.
func (t *route) bypassed() bool { return t.bypass.Load() || t.doubted.Load() }

// newRoute makes a rule's route; old is the state before, or nil.
func (p *Proxy) newRoute(g Generation, r *rules.Rule, old *state) *route {
	t := &route{rule: r, cors: newCrossOrigin(r), metrics: p.metrics.ofRule(r.Name), bypass: new(atomic.Bool)}
	if old != nil {
		if before := old.Config.Rules.Rule(r.Name); before != nil {
			t.bypass = old.routes[before.Index].bypass
		}
	}
	if r.Upstream != "" {
		t.origin = g.Origins[r.Upstream]
	} else if g.Performance != nil {
		t.record = g.Performance.Rule(r)
	}
	t.vary, t.byTarget = varyOf(r), r.KeyedByTarget()
	t.fields = fieldsOf(r)
	return t
}

// Config returns the configuration in place.
func (p *Proxy) Config() *rules.Config { return p.state.Load().Config }

// Origins returns the HTTP upstreams in place, by name. Not to be written.
func (p *Proxy) Origins() map[string]*origin.Origin { return p.state.Load().Origins }

// Touched notes the tables that a rule's statement was found to read or write.
func (p *Proxy) Touched(rule string, tables []string) {
	s := p.state.Load()
	if r := s.Config.Rules.Rule(rule); r != nil && s.routes[r.Index].record != nil {
		s.routes[r.Index].record.Tables(tables)
	}
}

// Reloaded counts an attempt to replace the configuration.
func (p *Proxy) Reloaded(ok bool) {
	p.metrics.reloads.Inc()
	if !ok {
		p.metrics.reloadOK.Set(0)
		return
	}
	p.metrics.reloadOK.Set(1)
	p.metrics.reloadedAt.Set(float64(time.Now().Unix()))
}

// Bypassed tells what the kill switch is on for: everything, and single rules by name.
func (p *Proxy) Bypassed() (all bool, rules []string) {
	for _, t := range p.state.Load().routes {
		if t.bypassed() {
			rules = append(rules, t.rule.Name)
		}
	}
	return p.bypassAll.Load(), rules
}

// SetBypass turns the kill switch, of one rule or, with an empty name, of all. It holds until it is turned
// back or the process ends; over a reload, too, unless that changes the file's own switch. False: there is no such rule.
func (p *Proxy) SetBypass(rule string, on bool) bool {
	if rule == "" {
		p.bypassAll.Store(on)
		return true
	}
	s := p.state.Load()
	r := s.Config.Rules.Rule(rule)
	if r == nil {
		return false
	}
	s.routes[r.Index].bypass.Store(on)
	if !on {
		s.routes[r.Index].doubted.Store(false)
	}
	return true
}

// Close waits for the flights under way and stops what Use started.
func (p *Proxy) Close() {
	p.flights.wait()
	if s := p.state.Load(); s != nil {
		s.ended()
		for _, o := range s.Origins {
			o.Close()
		}
	}
	p.background.Wait()
}
