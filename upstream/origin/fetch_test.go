package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/rules"
)

// stored is a rule that keeps a 200 for a minute and a 404 for a second.
func stored(change func(*rules.Rule)) *rules.Rule {
	r := &rules.Rule{
		Name: "clients", TTL: time.Minute, Negative: map[int]time.Duration{404: time.Second},
		StaleWhileRevalidate: 10 * time.Second, StaleIfError: time.Hour,
	}
	if change != nil {
		change(r)
	}
	return r
}

// asks makes the request for a rule that a client's header fields come to.
func asks(rule *rules.Rule, target string, header ...string) *Request {
	path, query, _ := strings.Cut(target, "?")
	return NewRequest(rule, &rules.Input{Path: []byte(path), Query: []byte(query)}, func(name string) (lines [][]byte) {
		for _, line := range header {
			if n, v, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
				lines = append(lines, []byte(v))
			}
		}
		return lines
	})
}

func (f *fixture) fetch(t *testing.T, r *Request) (cache.Fill, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return f.Fetch(ctx, r)
}

func TestOnlyWhatASharedCacheMayKeepIsStorable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer string
		want   cache.Refusal
	}{
		"plain":                                {ok, cache.Storable},
		"chunked":                              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n", cache.Storable},
		"behind interim responses":             {"HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\nCache-Control: no-store\r\n\r\n" + ok, cache.Storable},
		"404 with a lifetime":                  {says("404 Not Found"), cache.Storable},
		"public":                               {says("200 OK", "Cache-Control: public, max-age=60"), cache.Storable},
		"Vary on what is not sent":             {says("200 OK", "Vary: Origin, Cookie"), cache.Storable},
		"no-store":                             {says("200 OK", "Cache-Control: no-store"), cache.RefusedDirective},
		"private":                              {says("200 OK", "Cache-Control: private"), cache.RefusedDirective},
		"private for one field":                {says("200 OK", `Cache-Control: private="set-cookie"`), cache.RefusedDirective},
		"no-cache":                             {says("200 OK", "Cache-Control: no-cache"), cache.RefusedDirective},
		"capitals":                             {says("200 OK", "CACHE-CONTROL: No-Store"), cache.RefusedDirective},
		"on a second line":                     {says("200 OK", "Cache-Control: public", "Cache-Control: max-age=60, private"), cache.RefusedDirective},
		"max-age=0":                            {says("200 OK", "Cache-Control: max-age=0"), cache.RefusedDirective},
		"older than it may be":                 {says("200 OK", "Cache-Control: max-age=60", "Age: 60"), cache.RefusedDirective},
		"expired":                              {says("200 OK", "Date: Thu, 01 Jan 2026 00:00:00 GMT", "Expires: 0"), cache.RefusedDirective},
		"Pragma alone":                         {says("200 OK", "Pragma: no-cache"), cache.RefusedDirective},
		"Set-Cookie":                           {says("200 OK", "Set-Cookie: session=1", "Cache-Control: public, max-age=60"), cache.RefusedSetCookie},
		"Set-Cookie in capitals":               {says("200 OK", "SET-COOKIE: session=1"), cache.RefusedSetCookie},
		"Set-Cookie without a name":            {says("200 OK", "Set-Cookie: session"), cache.RefusedSetCookie},
		"Set-Cookie with nothing in it":        {says("200 OK", "Set-Cookie:"), cache.RefusedSetCookie},
		"Set-Cookie that Connection names":     {says("200 OK", "Connection: Set-Cookie", "Set-Cookie: session=1"), cache.RefusedSetCookie},
		"Set-Cookie with a space before its :": {says("200 OK", "Set-Cookie : session=1"), cache.RefusedSetCookie},
		"Vary: *":                              {says("200 OK", "Vary: *"), cache.RefusedVary},
		"Vary: * among others":                 {says("200 OK", "Vary: Accept", "Vary: Origin, *"), cache.RefusedVary},
		"206":                                  {says("206 Partial Content", "Content-Range: bytes 0-1/9"), cache.RefusedStatus},
		"a range in a 200":                     {says("200 OK", "Content-Range: bytes 0-1/9"), cache.RefusedStatus},
		"404 without a lifetime":               {says("410 Gone"), cache.RefusedStatus},
		"500":                                  {says("500 Oops"), cache.RefusedStatus},
		"503":                                  {says("503 Busy", "Cache-Control: max-age=60"), cache.RefusedStatus},
		"an end that nobody can tell":          {"HTTP/1.1 200 OK\r\n\r\nok", cache.RefusedIncomplete},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, serve(t, answers(c.answer)).url(), nil)
			fill, err := o.fetch(t, asks(stored(nil), "/"))
			if err != nil {
				t.Fatal(err)
			}
			if fill.Refused != c.want {
				t.Errorf("refused because of %q, want %q", fill.Refused, c.want)
			}
			if got := string(fill.Response.Body); got != "ok" {
				t.Errorf("body %q", got)
			}
		})
	}
}

// says writes a response with the body ok.
func says(status string, fields ...string) string {
	return "HTTP/1.1 " + status + "\r\n" + strings.Join(append(fields, "Content-Length: 2"), "\r\n") + "\r\n\r\nok"
}

// A part must not be taken for the whole, nor an answer to another question for one to this.
func TestWhatIsNoWholeAnswerIsAnError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ answer, token string }{
		"short of its length":     {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "http_response_incomplete"},
		"within a chunk":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "http_response_incomplete"},
		"between chunks":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "http_response_incomplete"},
		"before the last newline": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "http_protocol_error"},
		"by a chunk that is none": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n", "http_protocol_error"},
		"304":                     {"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", "http_protocol_error"},
		"101":                     {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "http_protocol_error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, serve(t, answers(c.answer)).url(), nil)
			fill, err := o.fetch(t, asks(stored(nil), "/"))
			if fill.Response != nil {
				t.Errorf("there is a response: %q", fill.Response.Body)
			}
			if e := asError(t, err); e.Status != 502 || e.ProxyStatus != c.token {
				t.Errorf("%d %s, want 502 %s: %v", e.Status, e.ProxyStatus, c.token, e)
			}
			if got := o.breaker.Counts().ConsecutiveFailures; got != 1 {
				t.Errorf("the breaker counted %d failures, want 1", got)
			}
		})
	}
}

func TestAStorableRequestCarriesWhatIsKeyedAndNothingElse(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	s := serve(t, record(heads, ok))
	o := newOrigin(t, s.url()+"/base", nil)
	rule := stored(func(r *rules.Rule) {
		r.Vary = []string{"accept", "if-none-match", "connection", "x-absent"}
		r.Identity = []rules.IdentityPart{{Header: "authorization"}, {Cookie: "session"}}
	})
	if _, err := o.fetch(t, asks(rule, "/clients/a%2Fb?limit=20",
		"Accept: text/csv", "Accept: text/html ", "Authorization: Bearer t", "Cookie: theme=dark; session=1", "Cookie: session=2; x",
		"If-None-Match: \"x\"", "Connection: close", "X-Forwarded-Host: evil", "X-HTTP-Method-Override: DELETE", "Range: bytes=0-1", "User-Agent: curl")); err != nil {
		t.Fatal(err)
	}
	h := <-heads
	if got, want := firstLine(h), "GET /base/clients/a%2Fb?limit=20 HTTP/1.1"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
	want := []string{
		"Host: " + s.l.Addr().String(), "User-Agent: forebay", "Accept-Encoding: identity",
		"accept: text/csv, text/html", "authorization: Bearer t", "Cookie: session=1; session=2", "Via: 1.1 forebay",
	}
	if diff := cmp.Diff(want, fields(h)); diff != "" {
		t.Errorf("the service got other fields (-want +got):\n%s", diff)
	}
}

func TestCredentialsThatAreNotKeyedMakeARequestPersonal(t *testing.T) {
	t.Parallel()
	public := stored(nil)
	byToken := stored(func(r *rules.Rule) { r.Identity = []rules.IdentityPart{{Header: "authorization"}} })
	bySession := stored(func(r *rules.Rule) { r.Identity = []rules.IdentityPart{{Cookie: "session"}} })
	byVary := stored(func(r *rules.Rule) { r.Vary = []string{"authorization", "cookie"} })
	for name, c := range map[string]struct {
		rule  *rules.Rule
		field string
		want  bool
	}{
		"nothing":                      {public, "", false},
		"a token":                      {public, "Authorization: Bearer t", true},
		"a token in lower case":        {public, "authorization: bearer t", true},
		"cookies":                      {public, "Cookie: a=b", true},
		"a token that is keyed":        {byToken, "Authorization: Bearer t", false},
		"a token beside a session":     {bySession, "Authorization: Bearer t", true},
		"cookies that tell no callers": {bySession, "Cookie: a=b", false},
		"a token that is varied on":    {byVary, "Authorization: Bearer t", false},
		"cookies that are varied on":   {byVary, "Cookie: a=b", false},
	} {
		var h fasthttp.RequestHeader
		if n, v, has := strings.Cut(c.field, ": "); has {
			h.Set(n, v)
		}
		if got := Personal(c.rule, &h); got != c.want {
			t.Errorf("%s: personal %v, want %v", name, got, c.want)
		}
	}
}

func TestAStoredResponseHasItsTimesAndNoFieldOfAConnection(t *testing.T) {
	t.Parallel()
	date := time.Now().Add(-5 * time.Second).UTC().Truncate(time.Second)
	s := serve(t, answers(says("200 OK", "Date: "+date.Format("Mon, 02 Jan 2006 15:04:05 GMT"), "Age: 7", "Cache-Control: max-age=30", "ETag: \"x\"",
		"Content-Type: application/json", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Via: 1.0 edge", "X-Twice: 1", "X-Twice: 2")))
	o := newOrigin(t, s.url(), nil)
	before := time.Now()
	fill, err := o.fetch(t, asks(stored(nil), "/"))
	if err != nil {
		t.Fatal(err)
	}
	r := fill.Response
	var got []string
	for _, f := range r.Header {
		got = append(got, fmt.Sprintf("%s: %s", f.Name, f.Value))
	}
	if diff := cmp.Diff([]string{"Cache-Control: max-age=30", "X-Twice: 1", "X-Twice: 2", "Via: 1.0 edge, 1.1 forebay"}, got); diff != "" {
		t.Errorf("other fields are kept (-want +got):\n%s", diff)
	}
	if r.ETag != `"x"` || string(r.ContentType) != "application/json" || !r.Date.Time().Equal(date) {
		t.Errorf("ETag %s, Content-Type %s, Date %s", r.ETag, r.ContentType, r.Date.Time())
	}
	if r.InitialAge < 7*time.Second || r.Lifetime != 30*time.Second || r.RequestTime.Time().Before(before) || r.ResponseTime < r.RequestTime {
		t.Errorf("age %s of %s, requested %s, answered %s", r.InitialAge, r.Lifetime, r.RequestTime.Time(), r.ResponseTime.Time())
	}
}

func TestAResponseThatMemoryCannotHoldIsNotFetched(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]func(*peer){
		"announced": answers(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", maxFetched+1)),
		"found large": func(p *peer) {
			p.head()
			p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			write(p, "chunked", maxFetched+1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, serve(t, script).url(), nil)
			if _, err := o.fetch(t, asks(stored(nil), "/")); !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v, want ErrTooLarge", err)
			}
			if got := o.breaker.Counts().TotalFailures; got != 0 {
				t.Errorf("the breaker counted %d failures", got)
			}
		})
	}
	whole := bytes.Repeat([]byte("x"), 3<<20)
	o := newOrigin(t, serve(t, func(p *peer) {
		p.head()
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n300000\r\n")
		_, _ = p.Write(whole)
		p.send("\r\n0\r\n\r\n")
	}).url(), nil)
	fill, err := o.fetch(t, asks(stored(nil), "/"))
	if err != nil || !bytes.Equal(fill.Response.Body, whole) {
		t.Errorf("a body that fits did not arrive: %v", err)
	}
}

// A flight that nobody waits for any more ends, its connection with it, and is nobody's failure.
func TestAFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, beginning := range map[string]string{"before the header": "", "within the body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked, gone := make(chan struct{}), make(chan struct{})
			s := serve(t, func(p *peer) {
				p.head()
				p.send(beginning)
				close(asked)
				_ = p.rest()
				close(gone)
			})
			o := newOrigin(t, s.url(), nil)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-asked
				cancel()
			}()
			if _, err := o.Fetch(ctx, asks(stored(nil), "/")); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the context's error", err)
			}
			<-gone
			if got := o.breaker.Counts().TotalFailures; got != 0 {
				t.Errorf("the breaker counted %d failures", got)
			}
			if got := o.outcomes(abandoned); got != "1" {
				t.Errorf("%s requests counted as abandoned", got)
			}
		})
	}
}
