package changes

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"forebay/cache"
)

const (
	goodbyeTime = time.Second // to close a connection
	tellEvery   = time.Second // how often it is told who a new slot waits for
)

// errOtherServers : the connections of one session lead to different servers.
var errOtherServers = errors.New("connections to the same URL lead to different servers")

// session follows one stream from a slot's making to the first thing that breaks. Its epoch is an epoch of
// the log.
type session struct {
	feed     *Feed
	server   server
	wal      *pgconn.PgConn
	pulse    *pgx.Conn // of the heart
	look     *pgx.Conn // of the follower
	follower *follower
	applying applying
	beats    *beats
	asks     asks
	near     atomic.Uint64 // the greatest xid of the newest heartbeat's snapshot, to widen by

	sending sync.Mutex // held while something is written to wal
}

// stream runs a session.
func (f *Feed) stream(ctx context.Context) error {
	s := &session{feed: f, beats: newBeats()}
	defer s.close()
	if err := s.open(ctx); err != nil {
		return err
	}
	start, err := s.join(ctx)
	if err != nil {
		return err
	}
	if err := s.begin(ctx, start); err != nil {
		return err
	}
	return s.follow(ctx)
}

// open connects and makes the publication.
func (s *session) open(ctx context.Context) (err error) {
	if s.look, err = s.feed.connect(ctx); err != nil {
		return err
	}
	if s.server, err = meet(ctx, s.look.PgConn()); err != nil {
		return err
	}
	if err = s.server.refuses(s.look.PgConn()); err != nil {
		return err
	}
	if s.pulse, err = s.feed.connect(ctx); err != nil {
		return err
	}
	if s.wal, err = s.feed.connectReplication(ctx, s.server); err != nil {
		return err
	}
	for _, conn := range []*pgconn.PgConn{s.pulse.PgConn(), s.wal} {
		other, err := meet(ctx, conn)
		if err != nil {
			return err
		}
		if other.Identity != s.server.Identity {
			return errOtherServers
		}
	}
	pub, err := claim(ctx, s.look, s.feed.cfg.Publication)
	if err != nil {
		return err
	}
	s.feed.face.note(func(r *report) { r.publication = pub.name })
	if err := removeUnclaimed(ctx, s.look, pub.name); err != nil {
		return err
	}
	s.follower = newFollower(s.feed, s.server, pub, &s.applying, s.beats.newest)
	return s.follower.poll(ctx)
}

// start is where a stream begins.
type start struct {
	slot     string
	lsn      pglogrepl.LSN
	exported cache.Snapshot
}

// join makes the slot, which waits for all who write, and reads the snapshot of what it does not bring.
func (s *session) join(ctx context.Context) (start, error) {
	name := slotName(s.feed.cfg.Slot)
	waiting, stop := context.WithCancel(ctx)
	var told sync.WaitGroup
	told.Go(func() { s.tellWhoWrites(waiting) })
	slot, err := pglogrepl.CreateReplicationSlot(ctx, s.wal, name, "pgoutput", pglogrepl.CreateReplicationSlotOptions{
		Temporary: true, SnapshotAction: "EXPORT_SNAPSHOT", Mode: pglogrepl.LogicalReplication,
	})
	stop()
	told.Wait()
	if err != nil {
		return start{}, fmt.Errorf("create slot %q: %w", name, replicationError(err, s.server))
	}
	from := start{slot: name}
	if from.lsn, err = pglogrepl.ParseLSN(slot.ConsistentPoint); err != nil {
		return start{}, fmt.Errorf("read the slot's position: %w", err)
	}
	row, err := onlyRow(ctx, s.pulse.PgConn(), fmt.Sprintf(
		"begin isolation level repeatable read read only; set transaction snapshot '%s'; select pg_catalog.pg_current_snapshot()::text", slot.SnapshotName))
	if err == nil {
		_, err = simple(ctx, s.pulse.PgConn(), "commit")
	}
	if err != nil {
		return start{}, fmt.Errorf("read the slot's snapshot: %w", err)
	}
	if from.exported, err = cache.ParseSnapshot([]byte(row[0])); err != nil {
		return start{}, err
	}
	from.exported.Replayed = uint64(from.lsn)
	return from, nil
}

// slotName makes one that no other instance has.
func slotName(prefix string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, strings.ToLower(prefix))
	return clean[:min(len(clean), 40)] + "_" + strings.ToLower(rand.Text()[:12])
}

const whoWritesQuery = `select coalesce((select 'process ' || a.pid || ' (' || coalesce(nullif(a.application_name, ''), a.backend_type) || '), open for '
      || pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - a.xact_start)
    from pg_catalog.pg_stat_activity a where a.backend_xid is not null and a.pid <> pg_catalog.pg_backend_pid()
    order by a.xact_start limit 1),
  (select 'prepared transaction ' || pg_catalog.quote_literal(p.gid) || ', open for ' || pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - p.prepared)
    from pg_catalog.pg_prepared_xacts p order by p.prepared limit 1), '')`

// tellWhoWrites says, while a slot is being made, whom it waits for.
func (s *session) tellWhoWrites(ctx context.Context) {
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// Not ctx: a cancelled query would take the connection with it.
		row, err := onlyRow(context.WithoutCancel(ctx), s.pulse.PgConn(), whoWritesQuery)
		if err != nil {
			return
		}
		reason := "the new slot waits for all transactions that write to end"
		if row[0] != "" {
			reason += "; the oldest: " + row[0]
		}
		if !s.feed.face.resting() {
			s.feed.face.lose(reason)
		}
	}
}

// begin begins the epoch, and then the stream. All of an ended epoch is outdated by the first mark of the
// new one.
func (s *session) begin(ctx context.Context, from start) error {
	f, id := s.feed, s.server.Identity
	epoch := fmt.Sprintf("postgres %s/%s/%d/%s publication %s slot %s", id.System, id.Timeline, id.Database, id.Started, s.follower.pub.name, from.slot)
	// First the mode: from here on nobody else begins epochs, which drop marks.
	f.face.lose("the first heartbeat has not come round yet")
	f.log.NewEpoch(epoch)
	f.metrics.epochs.Inc()
	f.arrivals.reset(true)
	s.near.Store(from.exported.Xmax)
	f.position.Store(uint64(from.lsn))
	f.face.note(func(r *report) {
		r.epoch, r.slot, r.server, r.known = epoch, from.slot, id, true
		r.asyncCommit = s.server.synchronous == "off"
	})
	f.face.tell(func(state *cache.Feed) {
		state.Exported = from.exported
		state.Server = fmt.Sprintf("%s/%s/%d/%s", id.System, id.Timeline, id.Database, id.Started)
	})
	if err := s.follower.begin(ctx, f.log.Position(), uint64(from.lsn)); err != nil {
		return err
	}
	err := pglogrepl.StartReplication(ctx, s.wal, from.slot, from.lsn, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication,
		PluginArgs: []string{
			"proto_version '2'", "streaming 'true'", "messages 'true'",
			"publication_names '" + strings.ReplaceAll(s.follower.pub.quoted, "'", "''") + "'",
		},
	})
	if err != nil {
		return fmt.Errorf("start replication: %w", err)
	}
	return nil
}

// follow runs until something breaks.
func (s *session) follow(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	heart := &heart{feed: s.feed, conn: s.pulse, beats: s.beats, sent: s.sent, nudge: s.nudge}
	group.Go(func() error { return s.receive(ctx) })
	group.Go(func() error { return heart.run(ctx) })
	group.Go(func() error { return s.follower.run(ctx) })
	return group.Wait()
}

// sent is told of each heartbeat that is under way. Where nothing was written since the last, the stream
// is there already.
func (s *session) sent(b beat) {
	s.near.Store(b.snapshot.Xmax)
	s.pass(0)
}

// close closes the connections. The slot goes with its own; a command that was cut off, as the making of a
// slot that waits, is cancelled on the server.
func (s *session) close() {
	if s.wal != nil {
		shut(s.wal)
	}
	for _, conn := range []*pgx.Conn{s.pulse, s.look} {
		if conn != nil {
			shut(conn.PgConn())
		}
	}
}
