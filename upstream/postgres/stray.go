package postgres

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
)

// stray is what somebody began and whose connection broke, so that nobody will say when it ends or how: a
// statement that commits by itself, or a COMMIT that was on its way. Immutable.
type stray struct {
	backend backend
	xid     uint64   // of a COMMIT, on the server of its session; 0: of a statement that commits by itself
	oids    []uint32 // what a COMMIT may change; nil: anything
}

// strays are those that may not have ended yet. Until they have, nothing is stored of what they may change. A
// mark would not do: it goes when an epoch ends, and on a session that may lead elsewhere its xid means nothing.
//
//	write:  sends COMMIT; every connection breaks; the mark says xid 7
//	pool:   connects anew, finds no backend of its own, and begins an epoch: the mark is gone
//	fill:   reads the old row, and is stored
//	server: makes 7 visible, and nobody hears of it
//
// Safe for concurrent use.
type strays struct {
	count atomic.Int64 // of list, so that a fill need not take the lock

	mu   sync.Mutex // guards all below
	list []stray
}

// add adds one. Before its change is marked: a fill that looks here too early has asked before the mark.
func (s *strays) add(one stray) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, one)
	s.count.Store(int64(len(s.list)))
}

// any reports whether there are some.
func (s *strays) any() bool { return s.count.Load() > 0 }

// concern reports whether one of them may change something of this.
func (s *strays) concern(dependencies []cache.Dependency) bool {
	if !s.any() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.list, func(one stray) bool {
		return one.oids == nil || slices.ContainsFunc(dependencies, func(d cache.Dependency) bool {
			oid, ok := d.Table()
			return ok && slices.Contains(one.oids, oid)
		})
	})
}

// all returns them.
func (s *strays) all() []stray {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// ended removes a stray that has ended. What it may have changed is outdated first: it is visible now, and a
// fill that looks here too late has asked before.
func (s *strays) ended(log *cache.ChangeLog, one stray) {
	s.mu.Lock()
	defer s.mu.Unlock()
	purge := []cache.Dependency{cache.Everything}
	if one.oids != nil {
		purge = dependenciesOf(one.oids)
	}
	log.Purge(cache.Purge{Dependencies: purge})
	s.list = slices.DeleteFunc(s.list, func(other stray) bool { return other.backend == one.backend && other.xid == one.xid })
	s.count.Store(int64(len(s.list)))
}

// lookAfterStrays asks whether they have ended. A session that leads to an older server does not know.
func (d *Database) lookAfterStrays(ctx context.Context, s *session) error {
	for _, one := range d.strays.all() {
		runs, err := s.runs(ctx, one)
		if err != nil {
			return err
		}
		if !runs && s.present() {
			d.floor.unknow()
			d.strays.ended(d.log, one)
		}
	}
	return nil
}

// runs reports whether the stray may still change something. Its backend tells, where it is known: when that
// is gone, so is what it did. And the state of its transaction tells, if the server is the one that it ran on.
func (s *session) runs(ctx context.Context, one stray) (bool, error) {
	if !s.db.server.blur || one.xid == 0 {
		_, _, there, err := identify(ctx, s.pg, []backend{one.backend})
		if err != nil || !there || one.xid == 0 {
			return there, err
		}
	}
	answer := s.pg.ExecParams(ctx, "select coalesce(pg_catalog.pg_xact_status($1::pg_catalog.xid8) = 'in progress', false)",
		[][]byte{strconv.AppendUint(nil, one.xid, 10)}, nil, nil, nil).Read()
	var refused *pgconn.PgError
	if errors.As(answer.Err, &refused) && refused.Code == pgerrcode.InvalidParameterValue {
		return false, nil // one that is yet to come: of another server, or of before a crash
	}
	if answer.Err != nil {
		return false, answer.Err
	}
	return string(answer.Rows[0][0]) == "t", nil
}
