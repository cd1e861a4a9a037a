package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"forebay/bench/private"
)

// freshnessVerbs are for what others do in the database, and for what is known of it.
func freshnessVerbs() map[string]verb {
	return map[string]verb{
		"heard":   heard,   // heard NAME: waits until all that is committed by now has been applied
		"query":   query,   // query REGEXP STATEMENT: waits until the statement's one value matches
		"as":      as,      // as VAR ROLE: $DATABASE_URL as another role
		"becomes": becomes, // becomes REGEXP: repeats the last request until the body matches
		"take":    take,    // take VAR HEADER: the last response's header field into a variable
		"standby": standby, // standby start|answers NAME PATH|pause|resume|stop: a server that follows that of postgres start, $STANDBY_URL by $DATABASE_URL's role
		"note":    note,    // note NAME SERIES: remembers its value
		"raised":  raised,  // raised NAME SERIES N: waits until it is N above what was noted
		"runs":    runs,    // runs REGEXP COMMAND …: repeats a forebay command until what it prints matches
	}
}

// withFreshnessVerbs returns both.
func withFreshnessVerbs(all map[string]verb) map[string]verb {
	maps.Copy(all, freshnessVerbs())
	return all
}

// heard is the barrier behind which a stored response that a commit outdates is no longer served.
func heard(ts *testscript.TestScript, _ bool, args []string) {
	committed := time.Now()
	url := ts.Getenv(args[0]+"_admin") + "/metrics"
	eventually(ts, func() (bool, string) {
		asOf, err := knownAsOf(url)
		if err != nil {
			return false, err.Error()
		}
		return asOf.After(committed), "changes are known as of " + asOf.String()
	})
}

// knownAsOf returns a time before which everything that was visible to anyone has been applied.
//
// forebay tells how long that time is past at the moment it is asked; the moment lies after the request was
// sent, so the time lies after the one returned here.
func knownAsOf(url string) (time.Time, error) {
	asked := time.Now()
	series, err := scrape(url)
	if err != nil {
		return time.Time{}, err
	}
	lag, ok := series["forebay_stream_lag_seconds"]
	if !ok || series["forebay_stream_live"] != 1 {
		return time.Time{}, fmt.Errorf("changes are not heard of: live %v, lag %v", series["forebay_stream_live"], lag)
	}
	return asked.Add(-time.Duration(lag * float64(time.Second))), nil
}

// scrape returns the values of all series.
func scrape(url string) (map[string]float64, error) {
	r, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	series := make(map[string]float64)
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		name, value, _ := cutLast(lines.Text())
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			series[name] = n
		}
	}
	_, _ = io.Copy(io.Discard, r.Body)
	return series, lines.Err()
}

// note and raised are the barrier for what an instance does behind an answer, when it has done the like before.
func note(ts *testscript.TestScript, _ bool, args []string) {
	series, err := scrape(ts.Getenv(args[0]+"_admin") + "/metrics")
	ts.Check(err)
	worldOf(ts).noted[args[0]+" "+args[1]] = series[args[1]]
}

func raised(ts *testscript.TestScript, _ bool, args []string) {
	by, err := strconv.ParseFloat(args[2], 64)
	ts.Check(err)
	noted := worldOf(ts).noted[args[0]+" "+args[1]]
	eventually(ts, func() (bool, string) {
		series, err := scrape(ts.Getenv(args[0]+"_admin") + "/metrics")
		return err == nil && series[args[1]] >= noted+by, fmt.Sprintf("%s is %v, was %v: %v", args[1], series[args[1]], noted, err)
	})
}

func query(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, ts.Getenv("DATABASE_URL"))
	ts.Check(err)
	defer conn.Close(ctx)
	re := compile(ts, args[0])
	eventually(ts, func() (bool, string) {
		results, err := conn.PgConn().Exec(ctx, strings.Join(args[1:], " ")).ReadAll()
		ts.Check(err)
		value := ""
		for _, r := range results {
			for _, row := range r.Rows {
				value = string(row[0])
			}
		}
		return re.MatchString(value) != neg, value
	})
}

func as(ts *testscript.TestScript, _ bool, args []string) {
	u, err := url.Parse(ts.Getenv("DATABASE_URL"))
	ts.Check(err)
	u.User = url.User(args[1])
	ts.Setenv(args[0], u.String())
}

func standby(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	ctx := context.Background()
	ask := func(statement string) string {
		conn, err := pgx.Connect(ctx, w.standby.URL("postgres"))
		ts.Check(err)
		defer conn.Close(ctx)
		var text string
		ts.Check(conn.QueryRow(ctx, statement).Scan(&text))
		return text
	}
	switch args[0] {
	case "start":
		s, err := private.StartStandby(ctx, w.postgres)
		ts.Check(err)
		w.standby = s
		u, err := url.Parse(ts.Getenv("DATABASE_URL"))
		ts.Check(err)
		u.Host = s.Address()
		ts.Setenv("STANDBY_URL", u.String())
	case "pause":
		ask("select pg_wal_replay_pause()::text")
		eventually(ts, func() (bool, string) {
			state := ask("select pg_get_wal_replay_pause_state()")
			return state == "paused", "replay is " + state
		})
	case "resume":
		ask("select pg_wal_replay_resume()::text")
	case "stop":
		w.standby.Shutdown()
	case "answers":
		n := 0
		eventually(ts, func() (bool, string) {
			n++ // each time another key: what the primary has answered is stored
			w.last = send([]string{"GET", ts.Getenv(args[1]) + args[2] + strconv.Itoa(n)})
			series, err := scrape(ts.Getenv(args[1]+"_admin") + "/metrics")
			ts.Check(err)
			return series[`forebay_standby_fills_total{result="answered"}`] > 0, fmt.Sprint(series)
		})
	default:
		ts.Fatalf("standby %s: want start, answers, pause, resume or stop", args[0])
	}
}

func becomes(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	re := compile(ts, args[0])
	eventually(ts, func() (bool, string) {
		w.last = send(w.last.request)
		return w.last.err == nil && re.MatchString(w.last.body), fmt.Sprint(w.last.err, w.last.body)
	})
}

func take(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], worldOf(ts).last.header.Get(args[1]))
}

func runs(ts *testscript.TestScript, _ bool, args []string) {
	re := compile(ts, args[0])
	eventually(ts, func() (bool, string) {
		err := ts.Exec("forebay", args[1:]...)
		text := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		return re.MatchString(text), fmt.Sprint(err, "\n", text)
	})
}
