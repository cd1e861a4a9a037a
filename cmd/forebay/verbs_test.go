package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"forebay/bench/private"
	"forebay/configs/nexus"
)

// verb is a command of the scripts.
type verb = func(ts *testscript.TestScript, neg bool, args []string)

// patience is how long a script waits for what it says will happen.
const patience = 20 * time.Second

// verbs are the scripts' own commands, beside testscript's.
func verbs() map[string]verb {
	return map[string]verb{
		"database":  database,     // database [FILE.sql …]: an empty database, $DATABASE_URL
		"nexus":     nexusData,    // nexus N: a database with the NEXUS schema and N clients
		"postgres":  postgresVerb, // postgres start [SETTING …]|stop|kill|freeze|thaw: a server of the script's own
		"redis":     redisVerb,    // redis start|save|kill|freeze|thaw; what was saved is there after the next start
		"sql":       sql,          // sql STATEMENT: on $DATABASE_URL, outside forebay
		"session":   session,      // session NAME STATEMENT: on a connection that stays open
		"blocked":   blocked,      // blocked N: waits until N sessions of $DATABASE_URL wait for a lock
		"origin":    originVerb,   // origin NAME start|respond FILE|hold|release|seen N|await N|stop
		"serve":     serve,        // serve [-now] NAME CONFIG [FLAG …]: forebay run; $NAME and $NAME_admin are its URLs
		"signal":    signalVerb,   // signal NAME HUP|TERM|STOP|CONT
		"end":       end,          // end NAME: SIGTERM, wait, exit code 0. (stop is testscript's own: it ends the script.)
		"logged":    logged,       // [!] logged NAME REGEXP: waits for a log line
		"http":      httpVerb,     // http [-bg ID] [-H 'K: V'] [-d BODY] METHOD URL
		"wait-http": waitHTTP,     // wait-http ID: the response of a request in the background becomes the last
		"leave":     leave,        // leave ID: the client of a request in the background goes away
		"raw":       raw,          // raw NAME FILE: sends the file's bytes as they are; the response becomes the last
		"fill":      fill,         // fill VAR N: N bytes of x into a variable
		"status":    status,       // [!] status CODE: of the last response
		"header":    header,       // [!] header NAME REGEXP
		"body":      body,         // [!] body REGEXP
		"within":    within,       // within DURATION: the last response took at most so long
		"again":     again,        // again DURATION HEADER REGEXP: repeats the last request until the header matches
		"metric":    metric,       // metric NAME SERIES VALUE: waits until the series has the value
		"save":      save,         // save VAR REGEXP: the first group of the body's match into a variable
	}
}

func database(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	ctx := context.Background()
	u, drop, err := createDatabase(ctx)
	ts.Check(err)
	w.drop = drop
	ts.Setenv("DATABASE_URL", u)
	for _, file := range args {
		run(ts, nil, ts.ReadFile(file))
	}
}

func nexusData(ts *testscript.TestScript, _ bool, args []string) {
	if ts.Getenv("DATABASE_URL") == "" {
		database(ts, false, nil)
	}
	for _, name := range []string{"schema.sql", "data.sql"} {
		text, err := fs.ReadFile(nexus.Files, name)
		ts.Check(err)
		run(ts, map[string]string{"nexus.clients": args[0]}, string(text))
	}
	ts.Check(os.CopyFS(ts.MkAbs("nexus"), nexus.Files))
}

// run runs a script of statements on the script's database.
func run(ts *testscript.TestScript, settings map[string]string, text string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, ts.Getenv("DATABASE_URL"))
	ts.Check(err)
	defer conn.Close(ctx)
	for k, v := range settings {
		_, err := conn.Exec(ctx, "select set_config($1, $2, false)", k, v)
		ts.Check(err)
	}
	_, err = conn.PgConn().Exec(ctx, text).ReadAll()
	ts.Check(err)
}

func sql(ts *testscript.TestScript, neg bool, args []string) { run(ts, nil, strings.Join(args, " ")) }

func session(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	ctx := context.Background()
	conn := w.sessions[args[0]]
	if conn == nil {
		var err error
		conn, err = pgx.Connect(ctx, ts.Getenv("DATABASE_URL"))
		ts.Check(err)
		w.sessions[args[0]] = conn
	}
	_, err := conn.PgConn().Exec(ctx, strings.Join(args[1:], " ")).ReadAll()
	ts.Check(err)
}

// blocked is the barrier that a statement has begun: it holds its snapshot and waits for a lock.
func blocked(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, ts.Getenv("DATABASE_URL"))
	ts.Check(err)
	defer conn.Close(ctx)
	eventually(ts, func() (bool, string) {
		var n string
		err := conn.QueryRow(ctx, "select count(*)::text from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'").Scan(&n)
		ts.Check(err)
		return n == args[0], n + " sessions wait for a lock"
	})
}

func postgresVerb(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	ctx := context.Background()
	switch args[0] {
	case "start":
		if w.postgres == nil {
			pg, err := private.StartPostgres(ctx, append([]string{"fsync = off"}, args[1:]...)...)
			ts.Check(err)
			w.postgres = pg
			ts.Setenv("DATABASE_URL", pg.URL("postgres"))
			return
		}
		ts.Check(w.postgres.Start(ctx))
	case "stop":
		w.postgres.Shutdown()
	case "kill":
		w.postgres.Kill()
	default:
		freezeOrThaw(ts, w.postgres, args[0])
	}
}

func redisVerb(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	ctx := context.Background()
	switch args[0] {
	case "start":
		if w.redis == nil {
			r, err := private.StartRedis(ctx)
			ts.Check(err)
			w.redis = r
			ts.Setenv("REDIS_URL", r.URL())
			return
		}
		ts.Check(w.redis.Start(ctx))
	case "save":
		ts.Check(w.redis.Save())
	case "kill":
		w.redis.Kill()
	default:
		freezeOrThaw(ts, w.redis, args[0])
	}
}

// status asserts the last response's.
func status(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if (w.last.status == want) == neg {
		ts.Fatalf("status is %d; body: %s", w.last.status, w.last.body)
	}
}

func header(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	value := strings.Join(w.last.header.Values(args[0]), ", ")
	if matches(ts, args[1], value) == neg {
		ts.Fatalf("%s is %q", args[0], value)
	}
}

func body(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if matches(ts, args[0], w.last.body) == neg {
		ts.Fatalf("status %d, body is %s", w.last.status, w.last.body)
	}
}

func within(ts *testscript.TestScript, _ bool, args []string) {
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	if took := worldOf(ts).last.took; took > limit {
		ts.Fatalf("took %s", took)
	}
}

// save keeps a part of the last body in a variable.
func save(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	m := compile(ts, args[1]).FindStringSubmatch(w.last.body)
	if len(m) < 2 {
		ts.Fatalf("no match of %s in %s", args[1], w.last.body)
	}
	ts.Setenv(args[0], m[1])
}

// eventually repeats until ok, or fails the script saying what it was like last.
func eventually(ts *testscript.TestScript, ok func() (bool, string)) {
	deadline := time.Now().Add(patience)
	for {
		good, last := ok()
		if good {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not within %s: %s", patience, last)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func usage(ts *testscript.TestScript, text string) { ts.Fatalf("usage: %s", fmt.Sprint(text)) }
