package postgres_test

import (
	"fmt"
	"strings"
	"testing"
)

const timedSchema = `
create table t (id int primary key, at timestamptz, now int, age int, label text);
create view recent as select * from t where at > now() - interval '1 day';
create view plain as select id, label from t;
create function older(moment timestamptz) returns boolean language plpgsql stable as $$ begin return moment < localtimestamp; end $$;
create function dynamic() returns bigint language plpgsql stable as $$
declare n bigint; begin execute 'select count(*) from t where at < now()' into n; return n; end $$;
create function doubled(n int) returns int language sql immutable as 'select n * 2';
`

// timings are statements, and what of them depends on the time of day; "" if nothing does.
var timings = []struct{ query, calls string }{
	{"select id from t where at < now()", "now()"},
	{"select id from t where at < NOW ( )", "now()"},
	{"select id, pg_catalog.now() as n from t", "now()"},
	{"select id from t where at::date = current_date", "current_date"},
	{"select id from t where at < current_timestamp(3)", "current_timestamp"},
	{"select id from t where at < localtimestamp", "localtimestamp"},
	{"select id, current_time as n, localtime as l from t", "current_time"},
	{"select id from t where at < statement_timestamp()", "statement_timestamp()"},
	{"select id from t where at < transaction_timestamp()", "transaction_timestamp()"},
	{"select id, age(at)::text as n from t", "age() with one argument"},
	{"select id, age(at, at)::text as a, age((greatest(at, at)))::text as b from t", "age() with one argument"},
	{"select id from t where at >= date 'today'", "'today'"},
	{"select id from recent", "now()"},
	{"select id from t where older(at)", "localtimestamp"},
	{"select dynamic() as n", "now()"},
	{"select age(at, '2020-01-01')::text as a from t", ""},
	{"select now, age from t", ""},
	{"select id, 'now() and current_date' as n from t /* current_date */ -- now()", ""},
	{"select * from plain", ""},
	{"select doubled(age) as n from t where age in (1, 2) and label = 'age(1)'", ""},
}

// A rule that asks for the time stays exact, and says that changes are not all that outdates it.
func TestTimeIsTold(t *testing.T) {
	t.Parallel()
	routes := ""
	for i, c := range timings {
		routes += fmt.Sprintf("- route: GET /%d\n  ttl: 60s\n  query: |\n    %s\n", i, c.query)
	}
	s := newSite(t, timedSchema, routes)
	if err := s.Survey(t.Context(), s.rules.Rules()); err != nil {
		t.Fatal(err)
	}
	for i, c := range timings {
		got := s.Classification(s.call(t, fmt.Sprintf("GET /%d", i), "").Rule)
		if !got.Exact || got.Timed != (c.calls != "") || got.Timed != strings.HasSuffix(got.Reason, c.calls+")") {
			t.Errorf("%s\nis judged %+v; want %q", c.query, got, c.calls)
		}
	}
}
