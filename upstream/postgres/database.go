package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"forebay/cache"
	"forebay/upstream/postgres/wire"
)

const (
	// retireAfter is the age at which a connection is replaced: backends grow with what they have seen.
	retireAfter = time.Hour
	// exportStall is the default of Config.ExportStall.
	exportStall = time.Minute
	// poolCare is how often the pool looks after its connections.
	poolCare = 5 * time.Second

	readOnly = "default_transaction_read_only"
)

// errClosed : the database was closed.
var errClosed = errors.New("the database is closed")

// Database is one Postgres database behind a pool, a breaker and retries. Safe for concurrent use.
type Database struct {
	cfg     Config
	connect *pgxpool.Config
	log     *cache.ChangeLog
	clock   cache.Clock
	logger  *slog.Logger
	observe func(Observation)
	metrics *databaseMetrics

	breaker     *breaker
	server      *server
	catalogue   *catalogue
	strays      strays
	compared    atomic.Pointer[comparison] // the last one; nil: none yet
	vantages    vantages
	hurried     chan struct{} // a word that the catalogue has changed
	own         ownStatements
	known       sync.Map  // *rules.Rule -> *knowledge
	scratch     sync.Pool // of *scratch
	shared      atomic.Pointer[taken]
	comparisons atomic.Uint64
	held        atomic.Int64 // connections that calls have or wait for
	broke       atomic.Int64 // cache.Instant at which a connection was last found broken

	standby *Database // nil: none
	primary *Database // of a standby's; nil: this is the primary's
	floor   floor     // of the standby
	seen    atomic.Pointer[sighting]

	following following

	mu     sync.Mutex // guards all below, and following.wanted
	pool   *pgxpool.Pool
	closed bool
}

// New makes a database from its configuration. It does no I/O: the first call connects, or Run.
func New(cfg Config, deps Deps) (*Database, error) {
	d, err := newDatabase(cfg, deps, nil)
	if err == nil && cfg.Standby != "" {
		d.standby, err = newStandby(cfg, deps, d)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

func newDatabase(cfg Config, deps Deps, primary *Database) (*Database, error) {
	if cfg.ExportStall == 0 {
		cfg.ExportStall = exportStall
	}
	d := &Database{
		cfg: cfg, log: deps.Log, clock: deps.Clock, logger: deps.Logger, observe: deps.Observe, primary: primary,
		catalogue: newCatalogue(), hurried: make(chan struct{}, 1),
		server:    &server{log: deps.Log, clock: deps.Clock, blur: !cfg.PreparedStatements},
		breaker:   newBreaker(cfg.Breaker, deps.Clock, deps.Logger),
		own:       newOwnStatements(cfg),
		following: following{feed: deps.Feed, uncovered: deps.Uncovered, server: deps.FeedServer},
	}
	d.server.other = d.catalogue.advance
	if d.observe == nil {
		d.observe = func(Observation) {}
	}
	d.metrics = newMetrics(deps.Metrics, d)
	var err error
	if d.connect, err = d.poolConfig(); err != nil {
		return nil, err
	}
	return d, nil
}

// poolConfig turns the configuration into pgxpool's.
func (d *Database) poolConfig() (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(string(d.cfg.URL))
	if err != nil {
		return nil, fmt.Errorf("cannot read the database's URL: %w; want postgres://user:password@host:port/database", err)
	}
	c.MaxConns = int32(max(d.cfg.MaxConnections, 1))
	c.MinConns = 1 // the witness that the server did not crash; see server
	c.MaxConnLifetime = 0
	c.HealthCheckPeriod = poolCare
	c.PingTimeout = d.cfg.ConnectTimeout
	c.ConnConfig.ConnectTimeout = d.cfg.ConnectTimeout
	c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	c.ConnConfig.StatementCacheCapacity = 0
	c.ConnConfig.DescriptionCacheCapacity = 0
	c.ConnConfig.RuntimeParams["application_name"] = d.cfg.ApplicationName
	if d.cfg.PreparedStatements {
		for name, value := range sessionSettings(d.cfg) {
			c.ConnConfig.RuntimeParams[name] = value
		}
		readOnlyOnceAccepted(c.ConnConfig)
	}
	if d.primary != nil {
		c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "read committed" // see replayedQuery
	}
	c.ShouldPing = d.doubts
	c.AfterConnect = d.afterConnect
	c.BeforeClose = func(conn *pgx.Conn) {
		if s := sessionOf(conn.PgConn()); s != nil {
			d.server.leave(s.backend)
		}
	}
	return c, nil
}

// sessionSettings are those of every session: what encoding needs, and bounds. Reads are read-only by
// them; a write's own BEGIN says otherwise. A lock is waited for a little less long than a statement may
// take, so that who waits behind DDL is not taken for a database that is slow.
func sessionSettings(cfg Config) map[string]string {
	settings := wire.SessionSettings()
	settings[readOnly] = "on"
	settings["statement_timeout"] = milliseconds(cfg.StatementTimeout)
	settings["lock_timeout"] = milliseconds(cfg.StatementTimeout * 4 / 5)
	settings["idle_in_transaction_session_timeout"] = milliseconds(max(10*time.Second, 2*cfg.StatementTimeout))
	return settings
}

// readOnlyOnceAccepted has the session made read-only after the URL's target_session_attrs has been looked at:
// read-write asks the session whether it may write, and would refuse every server for a setting of ours.
func readOnlyOnceAccepted(c *pgx.ConnConfig) {
	accepts := c.ValidateConnect
	if accepts == nil {
		return
	}
	delete(c.RuntimeParams, readOnly)
	c.ValidateConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
		if err := accepts(ctx, pg); err != nil {
			return err
		}
		_, err := pg.Exec(ctx, "set "+readOnly+" = on").ReadAll()
		return err
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func (d *Database) afterConnect(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, max(d.cfg.ConnectTimeout, time.Second))
	defer cancel()
	pg := conn.PgConn()
	var facts facts
	var b backend
	var epoch uint64
	var err error
	if d.primary == nil {
		b, epoch, err = d.server.meet(ctx, pg)
	} else {
		facts, b, err = d.server.greet(ctx, pg)
	}
	if err != nil {
		return err
	}
	s := &session{
		db: d, pg: pg, facts: facts, backend: b, epoch: epoch, born: time.Now(), prepared: make(map[string]*preparedStatement),
	}
	pg.CustomData()[sessionKey] = s
	if d.firstComparison(ctx, s); pg.IsClosed() {
		return errors.New("compare catalogue: the connection broke")
	}
	return nil
}

// doubts reports whether a connection has to show that it lives before it is handed out: because it has
// been idle for long, or because it was when another one broke. A server that restarts breaks them all, and
// a call that is tried again must not find one corpse after the other.
func (d *Database) doubts(_ context.Context, p pgxpool.ShouldPingParams) bool {
	return p.IdleDuration > time.Second || d.clock.Now().Sub(cache.Instant(d.broke.Load())) <= p.IdleDuration
}

// keeps reports whether a session goes on being used. Old connections are retired, but never the last one; and those
// that may lead to another server than newer ones do.
func (d *Database) keeps(s *session) bool {
	return s.present() && !s.outworn && (time.Since(s.born) < retireAfter || d.server.open() < 2)
}

// giveBack gives the pool a connection back, or closes it if it has had its time: the pool makes another one then. The
// pool's own hook for that would run on a goroutine of its own each time, and those who wait would wait for that, too.
func (d *Database) giveBack(conn *pgxpool.Conn) {
	if pg := conn.Conn().PgConn(); !pg.IsClosed() && !d.keeps(sessionOf(pg)) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = pg.Close(ctx)
	}
	conn.Release()
}

func sessionOf(pg *pgconn.PgConn) *session {
	s, _ := pg.CustomData()[sessionKey].(*session)
	return s
}

// Run watches the database's catalogue, and whether a database that was gone is back, until ctx ends. Then it
// closes the pool, waiting for those who use it.
func (d *Database) Run(ctx context.Context) error {
	defer d.Close()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { d.attend(ctx) })
	if d.standby != nil {
		work.Go(func() { d.standby.watch(ctx) })
		work.Go(func() { d.standby.attend(ctx) })
	}
	d.watch(ctx)
	return nil
}

// Close closes the pool, waiting for those who use it. Run does so, too: Close is for who does not Run.
func (d *Database) Close() {
	d.mu.Lock()
	pool := d.pool
	d.closed = true
	d.mu.Unlock()
	if pool != nil {
		pool.Close()
	}
	if d.standby != nil {
		d.standby.Close()
	}
}

// open returns the pool, making it at first use.
func (d *Database) open() (*pgxpool.Pool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	if d.pool == nil {
		pool, err := pgxpool.NewWithConfig(context.Background(), d.connect)
		if err != nil {
			return nil, fmt.Errorf("open pool: %w", err)
		}
		d.pool = pool
	}
	return d.pool, nil
}

// Ping asks the database for nothing, to know whether it answers. The error is an *Error.
func (d *Database) Ping(ctx context.Context) error {
	return d.run(ctx, func(ctx context.Context, s *session) error { return s.pg.Ping(ctx) })
}

// Stats returns the pool as it is now.
func (d *Database) Stats() PoolStats {
	d.mu.Lock()
	pool := d.pool
	d.mu.Unlock()
	stats := PoolStats{
		Max: int(d.connect.MaxConns), Waiting: int(d.metrics.waiting.Load()),
		Waits: d.metrics.waits.Get(), Timeouts: d.metrics.timeouts.Get(),
	}
	if pool != nil {
		stats.InUse = int(pool.Stat().AcquiredConns())
	}
	stats.Available = stats.Max - stats.InUse
	return stats
}

// Health returns up, degraded or down, and why; "" when up.
func (d *Database) Health() (state, reason string) {
	switch d.BreakerState() {
	case "open":
		return "down", "the database failed several times in a row; the next try is due soon"
	case "half-open":
		return "degraded", "the database failed several times in a row; one request is trying it again"
	}
	if s := d.Stats(); s.Waiting > 0 && s.Available == 0 {
		return "degraded", "every connection of the pool is in use and requests wait for one"
	}
	if d.primary == nil && d.server.facts().recovery {
		return "degraded", "the server is in recovery: its answers are served and not stored"
	}
	if d.strays.any() {
		return "degraded", "a write lost its connection before it was known to have ended; what it may change is not stored until it has"
	}
	return "up", ""
}
