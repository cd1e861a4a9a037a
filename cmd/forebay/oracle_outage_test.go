package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// oracleBurst is how many rows are written at once before a crash takes that back.
const oracleBurst = 24

// awaitStandby waits until the standby streams, on the last of its connections, and has every commit wait for it.
func (o *oracle) awaitStandby() {
	primary := o.postgres.URL("postgres")
	state := func() string {
		return o.on(primary, "select coalesce(string_agg(state || ' ' || sync_state, ', '), '') from pg_stat_replication where application_name = 'standby'")
	}
	o.await("the standby streams", func() bool { return state() == "streaming async" })
	if o.async {
		return
	}
	o.on(primary, "alter system set synchronous_standby_names = 'standby'")
	o.on(primary, "select pg_reload_conf()")
	o.await("commits wait for the standby", func() bool { return state() == "streaming sync" })
}

// pauseStandby holds up what the standby receives: commits that wait for it are in the log, and the stream brings
// them, but nobody sees them.
func (o *oracle) pauseStandby(w *oracleWriter) {
	receiver := o.receiver()
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := syscall.Kill(receiver, s); err != nil {
			o.fail("signal to the standby's receiver: " + err.Error())
		}
		if s == syscall.SIGSTOP {
			<-time.After(time.Duration(100+w.rng.IntN(500)) * time.Millisecond)
		}
	}
}

// receiver returns the process of the standby that receives the log.
func (o *oracle) receiver() (pid int) {
	o.await("the standby receives", func() bool {
		pid, _ = strconv.Atoi(o.on(o.standby.URL("postgres"), "select coalesce((select pid from pg_stat_wal_receiver where status = 'streaming'), 0)"))
		return pid > 0
	})
	return pid
}

func (o *oracle) restartStandby(*oracleWriter) {
	o.standby.Shutdown()
	if err := o.standby.Start(context.Background()); err != nil {
		o.fail(err.Error())
	}
}

// crashPostgres has the server die and start again, on what it had written.
func (o *oracle) crashPostgres(w *oracleWriter) {
	if o.async {
		o.lose(w, func() {
			o.cutPower()
			o.startPostgres()
		})
		return
	}
	o.postgres.Kill()
	o.startPostgres()
}

// promote has the primary die and the standby take over. What it had acknowledged is there, if commits wait for
// the standby. The old primary comes back as a standby of the new one.
func (o *oracle) promote(w *oracleWriter) {
	if o.async {
		o.lose(w, o.failOver)
	} else {
		o.failOver()
	}
	o.awaitApplied() // exact mode comes back by itself
	if err := o.standby.Follow(context.Background(), o.postgres); err != nil {
		o.fail(err.Error())
		return
	}
	o.awaitStandby()
}

func (o *oracle) failOver() {
	o.cutPower()
	if err := o.standby.Promote(); err != nil {
		o.fail(err.Error())
		return
	}
	o.postgres, o.standby = o.standby, o.postgres
	o.on(o.postgres.URL("postgres"), "alter system reset synchronous_standby_names")
	o.on(o.postgres.URL("postgres"), "select pg_reload_conf()")
}

// cutPower ends all of the server at once. If only its first process were killed, those that wait for the standby
// would notice, and let others see what it never got.
func (o *oracle) cutPower() {
	ctx := context.Background()
	conn, err := o.connect(ctx)
	if err != nil {
		o.fail(err.Error())
		return
	}
	defer conn.Close(ctx)
	if err := o.postgres.Signal(syscall.SIGSTOP); err != nil {
		o.fail(err.Error())
	}
	var pids []int
	if err := conn.QueryRow(ctx, "select array_agg(pid) from pg_stat_activity").Scan(&pids); err != nil {
		o.fail(err.Error())
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
	}
	o.postgres.Kill()
}

// lose has the server die in a way that takes back what it had acknowledged before it was durable, and gives the
// transaction ids to others: nothing is checked until forebay has a new epoch, and after that nobody may see what
// never was.
//
// What is lost was written through forebay, which has marked it as visible to all, and knows the transactions by
// their ids. When others get these, that must count for nothing: so they are given out one by one, on rows that
// are stored by then.
func (o *oracle) lose(w *oracleWriter, die func()) {
	epochs := o.series("forebay_stream_epochs_total")
	for id := range oracleRows {
		o.ledger.rows[id].turn.Lock()
		defer o.ledger.rows[id].turn.Unlock()
	}
	o.doubt.Add(1)
	o.stopFlushing()
	w.burst()
	die()
	w.hangUp()
	ctx := context.Background()
	o.await("the database answers after a crash", func() bool {
		if w.reach(ctx) != nil {
			return false
		}
		versions, err := readVersions(ctx, w.conn, everyRow())
		if err != nil {
			w.hangUp()
			return false
		}
		o.lost.Add(o.ledger.restart(versions))
		return true
	})
	o.await("forebay has a new epoch", func() bool { return o.series("forebay_stream_epochs_total") > epochs })
	o.doubt.Add(1)
	for n := range 6 {
		o.read(300)
		way := (*oracleWriter).plainly
		if n%2 == 1 {
			way = (*oracleWriter).throughForebay
		}
		w.within([]int{w.rng.IntN(oracleRows)}, way)
		o.awaitApplied()
	}
	o.read(300)
}

// stopFlushing stops the server's process that would make it durable what others have committed, which is the one
// that serves forebay's heartbeats: while it waits for the next, and holds nothing that others need.
func (o *oracle) stopFlushing() {
	server := o.postgres.URL("postgres")
	o.await("the heartbeats' process idles", func() bool {
		pid, err := strconv.Atoi(o.on(server, `select pid from pg_stat_activity where query ~ '^select pg_catalog.(pg_current_wal_insert_lsn\(\)::text, |pg_logical_emit_message)'`))
		if err != nil || syscall.Kill(pid, syscall.SIGSTOP) != nil {
			return false
		}
		if o.on(server, fmt.Sprintf("select state from pg_stat_activity where pid = %d", pid)) == "idle" {
			return true
		}
		_ = syscall.Kill(pid, syscall.SIGCONT)
		return false
	})
}

// burst writes many rows through forebay at once. The caller has all turns.
func (w *oracleWriter) burst() {
	ids := w.rng.Perm(oracleRows)[:oracleBurst]
	w.ledger.begin(ids)
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			if err := w.throughForebay(context.Background(), []int{id}); err != nil {
				w.fail("a write before the crash: " + err.Error())
			}
		})
	}
	all.Wait()
}

// read waits until so much more has been read.
func (o *oracle) read(more int64) {
	enough := o.hits.Load() + o.misses.Load() + more
	o.await("reads go on", func() bool { return o.hits.Load()+o.misses.Load() >= enough || o.failed() })
}

// awaitApplied waits until forebay knows of all that has been written by now.
func (o *oracle) awaitApplied() {
	written := time.Now()
	o.await("forebay knows of all that was written", func() bool {
		asOf, err := knownAsOf(o.admin)
		return err == nil && asOf.After(written)
	})
}
