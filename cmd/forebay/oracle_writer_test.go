package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/valyala/fasthttp"
)

const countUp = `update counters set v = v + 1, grp = ((v + 1) / 8 + id) %% 4 where id in (%s)`

// oracleWriter writes rows, in all the ways there are. Used by one goroutine.
type oracleWriter struct {
	*oracle
	name string
	rng  *rand.Rand
	conn *pgx.Conn
	made int
}

func (o *oracle) newWriter(n int) *oracleWriter {
	return &oracleWriter{oracle: o, name: fmt.Sprintf("w%d", n), rng: o.rng(100 + uint64(n))}
}

// run writes until ctx ends, and ends nothing in the middle.
func (w *oracleWriter) run(ctx context.Context) {
	defer w.hangUp()
	for ctx.Err() == nil {
		n := 1 + w.rng.IntN(3)
		ids := make([]int, n)
		for i := range ids {
			ids[i] = w.rng.IntN(oracleRows)
		}
		slices.Sort(ids)
		w.turn(slices.Compact(ids), w.draw())
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(1+w.rng.IntN(10)) * time.Millisecond):
		}
	}
}

// writing is a way to write the next version of rows.
type writing func(w *oracleWriter, ctx context.Context, ids []int) error

func (w *oracleWriter) draw() writing {
	ways := []writing{
		(*oracleWriter).plainly, (*oracleWriter).plainly, (*oracleWriter).plainly, (*oracleWriter).throughForebay,
		(*oracleWriter).throughForebay, (*oracleWriter).savepoints, (*oracleWriter).rolledBack, (*oracleWriter).prepared,
		(*oracleWriter).anew, (*oracleWriter).copied,
	}
	return ways[w.rng.IntN(len(ways))]
}

// turn writes the rows once, and finds out what has become of them when that fails.
func (w *oracleWriter) turn(ids []int, way writing) {
	for _, id := range ids {
		w.ledger.rows[id].turn.Lock()
		defer w.ledger.rows[id].turn.Unlock()
	}
	w.within(ids, way)
}

// within is turn for who has the rows' turns already.
func (w *oracleWriter) within(ids []int, way writing) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.ledger.begin(ids)
	if err := w.reach(ctx); err == nil {
		if err = way(w, ctx, ids); err == nil {
			w.commits.Add(1)
			return
		}
	}
	w.hangUp()
	w.await("the database tells what has become of a write", func() bool { return w.settle(ids) })
}

// next returns the versions after those that are committed.
func (w *oracleWriter) next(ids []int) map[int]int64 {
	next := make(map[int]int64, len(ids))
	for _, id := range ids {
		next[id] = w.ledger.rows[id].v + 1
	}
	return next
}

func (w *oracleWriter) reach(ctx context.Context) (err error) {
	if w.conn == nil {
		w.conn, err = w.connect(ctx)
	}
	return err
}

func (w *oracleWriter) hangUp() {
	if w.conn != nil {
		_ = w.conn.Close(context.Background())
		w.conn = nil
	}
}

// settle ends what hangs prepared and takes for committed what the database shows.
func (w *oracleWriter) settle(ids []int) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if w.reach(ctx) != nil {
		return false
	}
	var gid string
	err := w.conn.QueryRow(ctx, "select coalesce((select gid from pg_prepared_xacts where gid like $1 limit 1), '')", w.name+"-%").Scan(&gid)
	if err == nil && gid != "" {
		_, err = w.conn.Exec(ctx, "commit prepared '"+gid+"'")
	}
	var versions map[int]int64
	if err == nil {
		versions, err = readVersions(ctx, w.conn, ids)
	}
	if err != nil || len(versions) < len(ids) {
		w.hangUp()
		return false
	}
	w.ledger.commit(versions, false)
	return true
}

func readVersions(ctx context.Context, conn *pgx.Conn, ids []int) (map[int]int64, error) {
	rows, err := conn.Query(ctx, "select id, v from counters where id = any ($1)", ids)
	if err != nil {
		return nil, err
	}
	versions := make(map[int]int64)
	var id int
	var v int64
	_, err = pgx.ForEachRow(rows, []any{&id, &v}, func() error {
		versions[id] = v
		return nil
	})
	return versions, err
}

// simple runs statements that make the next versions.
func (w *oracleWriter) simple(ctx context.Context, ids []int, sql string) error {
	next := w.next(ids)
	if _, err := w.conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		return err
	}
	w.ledger.commit(next, false)
	return nil
}

func listed(ids []int) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(ids)), ","), "[]")
}

func (w *oracleWriter) plainly(ctx context.Context, ids []int) error {
	return w.simple(ctx, ids, fmt.Sprintf(countUp, listed(ids)))
}

// savepoints writes once for nothing and once for good.
func (w *oracleWriter) savepoints(ctx context.Context, ids []int) error {
	never := fmt.Sprintf("update counters set v = v + %d where id in (%s)", neverCommits, listed(ids))
	return w.simple(ctx, ids, "begin; savepoint a; "+never+"; rollback to a; savepoint b; "+fmt.Sprintf(countUp, listed(ids))+"; release b; commit")
}

func (w *oracleWriter) rolledBack(ctx context.Context, ids []int) error {
	_, err := w.conn.PgConn().Exec(ctx, fmt.Sprintf("begin; update counters set v = v + %d where id in (%s); rollback", neverCommits, listed(ids))).ReadAll()
	return err
}

func (w *oracleWriter) prepared(ctx context.Context, ids []int) error {
	w.made++
	gid := fmt.Sprintf("%s-%d", w.name, w.made)
	if _, err := w.conn.PgConn().Exec(ctx, "begin; "+fmt.Sprintf(countUp, listed(ids))+"; prepare transaction '"+gid+"'").ReadAll(); err != nil {
		return err
	}
	return w.simple(ctx, ids, "commit prepared '"+gid+"'")
}

// values returns the next versions as SQL takes them.
func (w *oracleWriter) values(ids []int) string {
	var list []string
	for id, v := range w.next(ids) {
		list = append(list, fmt.Sprintf("(%d, %d, %d)", id, groupOf(id, v), v))
	}
	return strings.Join(list, ", ")
}

func (w *oracleWriter) anew(ctx context.Context, ids []int) error {
	return w.simple(ctx, ids, fmt.Sprintf("begin; delete from counters where id in (%s); insert into counters values %s; commit", listed(ids), w.values(ids)))
}

func (w *oracleWriter) copied(ctx context.Context, ids []int) error {
	next := w.next(ids)
	tx, err := w.conn.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("delete from counters where id in (%s)", listed(ids))); err != nil {
		return err
	}
	rows := make([][]any, 0, len(next))
	for id, v := range next {
		rows = append(rows, []any{id, groupOf(id, v), v})
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"counters"}, []string{"id", "grp", "v"}, pgx.CopyFromRows(rows)); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	w.ledger.commit(next, false)
	return nil
}

// throughForebay writes the first of the rows with a request; forebay owes the new version from its answer on.
func (w *oracleWriter) throughForebay(_ context.Context, ids []int) error {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.Header.SetMethod("PUT")
	request.SetRequestURI(fmt.Sprintf("http://%s/counters/%d", w.client.Addr, ids[0]))
	if err := w.client.Do(request, response); err != nil {
		return err
	}
	var row counterRow
	if response.StatusCode() != 200 {
		return fmt.Errorf("status %d", response.StatusCode())
	}
	if err := json.Unmarshal(response.Body(), &row); err != nil {
		return err
	}
	w.ledger.commit(map[int]int64{ids[0]: row.V}, true)
	return nil
}

// truncated, swapped and rewritten make the next version of the whole table.
func (w *oracleWriter) truncated(ctx context.Context, ids []int) error {
	return w.simple(ctx, ids, "begin; truncate counters; insert into counters values "+w.values(ids)+"; commit")
}

func (w *oracleWriter) swapped(ctx context.Context, ids []int) error {
	return w.simple(ctx, ids, "begin; create table next (like counters including all); alter table next replica identity full; lock table counters; insert into next values "+
		w.values(ids)+"; alter table counters rename to before; alter table next rename to counters; drop table before; commit")
}

func (w *oracleWriter) rewritten(ctx context.Context, ids []int) error {
	return w.simple(ctx, ids, "alter table counters alter column v type bigint using v + 1, alter column grp type int using ((v + 1) / 8 + id) % 4")
}
