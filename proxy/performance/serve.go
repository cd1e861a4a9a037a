package performance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/proxy/bearer"
	"forebay/proxy/problem"
)

// endpoint is one route below the configured path.
type endpoint struct {
	method  string // GET stands for HEAD, too
	admin   bool
	strict  bool     // an empty parameter must not stand for all tables, nor what is said in a body
	takes   []string // parameters; any other is refused, since one that is misspelt would count as not given
	minutes int      // the period, when minutes is not given
	answer  func(*Performance, question) (any, *problem.Problem)
}

// question is what a request asks of an endpoint. Parameters that the endpoint does not have are at their
// defaults.
type question struct {
	minutes   int
	table     string
	threshold time.Duration
}

const (
	maxMinutes       = 1440
	defaultThreshold = time.Second
	maxThreshold     = 24 * time.Hour
	maxTableName     = 200 // bytes; two of Postgres's longest names and a dot are 127
	tableName        = "table_name"
	maxBody          = 4 << 10 // bytes; nothing is said in a body
)

// find returns the endpoint of the name, and false when there is none.
func find(name string) (endpoint, bool) {
	e, ok := map[string]endpoint{
		"health":                       {method: "GET", answer: (*Performance).health},
		"metrics":                      {method: "GET", takes: []string{"minutes"}, minutes: 30, answer: (*Performance).metrics},
		"analytics":                    {method: "GET", takes: []string{"minutes", tableName}, minutes: 60, answer: (*Performance).analytics},
		"slow-queries":                 {method: "GET", takes: []string{"minutes", "threshold"}, minutes: 60, answer: (*Performance).slowQueries},
		"cache/stats":                  {method: "GET", answer: (*Performance).cacheStats},
		"cache/clear":                  {method: "POST", admin: true, strict: true, takes: []string{tableName}, answer: (*Performance).cacheClear},
		"optimization/recommendations": {method: "GET", answer: (*Performance).recommendations},
		"benchmark":                    {method: "GET", admin: true, answer: (*Performance).benchmark},
		"database/dashboard":           {method: "GET", answer: (*Performance).databaseDashboard},
	}[name]
	return e, ok
}

// Owns reports whether requests for the path are this package's to answer.
func (p *Performance) Owns(path []byte) bool {
	prefix := p.settings.Load().Path
	rest, ok := bytes.CutPrefix(path, []byte(prefix))
	return prefix != "" && ok && (len(rest) == 0 || rest[0] == '/')
}

// Serve answers a request for a path that it owns.
func (p *Performance) Serve(ctx *fasthttp.RequestCtx) {
	path := ctx.Path()
	if !p.Owns(path) {
		problem.Write(ctx, problem.New(problem.NoRoute, "There is no such route."))
		return
	}
	name := string(bytes.TrimPrefix(path, []byte(p.settings.Load().Path)))
	if name == "" || name == "/" {
		p.servePage(ctx, name)
		return
	}
	e, ok := find(name[1:])
	if !ok {
		problem.Write(ctx, problem.New(problem.NoRoute, "The performance endpoints have no such route."))
		return
	}
	if !allowed(ctx, e.method) {
		return
	}
	if e.admin {
		if refused := bearer.Check(ctx, p.deps.Token()); refused != nil {
			problem.Write(ctx, refused)
			return
		}
	}
	if bad := e.onlyKnown(ctx); bad != nil {
		problem.Write(ctx, bad)
		return
	}
	q, bad := ask(ctx.QueryArgs(), e.minutes)
	if bad != nil {
		problem.Write(ctx, bad)
		return
	}
	data, failed := e.answer(p, q)
	if failed != nil {
		problem.Write(ctx, failed)
		return
	}
	p.write(ctx, data)
}

// allowed reports whether the method may be used, and answers 405 when it may not.
func allowed(ctx *fasthttp.RequestCtx, method string) bool {
	allow := method
	if method == fasthttp.MethodGet {
		if ctx.IsHead() {
			return true
		}
		allow = "GET, HEAD"
	}
	if string(ctx.Method()) == method {
		return true
	}
	ctx.Response.Header.Set(fasthttp.HeaderAllow, allow)
	problem.Write(ctx, problem.New(problem.MethodNotAllowed, "This route answers "+allow+" only."))
	return false
}

// envelope is the form of every success.
type envelope struct {
	Status    string `json:"status"`
	Data      any    `json:"data"`
	Timestamp string `json:"timestamp"`
}

func (p *Performance) write(ctx *fasthttp.RequestCtx, data any) {
	body, err := json.Marshal(envelope{Status: "success", Data: data, Timestamp: timestamp(p.deps.Now())})
	if err != nil {
		problem.Write(ctx, problem.New(problem.Internal, "The answer could not be written."))
		return
	}
	h := &ctx.Response.Header
	h.SetContentType("application/json")
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	ctx.Response.SetBodyRaw(body)
}

// ask reads the parameters. All that is wrong is reported at once.
func ask(args *fasthttp.Args, minutes int) (question, *problem.Problem) {
	q := question{minutes: minutes, threshold: defaultThreshold}
	var wrong []problem.FieldError
	for _, parameter := range []struct {
		name string
		read func(string) (wrong string)
	}{{"minutes", q.readMinutes}, {"threshold", q.readThreshold}, {tableName, q.readTable}} {
		given := args.PeekMulti(parameter.name)
		if len(given) > 1 {
			return q, problem.New(problem.Malformed, fmt.Sprintf("The parameter %s is given more than once.", parameter.name))
		}
		if len(given) == 0 || len(given[0]) == 0 {
			continue // an empty optional parameter counts as absent
		}
		if detail := parameter.read(string(given[0])); detail != "" {
			wrong = append(wrong, problem.FieldError{Field: parameter.name, In: "query", Detail: detail})
		}
	}
	if len(wrong) == 0 {
		return q, nil
	}
	bad := problem.New(problem.InvalidParameter, wrong[0].Field+" "+wrong[0].Detail+".")
	bad.Errors = wrong
	return q, bad
}

// onlyKnown refuses parameters that the endpoint does not take. A strict one's must not be empty, as when the variable of
// a script is not set, and its body may be empty or {}.
func (e *endpoint) onlyKnown(ctx *fasthttp.RequestCtx) *problem.Problem {
	var unknown []problem.FieldError
	for name, value := range ctx.QueryArgs().All() {
		switch known := slices.Contains(e.takes, string(name)); {
		case known && e.strict && len(value) == 0:
			bad := problem.New(problem.Malformed, string(name)+" is empty; name a table, or leave it out to clear everything.")
			bad.Errors = []problem.FieldError{{Field: string(name), In: "query", Detail: "is empty"}}
			return bad
		case !known:
			unknown = append(unknown, problem.FieldError{Field: string(name), In: "query", Detail: "is not known here"})
		}
	}
	if e.strict {
		members, bad := membersOf(ctx)
		if bad != nil {
			return bad
		}
		for _, name := range members {
			unknown = append(unknown, problem.FieldError{Field: name, In: "body", Detail: "is not known here"})
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	detail := fmt.Sprintf("%q in the %s is not known here; ", unknown[0].Field, map[string]string{"query": "query string", "body": "body"}[unknown[0].In])
	switch len(e.takes) {
	case 0:
		detail += "this route takes no parameters."
	case 1:
		detail += e.takes[0] + " in the query string is, and nothing else."
	default:
		detail += strings.Join(e.takes, " and ") + " in the query string are, and nothing else."
	}
	bad := problem.New(problem.InvalidParameter, detail)
	bad.Errors = unknown
	return bad
}

// membersOf returns the names in a body, sorted.
func membersOf(ctx *fasthttp.RequestCtx) ([]string, *problem.Problem) {
	var text []byte
	if stream := ctx.RequestBodyStream(); stream == nil {
		text = ctx.Request.Body()
	} else {
		var err error
		if text, err = io.ReadAll(io.LimitReader(stream, maxBody+1)); err != nil {
			ctx.SetConnectionClose() // where the next request would begin is unknown
			return nil, problem.New(problem.Malformed, "The request's body could not be read.")
		}
	}
	if len(text) > maxBody {
		ctx.SetConnectionClose() // what is left of the body is not worth reading
		return nil, problem.New(problem.ContentTooLarge, "The request's body is larger than this route accepts; it needs none.")
	}
	var members map[string]json.RawMessage
	if len(bytes.TrimSpace(text)) > 0 && json.Unmarshal(text, &members) != nil {
		return nil, problem.New(problem.Malformed, "The body must be one JSON object, or none; "+tableName+" goes into the query string.")
	}
	return slices.Sorted(maps.Keys(members)), nil
}

func (q *question) readMinutes(text string) (wrong string) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxMinutes {
		return fmt.Sprintf("must be a whole number from 1 to %d", maxMinutes)
	}
	q.minutes = n
	return ""
}

func (q *question) readThreshold(text string) (wrong string) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > maxThreshold.Seconds() {
		return fmt.Sprintf("must be a number of seconds from 0 to %d", int(maxThreshold.Seconds()))
	}
	q.threshold = time.Duration(math.Round(seconds * float64(time.Second)))
	return ""
}

func (q *question) readTable(text string) (wrong string) {
	if len(text) > maxTableName {
		return fmt.Sprintf("must be at most %d bytes long", maxTableName)
	}
	q.table = text
	return ""
}

// seconds returns a duration as the answers write it, to a microsecond.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Second)
}

// rounded returns a rate as the answers write it, to two decimals.
func rounded(rate float64) float64 { return math.Round(rate*100) / 100 }

// megabytes returns bytes in units of 2^20, to four decimals: 100 bytes can be told from none.
func megabytes(bytes int) float64 { return math.Round(float64(bytes)/(1<<20)*1e4) / 1e4 }

// timestamp returns a time as the answers write it: RFC 3339 in UTC, to a millisecond.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
