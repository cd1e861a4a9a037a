package postgres_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
)

const oracleSchema = `
create table clients (id int primary key, name text not null, status text not null, n int not null default 0);
alter table clients replica identity full;
create table orders (id int primary key, client int not null references clients on delete cascade, total int not null);
alter table orders replica identity full;
create table logs (id int, k int, v int, primary key (id, k)) partition by list (k);
create table logs_0 partition of logs for values in (0);
create table logs_1 partition of logs for values in (1);
create view busy as select c.id, c.status, count(o.id) as orders from clients c left join orders o on o.client = c.id group by c.id, c.status;
create function label(want int) returns text language plpgsql stable as $$
declare found text; begin select name into strict found from clients where id = want; return found;
exception when no_data_found then return (select count(*)::text from orders where client = want); end $$;
insert into clients select i, 'c' || i, (array['active', 'paused', 'trial'])[i % 3 + 1] from generate_series(1, 6) i;
insert into orders select i, i % 6 + 1, i from generate_series(1, 12) i;
insert into logs select i, i % 2, i from generate_series(1, 8) i;
`

const oracleRoutes = `
- route: GET /client/{id}
  ttl: 1h
  params: {id: int}
  query: select id, name, status, n from clients where id = @id
  rows: one
- route: GET /status/{s}
  ttl: 1h
  params: {s: text}
  query: select id, name from clients where status = @s order by id
- route: GET /orders/{id}
  ttl: 1h
  params: {id: int}
  query: select o.id, o.total, c.name from clients c left join orders o on o.client = c.id where c.id = @id order by o.id
- route: GET /others/{id}
  ttl: 1h
  params: {id: int}
  query: select c.id, o.total from clients c left join orders o on o.client = c.id and c.id = @id order by 1, 2
- route: GET /busy/{id}
  ttl: 1h
  params: {id: int}
  query: select * from busy where id = @id
- route: GET /logs/{id}
  ttl: 1h
  params: {id: int}
  query: select k, v from logs where id = @id order by k
- route: GET /label/{id}
  ttl: 1h
  params: {id: int}
  query: select label(@id) as label
- route: GET /both/{id}
  ttl: 1h
  params: {id: int}
  queries:
    client: {sql: "select name from clients where id = @id", rows: one}
    total: {sql: "select sum(total) from orders where client = @id", rows: value}
  response: {client: "@client", total: "@total"}
- route: PUT /client/{id}
  params: {id: int}
  query: update clients set n = n + 1 where id = @id
  rows: none
`

// Whatever happens to the tables, a response that is current once the feed has heard of it all is what the
// database answers now. FOREBAY_ORACLE_ROUNDS may be raised for a longer run.
func TestCurrentResponsesAreWhatTheDatabaseAnswers(t *testing.T) {
	t.Parallel()
	compareWithDatabase(t, newFollowed(t, oracleSchema, oracleRoutes), func(*rand.Rand) {})
}

// compareWithDatabase fills and writes, with something else happening between rounds.
func compareWithDatabase(t *testing.T, s *site, between func(*rand.Rand)) {
	t.Helper()
	rounds, seed := 60, rand.Uint64()
	if text := os.Getenv("FOREBAY_ORACLE_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(seed, 1))
	writer := connect(t, s.url)
	var requests []string
	for id := range 8 {
		for _, route := range []string{"client", "orders", "others", "busy", "logs", "label", "both"} {
			requests = append(requests, fmt.Sprintf("GET /%s/%d", route, id))
		}
	}
	requests = append(requests, "GET /status/active", "GET /status/paused", "GET /status/trial", "GET /status/gone")
	type stored struct {
		standing *cache.Standing
		body     string
	}
	memory := make(map[string]stored)
	kept, checked := 0, 0
	for round := range rounds {
		between(r)
		for range 3 { // a writer from outside, and forebay's own, while responses are being filled
			statement := randomWrite(r)
			if r.IntN(4) == 0 {
				s.write(t, fmt.Sprintf("PUT /client/%d", r.IntN(8)), "")
			}
			var refused *pgconn.PgError
			if _, err := writer.Exec(t.Context(), statement); err != nil && !(errors.As(err, &refused) && refused.Code[:2] == "23") {
				t.Fatalf("seed %d, round %d: %s: %v", seed, round, statement, err)
			}
			for range 10 {
				request := requests[r.IntN(len(requests))]
				if f := s.fill(t, request); f.Refused == cache.Storable && s.Classification(s.call(t, request, "").Rule).Exact {
					memory[request] = stored{s.stand(f), string(f.Response.Body)}
				}
			}
		}
		now := s.clock.Now()
		eventually(t, "the feed has heard of it all", func() bool { return s.log.AsOf() > now })
		for request, m := range memory {
			if m.standing.Check() != cache.Current {
				delete(memory, request)
				continue
			}
			kept++
			if r.IntN(3) > 0 {
				continue
			}
			checked++
			if got := s.truth(t, request); got != m.body {
				t.Fatalf("seed %d, round %d: %s is stored as %s, the database answers %s; it depends on %q", seed, round, request, m.body, got, m.standing.Dependencies())
			}
		}
	}
	t.Logf("seed %d: %d of %d current responses compared", seed, checked, kept)
	if checked < rounds {
		t.Errorf("only %d responses were current", checked)
	}
}

// truth returns what the primary answers.
func (s *site) truth(t testing.TB, request string) string {
	t.Helper()
	call := s.call(t, request, "")
	call.Primary = true
	f, err := s.Fill(t.Context(), call)
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return string(f.Response.Body)
}

// randomWrite returns a statement, or a transaction of several.
func randomWrite(r *rand.Rand) string {
	id, status := r.IntN(8), []string{"active", "paused", "trial"}[r.IntN(3)]
	all := []string{
		fmt.Sprintf("update clients set name = 'c%d' where id = %d", r.IntN(100), id),
		fmt.Sprintf("update clients set status = '%s' where id = %d", status, id),
		fmt.Sprintf("update clients set id = %d where id = %d and not exists (select from orders where client = %d)", r.IntN(8), id, id),
		fmt.Sprintf("delete from clients where id = %d", id),
		fmt.Sprintf("insert into clients values (%d, 'new', '%s') on conflict (id) do update set status = excluded.status", id, status),
		fmt.Sprintf("insert into orders values (%d, %d, %d) on conflict (id) do update set client = excluded.client", r.IntN(20), id, r.IntN(9)),
		fmt.Sprintf("delete from orders where client = %d", id),
		fmt.Sprintf("update orders set total = total + 1 where id = %d", r.IntN(20)),
		fmt.Sprintf("update logs set k = 1 - k where id = %d and not exists (select from logs l where l.id = %d and l.k <> logs.k)", id, id),
		fmt.Sprintf("insert into logs values (%d, %d, 1) on conflict (id, k) do update set v = logs.v + 1", id, r.IntN(2)),
		"truncate orders",
		fmt.Sprintf("do $$ begin update clients set n = n + 1 where id = %d; begin delete from clients where id = %d; raise exception 'x'; exception when others then null; end; end $$", id, id),
	}
	if r.IntN(30) > 0 {
		all = append(all[:10], all[11:]...) // a TRUNCATE now and then
	}
	return all[r.IntN(len(all))]
}
