package changes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
)

const (
	maxBeats   = 1024                  // under way at once
	nudgeEvery = 10 * time.Millisecond // how often the server is asked where it is, while a beat is under way
	beatTime   = 10 * time.Second      // how long an answer may take
)

// errStandby : the primary is none any more.
var errStandby = errors.New("the server has become a standby")

// beat is one heartbeat: everything that was visible to anyone at asOf lies before lsn. Immutable.
type beat struct {
	asOf     cache.Instant
	lsn      uint64
	snapshot cache.Snapshot
}

// beats are the heartbeats under way. Safe for concurrent use.
type beats struct {
	mu     sync.Mutex // guards all below
	away   []beat     // oldest first
	latest *beat      // that came round
	first  chan struct{}
}

func newBeats() *beats { return &beats{first: make(chan struct{})} }

// send notes a beat that is under way. When there are too many, the youngest gives way: the oldest will
// come round first.
func (b *beats) send(next beat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.away) == maxBeats {
		b.away = b.away[:maxBeats-1]
	}
	b.away = append(b.away, next)
}

// pass returns the youngest beat that the stream has reached with this position; nil: none that was away.
func (b *beats) pass(position uint64) *beat {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(b.away) && b.away[n].lsn <= position {
		n++
	}
	if n == 0 {
		return nil
	}
	latest := b.away[n-1]
	b.latest = &latest
	b.away = append(b.away[:0], b.away[n:]...)
	return b.latest
}

// arrived is called when the log knows of the first beat.
func (b *beats) arrived() {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.first:
	default:
		close(b.first)
	}
}

func (b *beats) newest() *beat {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.latest
}

func (b *beats) waiting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.away) > 0
}

const beatQuery = `select pg_catalog.pg_current_wal_insert_lsn()::text, pg_catalog.pg_current_snapshot()::text`

// heart asks the primary where it is, and sees to it that the stream gets there.
type heart struct {
	feed  *Feed
	conn  *pgx.Conn
	beats *beats
	sent  func(beat)   // is told of each beat
	nudge func() error // asks the server to tell where the stream is
}

// run beats until ctx ends or a connection breaks.
func (h *heart) run(ctx context.Context) error {
	ticker := time.NewTicker(h.feed.cfg.Heartbeat)
	defer ticker.Stop()
	for {
		started := time.Now()
		if err := h.beat(ctx); err != nil {
			return err
		}
		if err := h.follow(ctx, started); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// beat sends one. The time is noted first: what becomes visible after it may lie beyond the position.
func (h *heart) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	asOf := h.feed.clock.Now()
	row, err := onlyRow(ctx, h.conn.PgConn(), beatQuery)
	if err != nil {
		return beatError(err)
	}
	lsn, err := pglogrepl.ParseLSN(row[0])
	if err != nil {
		return fmt.Errorf("read position of the primary: %w", err)
	}
	snapshot, err := cache.ParseSnapshot([]byte(row[1]))
	if err != nil {
		return err
	}
	h.feed.behind.Store(uint64(lsn))
	next := beat{asOf: asOf, lsn: uint64(lsn), snapshot: snapshot}
	h.beats.send(next)
	h.sent(next)
	return h.nudge()
}

// beatError tells a server that is a standby now, and has no insert position, from one that fails.
func beatError(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "55000" {
		return errStandby
	}
	return fmt.Errorf("ask the primary for its position: %w", err)
}

// follow waits for the beat, at most until the next is due. The server is asked again and again where it
// is: it answers at once, also from where its log is not flushed that far yet. After a while a
// transaction of forebay's own pushes the flush past whoever wrote and idles.
func (h *heart) follow(ctx context.Context, started time.Time) error {
	ticker := time.NewTicker(nudgeEvery)
	defer ticker.Stop()
	probed := false
	for h.beats.waiting() && time.Since(started) < h.feed.cfg.Heartbeat {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if !probed && time.Since(started) >= h.feed.cfg.Probe && h.beats.waiting() {
			probed = true
			if err := h.probe(ctx); err != nil {
				return err
			}
		}
		if err := h.nudge(); err != nil {
			return err
		}
	}
	return nil
}

// probe commits a transaction that the stream brings.
func (h *heart) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	h.feed.metrics.probes.Inc()
	if _, err := simple(ctx, h.conn.PgConn(), "select pg_catalog.pg_logical_emit_message(true, '"+prefixProbe+"', '')"); err != nil {
		return fmt.Errorf("push the stream: %w", err)
	}
	return nil
}

// insertPosition asks for the primary's.
func insertPosition(ctx context.Context, conn *pgx.Conn) (uint64, error) {
	row, err := onlyRow(ctx, conn.PgConn(), `select (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_catalog.pg_lsn)::text`)
	if err != nil {
		return 0, beatError(err)
	}
	return strconv.ParseUint(row[0], 10, 64)
}
