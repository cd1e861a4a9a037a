package performance

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"forebay/cache"
	"forebay/proxy/health"
	"forebay/rules"
)

// Config is what the endpoints warn of, and what they run. See configs/example.yaml for each key.
type Config = rules.Performance

// Deps are what the endpoints report on, and what they may do. Functions must be safe for concurrent use
// and, but for Clear and Do, return at once.
type Deps struct {
	Clock   func() cache.Instant // cache.Clock.Now
	Now     func() time.Time     // the wall clock, for timestamps only
	Memory  func() MemoryStats   // the memory tier
	Pool    func() PoolStats     // the connection pool; nil without Postgres
	Parts   func() []health.Part // each part that forebay stands on
	Clear   ClearFunc            // empties the cache
	Do      DoFunc               // asks forebay itself
	Token   func() rules.Secret  // the administrator's; empty: their routes are refused
	Metrics *metrics.Set         // where the alerts' gauges are registered; nil: nowhere
}

// ClearFunc makes what is stored unservable: all, or what depends on the table. It returns how many
// responses this instance's memory tier held of it. ErrNoTable says that there is no such table.
type ClearFunc func(ctx context.Context, table string) (matched int, err error)

// DoFunc runs a request through forebay's own handler, as a client without credentials would send it.
// An error means that there was no answer.
type DoFunc func(ctx context.Context, method, target, body string) (Answer, error)

// Answer is what forebay answered. Its body is the receiver's.
type Answer struct {
	Status int
	Body   []byte
	Hit    bool // from the cache
}

// ErrNoTable is what a ClearFunc returns for a table that does not exist.
var ErrNoTable = errors.New("no such table")

// MemoryStats is the memory tier at one moment.
type MemoryStats struct {
	Entries   int
	Expired   int    // entries past their lifetime, kept for stale-while-revalidate and stale-if-error
	Bytes     int    // of all entries
	MaxBytes  int    // the bound
	Evictions uint64 // entries removed for room since the start
}

// PoolStats is the connection pool at one moment.
type PoolStats struct {
	Max      int
	Active   int    // handed out
	Waits    uint64 // acquisitions that had to wait, since the start
	Timeouts uint64 // acquisitions given up, since the start
}

// Performance records how queries fare and serves the endpoints that tell of it. Safe for concurrent use.
type Performance struct {
	deps     Deps
	settings atomic.Pointer[Config]
	origin   time.Duration // wall-clock time of Instant zero, since 1970
	page     page

	handles atomic.Pointer[[]*RuleHandle]
	slowest []minuteSlowest // a ring of keptHours*60 minutes
	samples samples

	mu     sync.Mutex // held to open a minute of slowest, and to make a handle
	byName map[string]*RuleHandle

	benchmarking sync.Mutex // held by the one benchmark that may run
}

// New makes the recorder and its endpoints. Nothing is sampled before Run.
func New(cfg Config, deps Deps) *Performance {
	p := &Performance{
		deps:    deps,
		origin:  time.Duration(deps.Now().UnixNano()) - time.Duration(deps.Clock()),
		page:    newPage(),
		slowest: make([]minuteSlowest, keptHours*60),
		byName:  make(map[string]*RuleHandle),
	}
	p.handles.Store(new([]*RuleHandle))
	p.Use(cfg)
	p.register(deps.Metrics)
	return p
}

// Use replaces the configuration, as after a reload. The history stays.
func (p *Performance) Use(cfg Config) { p.settings.Store(&cfg) }

// Run samples the pool and the cache until ctx ends.
func (p *Performance) Run(ctx context.Context) error {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		p.sample()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
