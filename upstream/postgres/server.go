package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
)

// facts are what is known of the server since the last connection was made. A value.
type facts struct {
	system   string // system identifier; "" where the role may not know it
	timeline string // "" in recovery
	started  string // postmaster start time
	life     string // of the server, see lifeExpression
	database uint32
	recovery bool
	counting bool   // track_counts is on
	settings string // what the database and the role set for their new sessions that answers may depend on
}

// same reports whether xids of both may be compared, as far as the server tells, and statements mean the same.
func (f facts) same(other facts) bool {
	return f.system == other.system && f.timeline == other.timeline && f.started == other.started &&
		f.database == other.database && f.recovery == other.recovery && f.settings == other.settings
}

// backend is one process of the server, for as long as the server has not started again.
type backend struct{ pid, started string }

// server knows which server the pool is connected to, and whether it is still the one it was. Safe for
// concurrent use.
//
// A server that crashes and recovers by itself tells nobody: start time and timeline stay, while with
// synchronous_commit off it has lost transactions and gives their ids to others. But a crash ends every
// backend. So a new connection continues the epoch only if it finds a backend of the pool still there
// that was there before; else everything known so far is of another epoch.
//
// A pooler hides all that: its clients' connections outlive the server's. There each transaction whose snapshot
// or id matters asks which life of the server it is in.
type server struct {
	log   *cache.ChangeLog
	blur  bool // behind a pooler nobody knows which backends are ours, nor when they change
	clock cache.Clock
	other func()        // is called when an epoch begins: what is known of the catalogue was read in another one
	began atomic.Int64  // cache.Instant at which the epoch's first connection was there
	epoch atomic.Uint64 // how many there were; a session that was met in an earlier one may lead elsewhere

	mu       sync.RWMutex // guards all below
	known    facts
	backends []backend // of the open connections
	changes  int       // of backends and known
}

func (s *server) facts() facts {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known
}

// lifeExpression is another one after each start of the server and after each crash: recovery discards what the
// statistics had counted and notes when. (So does pg_stat_reset_shared: a refill.) Before 15 this reads the
// file of the statistics. In whole microseconds, whose text no setting changes.
const lifeExpression = `(pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8 || ' '
  || coalesce((pg_catalog.date_part('epoch', pg_catalog.pg_stat_get_bgwriter_stat_reset_time()) * 1000000)::pg_catalog.int8, 0)`

const identityQuery = `select coalesce((select %s), ''),
  case when pg_catalog.pg_is_in_recovery() then '' else pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8) end,
  pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::text,
  (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())::text,
  pg_catalog.pg_is_in_recovery(),
  pg_catalog.current_setting('track_counts')::bool,
  pg_catalog.pg_backend_pid()::text,
  coalesce((select pg_catalog.date_part('epoch', backend_start)::text from pg_catalog.pg_stat_activity where pid = pg_catalog.pg_backend_pid()), ''),
  (select pg_catalog.count(*) from pg_catalog.pg_stat_activity
   where pid::text || '@' || pg_catalog.date_part('epoch', backend_start)::text = any ($1::text[])),
  ` + lifeExpression + `,
  coalesce((select pg_catalog.string_agg(c.setting, ';' order by s.setrole = 0, s.setdatabase = 0, c.setting)
    from pg_catalog.pg_db_role_setting s cross join lateral unnest(s.setconfig) c (setting)
    where s.setdatabase in (0, (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()))
      and s.setrole in (0, (select r.oid from pg_catalog.pg_roles r where r.rolname = session_user))
      and c.setting ~ '^([^=]*[.][^=]*|search_path|role|row_security|default_text_search_config|transform_null_equals|array_nulls|xml[a-z]+|lc_[a-z]+|standard_conforming_strings|track_counts)='), '')`

const systemIdentifier = "system_identifier::text from pg_catalog.pg_control_system()"

// meet learns which server a new connection leads to, and begins a new epoch unless the connection
// proves that it continues the present one.
func (s *server) meet(ctx context.Context, conn *pgconn.PgConn) (own backend, epoch uint64, err error) {
	for {
		s.mu.RLock()
		asked, ours := s.changes, slices.Clone(s.backends)
		s.mu.RUnlock()
		found, own, survivors, err := identify(ctx, conn, ours)
		if err != nil {
			return backend{}, 0, err
		}
		if epoch, ok := s.admit(found, own, survivors, asked); ok {
			return own, epoch, nil
		}
	}
}

// admit adds the connection, and returns the epoch that it is of. It reports false when others came or
// went since the server was asked about them: then it has to be asked again.
//
// The number goes up before the log ends its epoch. So a fill that asked the log after that finds its
// session to be of an earlier one, and a fill that asked before is purged.
func (s *server) admit(found facts, own backend, survivors bool, asked int) (epoch uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	continues := found.same(s.known) && (survivors || s.blur && found.life == s.known.life)
	if !continues && asked != s.changes {
		return 0, false
	}
	s.changes++
	s.known = found
	if !continues {
		s.backends = nil
		s.begin(own.pid + "@" + own.started)
	}
	s.backends = append(s.backends, own)
	return s.epoch.Load(), true
}

// lives reports whether the life that a transaction behind a pooler was in is the one that the epoch is of. If it
// is not, the epoch has ended: whatever is stored or known by transaction ids is of another life. Sessions have to
// be met anew then.
//
//	server: crashes; the pooler keeps its clients and connects anew; xid 7, which readers saw, is lost
//	fill:   finds another life, is not stored, and outdates what is
//	write:  is given 7 again, finds the epoch ended, and marks without it
func (s *server) lives(life string) bool {
	s.mu.RLock()
	same := life == s.known.life
	s.mu.RUnlock()
	if same {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if life != s.known.life {
		s.changes++
		s.known.life = life
		s.begin("life " + life)
	}
	return false
}

// heard reports whether the server is certain to be the one whose changes the feed brings. A server that crashed
// lets the pool in again before the feed has noticed, and hands out once more the ids of transactions that it
// lost and the log knows:
//
//	log:    knows of xid 7
//	server: crashes, and 7 is lost; a new connection begins an epoch at 12:00:00
//	fill:   reads what there was before 7; the log says that 7 was visible to all who asked by then
//	write:  is given 7, which the log has already
//
// A heartbeat of the feed that was noted after 12:00:00 was answered by a connection that no crash had ended by
// then: so both are of one life.
func (s *server) heard() bool {
	return s.log.Feed().Mode == cache.FeedOff || int64(s.log.AsOf()) > s.began.Load()
}

// begin begins an epoch, and outdates all that was stored. Where a feed is at work the log's epoch is the feed's
// own: it lasts as long as its connection, and ending it here would drop marks of changes that are not visible yet,
// which nobody brings again. Called with mu held.
func (s *server) begin(since string) {
	s.began.Store(int64(s.clock.Now()))
	s.epoch.Add(1)
	s.other()
	if s.log.Feed().Mode != cache.FeedOff {
		s.log.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Everything}})
		return
	}
	k := &s.known
	s.log.NewEpoch(fmt.Sprintf("postgres %s/%s/%d/%s since %s", k.system, k.timeline, k.database, k.started, since))
}

// greet learns which standby a new connection leads to. It need not be the one that others lead to: each answer of a
// standby proves by itself what it is worth.
func (s *server) greet(ctx context.Context, conn *pgconn.PgConn) (facts, backend, error) {
	found, own, _, err := identify(ctx, conn, nil)
	if err != nil {
		return facts{}, backend{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = found
	s.backends = append(s.backends, own)
	return found, own, nil
}

// leave removes a connection that is being closed.
func (s *server) leave(b backend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backends = slices.DeleteFunc(s.backends, func(other backend) bool { return other == b })
	s.changes++
}

// open returns how many connections there are.
func (s *server) open() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.backends)
}

// identify asks the server who it is, and whether one of the backends is still there.
func identify(ctx context.Context, conn *pgconn.PgConn, ours []backend) (facts, backend, bool, error) {
	list := make([]string, len(ours))
	for i, b := range ours {
		list[i] = `"` + b.pid + "@" + b.started + `"`
	}
	values := [][]byte{[]byte("{" + strings.Join(list, ",") + "}")}
	answer := conn.ExecParams(ctx, fmt.Sprintf(identityQuery, systemIdentifier), values, nil, nil, nil).Read()
	var refused *pgconn.PgError
	if errors.As(answer.Err, &refused) && refused.Code == pgerrcode.InsufficientPrivilege {
		answer = conn.ExecParams(ctx, fmt.Sprintf(identityQuery, "''"), values, nil, nil, nil).Read()
	}
	if answer.Err != nil {
		return facts{}, backend{}, false, fmt.Errorf("ask who the server is: %w", answer.Err)
	}
	row := make([]string, len(answer.Rows[0]))
	for i, v := range answer.Rows[0] {
		row[i] = string(v)
	}
	database, err := strconv.ParseUint(row[3], 10, 32)
	if err != nil {
		return facts{}, backend{}, false, fmt.Errorf("read database oid: %w", err)
	}
	found := facts{
		system: row[0], timeline: row[1], started: row[2], database: uint32(database),
		recovery: row[4] == "t", counting: row[5] == "t", life: row[9], settings: row[10],
	}
	return found, backend{pid: row[6], started: row[7]}, row[8] != "0", nil
}
