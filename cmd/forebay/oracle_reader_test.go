package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// counterRow is a row as rules answer it.
type counterRow struct {
	ID int   `json:"id"`
	V  int64 `json:"v"`
}

// oracleReader asks and checks. Used by one goroutine.
type oracleReader struct {
	*oracle
	rng      *rand.Rand
	request  *fasthttp.Request
	response *fasthttp.Response
	seen     map[int]int64 // by row: the version that its own URL showed last
	seenIn   int64         // the value of doubt since seen
}

func (o *oracle) newReader(n int) *oracleReader {
	return &oracleReader{oracle: o, rng: o.rng(200 + uint64(n)), request: &fasthttp.Request{}, response: &fasthttp.Response{}, seen: map[int]int64{}}
}

// run reads until ctx ends.
func (r *oracleReader) run(ctx context.Context) {
	for ctx.Err() == nil {
		var good bool
		switch n := r.rng.IntN(100); {
		case n < 70:
			good = r.row("/counters/"+strconv.Itoa(n%oracleRows), n%oracleRows)
		case n < 75:
			id := r.rng.IntN(oracleRows)
			good = r.row("/function/"+strconv.Itoa(id), id)
		case n < 90:
			good = r.group(n % oracleGroups)
		default:
			good = r.sum()
		}
		if !good {
			r.refused.Add(1)
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

// counts is what an answer is checked by, as it was before the request was sent.
type counts struct {
	doubt        int64
	empty        bool
	served, read [oracleRows]int64
}

func (r *oracleReader) counts() counts {
	c := counts{doubt: r.doubt.Load(), empty: r.empty.Load()}
	for id := range oracleRows {
		c.served[id], c.read[id] = r.ledger.look(id)
	}
	return c
}

// spans returns what the answer that has come may show, and false when nobody can say.
func (r *oracleReader) spans(c *counts) (spans [oracleRows]span, hit, known bool) {
	status := r.response.Header.Peek("Cache-Status")
	hit = !bytes.Contains(status, []byte("fwd="))
	from := &c.served
	if !hit && !bytes.Contains(status, []byte("collapsed")) {
		from = &c.read // it was read after the request had been sent
	}
	for id := range spans {
		spans[id] = span{from[id], r.ledger.rows[id].begun.Load()}
	}
	return spans, hit, c.doubt%2 == 0 && r.doubt.Load() == c.doubt
}

// mayBeEmpty reports whether an answer without rows may be what Postgres said: whoever waited for a TRUNCATE with
// an older snapshot sees an empty table. It is served until forebay has applied it, and not later.
func (r *oracleReader) mayBeEmpty(c *counts, hit bool) bool { return !hit || c.empty || r.empty.Load() }

// ask sends the request and reads the answer. False: there is none to check.
func (r *oracleReader) ask(path string, into any) bool {
	r.request.SetRequestURI("http://" + r.client.Addr + path)
	if err := r.client.Do(r.request, r.response); err != nil || r.response.StatusCode() != fasthttp.StatusOK && r.response.StatusCode() != fasthttp.StatusNotFound {
		return false
	}
	if r.response.StatusCode() == fasthttp.StatusNotFound {
		return true
	}
	return json.Unmarshal(r.response.Body(), into) == nil
}

func (r *oracleReader) check(hit bool, what, problem string) {
	if hit {
		r.hits.Add(1)
	} else {
		r.misses.Add(1)
	}
	if problem != "" {
		r.stale.Add(1)
		r.fail(fmt.Sprintf("%s: %s; %s: %s", what, problem, r.response.Header.Peek("Cache-Status"), r.response.Body()))
	}
}

// row reads one row, which never goes back either.
func (r *oracleReader) row(path string, id int) bool {
	c := r.counts()
	row := counterRow{V: -1}
	if !r.ask(path, &row) {
		return false
	}
	spans, hit, known := r.spans(&c)
	if !known || row.V <= 0 && r.mayBeEmpty(&c, hit) {
		r.unchecked.Add(1)
		return true
	}
	if r.seenIn != c.doubt {
		clear(r.seen)
		r.seenIn = c.doubt
	}
	problem := spans[id].within(id, row.V)
	if problem == "" && path[1] == 'c' && row.V < r.seen[id] {
		problem = fmt.Sprintf("BACK: row %d is served at version %d, and was at %d for this reader", id, row.V, r.seen[id])
	}
	if path[1] == 'c' {
		r.seen[id] = row.V
	}
	r.check(hit, path, problem)
	return true
}

// group reads the rows of a group: each is there in a version that is in it, or has one that is not.
func (r *oracleReader) group(group int) bool {
	c := r.counts()
	var rows []counterRow
	path := "/counters?grp=" + strconv.Itoa(group)
	if !r.ask(path, &rows) {
		return false
	}
	spans, hit, known := r.spans(&c)
	if !known || len(rows) == 0 && r.mayBeEmpty(&c, hit) {
		r.unchecked.Add(1)
		return true
	}
	problem := ""
	there := make(map[int]bool)
	for _, row := range rows {
		there[row.ID] = true
		if p := spans[row.ID].within(row.ID, row.V); p != "" {
			problem = p
		} else if groupOf(row.ID, row.V) != group {
			problem = fmt.Sprintf("TORN: row %d is in group %d at version %d", row.ID, group, row.V)
		}
	}
	for id, s := range spans {
		if !there[id] && !s.mayBeIn(id, group, false) {
			problem = fmt.Sprintf("STALE: row %d is missing in group %d at all versions from %d to %d", id, group, s.from, s.to)
		}
	}
	r.check(hit, path, problem)
	return true
}

// sum reads how many rows there are and what they come to.
func (r *oracleReader) sum() bool {
	c := r.counts()
	var row counterRow
	if !r.ask("/sum", &row) {
		return false
	}
	spans, hit, known := r.spans(&c)
	if !known || row.ID == 0 && r.mayBeEmpty(&c, hit) {
		r.unchecked.Add(1)
		return true
	}
	var all span
	for _, s := range spans {
		all.from, all.to = all.from+s.from, all.to+s.to
	}
	problem := all.within(-1, row.V)
	if row.ID != oracleRows {
		problem = fmt.Sprintf("TORN: %d rows are counted", row.ID)
	}
	r.check(hit, "/sum", problem)
	return true
}
