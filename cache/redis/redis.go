package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	goredis "github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"forebay/cache"
)

// Config says where the tier is and what it may cost.
type Config struct {
	URL     string        // see the package's documentation
	Prefix  string        // of every key that forebay writes there; instances that share have the same
	Budget  time.Duration // for one call of Get, Set, Delete or Purge; 0: 50 ms. The caller's context may be shorter
	MaxSize int           // bytes of a value, larger ones are not stored; 0: 8 MiB

	ShareExact bool          // share the values of exact rules as well
	MaxLag     time.Duration // how long ago the chain of changes may have been the newest, for that; 0: 1 s
}

// Deps are what a Store works with.
type Deps struct {
	Log     *cache.ChangeLog
	Clock   cache.Clock
	Logger  *slog.Logger
	Metrics *metrics.Set
}

const (
	defaultBudget  = 50 * time.Millisecond
	defaultMaxSize = 8 << 20

	poolSize        = 64 // connections for requests
	controlPoolSize = 2
	tailPoolSize    = 1
	chainPoolSize   = 2
	fullFor         = time.Second
)

// ErrUnknown says that a value could not be judged, because this instance does not know what the shared
// log says now: it has not read it yet, or cannot.
var ErrUnknown = errors.New("what other instances purged is not known")

// Store keeps responses in Redis. Safe for concurrent use.
type Store struct {
	cfg      Config
	log      *cache.ChangeLog
	clock    cache.Clock
	logger   *slog.Logger
	metrics  *storeMetrics
	logKey   string
	instance uint64 // this process among those that write to the log
	scripts  scripts

	client      goredis.UniversalClient // for requests
	gets        gets                    // by it
	control     goredis.UniversalClient // to look at the log and to write to it
	tail        goredis.UniversalClient // to wait for its next entries
	chainClient goredis.UniversalClient // to read and write the chain of changes; nil without exact
	breaker     *gobreaker.TwoStepCircuitBreaker[struct{}]
	alarmed     atomic.Bool // the breaker is not closed

	history *history
	outbox  *outbox
	server  serverClock
	known   atomic.Int64 // the Instant until which this instance's knowledge of the log is recent enough
	full    atomic.Int64 // the Instant until which nothing is written, because Redis had no room
	health  health
	exact   *exact // nil: values of exact rules are not shared
}

var _ cache.Store = (*Store)(nil)

// New makes a store. Nothing is asked of Redis before Run.
func New(cfg Config, deps Deps) (*Store, error) {
	to, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Budget <= 0 {
		cfg.Budget = defaultBudget
	}
	if cfg.MaxSize <= 0 {
		cfg.MaxSize = defaultMaxSize
	}
	s := &Store{
		cfg: cfg, log: deps.Log, clock: deps.Clock, logger: deps.Logger,
		logKey: cfg.Prefix + "log", instance: newNonce(), scripts: newScripts(),
		client: to.client(poolSize, cfg.Budget), control: to.client(controlPoolSize, controlTimeout), tail: to.client(tailPoolSize, controlTimeout),
		history: newHistory(),
	}
	s.gets.init(s)
	s.outbox = newOutbox(s.history, s.instance)
	s.metrics = newMetrics(deps.Metrics, s)
	s.health = health{store: s}
	if cfg.ShareExact {
		s.exact, s.chainClient = newExact(s), to.client(chainPoolSize, controlTimeout)
		s.metrics.share(deps.Metrics, s)
	}
	s.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](s.breakerSettings())
	return s, nil
}

// Run follows the shared log and writes to it, until ctx ends. Before it has read the log, Get and Set
// do nothing. When it returns, so do they for good.
func (s *Store) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.tail.Close() }) // a read that waits for the log ends with it
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { s.follow(ctx) })
	wg.Go(func() { s.send(ctx) })
	if s.exact != nil {
		wg.Go(func() { s.readChain(ctx) })
		wg.Go(func() { s.writeChain(ctx) })
	}
	wg.Wait()
	s.known.Store(0)
	if s.exact != nil {
		defer s.chainClient.Close()
	}
	return errors.Join(s.gets.close(), ignoreClosed(s.tail.Close()), s.control.Close())
}

// Get returns the response stored under key if it may still be used as far as this instance knows. It
// judges by the shared log what other instances wrote; what this one wrote is tied to its log as it was.
// Errors: ErrUnknown, gobreaker.ErrOpenState, and what Redis or the time budget says.
func (s *Store) Get(ctx context.Context, key []byte) (*cache.StoredResponse, error) {
	now := s.clock.Now()
	if now >= cache.Instant(s.known.Load()) {
		s.metrics.getsUnknown.Inc()
		return nil, ErrUnknown
	}
	asked := s.log.Position() // before Redis is asked: a purge from now on outdates what it answers
	var room [96]byte
	b, err := s.gets.get(ctx, s.appendRedisKey(room[:0], key), now)
	switch {
	case errors.Is(err, goredis.Nil):
		s.metrics.getsMiss.Inc()
		return nil, nil
	case isWrongType(err):
		s.metrics.invalid(errGarbage)
		return nil, nil
	case stopped(err):
		return nil, fmt.Errorf("get from Redis: %w", err)
	case err != nil:
		s.metrics.getsError.Inc()
		return nil, fmt.Errorf("get from Redis: %w", err)
	}
	if now = s.clock.Now(); now >= cache.Instant(s.known.Load()) {
		s.metrics.getsUnknown.Inc()
		return nil, ErrUnknown
	}
	return s.admit(key, asked, b, now), nil
}

// admit makes a response of bytes found in Redis, or nil if there is any doubt about them.
func (s *Store) admit(key []byte, asked cache.Position, b []byte, now cache.Instant) *cache.StoredResponse {
	var v value
	if err := v.parse(b); err != nil {
		s.metrics.invalid(err)
		return nil
	}
	if v.key != string(key) {
		s.metrics.getsMiss.Inc() // another key with the same hash
		return nil
	}
	elapsed, ok := s.server.since(v.written, now)
	if !ok {
		s.metrics.getsUnknown.Inc()
		return nil
	}
	r := v.response
	r.Stored = now - cache.Instant(v.age-r.InitialAge+elapsed)
	if r.Remaining(now) <= 0 {
		s.metrics.getsExpired.Inc()
		return nil
	}
	if v.instance == s.instance && v.epoch == s.log.Epoch() {
		r.Standing = s.log.Stand(key, v.asked, v.snapshot, v.dependencies)
		if v.softened {
			r.Standing.Soften()
		}
		s.metrics.getsHit.Inc()
		return r
	}
	return s.admitForeign(key, asked, &v, now)
}

// admitForeign judges what another process wrote. Its xids and positions mean nothing here, so only what
// changes do not concern is taken, and what the chain of changes tells of.
func (s *Store) admitForeign(key []byte, asked cache.Position, v *value, now cache.Instant) *cache.StoredResponse {
	if !v.response.TTLOnly {
		return s.admitExact(key, v, now)
	}
	verdict := s.history.judge(v)
	if verdict == cache.Outdated {
		s.metrics.getsPurged.Inc()
		return nil
	}
	r := v.response
	r.Standing = s.log.Stand(key, asked, cache.AllSeeing(), v.dependencies)
	if verdict == cache.Softened {
		r.Standing.Soften()
	}
	s.metrics.getsHit.Inc()
	return r
}

// Set writes the response under key for as long as something can be done with it. One that is too large
// or has no lifetime left is refused without an error. Errors are those of Get.
func (s *Store) Set(ctx context.Context, key []byte, r *cache.StoredResponse) error {
	now := s.clock.Now()
	remaining := r.Remaining(now)
	switch {
	case r.Standing == nil || remaining < time.Millisecond:
		s.metrics.refusedLifetime.Inc()
		return nil
	case r.Size() > s.cfg.MaxSize:
		s.metrics.refusedSize.Inc()
		return nil
	case now < cache.Instant(s.full.Load()):
		s.metrics.refusedFull.Inc()
		return nil
	}
	at, ok := s.stampOf(r, now)
	if !ok {
		s.metrics.refusedUnknown.Inc()
		return ErrUnknown
	}
	b := appendValue(make([]byte, 0, fixedSize+len(key)+r.Size()), key, r, at)
	err := s.guarded(ctx, func(ctx context.Context) error {
		return s.client.Set(ctx, s.redisKey(key), b, remaining.Truncate(time.Millisecond)).Err()
	})
	return s.stored(err, now)
}

// stampOf says when and where the response is written.
func (s *Store) stampOf(r *cache.StoredResponse, now cache.Instant) (stamp, bool) {
	written, ok := s.server.earliest(now)
	if !ok || !s.recent() {
		return stamp{}, false
	}
	at := stamp{instance: s.instance, written: max(written, 0), age: max(r.AgeAt(now), r.InitialAge)}
	// Not known for what was asked for before this instance followed the log: then the zero incarnation
	// keeps other instances from believing it.
	at.incarnation, at.shared, _ = s.history.at(r.Standing.Asked())
	s.stampExact(&at, r, now)
	return at, true
}

// stored counts what became of a write.
func (s *Store) stored(err error, now cache.Instant) error {
	switch {
	case err == nil:
		s.metrics.sets.Inc()
		s.health.wrote()
		return nil
	case goredis.IsOOMError(err):
		s.full.Store(int64(now) + int64(fullFor))
		s.metrics.refusedFull.Inc()
		s.health.outOfRoom()
	default:
		s.metrics.refusedError.Inc()
	}
	return fmt.Errorf("set in Redis: %w", err)
}

// Delete removes what is stored under key. Errors are those of Get.
func (s *Store) Delete(ctx context.Context, key []byte) error {
	err := s.guarded(ctx, func(ctx context.Context) error { return s.client.Unlink(ctx, s.redisKey(key)).Err() })
	if err != nil {
		return fmt.Errorf("delete in Redis: %w", err)
	}
	return nil
}

// recent reports whether this instance knows what the shared log says now.
func (s *Store) recent() bool { return s.clock.Now() < cache.Instant(s.known.Load()) }

// redisKey returns the key in Redis: short, whatever the key's length, and without what it says.
func (s *Store) redisKey(key []byte) string { return string(s.appendRedisKey(nil, key)) }

func (s *Store) appendRedisKey(dst, key []byte) []byte {
	sum := sha256.Sum256(key)
	dst = append(append(dst, s.cfg.Prefix...), "r1:"...)
	return base64.RawURLEncoding.AppendEncode(dst, sum[:16])
}

// newNonce returns a random number that is not zero.
func newNonce() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) | 1
}

func ignoreClosed(err error) error {
	if errors.Is(err, goredis.ErrClosed) {
		return nil
	}
	return err
}
