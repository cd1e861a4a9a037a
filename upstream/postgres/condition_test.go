package postgres_test

import (
	"testing"

	"forebay/cache"
	"forebay/upstream/postgres"
)

// A condition and its write are one: nobody changes the row between them, and what does not hold changes nothing.
func TestConditionAndWriteAreOne(t *testing.T) {
	t.Parallel()
	for way, option := range bothWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "create table t (id int primary key, n int); insert into t values (1, 10)", `
- route: GET /t/{id}
  ttl: 60s
  params: {id: int}
  query: select n from t where id = @id
  rows: one
- route: PUT /t/{id}
  params: {id: int}
  body: {n: int}
  query: update t set n = @n where id = @id returning n
  rows: one
`, option)
			write := func(target, n, expected string) error {
				read, call := s.call(t, "GET "+target, ""), s.call(t, "PUT "+target, `{"n": `+n+`}`)
				call.If = &postgres.Condition{Rule: read.Rule, Input: read.Input, Format: -1, Holds: func(r *cache.StoredResponse) bool {
					return string(r.Body) == expected
				}}
				_, err := s.Write(t.Context(), call)
				return err
			}
			refused := func(err error) {
				t.Helper()
				if e := failure(t, err); e.Class != postgres.Unmet || e.Status != 412 {
					t.Errorf("%d %v", e.Status, err)
				}
			}
			if err := write("/t/1", "11", `{"n":10}`); err != nil {
				t.Fatal(err)
			}
			refused(write("/t/1", "12", `{"n":10}`))
			refused(write("/t/2", "12", `{"n":10}`))
			if got := s.one(t, "select n from t"); got != "11" {
				t.Errorf("n is %s", got)
			}
			other := connect(t, s.url)
			script(t, other, "begin; update t set n = 20 where id = 1")
			done := make(chan error, 1)
			go func() { done <- write("/t/1", "12", `{"n":11}`) }()
			eventually(t, "the write waits for the other's", func() bool {
				return s.one(t, "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()") == "1"
			})
			script(t, other, "commit")
			refused(<-done)
			if got := s.one(t, "select n from t"); got != "20" {
				t.Errorf("n is %s", got)
			}
			if got := s.BreakerState(); got != "closed" {
				t.Errorf("breaker is %s", got)
			}
		})
	}
}
