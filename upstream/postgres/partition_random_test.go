package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"forebay/cache"
)

// A list of ranges of a range, whose tables have their columns in orders of their own.
const treeSchema = `
create table t (id int, region text, name text, status text, primary key (id, region)) partition by list (region);
create table t_eu partition of t for values in ('eu');
create table t_am (status text, name text, gone int, region text not null, id int not null) partition by range (id);
alter table t_am drop gone;
alter table t attach partition t_am for values in ('us', 'br');
create table t_am_1 partition of t_am for values from (0) to (5);
create table t_am_2 (gone int, id int not null, name text, region text not null, status text) partition by range (id);
alter table t_am_2 drop gone;
alter table t_am attach partition t_am_2 for values from (5) to (100);
create table t_am_2_1 partition of t_am_2 for values from (5) to (7);
create table t_am_2_2 partition of t_am_2 for values from (7) to (100);
create table t_rest partition of t default;
create table marks (id int primary key, n int);
insert into marks values (1, 0);
insert into t select i, (array['eu', 'us', 'br', 'as'])[1 + i % 4], 'n', (array['on', 'off'])[1 + i % 2] from generate_series(1, 9) i;
`

const treeRoutes = `
- {route: "GET /t/{id}", ttl: 60s, params: {id: int}, query: select * from t where id = @id}
- {route: "GET /region/{region}", ttl: 60s, params: {region: text}, query: select * from t where region = @region}
- {route: "GET /status/{status}", ttl: 60s, params: {status: text}, query: select * from t where status = @status}
- {route: "GET /middle/{id}", ttl: 60s, params: {id: int}, query: select * from t_am where id = @id}
- {route: "GET /leaf/{id}", ttl: 60s, params: {id: int}, query: select * from t_am_1 where id = @id}
- {route: "GET /both/{id}", ttl: 60s, params: {id: int}, query: "select * from t where id = @id union all select * from t_rest where id = @id"}
- {route: GET /europe, ttl: 60s, query: select * from t_eu}
- {route: GET /all, ttl: 60s, query: select * from t}
- {route: GET /marks, ttl: 60s, query: select n from marks}
`

// treeAsked are requests, and which rows of which table each reads.
func treeAsked() map[string]string {
	asked := map[string]string{"GET /europe": "t_eu where true", "GET /all": "t where true"}
	for id := range 11 {
		asked[fmt.Sprintf("GET /t/%d", id)] = fmt.Sprintf("t where id = %d", id)
		asked[fmt.Sprintf("GET /middle/%d", id)] = fmt.Sprintf("t_am where id = %d", id)
		asked[fmt.Sprintf("GET /leaf/%d", id)] = fmt.Sprintf("t_am_1 where id = %d", id)
		asked[fmt.Sprintf("GET /both/%d", id)] = fmt.Sprintf("t where id = %d", id)
	}
	for _, region := range []string{"eu", "us", "br", "as", "af"} {
		asked["GET /region/"+region] = fmt.Sprintf("t where region = '%s'", region)
	}
	return asked
}

// treeChange makes up a change, by the name of the whole, of a part, or of a leaf.
func treeChange(r *rand.Rand) string {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	table := pick("t", "t", "t_am", "t_am_2", "t_eu", "t_am_1", "t_am_2_1", "t_am_2_2", "t_rest")
	row := func() string { return "where id = " + strconv.Itoa(r.IntN(11)) }
	region := func() string { return "'" + pick("eu", "us", "br", "as", "af") + "'" }
	switch r.IntN(8) {
	case 0, 1, 2:
		return fmt.Sprintf("update %s set name = name || 'x' %s", table, row())
	case 3:
		return fmt.Sprintf("update %s set status = '%s' %s", table, pick("on", "off"), row())
	case 4: // moves
		return fmt.Sprintf("update t set region = %s %s and not exists (select from t where id = 99)", region(), row())
	case 5:
		return fmt.Sprintf("insert into t (id, region, name, status) values (%d, %s, 'new', '%s') on conflict (id, region) do update set name = 'again'", r.IntN(11), region(), pick("on", "off"))
	case 6:
		return fmt.Sprintf("delete from %s %s", table, row())
	}
	return fmt.Sprintf("savepoint s; delete from %s; rollback to s; update %s set name = 'saved' %s", table, table, row())
}

// Whoever changes a row of a partitioned table, by whatever name and whatever old values the stream brings, outdates
// what read that row and nothing else.
func TestRandomChangesOfPartitions(t *testing.T) {
	t.Parallel()
	full := func(tables ...string) string {
		return "alter table " + strings.Join(tables, " replica identity full; alter table ") + " replica identity full;"
	}
	leaves := []string{"t_eu", "t_am_1", "t_am_2_1", "t_am_2_2", "t_rest"}
	for name, c := range map[string]struct {
		identity string
		byStatus bool // the old status comes with every change
	}{
		"default":                  {"", false},
		"full on leaves":           {full(leaves...), true},
		"full on some":             {full(leaves[:2]...), false},
		"full above, which is not": {full("t", "t_am", "t_am_2"), false},
		"by an index":              {"create unique index by_place on t_am_1 (region, id); alter table t_am_1 replica identity using index by_place;", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			if given, err := strconv.ParseUint(os.Getenv("FOREBAY_SEED"), 10, 64); err == nil {
				seed = given
			}
			r := rand.New(rand.NewPCG(seed, 0))
			s := newFollowed(t, treeSchema+c.identity, treeRoutes)
			asked := treeAsked()
			for _, status := range []string{"on", "off"} {
				asked["GET /status/"+status] = "t where true"
				if c.byStatus {
					asked["GET /status/"+status] = fmt.Sprintf("t where status = '%s'", status)
				}
			}
			for range 25 {
				s.changeTree(t, asked, treeChange(r), seed)
			}
		})
	}
}

// changeTree makes a change, and holds what it outdated against which rows it touched.
func (s *site) changeTree(t *testing.T, asked map[string]string, change string, seed uint64) {
	t.Helper()
	conn := connect(t, s.url)
	rows := func(of string) string {
		return one(t, conn, "select coalesce(string_agg(r, ' ' order by r), '') from (select tableoid || '/' || ctid || '/' || xmin as r from "+of+") r")
	}
	standing, before := make(map[string]*cache.Standing), make(map[string]string)
	for request, of := range asked {
		standing[request], before[request] = s.stored(t, request), rows(of)
	}
	mark := s.stored(t, "GET /marks")
	if _, err := conn.Exec(t.Context(), "begin; "+change+"; commit"); err != nil {
		script(t, conn, "rollback") // a row is there already
	}
	script(t, conn, "update marks set n = n + 1")
	eventually(t, "the change is heard", func() bool { return mark.Check() == cache.Outdated })
	for request, of := range asked {
		touched := before[request] != rows(of)
		if outdated := standing[request].Check() == cache.Outdated; outdated != touched {
			t.Errorf("seed %d: %s: %s is outdated: %t, its rows were touched: %t; because of %+v", seed, change, request, outdated, touched, standing[request].Cause())
		}
	}
}
