package changes

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"forebay/cache"
)

const (
	firstPause = time.Second // before a table that somebody holds is tried again
	lastPause  = 30 * time.Second

	pollTime = time.Minute // for one poll: a connection that is dead without a word ends the session
)

// errRepublish : the publication has to be altered, and the server is one whose running stream would lose
// changes by that.
var errRepublish = errors.New("the tables have changed, and this server's version needs a new slot for that")

// applying is by what changes are attributed. A transaction is applied under the lock: whoever swaps the
// attribution, and then tells the log that more columns are told apart, does so between two transactions.
type applying struct {
	mu  sync.Mutex
	now atomic.Pointer[attribution]
}

func (a *applying) swap(next *attribution) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now.Store(next)
}

// follower keeps what is published and what is covered in step with what is wanted and with what others do
// to the catalogue. Owned by the goroutine of the catalogue.
type follower struct {
	feed     *Feed
	server   server
	conn     *pgx.Conn
	pub      *publication // nil in mode notify, where triggers take its part
	applying *applying
	latest   func() *beat // the newest heartbeat that came round; nil: none yet

	running  bool // the slot is there: what is published from now on may miss what its writers did before
	expected published
	events   string // the print of the event triggers at the last poll
	covers   map[uint32]*cover
	failed   map[uint32]failure // tables whose turn in the publication it was, and somebody held them
}

func newFollower(f *Feed, s server, pub *publication, a *applying, latest func() *beat) *follower {
	a.now.Store(&attribution{relations: map[uint32]*relation{}})
	w := &follower{feed: f, server: s, pub: pub, applying: a, latest: latest, covers: make(map[uint32]*cover), failed: make(map[uint32]failure)}
	if pub != nil {
		w.conn = pub.conn
	}
	return w
}

// run polls until ctx ends or something is wrong beyond repair.
func (w *follower) run(ctx context.Context) error {
	ticker := time.NewTicker(w.feed.cfg.Poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-w.feed.rewatch:
		}
		if err := w.pollInTime(ctx); err != nil {
			return err
		}
	}
}

func (w *follower) pollInTime(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	return w.poll(ctx)
}

// poll compares and acts once. The order of its steps is explained in doc.go.
func (w *follower) poll(ctx context.Context) error {
	wanted := w.wantedOf(*w.feed.wanted.Load())
	c, err := readCatalogue(ctx, w.conn, wanted)
	if err != nil {
		return err
	}
	now, err := w.read(ctx, c)
	if err != nil {
		return err
	}
	w.uncoverLost(c, now)
	w.uncoverGrown(c)
	w.attribute(c, wanted)
	if now, err = w.publish(ctx, c, now); err != nil {
		return err
	}
	w.uncoverLost(c, now)
	w.expected, w.events = now, c.events
	if w.running {
		if err := w.cover(ctx, c, now); err != nil {
			return err
		}
		w.tell(c, wanted)
	}
	w.feed.metrics.pollSucceeded()
	return nil
}

// wantedOf returns the wanted set as far as it can be had: triggers do not tell rows apart.
func (w *follower) wantedOf(wanted map[uint32][]int16) map[uint32][]int16 {
	if w.pub != nil {
		return wanted
	}
	tables := make(map[uint32][]int16, len(wanted))
	for oid := range wanted {
		tables[oid] = nil
	}
	return tables
}

// read returns what is published, or has the triggers.
func (w *follower) read(ctx context.Context, c *catalogue) (published, error) {
	if w.pub != nil {
		return w.pub.read(ctx)
	}
	now := published{whole: true, tables: make(map[uint32]publishedTable)}
	for oid, e := range c.relations {
		if e.triggers != "" {
			now.tables[oid] = publishedTable{name: e.quoted, print: e.triggers}
		}
	}
	return now, nil
}

// unfollowable returns why changes to a table cannot be followed; nil if they can.
func (w *follower) unfollowable(e *entry) *refusal {
	if w.pub != nil {
		return e.unpublishable()
	}
	if r := e.unheard(); r != nil && e.persistence != 'u' {
		return r
	}
	if e.triggers == "" {
		return refuse("table "+e.quoted+" has no triggers that notify", "install them with `forebay changes install --notify`")
	}
	return nil
}

// begin covers all that is published, for a stream that begins at the position and brings all that was
// written to it since.
func (w *follower) begin(ctx context.Context, at cache.Position, lsn uint64) error {
	w.running = true
	for oid := range w.expected.tables {
		r := w.applying.now.Load().relations[oid]
		if r != nil && w.expected.has(oid) {
			w.covers[oid] = &cover{relation: r, coverage: cache.Coverage{After: at, Replayed: lsn}}
		}
	}
	return w.poll(ctx)
}

// uncoverLost stops to promise what is not followed any more, or was not for a moment: it was taken out or
// narrowed by somebody, has lost its identity, is gone, or nobody wants it.
func (w *follower) uncoverLost(c *catalogue, now published) {
	var lost []uint32
	for oid := range w.covers {
		e := c.relations[oid]
		switch {
		case e == nil:
		case e.logged():
			same := now.print == w.expected.print && now.tables[oid] == w.expected.tables[oid]
			if same && now.has(oid) && w.unfollowable(e) == nil {
				continue
			}
			w.feed.metrics.drifts.Inc()
		case e.kind != 'm' || c.events != "" && c.events == w.events:
			continue
		}
		lost = append(lost, oid)
	}
	if len(lost) == 0 {
		return
	}
	w.feed.logger.Info("changes of relations are not followed any more", "relations", len(lost))
	w.uncover(lost)
}

// uncoverGrown does so for what has a partition or heir that is not followed yet. Who read it since that came may
// have seen its rows, or that it has none, and nobody heard what became of them.
func (w *follower) uncoverGrown(c *catalogue) {
	covered := w.feed.log.Feed().Covered
	grown := make(map[uint32]bool)
	for oid, e := range c.relations {
		for _, up := range e.ancestors {
			if _, ok := covered[up]; ok && e.kind != 'p' && w.covers[oid] == nil {
				grown[up] = true
			}
		}
	}
	if len(grown) > 0 {
		w.retract(grown)
	}
}

// uncover tells the log, and then outdates what was stored while it was thought to hear of everything.
func (w *follower) uncover(oids []uint32) {
	concerned := make(map[uint32]bool)
	for _, oid := range oids {
		concerned[oid] = true
		if r := w.covers[oid].relation; r != nil {
			for _, t := range r.targets {
				concerned[t.oid] = true
			}
		}
		delete(w.covers, oid)
	}
	w.retract(concerned)
}

// retract takes back what the log was told of the relations.
func (w *follower) retract(concerned map[uint32]bool) {
	w.feed.face.tell(func(s *cache.Feed) {
		s.Covered = maps.Clone(s.Covered)
		maps.DeleteFunc(s.Covered, func(oid uint32, _ cache.Coverage) bool { return concerned[oid] })
	})
	var purge []cache.Dependency
	for oid := range concerned {
		purge = append(purge, cache.Relation(oid))
	}
	w.feed.log.Purge(cache.Purge{Dependencies: purge})
}

// attribute swaps the attribution. Columns that it does not follow any more are taken back first, and what
// depends on rows by them is outdated.
func (w *follower) attribute(c *catalogue, wanted map[uint32][]int16) {
	before := w.applying.now.Load()
	next := c.attribute(wanted, before)
	if next == before {
		return
	}
	narrowed := make(map[uint32][]int16)
	for oid, old := range before.relations {
		for i := range old.targets {
			t := &old.targets[i]
			for _, f := range t.columns {
				if !next.relations[oid].tells(t.oid, f.number) {
					narrowed[t.oid] = append(narrowed[t.oid], f.number)
				}
			}
		}
	}
	if len(narrowed) > 0 && w.running {
		w.narrow(narrowed)
	}
	w.applying.swap(next)
}

// tells reports whether changes are told apart by the target's column.
func (r *relation) tells(oid uint32, number int16) bool {
	return r != nil && slices.ContainsFunc(r.targets, func(t target) bool {
		return t.oid == oid && slices.ContainsFunc(t.columns, func(f followed) bool { return f.number == number })
	})
}

func (w *follower) narrow(columns map[uint32][]int16) {
	w.feed.face.tell(func(s *cache.Feed) {
		s.Covered = maps.Clone(s.Covered)
		for oid, lost := range columns {
			if coverage, ok := s.Covered[oid]; ok {
				coverage.Columns = slices.DeleteFunc(slices.Clone(coverage.Columns), func(n int16) bool { return slices.Contains(lost, n) })
				s.Covered[oid] = coverage
			}
		}
	})
	var purge []cache.Dependency
	for oid := range columns {
		purge = append(purge, cache.Whole(oid))
	}
	w.feed.log.Purge(cache.Purge{Dependencies: purge})
}

// publish brings the publication to what is wanted, and returns what it is then.
func (w *follower) publish(ctx context.Context, c *catalogue, now published) (published, error) {
	if w.pub == nil {
		w.expected = now
		return now, nil
	}
	out, in := w.difference(c, now)
	if len(in) == 0 && len(out) == 0 && now.whole {
		return now, nil
	}
	if w.running && !w.server.altersSafely() && (len(in) > 0 || !now.whole) {
		return now, errRepublish
	}
	if !now.whole {
		if err := w.pub.repair(ctx); err != nil {
			return now, err
		}
	}
	failed, err := w.pub.alter(ctx, out, in)
	if err != nil {
		return now, err
	}
	for oid, err := range failed {
		w.failed[oid] = w.failed[oid].again(err)
		if e := c.relations[oid]; out[oid] != "" && e != nil && !e.usable {
			return now, w.pub.release(ctx)
		}
	}
	next, err := w.pub.read(ctx)
	if err != nil {
		return now, err
	}
	w.expect(next, in)
	return next, nil
}

// expect notes what was altered here. What others altered meanwhile stays unexpected.
func (w *follower) expect(next published, in map[uint32]string) {
	w.expected.print = next.print
	if w.expected.tables == nil {
		w.expected.tables = make(map[uint32]publishedTable)
	}
	for oid := range in {
		w.expected.tables[oid] = next.tables[oid]
	}
}

// difference returns the tables to take out of the publication and to put in, with their names. What failed
// lately has time; not so what fails its owner's writes.
func (w *follower) difference(c *catalogue, now published) (out, in map[uint32]string) {
	out, in = make(map[uint32]string), make(map[uint32]string)
	for oid, t := range now.tables {
		e := c.relations[oid]
		if e == nil || !e.logged() || e.unpublishable() != nil || t.partial {
			out[oid] = t.name
		}
	}
	for oid, e := range c.relations {
		_, published := now.tables[oid]
		if e.logged() && e.unpublishable() == nil && (!published || out[oid] != "") {
			in[oid] = e.quoted
		}
	}
	moment := time.Now()
	for oid, f := range w.failed {
		e := c.relations[oid]
		switch {
		case out[oid] == "" && in[oid] == "":
			delete(w.failed, oid) // it is as it should be
		case moment.Before(f.until) && (e == nil || e.usable):
			delete(out, oid)
			delete(in, oid)
		}
	}
	return out, in
}

// failure is a table that could not be taken out or put in. A value.
type failure struct {
	err   error
	pause time.Duration
	until time.Time // when it is tried again
}

// again returns the failure after one more try.
func (f failure) again(err error) failure {
	pause := min(max(2*f.pause, firstPause), lastPause)
	return failure{err: err, pause: pause, until: time.Now().Add(pause)}
}

// cover begins to promise what is published, or attributed in another way, since the last poll.
func (w *follower) cover(ctx context.Context, c *catalogue, now published) error {
	a := w.applying.now.Load()
	var fresh []uint32
	for oid, e := range c.relations {
		old := w.covers[oid]
		switch {
		case e.logged() && now.has(oid) && (old == nil || old.relation != a.relations[oid]):
			fresh = append(fresh, oid)
		case e.kind == 'v' && old == nil: // has no changes but those of the catalogue, at whatever position
			w.covers[oid] = &cover{coverage: cache.Coverage{After: w.feed.log.Position(), Replayed: 1}}
		case e.kind == 'm' && w.pub != nil && c.events != "" && old == nil:
			w.covers[oid] = &cover{coverage: cache.Coverage{After: w.feed.log.Position()}}
		}
	}
	if len(fresh) > 0 {
		if err := w.coverFresh(ctx, fresh, a); err != nil {
			return err
		}
	}
	if latest := w.latest(); latest != nil {
		at, replayed := w.feed.log.Position(), uint64(0)
		if w.pub != nil {
			replayed = latest.lsn
		}
		for _, c := range w.covers {
			c.settle(latest, at, replayed)
		}
	}
	return nil
}

// coverFresh covers what is published by now, for fills that see whoever wrote it before.
func (w *follower) coverFresh(ctx context.Context, fresh []uint32, a *attribution) error {
	held, err := writers(ctx, w.conn, fresh)
	if err != nil {
		return err
	}
	lsn, err := insertPosition(ctx, w.conn)
	if err != nil {
		return err
	}
	at := w.feed.log.Position() // after the question: who wrote and is not in held is seen by who asks now
	for _, oid := range fresh {
		coverage := cache.Coverage{Writers: held[oid], After: at}
		if len(held[oid]) == 0 {
			coverage.Replayed = lsn
		}
		w.covers[oid] = &cover{relation: a.relations[oid], coverage: coverage}
	}
	return nil
}

// tell gives the log and people what is covered.
func (w *follower) tell(c *catalogue, wanted map[uint32][]int16) {
	covered, uncovered, pending := c.coverages(wanted, w.covers, w.why)
	w.feed.face.note(func(r *report) {
		r.uncovered, r.pending, r.coveredAll, r.events = uncovered, pending, len(covered), c.events != ""
	})
	w.feed.face.tell(func(s *cache.Feed) { s.Covered = covered })
}

// why says why a relation is not covered.
func (w *follower) why(e *entry) *refusal {
	if e.kind == 'm' {
		return e.refreshed()
	}
	if r := w.unfollowable(e); r != nil {
		return r
	}
	if f, failed := w.failed[e.oid]; failed {
		return &refusal{reason: "table " + e.quoted + " could not be published: " + f.err.Error(), fix: "it is tried again by itself", soon: true}
	}
	return &refusal{reason: "table " + e.quoted + " is being published", fix: "wait a second", soon: true}
}

// logged reports whether it is a table, whose changes are in the write-ahead log if anywhere.
func (e *entry) logged() bool { return e.kind == 'r' }
