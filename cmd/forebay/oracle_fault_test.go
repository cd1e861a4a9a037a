package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"
)

// oracleFault is something that goes wrong, or is done to the table as a whole.
type oracleFault struct {
	name string
	do   func(o *oracle, w *oracleWriter)
}

var oracleFaults = []oracleFault{
	{"stream cut", (*oracle).cutStream},
	{"stream cut", (*oracle).cutStream},
	{"restart", (*oracle).restartPostgres},
	{"crash", (*oracle).crashPostgres},
	{"freeze", (*oracle).freeze},
	{"freeze", (*oracle).freeze},
	{"reload", (*oracle).reload},
	{"reload", (*oracle).reload},
	{"redis crash", (*oracle).crashRedis}, // with what was saved, if anything was
	{"redis save", (*oracle).saveRedis},
	{"redis crash", (*oracle).crashRedis},
	{"redis flush", (*oracle).flushRedis},
	{"truncate", func(o *oracle, w *oracleWriter) { o.wholly(w, (*oracleWriter).truncated) }},
	{"rewrite", func(o *oracle, w *oracleWriter) { o.wholly(w, (*oracleWriter).rewritten) }},
	{"swap", (*oracle).swapNames},
	{"standby pause", (*oracle).pauseStandby},
	{"standby pause", (*oracle).pauseStandby},
	{"standby restart", (*oracle).restartStandby},
	{"promotion", (*oracle).promote},
}

// clockFaults are those of a forebay that has a wall clock of its own.
var clockFaults = []oracleFault{
	{"clock jump", (*oracle).jump},
	{"clock jump", (*oracle).jump},
	{"clock jump", (*oracle).jump},
}

// due returns all that is going to go wrong.
func (o *oracle) due() []oracleFault {
	if o.clock == nil {
		return oracleFaults
	}
	return slices.Concat(oracleFaults, clockFaults)
}

// disturb has all faults happen, in an order that is drawn, each when so much more has been checked since the last.
func (o *oracle) disturb(ctx context.Context, every effort) {
	w := o.newWriter(99)
	defer w.hangUp()
	due := o.due()
	for _, at := range w.rng.Perm(len(due)) {
		start, enough := time.Now(), o.hits.Load()+o.misses.Load()+every.reads
		for o.hits.Load()+o.misses.Load() < enough && time.Since(start) < every.limit {
			<-time.After(5 * time.Millisecond)
			if ctx.Err() != nil || o.failed() {
				return
			}
		}
		f := due[at]
		began := time.Now()
		f.do(o, w)
		o.faults[f.name]++
		o.t.Logf("%s seed %d: %s after %d checked reads, %s", began.UTC().Format("15:04:05.000"), o.seed, f.name, o.hits.Load()+o.misses.Load(), time.Since(began).Round(time.Millisecond))
	}
}

// wholly writes all rows at once, in a way that is not made for older snapshots: who waited for it may see no rows.
func (o *oracle) wholly(w *oracleWriter, way writing) {
	o.empty.Store(true)
	defer o.empty.Store(false)
	w.turn(everyRow(), way)
	o.awaitApplied()
}

// pollBound is how long a name may mean another table before forebay knows, which compares each second.
const pollBound = 2500 * time.Millisecond

// swapNames has another table take the name. What is read of it before forebay knows of it hangs on the old one,
// so nothing is judged so long.
func (o *oracle) swapNames(w *oracleWriter) {
	o.doubt.Add(1)
	o.wholly(w, (*oracleWriter).swapped)
	<-time.After(pollBound)
	o.doubt.Add(1)
}

func everyRow() []int {
	ids := make([]int, oracleRows)
	for id := range ids {
		ids[id] = id
	}
	return ids
}

func (o *oracle) cutStream(*oracleWriter) {
	o.exec("select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null")
}

func (o *oracle) restartPostgres(*oracleWriter) {
	o.postgres.Shutdown()
	o.startPostgres()
}

// startPostgres starts the server again, once the processes that a killed one has left have noticed and ended.
func (o *oracle) startPostgres() {
	o.await("Postgres starts", func() bool { return o.postgres.Start(context.Background()) == nil })
}

func (o *oracle) series(name string) float64 {
	series, err := scrape(o.admin)
	if err != nil {
		return -1
	}
	return series[name]
}

func (o *oracle) freeze(w *oracleWriter) {
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := o.process.cmd.Process.Signal(s); err != nil {
			o.fail(err.Error())
		}
		if s == syscall.SIGSTOP {
			<-time.After(time.Duration(100+w.rng.IntN(900)) * time.Millisecond)
		}
	}
}

// jump puts forebay's wall clock anywhere in a day around the time that it is for all others, until the next time.
func (o *oracle) jump(w *oracleWriter) {
	if err := o.clock.jump(time.Duration(w.rng.Int64N(int64(24*time.Hour))) - 12*time.Hour); err != nil {
		o.fail(err.Error())
	}
}

func (o *oracle) reload(*oracleWriter) {
	o.configure(o.faults["reload"]%2 == 0)
	before := strings.Count(o.process.logText(), "configuration reloaded")
	if err := o.process.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		o.fail(err.Error())
	}
	o.await("the configuration is reloaded", func() bool { return strings.Count(o.process.logText(), "configuration reloaded") > before })
}

func (o *oracle) crashRedis(*oracleWriter) {
	o.redis.Kill()
	if err := o.redis.Start(context.Background()); err != nil {
		o.fail(err.Error())
	}
}

func (o *oracle) saveRedis(*oracleWriter) {
	if err := o.redis.Save(); err != nil {
		o.fail(err.Error())
	}
}

func (o *oracle) flushRedis(*oracleWriter) {
	conn, err := net.Dial("tcp", o.redis.Address())
	if err != nil {
		o.fail(err.Error())
		return
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "FLUSHALL\r\n"); err != nil {
		o.fail(err.Error())
	}
}
