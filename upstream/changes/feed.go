package changes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
)

const (
	firstRetry   = 100 * time.Millisecond
	lastRetry    = 5 * time.Second
	farewellTime = 2 * time.Second // to leave nothing behind at the end
)

// offByChoice is why a feed is off that nobody wants.
const offByChoice = "changes made outside forebay are not followed: postgres.changes is off"

// Feed follows what others change and marks it in a change log. Safe for concurrent use.
type Feed struct {
	cfg     Config
	log     *cache.ChangeLog
	clock   cache.Clock
	logger  *slog.Logger
	metrics *feedMetrics
	ddl     func()

	wanted   atomic.Pointer[map[uint32][]int16]
	rewatch  chan struct{} // a word that wanted is another one
	position atomic.Uint64 // that the stream has passed; 0 while there is none
	behind   atomic.Uint64 // the primary's insert position, as last heard
	arrivals arrivals
	face     face
}

// New makes a feed. It does no I/O: Run connects.
func New(cfg Config, deps Deps) (*Feed, error) {
	cfg = cfg.withDefaults()
	switch cfg.Mode {
	case ModeAuto, ModeWAL, ModeNotify, ModeOff:
	default:
		return nil, fmt.Errorf("cannot follow changes in mode %q; want auto, wal, notify or off", cfg.Mode)
	}
	if cfg.Mode != ModeOff {
		if _, err := pgconn.ParseConfig(string(cfg.URL)); err != nil {
			return nil, fmt.Errorf("cannot read the database's URL: %w; want postgres://user:password@host:port/database", err)
		}
	}
	f := &Feed{
		cfg: cfg, log: deps.Log, clock: deps.Clock, logger: deps.Logger,
		rewatch: make(chan struct{}, 1), ddl: deps.DDL,
	}
	if f.ddl == nil {
		f.ddl = func() {}
	}
	f.wanted.Store(&map[uint32][]int16{})
	f.face.feed = f
	f.metrics = newMetrics(deps.Metrics, f)
	return f, nil
}

// Run follows changes until ctx ends, connecting again whenever it has to, and returns when all that it
// started has ended and the publication is removed.
func (f *Feed) Run(ctx context.Context) error {
	if f.cfg.Mode == ModeOff {
		f.face.off(offByChoice)
		<-ctx.Done()
		return nil
	}
	f.face.lose("starting")
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = firstRetry, lastRetry
	for ctx.Err() == nil {
		err := f.session(ctx)
		if ctx.Err() != nil {
			break
		}
		pause := wait.NextBackOff()
		if f.ended(err) {
			wait.Reset()
			pause = wait.NextBackOff()
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	f.arrivals.reset(false)
	f.position.Store(0)
	f.farewell(ctx)
	f.face.lose("stopped")
	return nil
}

// session follows until something breaks.
func (f *Feed) session(ctx context.Context) error {
	if f.cfg.Mode == ModeNotify {
		return f.listen(ctx)
	}
	return f.stream(ctx)
}

// ended tells the log and people that a session is over, and reports whether it had been live.
func (f *Feed) ended(err error) bool {
	f.arrivals.reset(false)
	f.position.Store(0)
	wasLive := f.face.live()
	f.face.note(func(r *report) { r.known = false })
	var refused *refusal
	if errors.As(err, &refused) && f.cfg.Mode == ModeAuto && !f.face.promised() {
		if f.face.off(refused.Error()) {
			f.logger.Warn("changes made outside forebay are not followed", "err", err)
		}
		return wasLive
	}
	if f.face.resting() {
		return wasLive // what this process writes is known as before; whether more can be had is asked again
	}
	if f.face.lose(err.Error()) {
		f.logger.Warn("the stream of changes is lost; what is stored is not known to be current", "err", err)
	}
	return wasLive
}

// farewell removes the publication, for as long as that takes no time.
func (f *Feed) farewell(ctx context.Context) {
	name := f.face.forget()
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTime)
	defer cancel()
	conn, err := f.connect(ctx)
	if err == nil {
		err = errors.Join(dropPublication(ctx, conn, name), conn.Close(ctx))
	}
	if err != nil {
		f.logger.Info("could not remove the publication; it holds nothing back, and the next start removes it", "err", err)
	}
}

// Watch replaces the set of relations whose changes are wanted, each with the columns by which its rows
// should be told apart. It does not block; the publication follows. What is covered, and by which of the
// columns, is in the log's Feed, and holds for who looked there before asking for a snapshot.
func (f *Feed) Watch(wanted map[uint32][]int16) {
	wanted = maps.Clone(wanted)
	f.wanted.Store(&wanted)
	select {
	case f.rewatch <- struct{}{}:
	default:
	}
}

// Wait returns true when the transaction came in and is marked, and false when ctx ended or the feed is
// not following. One that touched nothing published never comes in.
func (f *Feed) Wait(ctx context.Context, xid uint64) bool { return f.arrivals.wait(ctx, xid) }

// Passed reports whether the stream is at the position or past it, so that everything committed before is
// marked.
func (f *Feed) Passed(lsn uint64) bool { return f.position.Load() >= lsn && lsn != 0 }

// advance moves the position, never backwards.
func (f *Feed) advance(position uint64) {
	for {
		old := f.position.Load()
		if position <= old || f.position.CompareAndSwap(old, position) {
			return
		}
	}
}

// refusal is a reason not to follow that lasts until somebody does something about it.
type refusal struct {
	reason string
	fix    string // what to do, with the exact SQL where there is one
	soon   bool   // of a relation: it passes by itself
}

func refuse(reason, fix string) *refusal { return &refusal{reason: reason, fix: fix} }

// Error returns the reason and the fix.
func (r *refusal) Error() string { return r.reason + "; " + r.fix }

// face is what the log and people see of the feed.
type face struct {
	feed *Feed

	mu      sync.Mutex // guards all below
	state   cache.Feed // what was last told to the log, or is to be
	wasLive bool       // others' changes were known, in this session or one before
	report  report
}

// report is what Status adds to the state. Its slices are not written again.
type report struct {
	epoch       string
	publication string
	slot        string
	server      Identity
	known       bool // server is known
	uncovered   []Uncovered
	pending     []Uncovered
	coveredAll  int
	asyncCommit bool
	events      bool
}

// tell changes the state and gives the log a new value of it.
func (a *face) tell(change func(*cache.Feed)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tellLocked(change)
}

func (a *face) tellLocked(change func(*cache.Feed)) {
	wasLive, wasMode := a.state.Live, a.state.Mode
	change(&a.state)
	if a.state.Live != wasLive || a.state.Mode != wasMode || a.state.Since == 0 {
		a.state.Since = a.feed.clock.Now()
	}
	a.wasLive = a.wasLive || a.state.Live && a.state.Mode != ModeOff
	next := a.state
	a.feed.log.SetFeed(&next)
}

func (a *face) live() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.Live && a.state.Mode != ModeOff
}

// promised reports whether others' changes were known once. To have them no more is a loss then, whatever the
// reason, and not for the feed to settle for less: on_lost says what is served.
func (a *face) promised() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wasLive
}

// resting reports whether the feed is off and stays so until the server allows more.
func (a *face) resting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.Mode == ModeOff
}

// lose says that nothing is known to be current. It reports whether that is news.
func (a *face) lose(reason string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	news := a.state.Live || a.state.Reason != reason
	a.tellLocked(func(s *cache.Feed) {
		*s = cache.Feed{Mode: a.feed.mode(), Reason: reason, Since: s.Since}
	})
	return news
}

// off says that only this process's own changes are known. What was stored while others' were known was
// promised more than that, and is outdated. It reports whether that is news.
func (a *face) off(reason string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.Mode == ModeOff && a.state.Reason == reason {
		return false
	}
	if a.report.epoch != "" {
		a.report.epoch = ""
		a.feed.log.NewEpoch("own writes since " + a.feed.clock.Wall(a.feed.clock.Now()).UTC().Format(time.RFC3339Nano))
	}
	a.tellLocked(func(s *cache.Feed) {
		*s = cache.Feed{Mode: ModeOff, Live: true, Reason: reason, Since: s.Since}
	})
	return true
}

// forget takes the publication's name out of the report.
func (a *face) forget() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := a.report.publication
	a.report.publication, a.report.slot = "", ""
	return name
}

// note changes the report.
func (a *face) note(change func(*report)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.report)
}

// mode is what the feed is when it is not off.
func (f *Feed) mode() string {
	if f.cfg.Mode == ModeNotify {
		return cache.FeedNotify
	}
	return cache.FeedWAL
}
