package changes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"forebay/cache"
)

// listening is a session of mode notify: triggers tell which transaction touched which table.
//
// Notifications come in the order in which their transactions put them into the server's queue, which is
// before these commit. So when one comes that was sent at t, all of what was visible at t has come.
type listening struct {
	feed     *Feed
	ear      *pgx.Conn // hears
	pulse    *pgx.Conn // sends the heartbeats
	follower *follower
	applying applying
	beats    *beats
	own      string // the channel of the heartbeats
	last     uint64 // the transaction of the newest notification; more of it may come
}

// refusesTriggers returns why notifications cannot be followed; nil if they can.
func (s *server) refusesTriggers(conn *pgconn.PgConn) error {
	switch {
	case s.recovery:
		return refuse("the server is a standby", "give the URL of the primary")
	case conn.PID() != s.backend:
		return refuse("a connection pooler stands before the server", "give the URL of the server itself for changes")
	case s.prepared > 0:
		return refuse(
			"max_prepared_transactions is not 0, and PREPARE TRANSACTION fails in a transaction that notifies",
			"run ALTER SYSTEM SET max_prepared_transactions = 0; and restart Postgres, or set postgres.changes to wal",
		)
	}
	return nil
}

// listen runs a session of mode notify.
func (f *Feed) listen(ctx context.Context) error {
	l := &listening{feed: f, beats: newBeats(), own: channel + "_" + slotName("beat")}
	look, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer shut(look.PgConn())
	s, err := meet(ctx, look.PgConn())
	if err != nil {
		return err
	}
	if err := s.refusesTriggers(look.PgConn()); err != nil {
		return err
	}
	for _, conn := range []**pgx.Conn{&l.ear, &l.pulse} {
		if *conn, err = f.connect(ctx); err != nil {
			return err
		}
		defer shut((*conn).PgConn())
		other, err := meet(ctx, (*conn).PgConn())
		if err != nil {
			return err
		}
		if other.Identity != s.Identity {
			return errOtherServers
		}
	}
	l.follower = newFollower(f, s, nil, &l.applying, l.beats.newest)
	l.follower.conn = look
	if err := l.begin(ctx, s); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.hear(ctx) })
	group.Go(func() error { return l.beat(ctx) })
	group.Go(func() error { return l.follower.run(ctx) })
	return group.Wait()
}

// begin listens, and begins an epoch. The snapshot is taken when LISTEN has committed: what is visible in
// it may have been notified before, and whatever is not will be heard.
func (l *listening) begin(ctx context.Context, s server) error {
	f, id := l.feed, s.Identity
	if _, err := simple(ctx, l.ear.PgConn(), fmt.Sprintf("listen %s; listen %s", channel, l.own)); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	// A heartbeat need not be durable.
	if _, err := simple(ctx, l.pulse.PgConn(), "set synchronous_commit = off"); err != nil {
		return fmt.Errorf("prepare for heartbeats: %w", err)
	}
	exported, err := l.snapshot(ctx)
	if err != nil {
		return err
	}
	epoch := fmt.Sprintf("postgres %s/%s/%d/%s channel %s", id.System, id.Timeline, id.Database, id.Started, l.own)
	f.face.lose("the first heartbeat has not come round yet")
	f.log.NewEpoch(epoch)
	f.metrics.epochs.Inc()
	f.arrivals.reset(true)
	f.face.note(func(r *report) { r.epoch, r.server, r.known = epoch, id, true })
	f.face.tell(func(state *cache.Feed) { state.Exported = exported })
	l.follower.running = true
	return l.follower.poll(ctx)
}

func (l *listening) snapshot(ctx context.Context) (cache.Snapshot, error) {
	row, err := onlyRow(ctx, l.pulse.PgConn(), "select pg_catalog.pg_current_snapshot()::text")
	if err != nil {
		return cache.Snapshot{}, fmt.Errorf("take snapshot: %w", err)
	}
	return cache.ParseSnapshot([]byte(row[0]))
}

// beat sends heartbeats through the queue until ctx ends.
func (l *listening) beat(ctx context.Context) error {
	ticker := time.NewTicker(l.feed.cfg.Heartbeat)
	defer ticker.Stop()
	for number := uint64(1); ; number++ {
		asOf := l.feed.clock.Now()
		snapshot, err := l.snapshot(ctx)
		if err != nil {
			return err
		}
		l.beats.send(beat{asOf: asOf, lsn: number, snapshot: snapshot})
		if _, err := simple(ctx, l.pulse.PgConn(), fmt.Sprintf("notify %s, '%d'", l.own, number)); err != nil {
			return fmt.Errorf("send heartbeat: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// hear takes notifications until ctx ends or the connection breaks.
func (l *listening) hear(ctx context.Context) error {
	for {
		heard, stop := context.WithTimeout(ctx, silence)
		n, err := l.ear.WaitForNotification(heard)
		stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && n.Channel == l.own {
			err = l.came(n.Payload)
		} else if err == nil {
			err = l.changed(n.Payload)
		}
		if err != nil {
			return fmt.Errorf("hear notifications: %w", err)
		}
	}
}

// came handles a heartbeat.
func (l *listening) came(payload string) error {
	number, err := strconv.ParseUint(payload, 10, 64)
	if err != nil {
		return fmt.Errorf("read heartbeat: %w", err)
	}
	l.arrive(0)
	f := l.feed
	b := l.beats.pass(number)
	if b == nil {
		return nil
	}
	f.log.Advance(b.asOf, b.snapshot)
	if !f.face.live() {
		f.face.tell(func(state *cache.Feed) { state.Live, state.Reason = true, "" })
		f.logger.Info("notifications of changes are live")
	}
	return nil
}

// errPayload : somebody else notifies on the channel.
var errPayload = errors.New("a notification is not of forebay's triggers")

// changed handles "xid oid operation".
func (l *listening) changed(payload string) error {
	parts := strings.Fields(payload)
	if len(parts) != 3 {
		return errPayload
	}
	xid, err := strconv.ParseUint(parts[0], 10, 64)
	oid, errOid := strconv.ParseUint(parts[1], 10, 32)
	operation := slices.Index(operations[:], parts[2])
	if err != nil || errOid != nil || operation < 0 {
		return errPayload
	}
	t := newTransaction(uint32(xid))
	l.applying.mu.Lock()
	a := l.applying.now.Load()
	d := t.main.touch(uint32(oid), a)
	d.counts[operation]++
	d.collapse()
	change, _ := t.change(a)
	change.Xid, change.Applied = xid, l.feed.clock.Now()
	change.Touched[0].Rows = 0 // nobody counted
	l.feed.log.Commit(change)
	l.applying.mu.Unlock()
	l.feed.metrics.commits.Inc()
	l.arrive(xid)
	return nil
}

// arrive notes that the transaction before this one has come in whole.
func (l *listening) arrive(xid uint64) {
	if l.last != 0 && l.last != xid {
		l.feed.arrivals.add(l.last)
	}
	l.last = xid
}

// shut closes a connection, and waits until that is done.
func shut(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTime)
	defer cancel()
	_ = conn.Close(ctx) // it is over, one way or the other
	select {
	case <-conn.CleanupDone():
	case <-ctx.Done():
	}
}
