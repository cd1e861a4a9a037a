package changes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// mark is the comment by which a publication is known to be forebay's own: others are left alone.
	mark = "made by forebay, which removes it"
	// lockClass begins the advisory locks that instances hold on their publication's name.
	lockClass = 0x666f7265
	// maxPublications is how many instances may share a name.
	maxPublications = 64
	publishes       = "publish = 'insert, update, delete, truncate', publish_via_partition_root = false"
)

// errPublicationGone : somebody dropped or renamed the publication.
var errPublicationGone = errors.New("the publication was dropped or renamed")

// publication is this instance's own. Owned by the goroutine of the catalogue.
type publication struct {
	conn   *pgx.Conn
	name   string
	quoted string
}

// published is what a publication says of itself. A value.
type published struct {
	print  string // another one whenever anybody altered the publication itself
	whole  bool   // it publishes all that its tables do
	tables map[uint32]publishedTable
}

// publishedTable is one table of a publication. A comparable value.
type publishedTable struct {
	name    string
	print   string // another one whenever anybody altered how it is published
	partial bool   // some rows or columns only
}

// has reports whether all changes to the table are published.
func (s *published) has(oid uint32) bool {
	t, ok := s.tables[oid]
	return ok && s.whole && !t.partial
}

// claim takes the first of the names that no other instance holds, and makes the publication unless it was
// left behind by one that is no more.
func claim(ctx context.Context, conn *pgx.Conn, name string) (*publication, error) {
	for i := 1; i <= maxPublications; i++ {
		p := &publication{conn: conn, name: numbered(name, i)}
		p.quoted = pgx.Identifier{p.name}.Sanitize()
		ok, err := p.lock(ctx)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		switch ok, err = p.create(ctx); {
		case err != nil:
			return nil, err
		case ok:
			return p, nil
		}
		if err := p.unlock(ctx); err != nil {
			return nil, err
		}
	}
	return nil, refuse(fmt.Sprintf("all %d names of publications that begin with %q are taken", maxPublications, name), "stop other instances, or run `forebay changes uninstall`")
}

func numbered(name string, i int) string {
	if i == 1 {
		return name
	}
	return name + "_" + strconv.Itoa(i)
}

// lock holds the name for as long as the connection lives.
func (p *publication) lock(ctx context.Context) (ok bool, err error) {
	err = p.conn.QueryRow(ctx, `select pg_catalog.pg_try_advisory_lock($1::int4, pg_catalog.hashtext($2::text))`, lockClass, p.name).Scan(&ok)
	if err != nil {
		return false, fmt.Errorf("lock publication name %q: %w", p.name, err)
	}
	return ok, nil
}

func (p *publication) unlock(ctx context.Context) error {
	if _, err := p.conn.Exec(ctx, `select pg_catalog.pg_advisory_unlock($1::int4, pg_catalog.hashtext($2::text))`, lockClass, p.name); err != nil {
		return fmt.Errorf("unlock publication name %q: %w", p.name, err)
	}
	return nil
}

const ownQuery = `select coalesce(pg_catalog.obj_description(p.oid, 'pg_publication'), '') = $2
  and pg_catalog.pg_has_role(p.pubowner, 'USAGE') and not p.puballtables
from pg_catalog.pg_publication p where p.pubname = $1`

// create makes the publication, empty, or takes one that was left behind. False: it is somebody else's.
func (p *publication) create(ctx context.Context) (bool, error) {
	var own bool
	switch err := p.conn.QueryRow(ctx, ownQuery, p.name, mark).Scan(&own); {
	case err == nil:
		return own, nil
	case !errors.Is(err, pgx.ErrNoRows):
		return false, fmt.Errorf("look for publication %q: %w", p.name, err)
	}
	// In one transaction: what carries no mark yet would be nobody's.
	sql := fmt.Sprintf("begin; create publication %s with (%s); comment on publication %s is '%s'; commit", p.quoted, publishes, p.quoted, mark)
	if err := run(ctx, p.conn, sql); err != nil {
		return false, fmt.Errorf("create publication %q: %w", p.name, err)
	}
	return true, nil
}

// run sends statements that are one transaction, and leaves none open.
func run(ctx context.Context, conn *pgx.Conn, sql string) error {
	_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil && !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
		_, rollback := conn.PgConn().Exec(ctx, "rollback").ReadAll()
		err = errors.Join(err, rollback)
	}
	return err
}

// to_jsonb: columns that only newer servers have are null on the others.
const publishedQuery = `select p.oid || ' ' || p.xmin::text,
  p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate and not p.pubviaroot
from pg_catalog.pg_publication p where p.pubname = $1`

const publishedTablesQuery = `select r.prrelid, r.prrelid::pg_catalog.regclass::text, r.oid || ' ' || r.xmin::text,
  coalesce(pg_catalog.to_jsonb(r) ->> 'prqual', pg_catalog.to_jsonb(r) ->> 'prattrs') is not null
from pg_catalog.pg_publication p join pg_catalog.pg_publication_rel r on r.prpubid = p.oid where p.pubname = $1`

// read asks what is published. The print is read first: what is altered in between differs next time.
func (p *publication) read(ctx context.Context) (published, error) {
	s := published{tables: make(map[uint32]publishedTable)}
	err := p.conn.QueryRow(ctx, publishedQuery, p.name).Scan(&s.print, &s.whole)
	if errors.Is(err, pgx.ErrNoRows) {
		return published{}, errPublicationGone
	}
	if err != nil {
		return published{}, fmt.Errorf("read publication %q: %w", p.name, err)
	}
	rows, err := p.conn.Query(ctx, publishedTablesQuery, p.name)
	if err != nil {
		return published{}, fmt.Errorf("read tables of publication %q: %w", p.name, err)
	}
	var oid uint32
	var t publishedTable
	if _, err = pgx.ForEachRow(rows, []any{&oid, &t.name, &t.print, &t.partial}, func() error {
		s.tables[oid] = t
		return nil
	}); err != nil {
		return published{}, fmt.Errorf("read tables of publication %q: %w", p.name, err)
	}
	return s, nil
}

// alter takes tables out and in, by their names. It returns the error of each table that it could not
// change; those are tried again.
func (p *publication) alter(ctx context.Context, out, in map[uint32]string) (failed map[uint32]error, err error) {
	failed = make(map[uint32]error)
	for _, step := range []struct {
		verb   string
		tables map[uint32]string
	}{{"drop", out}, {"add", in}} {
		if len(step.tables) == 0 {
			continue
		}
		if err := p.alterTables(ctx, step.verb, step.tables, failed); err != nil {
			return nil, err
		}
	}
	return failed, nil
}

// alterTables tries all in one command, and one by one if that fails: for the sake of one that is locked,
// or gone, the others do not wait.
func (p *publication) alterTables(ctx context.Context, verb string, tables map[uint32]string, failed map[uint32]error) error {
	names := make([]string, 0, len(tables))
	for _, name := range tables {
		names = append(names, name)
	}
	slices.Sort(names)
	command := fmt.Sprintf("alter publication %s %s table only ", p.quoted, verb)
	err := run(ctx, p.conn, command+strings.Join(names, ", only "))
	if err == nil {
		return nil
	}
	for oid, name := range tables {
		if len(tables) > 1 {
			err = run(ctx, p.conn, command+name)
		}
		var refused *pgconn.PgError
		switch {
		case err == nil:
		case !errors.As(err, &refused) || p.conn.IsClosed():
			return fmt.Errorf("alter publication %q: %w", p.name, err)
		case refused.Code != pgerrcode.UndefinedTable && refused.Code != pgerrcode.DuplicateObject:
			failed[oid] = refused
		}
	}
	return nil
}

// repair makes the publication publish all that its tables do.
func (p *publication) repair(ctx context.Context) error {
	if err := run(ctx, p.conn, fmt.Sprintf("alter publication %s set (%s)", p.quoted, publishes)); err != nil {
		return fmt.Errorf("repair publication %q: %w", p.name, err)
	}
	return nil
}

const leftoversQuery = `select p.pubname from pg_catalog.pg_publication p
where pg_catalog.obj_description(p.oid, 'pg_publication') = $1 and pg_catalog.pg_has_role(p.pubowner, 'USAGE')
  and p.pubname <> $2`

// errReleased : the publication was dropped, for the sake of a table that could not be taken out of it.
var errReleased = errors.New("a table that its owner could not write any more had to be released with the whole publication")

// release drops the publication, which waits for nobody who holds a table. It always returns an error.
func (p *publication) release(ctx context.Context) error {
	if err := run(ctx, p.conn, "drop publication "+p.quoted); err != nil {
		return fmt.Errorf("drop publication %q: %w", p.name, err)
	}
	return errReleased
}

// removeUnclaimed drops publications of forebay's own that no instance holds, but that of the name, which
// this connection may hold itself.
func removeUnclaimed(ctx context.Context, conn *pgx.Conn, but string) error {
	rows, err := conn.Query(ctx, leftoversQuery, mark, but)
	if err != nil {
		return fmt.Errorf("look for publications: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for publications: %w", err)
	}
	for _, name := range names {
		p := &publication{conn: conn, name: name, quoted: pgx.Identifier{name}.Sanitize()}
		ok, err := p.lock(ctx)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		dropped := run(ctx, conn, "drop publication if exists "+p.quoted)
		if err := errors.Join(dropped, p.unlock(ctx)); err != nil {
			return fmt.Errorf("drop publication %q: %w", name, err)
		}
	}
	return nil
}

// dropPublication drops forebay's own of that name, once the session that held it has ended on the server,
// too.
func dropPublication(ctx context.Context, conn *pgx.Conn, name string) error {
	quoted := pgx.Identifier{name}.Sanitize()
	err := run(ctx, conn, "set lock_timeout = '1500ms'")
	if err == nil {
		_, err = conn.Exec(ctx, `select pg_catalog.pg_advisory_lock($1::int4, pg_catalog.hashtext($2::text))`, lockClass, name)
	}
	if err != nil {
		return fmt.Errorf("lock publication name %q: %w", name, err)
	}
	var own bool
	err = conn.QueryRow(ctx, ownQuery, name, mark).Scan(&own)
	if err != nil || !own {
		return ignore(err, pgx.ErrNoRows)
	}
	if err := run(ctx, conn, "drop publication if exists "+quoted); err != nil {
		return fmt.Errorf("drop publication %q: %w", name, err)
	}
	return nil
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
