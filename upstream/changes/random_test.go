package changes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"forebay/cache"
	"forebay/rules"
)

// step is a random transaction, and the keys of rows and the lists that it changes if it commits.
type step struct {
	sql     []string
	touched map[string]bool // "id:7", "region:eu"
}

// randomStep writes a transaction over accounts (id, region, n), which is partitioned by region. State is
// which rows there are, by id, and is changed by what commits.
func randomStep(r *rand.Rand, state map[int]string) step {
	regions := []string{"eu", "us", "as"}
	s := step{sql: []string{"begin"}, touched: map[string]bool{}}
	pending := map[int]string{} // "" for deleted
	now := func(id int) string {
		if region, ok := pending[id]; ok {
			return region
		}
		return state[id]
	}
	act := func(touched map[string]bool, pending map[int]string) {
		id, region := r.IntN(40), regions[r.IntN(3)]
		old := now(id)
		verb := r.IntN(3)
		switch {
		case old == "":
			s.sql = append(s.sql, fmt.Sprintf("insert into accounts values (%d, '%s', 0)", id, region))
			pending[id] = region
		case verb == 0:
			s.sql = append(s.sql, fmt.Sprintf("delete from accounts where id = %d", id))
			region, pending[id] = old, ""
		case verb == 1:
			s.sql = append(s.sql, fmt.Sprintf("update accounts set n = n + 1 where id = %d", id))
			region = old
		default:
			s.sql = append(s.sql, fmt.Sprintf("update accounts set region = '%s' where id = %d", region, id))
			pending[id] = region
		}
		touched["id:"+fmt.Sprint(id)], touched["region:"+region] = true, true
		if old != "" {
			touched["region:"+old] = true
		}
	}
	for range 1 + r.IntN(3) {
		act(s.touched, pending)
	}
	if r.IntN(3) == 0 { // a savepoint that is rolled back: what it touched does not count, nor what it changed
		s.sql = append(s.sql, "savepoint s")
		before := map[int]string{}
		for id, region := range pending {
			before[id] = region
		}
		act(map[string]bool{}, pending)
		s.sql = append(s.sql, "rollback to s")
		pending = before
	}
	if r.IntN(4) == 0 {
		s.sql = append(s.sql, "rollback")
		s.touched = map[string]bool{}
		return s
	}
	s.sql = append(s.sql, "commit")
	for id, region := range pending {
		state[id] = region
	}
	return s
}

// Whatever commits outdates the rows and the lists that it changed, and no others.
func TestRandomTransactionsOutdateExactlyWhatTheyChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create table accounts (id int, region text, n int, primary key (id, region)) partition by list (region);
		create table accounts_eu partition of accounts for values in ('eu');
		create table accounts_us partition of accounts for values in ('us');
		create table accounts_rest partition of accounts default`)
	accounts := w.oid("accounts")
	p := newTap(t, Config{URL: rules.Secret(w.url), Heartbeat: 5 * time.Millisecond})
	p.Watch(map[uint32][]int16{accounts: {1, 2}})
	p.run()
	p.covered(accounts)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	state := map[int]string{}
	for round := range 60 {
		held := map[string]stored{}
		for id := range 40 {
			held[fmt.Sprint("id:", id)] = p.store(w, cache.Row(accounts, 1, fmt.Sprint(id)), cache.Whole(accounts))
		}
		for _, region := range []string{"eu", "us", "as"} {
			held["region:"+region] = p.store(w, cache.Row(accounts, 2, region), cache.Whole(accounts))
		}
		s := randomStep(random, state)
		w.exec(strings.Join(s.sql, "; "))
		p.caught(w)
		for name, response := range held {
			if outdated := response.Check() == cache.Outdated; outdated != s.touched[name] {
				t.Fatalf("seed %d, round %d: after %q %s is outdated: %v; want %v, cause %+v", seed, round, s.sql, name, outdated, s.touched[name], response.Cause())
			}
		}
	}
}

// However soon a feed is stopped, it ends, and leaves nothing.
func TestAFeedMayBeStoppedAtAnyMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients := w.oid("clients")
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 12 {
		p := newTap(t, Config{URL: rules.Secret(w.url), Mode: ModeWAL})
		p.Watch(map[uint32][]int16{clients: {1}})
		p.run()
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(120))*time.Millisecond)
		<-ctx.Done()
		cancel()
		p.stop()
		if f := p.log.Feed(); f.Live {
			t.Fatalf("seed %d: live after it has stopped", seed)
		}
	}
	p := newTap(t, Config{Mode: ModeOff})
	p.eventually("no slot is left", func() bool {
		return w.number(`select count(*) from pg_replication_slots where database = current_database()`) == 0
	})
	last := w.follow(map[uint32][]int16{clients: nil})
	last.stop()
	if n := w.number(`select count(*) from pg_publication`); n != 0 {
		t.Errorf("seed %d: %d publications are left after one that ended in peace", seed, n)
	}
}
