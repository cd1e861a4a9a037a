package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"forebay/cache"
	"forebay/rules"
)

// A standby is read by a Database of its own: its pool, breaker, catalogue and what it knows of rules are that
// server's. It has no say in anything else: the change log, the feed and writes are the primary's.
//
// What it answers is stored, and answered at all, only if that proves as good as what is stored:
//
//	fill:    asks the log for its position
//	standby: how far has it replayed?                     L, in a statement of its own
//	standby: the rule's statements                        see all that ended at or before L, or more
//	standby: in recovery? receiving which timeline?       after them: neither ever goes back
//	fill:    the log knows of no change to what it read that ends behind L; L is past the floor, and not too old
//
// Any doubt, and the primary is asked instead.

// replayedQuery asks how far the standby has replayed. Under READ COMMITTED the statements behind it take their
// snapshots later; in one statement, or one snapshot, with what is read it would run ahead of that.
const replayedQuery = `select coalesce(pg_catalog.pg_last_wal_replay_lsn()::text, '0/0')`

// vouchQuery asks what makes the position mean anything. A standby replays no later timeline than it receives: so
// if that is the primary's behind the statements, it was while they ran. It is 0 where nothing is received, and -1
// where the role may not know.
const vouchQuery = `select pg_catalog.pg_is_in_recovery(), coalesce((select coalesce(r.received_tli, case when r.pid is null then 0 else -1 end)
  from pg_catalog.pg_stat_get_wal_receiver() r), 0)::text`

const (
	// unfitFor is how long a rule is kept from a standby that cannot run its statements.
	unfitFor = 10 * time.Second
	// behindFor is how long after an answer that came to nothing: so one that falls behind costs little.
	behindFor = 50 * time.Millisecond
	// standbyGrace is how much longer than a statement may take the primary's turn is waited for.
	standbyGrace = 2 * time.Second
)

// errOtherServer : the standby follows another server, or nobody can tell.
var errOtherServer = errors.New("the standby is not known to follow the primary")

// errOtherSettings : by the same words the session means something else than those of the primary.
var errOtherSettings = errors.New("the session has other settings than the primary's")

// newStandby makes the Database of the standbys of another one.
func newStandby(cfg Config, deps Deps, primary *Database) (*Database, error) {
	cfg.URL, cfg.Standby = cfg.Standby, ""
	cfg.Retry.Attempts = 1 // then it is the primary's turn
	deps.Feed = nil        // the primary asks it to follow what both read
	deps.Logger = deps.Logger.With(slog.String("server", "standby"))
	d, err := newDatabase(cfg, deps, primary)
	if err != nil {
		return nil, fmt.Errorf("of the standby: %w", err)
	}
	return d, nil
}

// floor is what a standby must have replayed beyond all that marks tell it: changes that nobody brings with their
// position. A purge does not do for them, which says nothing to who asks after it and is behind. Safe for
// concurrent use.
//
//	catalogue: table b is renamed to a; the poll notices, and purges what read the old a
//	fill:      asks the log, and a standby that has not replayed that: reads the old a
//	lookup:    the fill asked after the purge; no mark has the old a's oid
type floor struct {
	mu      sync.Mutex // guards all below
	known   bool       // false: nothing a standby says is enough
	lsn     uint64
	raisals uint64
}

// unknow raises the floor to a position that the next poll finds out.
func (f *floor) unknow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = false
	f.raisals++
}

// turn is to be handed to settle: asked for before the position is.
func (f *floor) turn() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.raisals
}

// settle takes the primary's position, if nothing has happened since it was asked for that it may lie before.
func (f *floor) settle(turn, lsn uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.known && f.raisals == turn {
		f.known, f.lsn = true, max(f.lsn, lsn)
	}
}

// raise raises it to a position that is known.
func (f *floor) raise(lsn uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lsn = max(f.lsn, lsn)
}

// under reports whether who has replayed to the position has replayed all of it.
func (f *floor) under(lsn uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known && f.lsn <= lsn
}

// sighting is how the standby was when it was last looked at. Immutable.
type sighting struct {
	reason   string // why what it answers is not stored; "" when it may be
	fix      string // what to do; may be empty
	replayed uint64
}

// fillOnStandby asks a standby where what it says may be as good as what is stored. False: ask the primary.
func (d *Database) fillOnStandby(ctx context.Context, call Call) (cache.Fill, bool) {
	s, rule := d.standby, call.Rule
	if s == nil || call.Primary || rule.Primary || !rule.Stores() || d.log.Feed().Mode != cache.FeedWAL {
		return cache.Fill{}, false
	}
	k := s.know(rule)
	if now := d.clock.Now(); d.log.Lag(now) > rule.MaxLag || int64(now) < k.rests.Load() {
		return cache.Fill{}, false
	}
	ctx, cancel := s.part(ctx)
	defer cancel()
	f, err := s.Fill(ctx, call)
	switch {
	case err != nil:
		d.metrics.standby["failed"].Inc()
		if classOf(err) == Fault {
			k.rests.Store(int64(d.clock.Now()) + int64(unfitFor))
		}
	case f.Refused != cache.Storable:
		d.metrics.standby["refused"].Inc()
		k.rests.Store(int64(d.clock.Now()) + int64(behindFor))
	case f.Snapshot.Replayed < call.Replayed || !d.current(&f) || d.clock.Now().Sub(d.log.ReplayedAsOf(f.Snapshot.Replayed)) > rule.MaxLag:
		d.metrics.standby["behind"].Inc()
		k.rests.Store(int64(d.clock.Now()) + int64(behindFor))
	default:
		d.metrics.standby["answered"].Inc()
		return f, true
	}
	return cache.Fill{}, false
}

// fillInstead asks a standby because the primary cannot be reached, if the rule would rather have that than
// nothing. It is not stored, for nobody can tell what it lacks.
func (d *Database) fillInstead(ctx context.Context, call Call, cause error) (cache.Fill, bool) {
	rule := call.Rule
	switch classOf(cause) {
	case Unavailable, CircuitOpen:
	default:
		return cache.Fill{}, false
	}
	if d.standby == nil || call.Primary || rule.Primary || rule.Freshness != rules.TTLOnly && rule.OnLost == rules.BypassOnLost {
		return cache.Fill{}, false
	}
	f, err := d.standby.Fill(ctx, call)
	if err != nil || f.Snapshot.Replayed < call.Replayed || !d.current(&f) {
		return cache.Fill{}, false
	}
	if f.Refused == cache.Storable {
		f.Refused = cache.RefusedSnapshot
	}
	d.metrics.standby["instead"].Inc()
	return f, true
}

// current reports whether the log knows of no change that the fill has not seen. It has dependencies: without,
// nobody could tell.
func (d *Database) current(f *cache.Fill) bool {
	return len(f.Dependencies) > 0 && d.log.Stand(nil, f.Asked, f.Snapshot, f.Dependencies).Check() != cache.Outdated
}

// part bounds the standby's part of the request's time, so that one which hangs leaves the primary its own.
func (d *Database) part(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := d.cfg.StatementTimeout + standbyGrace
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	return context.WithTimeout(ctx, limit)
}

// readsStandby reports whether the fill is one of a standby.
func (f *filling) readsStandby() bool { return f.d.primary != nil }

// sendReplayed asks how far the standby is. Statements that must agree have one snapshot, which must be a later
// one: so theirs is another transaction, in the same round trip.
func (f *filling) sendReplayed(r *round) {
	r.send(f.d.own.replayed, nil)
	if f.consistent() {
		r.boundary()
	}
}

func (f *filling) receiveReplayed(r *round) error {
	row, err := r.row(1)
	if err != nil {
		return fmt.Errorf("ask how far the standby is: %w", err)
	}
	replayed, err := parsePosition(row[0])
	if err != nil {
		return err
	}
	f.fill.Snapshot = cache.Snapshot{Replayed: replayed}
	if f.consistent() {
		return r.passed()
	}
	return nil
}

// beneath reports whether the standby has not replayed what no mark tells of. Then it is not asked what the rule
// depends on either: its catalogue may be the one of before.
func (f *filling) beneath() bool {
	return f.readsStandby() && !f.d.primary.floor.under(f.fill.Snapshot.Replayed)
}

// receiveVouch reads the answer to vouchQuery.
func (f *filling) receiveVouch(r *round) error {
	row, err := r.row(2)
	if err != nil {
		return fmt.Errorf("ask whether the standby still is one: %w", err)
	}
	if f.d.vouch(row[0] == "t", row[1]) != "" || f.fill.Snapshot.Replayed == 0 {
		f.refuse(cache.RefusedSnapshot)
	}
	return nil
}

// vouch returns why the position that a standby has replayed cannot be compared with those of the feed's changes;
// "" if it can.
func (d *Database) vouch(recovery bool, timeline string) string {
	theirs, known := d.feedServer()
	switch {
	case !recovery:
		return "it is a primary: it was promoted, or the URL of the standby leads to the primary"
	case !known:
		return unfollowed
	case timeline == unseen:
		return "the role may not see which timeline it follows"
	case timeline == "0":
		return "it receives nothing from the primary now"
	}
	ours, err := strconv.ParseUint(theirs.Timeline, 16, 32)
	if err != nil || timeline != strconv.FormatUint(ours, 10) {
		return fmt.Sprintf("it follows timeline %s, and the primary is on %d", timeline, ours)
	}
	return ""
}

// unfollowed is vouch's reason while nothing is heard of the primary, which may be down.
const unfollowed = "the primary's changes are not followed now"

// lastResort says what a standby is good for while the primary does not answer.
const lastResort = "it is read where the primary does not answer and the rule allows that (freshness: ttl, on_lost: ttl or serve), and what it answers is not stored"

// unseen is vouchQuery's timeline where the role may not know it.
const unseen = "-1"

// feedServer returns, of a standby's, the server that the feed follows; without a feed, the one that the primary's
// pool leads to.
func (d *Database) feedServer() (Server, bool) {
	if d.following.server != nil {
		return d.following.server()
	}
	f := d.primary.server.facts()
	return Server{System: f.system, Timeline: f.timeline, Database: f.database}, f.system != ""
}

// eachKnown goes through what is known of rules, by the standby, too.
func (d *Database) eachKnown(do func(rule, known any) bool) {
	d.known.Range(do)
	if d.standby != nil {
		d.standby.known.Range(do)
	}
}

// kin reports whether the session's server has the data of the primary's.
func (s *session) kin() error {
	theirs, known := s.db.feedServer()
	if !known {
		facts := s.db.primary.server.facts()
		theirs = Server{System: facts.system, Database: facts.database}
	}
	if s.facts.system == "" || s.facts.system != theirs.System || s.facts.database != theirs.Database {
		return unavailable(errOtherServer)
	}
	if s.facts.settings != s.db.primary.server.facts().settings {
		s.outworn = true // it was made before these were changed, or was replicated to
		return unavailable(errOtherSettings)
	}
	return nil
}

// sight looks how the standby is, for people.
func (s *session) sight(ctx context.Context) (*sighting, error) {
	answer := s.pg.ExecParams(ctx, "select r.*, v.*, pg_catalog.quote_ident(current_user) from ("+replayedQuery+") r, ("+vouchQuery+") v", nil, nil, nil, nil).Read()
	if answer.Err != nil {
		return nil, fmt.Errorf("look at the standby: %w", answer.Err)
	}
	row := answer.Rows[0]
	replayed, err := parsePosition(string(row[0]))
	if err != nil {
		return nil, err
	}
	seen := &sighting{replayed: replayed, reason: s.db.vouch(string(row[1]) == "t", string(row[2]))}
	if string(row[2]) == unseen {
		seen.fix = fmt.Sprintf("run GRANT pg_read_all_stats TO %s; on the primary", row[3])
	}
	if err := s.kin(); err != nil {
		seen.reason, seen.fix = "it is not a standby of the primary, or nobody can tell", "correct postgres.standby"
	}
	return seen, nil
}

// lookAtStandby notes how the standby is, and says so when that changes.
func (d *Database) lookAtStandby(ctx context.Context, s *session) error {
	seen, err := s.sight(ctx)
	if err != nil {
		return err
	}
	if !d.primary.floor.under(seen.replayed) && seen.reason == "" {
		return nil // nothing that it says is of use yet
	}
	if before := d.seen.Swap(seen); before == nil || before.reason != seen.reason {
		if seen.reason == "" {
			d.logger.Info("the standby is read from")
		} else {
			d.logger.Warn("the standby is not read from", "reason", seen.reason)
		}
	}
	return nil
}

// StandbyFinding is what is to be said of the standby as it is now. A value.
type StandbyFinding struct {
	Reason string // why what it answers is not stored; "" when it may be
	Fix    string // what to do; may be empty
	Behind uint64 // bytes of the primary's log that it has not replayed
}

// ExamineStandby looks at the standby, where one is configured, in comparison with the primary. The error is an
// *Error.
func (d *Database) ExamineStandby(ctx context.Context) (StandbyFinding, error) {
	var seen *sighting
	position, err := d.Position(ctx) // meets the primary
	if err == nil {
		err = d.standby.run(ctx, func(ctx context.Context, s *session) (err error) {
			seen, err = s.sight(ctx)
			return err
		})
	}
	if err != nil {
		return StandbyFinding{}, err
	}
	found := StandbyFinding{Reason: seen.reason, Fix: seen.fix}
	if seen.replayed < position {
		found.Behind = position - seen.replayed
	}
	return found, nil
}

// StandbyHealth returns up, degraded or down, and why. Configured is false where there is no standby.
func (d *Database) StandbyHealth() (state, reason string, configured bool) {
	s := d.standby
	if s == nil {
		return "", "", false
	}
	if state, reason = s.Health(); state != "up" {
		return state, reason, true
	}
	seen := s.seen.Load()
	switch {
	case seen == nil:
		return "degraded", "it has not been reached yet", true
	case d.BreakerState() != "closed":
		return "degraded", "the primary does not answer: " + lastResort, true
	case seen.reason == unfollowed:
		return "degraded", unfollowed + ": " + lastResort, true
	case seen.reason != "":
		return "degraded", "the primary is read instead: " + seen.reason, true
	}
	return "up", "", true
}

// standbyLag returns how far the standby was behind the primary when it was last looked at, as far as is known.
func (d *Database) standbyLag() float64 {
	if d.standby == nil {
		return 0
	}
	seen := d.standby.seen.Load()
	if seen == nil {
		return 0
	}
	if asOf := d.log.ReplayedAsOf(seen.replayed); asOf != 0 {
		return d.clock.Now().Sub(asOf).Seconds()
	}
	return 0
}
