package changes

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/bench/private"
	"forebay/cache"
	"forebay/rules"
)

func TestABrokenStreamEndsTheEpochAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients := w.oid("clients")
	p := w.follow(map[uint32][]int16{clients: nil})
	before, epoch := p.store(w, cache.Relation(clients)), p.Status().Epoch
	w.exec(`select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()`)
	before.outdated("the end of its epoch")
	if got := before.Cause().Reason; got != cache.ReasonEpoch {
		t.Errorf("reason %q; want epoch", got)
	}
	p.live()
	p.covered(clients)
	if p.Status().Epoch == epoch || p.Status().Epochs != 2 {
		t.Errorf("epoch %q after %q, %d in all; want a second", p.Status().Epoch, epoch, p.Status().Epochs)
	}
	s := p.store(w, cache.Relation(clients))
	w.exec(`delete from clients where id = 1`)
	s.outdated("a change in the new epoch")
}

func TestAnyOfItsConnectionsEndsTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients := w.oid("clients")
	p := w.follow(map[uint32][]int16{clients: nil})
	for n := uint64(2); n < 4; n++ {
		w.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'forebay' and backend_type = 'client backend' limit 1`)
		p.eventually("another epoch is live", func() bool { return p.Status().Epochs == n && p.Status().Live })
	}
}

// A crash with synchronous_commit off takes back what readers saw, and nothing else betrays it.
func TestACrashOfTheServerEndsTheEpoch(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t)
	w := newWorldOn(t, pg.URL("postgres"), clientsTable)
	clients := w.oid("clients")
	p := w.follow(map[uint32][]int16{clients: nil})
	before := p.store(w, cache.Relation(clients))
	pg.Kill()
	p.eventually("not live", func() bool { return !p.log.Feed().Live })
	if _, ok := p.Identity(); ok {
		t.Error("names a server that it is not connected to")
	}
	if err := pg.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.live()
	before.outdated("the end of its epoch")
	w.Conn = open(t, w.url)
	p.covered(clients)
	s := p.store(w, cache.Relation(clients))
	w.exec(`delete from clients where id = 1`)
	s.outdated("a change after the crash")
	if n := w.number(`select count(*) from pg_publication`); n != 1 {
		t.Errorf("%d publications; want the one of before", n)
	}
}

func startPostgres(t testing.TB, settings ...string) *private.Postgres {
	t.Helper()
	pg, err := private.StartPostgres(context.Background(), append([]string{"fsync = off"}, settings...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	return pg
}

func TestStoppingLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	p := w.follow(map[uint32][]int16{w.oid("clients"): nil})
	if w.number(`select count(*) from pg_publication`) != 1 {
		t.Fatal("nothing is published")
	}
	p.stop()
	left := `select (select count(*) from pg_publication) + (select count(*) from pg_replication_slots where database = current_database())`
	p.eventually("nothing is left", func() bool { return w.number(left) == 0 })
}

// TestHelperFollows is not a test: it is the process that TestAKilledProcessHoldsNothing kills.
func TestHelperFollows(t *testing.T) {
	url := os.Getenv("FOREBAY_TEST_FOLLOW")
	if url == "" {
		t.SkipNow()
	}
	w := &world{t: t, url: url, Conn: open(t, url)}
	p := w.follow(map[uint32][]int16{w.oid("clients"): nil})
	fmt.Println("following", p.Status().Slot)
	time.Sleep(patience)
}

func TestAKilledProcessHoldsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHelperFollows$")
	cmd.Env = append(os.Environ(), "FOREBAY_TEST_FOLLOW="+w.url, "FOREBAY_TEST_DATABASE_URL="+w.url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "following") {
		t.Fatalf("printed %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	idle := newTap(t, Config{Mode: ModeOff})
	idle.eventually("no slot is left", func() bool {
		return w.number(`select count(*) from pg_replication_slots where database = current_database()`) == 0
	})
	w.exec(`update clients set name = 'the owner is not held up' where id = 1`)
	if w.number(`select count(*) from pg_publication`) != 1 {
		t.Fatal("the killed process left no publication; want one, to see what becomes of it")
	}
	w.exec(`create publication theirs for table clients`)
	p := w.follow(map[uint32][]int16{w.oid("clients"): nil})
	if got := w.text(`select string_agg(pubname, ',' order by pubname) from pg_publication`); got != "forebay,theirs" {
		t.Errorf("publications %s; want that of before used again, and theirs left alone", got)
	}
	p.stop()
	if got := w.text(`select string_agg(pubname, ',') from pg_publication`); got != "theirs" {
		t.Errorf("publications %s; want theirs alone", got)
	}
}

func TestInstancesDoNotShareAPublication(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients := w.oid("clients")
	w.exec(`create publication forebay for all tables; create publication forebay_3; comment on publication forebay_3 is '` + mark + `'`)
	one := w.follow(map[uint32][]int16{clients: nil})
	two := w.follow(map[uint32][]int16{clients: nil})
	if a, b := one.Status().Publication, two.Status().Publication; a != "forebay_2" || b != "forebay_3" {
		t.Errorf("publications %q and %q; want what is neither theirs nor each other's", a, b)
	}
	a, b := one.store(w, cache.Relation(clients)), two.store(w, cache.Relation(clients))
	w.exec(`delete from clients where id = 1`)
	a.outdated("a change")
	b.outdated("a change")
	two.stop()
	if got := w.text(`select string_agg(pubname, ',' order by pubname) from pg_publication`); got != "forebay,forebay_2" {
		t.Errorf("publications %s; want theirs and the other instance's", got)
	}
}

func TestWatchIsFollowedWhileTheStreamRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, clientsTable)
	clients, other := w.oid("clients"), w.oid("other")
	p := w.follow(map[uint32][]int16{clients: {1}})
	if _, refused := p.try(w, cache.Relation(other)); refused != cache.RefusedFeed {
		t.Errorf("a fill of what is not covered: %q; want %q", refused, cache.RefusedFeed)
	}
	row := p.store(w, cache.Row(clients, 1, "1"), cache.Whole(clients))
	epoch := p.Status().Epoch
	p.Watch(map[uint32][]int16{clients: {1}, other: nil})
	p.covered(other)
	s := p.store(w, cache.Relation(other))
	w.exec(`insert into other values (1)`)
	s.outdated("a change to what was added")
	row.current("a change of what is watched")
	if p.Status().Epoch != epoch {
		t.Error("the epoch has ended")
	}
	p.Watch(map[uint32][]int16{clients: nil})
	row.outdated("the end of telling rows apart")
	p.eventually("it is taken out", func() bool { return w.number(`select count(*) from pg_publication_tables`) == 1 })
	if _, covered := p.log.Feed().Covered[other]; covered {
		t.Error("still promises what it does not follow")
	}
}

// An older server's stream loses what transactions in progress write to a table that is added.
func TestOlderServersGetANewSlotForNewTables(t *testing.T) {
	t.Parallel()
	for version, safe := range map[int]bool{
		140018: false, 140019: true, 150013: false, 150014: true, 160009: false, 160010: true, 170005: false, 170006: true, 180000: true, 190001: true, 130022: false,
	} {
		if s := (server{version: version}); s.altersSafely() != safe {
			t.Errorf("version %d: %v; want %v", version, !safe, safe)
		}
	}
}

func TestWriters(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t, "max_prepared_transactions = 10") // its own: a slot waits for whoever writes anywhere
	t.Run("an open writer holds the start up and is named", func(t *testing.T) {
		w := newWorldOn(t, pg.URL("postgres"), clientsTable)
		clients := w.oid("clients")
		long := w.another()
		long.exec(`set application_name = 'nightly'; begin; insert into other values (1)`)
		p := newTap(t, Config{URL: rules.Secret(w.url), Mode: ModeWAL})
		p.Watch(map[uint32][]int16{clients: nil})
		p.run()
		p.eventually("the writer is named", func() bool { return strings.Contains(p.Status().Reason, "(nightly), open for") })
		if _, refused := p.try(w, cache.Relation(clients)); refused != cache.RefusedFeed {
			t.Errorf("a fill meanwhile: %q; want %q", refused, cache.RefusedFeed)
		}
		long.exec(`commit`)
		p.covered(clients)
		p.store(w, cache.Relation(clients))
	})
	t.Run("stopping while the slot waits does not wait", func(t *testing.T) {
		w := newWorldOn(t, pg.URL("postgres"), clientsTable)
		long := w.another()
		long.exec(`begin; insert into other values (1)`)
		p := newTap(t, Config{URL: rules.Secret(w.url), Mode: ModeWAL}).run()
		p.eventually("it waits", func() bool { return strings.Contains(p.Status().Reason, "the new slot waits") })
		p.stop()
		p.eventually("no slot is left", func() bool { return w.number(`select count(*) from pg_replication_slots`) == 0 })
	})
	t.Run("a table that is being written is admitted for those who see its writers", func(t *testing.T) {
		w := newWorldOn(t, pg.URL("postgres"), clientsTable)
		clients, other := w.oid("clients"), w.oid("other")
		p := w.follow(map[uint32][]int16{other: nil})
		writer := w.another()
		writer.exec(`begin; savepoint s; update clients set name = 'before it was published' where id = 1; release s`)
		p.Watch(map[uint32][]int16{clients: nil, other: nil})
		p.covered(clients)
		if _, refused := p.try(w, cache.Relation(clients)); refused != cache.RefusedAdmission {
			t.Errorf("a fill beside the writer: %q; want %q", refused, cache.RefusedAdmission)
		}
		p.store(w, cache.Relation(other))
		writer.exec(`commit`)
		p.store(w, cache.Relation(clients))
		p.eventually("the writers are let go", func() bool { return len(p.log.Feed().Covered[clients].Writers) == 0 })
		p.store(w, cache.Relation(clients))
	})
	t.Run("a prepared transaction is a change when it commits", func(t *testing.T) {
		w := newWorldOn(t, pg.URL("postgres"), clientsTable)
		clients, other := w.oid("clients"), w.oid("other")
		p := w.follow(map[uint32][]int16{clients: nil, other: nil})
		table, apart := p.store(w, cache.Relation(clients)), p.store(w, cache.Relation(other))
		w.exec(`begin; insert into other values (1); prepare transaction 'lost'`)
		w.exec(`begin; update clients set name = 'x' where id = 1; prepare transaction 'kept'`)
		p.caught(w)
		table.current("a PREPARE")
		w.exec(`rollback prepared 'lost'`)
		w.exec(`commit prepared 'kept'`)
		table.outdated("COMMIT PREPARED")
		p.caught(w)
		apart.current("ROLLBACK PREPARED")
	})
	t.Run("a prepared transaction is a writer", func(t *testing.T) {
		w := newWorldOn(t, pg.URL("postgres"), clientsTable)
		clients := w.oid("clients")
		p := w.follow(map[uint32][]int16{w.oid("other"): nil})
		w.exec(`begin; update clients set name = 'x' where id = 1; prepare transaction 'hanging'`)
		p.Watch(map[uint32][]int16{clients: nil})
		p.covered(clients)
		if _, refused := p.try(w, cache.Relation(clients)); refused != cache.RefusedAdmission {
			t.Errorf("a fill beside it: %q; want %q", refused, cache.RefusedAdmission)
		}
		w.exec(`commit prepared 'hanging'`)
		p.store(w, cache.Relation(clients))
	})
	t.Run("notify is refused where transactions are prepared", func(t *testing.T) {
		w := newWorldOn(t, pg.URL("postgres"), clientsTable)
		p := newTap(t, Config{URL: rules.Secret(w.url), Mode: ModeNotify}).run()
		p.eventually("refused", func() bool { return strings.Contains(p.Status().Reason, "max_prepared_transactions") })
		if p.log.Feed().Live {
			t.Error("live")
		}
	})
}

// A server process that is stopped is alive for everybody but those who wait for it.
func TestAStuckStreamShowsAsLag(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t)
	w := newWorldOn(t, pg.URL("postgres"), clientsTable)
	clients := w.oid("clients")
	p := w.follow(map[uint32][]int16{clients: nil})
	walsender := int(w.number(`select active_pid from pg_replication_slots`))
	process, err := os.FindProcess(walsender)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Signal(stopSignal); err != nil {
		t.Skipf("may not stop a server process: %v", err)
	}
	defer func() { _ = process.Signal(continueSignal) }()
	w.exec(`delete from clients where id = 1`)
	p.eventually("it lags", func() bool { return p.Status().Lag > time.Second && p.Status().LagBytes > 0 })
	if !p.Status().Live {
		t.Error("not live; want alive and late")
	}
	if err := process.Signal(continueSignal); err != nil {
		t.Fatal(err)
	}
	p.eventually("it catches up", func() bool { return p.Status().Lag < time.Second })
	if p.Status().Epochs != 1 {
		t.Error("the epoch has ended")
	}
}

// Where a URL leads now to one server and then to another, as that of a balancer does, nothing is followed: ids and
// positions of one say nothing of the other.
func TestConnectionsToDifferentServersAreRefused(t *testing.T) {
	t.Parallel()
	servers := []*private.Postgres{startPostgres(t), startPostgres(t)}
	balancer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	t.Cleanup(func() { _ = balancer.Close(); work.Wait() })
	work.Go(func() {
		for turn := 0; ; turn++ { // from one to the next
			client, err := balancer.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", servers[turn%len(servers)].Address())
			if err != nil {
				_ = client.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				work.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].Close()
					_ = way[1].Close()
				})
			}
		}
	})
	u, err := url.Parse(servers[0].URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	u.Host = balancer.Addr().String()
	p := newTap(t, Config{URL: rules.Secret(u.String()), Mode: ModeWAL}).run()
	p.eventually("it says why it does not follow", func() bool {
		if f := p.log.Feed(); f.Live && f.Mode == cache.FeedWAL {
			t.Fatal("followed")
		}
		return strings.Contains(p.Status().Reason, errOtherServers.Error())
	})
	p.stop()
}
