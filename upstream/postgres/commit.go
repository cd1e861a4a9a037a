package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
)

// commitGrace is how much longer than the request a COMMIT that was sent may take: to give it up is to
// not know how it ended.
const commitGrace = 5 * time.Second

// commit commits, and has the change marked but for what await is left to wait for.
//
// What no feed brings is marked before the COMMIT goes out, too, because that may take effect although its
// answer never comes: then only snapshots can show that it did, or that the transaction has ended without.
// What a feed brings it brings as precisely as anybody's change: by rows. Marks by locks are for what does
// not come in time. What no feed brings of a COMMIT without an answer is not stored until it has ended.
func (w *writing) commit(ctx context.Context) error {
	xid := w.change.Xid
	if !w.s.comparable() {
		w.change.Xid = 0 // of another server, maybe: nothing it can be compared with
	}
	w.change.Touched = w.touched()
	followed, rest := w.split()
	w.mark(rest)
	err := w.sendCommit(ctx)
	switch {
	case err == nil:
		w.change.Visible = true
		w.mark(rest)
		w.awaited = followed
	case classOf(err) == OutcomeUnknown:
		w.d.metrics.unknown.Inc()
		if len(rest) > 0 {
			w.d.strays.add(stray{backend: w.s.backend, xid: xid, oids: rest})
		}
		w.mark(w.oids)
	}
	w.change.Dependencies = wholesOf(w.oids)
	if len(w.beyond) > 0 {
		w.d.log.Purge(cache.Purge{Dependencies: w.beyond})
	}
	return err
}

// mark applies the change to the log for these tables, as far as the locks told of it.
func (w *writing) mark(oids []uint32) {
	if len(oids) == 0 {
		return
	}
	change := w.change
	change.Dependencies, change.Applied = wholesOf(oids), w.d.clock.Now()
	w.d.log.Commit(change)
}

// touched says for people what the write did: which statement it was, and to what.
func (w *writing) touched() []cache.Touch {
	verb, _, _ := strings.Cut(strings.TrimSpace(w.k.statements[0].sql), " ")
	switch verb = strings.ToUpper(verb); {
	case len(w.oids) == 1 && (verb == "INSERT" || verb == "UPDATE" || verb == "DELETE"):
	default:
		verb = "WRITE"
	}
	list := make([]cache.Touch, len(w.oids))
	for i, oid := range w.oids {
		list[i] = cache.Touch{Relation: oid, Operation: verb}
	}
	return list
}

// split returns of which tables a feed brings the change, and of which none does.
func (w *writing) split() (followed, rest []uint32) {
	feed := w.d.log.Feed()
	if w.d.following.feed == nil || !feed.Live || feed.Mode == cache.FeedOff || w.change.Xid == 0 || !w.d.leadsToTheFeed() {
		return nil, w.oids
	}
	for _, oid := range w.oids {
		if _, covered := feed.Covered[oid]; covered {
			followed = append(followed, oid)
		} else {
			rest = append(rest, oid)
		}
	}
	return followed, rest
}

// ownWait is how long a write waits for its own change to come in before it marks what it had locked.
const ownWait = 50 * time.Millisecond

// await waits for what the feed brings of the change, also for a caller who has left; what does not come in
// time is marked. Called when the connection has been given back: nothing of the database is needed for it.
func (w *writing) await(ctx context.Context) {
	if len(w.awaited) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ownWait)
	defer cancel()
	if !w.d.following.feed.Wait(ctx, w.change.Xid) {
		w.d.metrics.late.Inc()
		w.mark(w.awaited)
	}
}

// sendCommit sends COMMIT and waits for its answer, also for a caller who has left.
func (w *writing) sendCommit(ctx context.Context) error {
	limit := time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline) + commitGrace
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	r := w.s.open(ctx)
	r.send(w.d.own.commit, nil)
	err := r.flush()
	var reader *pgconn.ResultReader
	if err == nil {
		reader, err = r.next()
	}
	var tag pgconn.CommandTag
	if err == nil {
		tag, err = reader.Close()
	}
	if err = r.close(err); err != nil {
		return commitFailure(err)
	}
	if tag.String() != "COMMIT" {
		return fault(fmt.Errorf("commit: the server answered %s", tag))
	}
	return nil
}

// commitFailure tells an answer from silence. An ERROR is an answer: a deferred constraint, say. What
// ends the connection may have come after the commit.
func commitFailure(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR" {
		return fmt.Errorf("commit: %w", err)
	}
	return outcomeUnknown(err)
}

func outcomeUnknown(err error) *Error {
	return &Error{
		Class: OutcomeUnknown, Status: 504, Err: err,
		Detail: "The connection to the database broke while the change was being committed; it may or may not have happened.",
	}
}
