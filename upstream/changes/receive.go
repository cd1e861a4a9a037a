package changes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"forebay/cache"
)

const (
	silence   = time.Minute      // after which a connection that says nothing is taken for broken
	timely    = 1000             // messages, between which the silence is not reckoned anew
	sendTime  = 10 * time.Second // for the few bytes of a status to leave
	xlogStart = 1 + 8 + 8 + 8    // where the message begins in XLogData: byte, start, end, time
)

// errStreamEnded : the server ended the stream, as it does when it shuts down.
var errStreamEnded = errors.New("the server ended the stream")

// receive takes the stream until it breaks.
//
// The connection is read by its frontend and not by ReceiveMessage, which arms a context for each message:
// millions of them have to pass.
func (s *session) receive(ctx context.Context) error {
	conn := s.wal.Conn()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c := newCollector(s.feed.cfg.MaxRows, s.applying.now.Load, s.commit)
	for n := uint(0); ; n++ {
		var err error
		if n%timely == 0 {
			err = conn.SetReadDeadline(time.Now().Add(silence))
		}
		var message pgproto3.BackendMessage
		if err == nil {
			message, err = s.wal.Frontend().Receive()
			s.asks.heard()
		}
		if err == nil {
			err = s.take(c, message)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read stream: %w", err)
		}
	}
}

func (s *session) take(c *collector, message pgproto3.BackendMessage) error {
	switch m := message.(type) {
	case *pgproto3.CopyData:
		return s.takeData(c, m.Data)
	case *pgproto3.ErrorResponse:
		return pgconn.ErrorResponseToPgError(m)
	case *pgproto3.CopyDone, *pgproto3.CommandComplete, *pgproto3.ReadyForQuery:
		return errStreamEnded
	}
	return nil // notices, changed parameters
}

func (s *session) takeData(c *collector, data []byte) error {
	if len(data) == 0 {
		return errShort
	}
	switch data[0] {
	case pglogrepl.XLogDataByteID:
		if len(data) < xlogStart {
			return errShort
		}
		before := c.rows
		err := c.take(data[xlogStart:])
		s.feed.metrics.rows.Add(int(c.rows - before))
		return err
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		keepalive, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
		if err != nil {
			return err
		}
		if err := s.wal.Conn().SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		s.pass(uint64(keepalive.ServerWALEnd))
		if keepalive.ReplyRequested {
			return s.sendStatus(false)
		}
	}
	return nil
}

// commit marks a transaction. See applying for the lock.
func (s *session) commit(t *transaction, end uint64) {
	f := s.feed
	s.applying.mu.Lock()
	change, collapsed := t.change(s.applying.now.Load())
	change.Xid = cache.Widen(t.xid, s.near.Load())
	change.LSN = end
	change.Applied = f.clock.Now()
	if len(change.Dependencies) > 0 {
		f.log.Commit(change)
		f.metrics.commits.Inc()
	}
	s.applying.mu.Unlock()
	if collapsed {
		f.metrics.collapsed.Inc()
	}
	if t.changedCatalogue() {
		f.ddl() // before anybody is told that the transaction is in
	}
	f.arrivals.add(change.Xid)
	s.pass(end)
}

// pass notes that everything committed before the position is marked.
//
// The positions are a commit's end and a keepalive's: the server sends commits in the order of these ends,
// and names in a keepalive only what it has sent whole. The positions in the headers of rows are theirs in
// the log, and rows of what commits later come earlier: they prove nothing.
func (s *session) pass(position uint64) {
	s.feed.advance(position)
	b := s.beats.pass(s.feed.position.Load())
	if b == nil {
		return
	}
	snapshot := b.snapshot
	snapshot.Replayed = b.lsn
	s.feed.log.Advance(b.asOf, snapshot)
	s.beats.arrived()
	if !s.feed.face.live() {
		s.feed.face.tell(func(state *cache.Feed) { state.Live, state.Reason = true, "" })
		s.feed.logger.Info("the stream of changes is live", "slot", s.feed.Status().Slot)
	}
}

// nudge asks the server where it is, unless it is silent since it was asked last.
func (s *session) nudge() error {
	if !s.asks.due(s.feed.clock.Now()) {
		return nil
	}
	return s.sendStatus(true)
}

// sendStatus tells the server how far the stream is, and may ask it to answer.
func (s *session) sendStatus(ask bool) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := s.wal.Conn().SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return fmt.Errorf("send status: %w", err)
	}
	at := pglogrepl.LSN(s.feed.position.Load())
	err := pglogrepl.SendStandbyStatusUpdate(context.Background(), s.wal, pglogrepl.StandbyStatusUpdate{WALWritePosition: at, ReplyRequested: ask})
	if err != nil {
		return fmt.Errorf("send status: %w", err)
	}
	return nil
}
