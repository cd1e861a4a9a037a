package origin

import (
	"bufio"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// Every request here could be read as another, or as two. Each is answered 400, the connection is closed,
// and the service hears nothing of it: not of what looks like the second request either.
func TestAmbiguousRequestsAreRefusedAndNeverReachTheService(t *testing.T) {
	t.Parallel()
	s := serve(t, always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for name, request := range map[string]string{
		"Content-Length beside Transfer-Encoding": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding before Content-Length": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
		"two Content-Lengths that agree":          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
		"two Content-Lengths that differ":         "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n",
		"a list of Content-Lengths":               "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n",
		"a signed Content-Length":                 "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
		"a negative Content-Length":               "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
		"a hexadecimal Content-Length":            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\n",
		"an empty Content-Length":                 "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
		"a Content-Length beyond any number":      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"Transfer-Encoding: identity":             "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
		"identity beside a length":                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
		"Transfer-Encoding: gzip, chunked":        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding: chunked, chunked":     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding: xchunked":             "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding: \"chunked\"":          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding with a vertical tab":   "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding twice":                 "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding over two lines":        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding with a space before :": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding in HTTP/1.0":           "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a bare line feed in the header":          "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
		"a bare line feed before a length":        "POST / HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 4\r\n\r\n",
		"a bare carriage return":                  "GET / HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 44\r\n\r\n",
		"a folded line":                           "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
		"a first line that is folded":             "GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n",
		"a space in a name":                       "GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n",
		"a space before a colon":                  "GET / HTTP/1.1\r\nHost: a\r\nX : z\r\n\r\n",
		"a line without a colon":                  "GET / HTTP/1.1\r\nHost: a\r\nContent-Length\r\n\r\n",
		"a line without a name":                   "GET / HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n",
		"a NUL in a value":                        "GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
		"two hosts":                               "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"no host":                                 "GET / HTTP/1.1\r\nX: y\r\n\r\n",
		"an empty host":                           "GET / HTTP/1.1\r\nHost: \r\n\r\n",
		"a host with a path":                      "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
		"a host with a space":                     "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
		"a host with user information":            "GET / HTTP/1.1\r\nHost: x@a\r\n\r\n",
		"a target for another host":               "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"a target of another scheme":              "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"a fragment":                              "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
		"CONNECT":                                 "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
		"CONNECT with a path":                     "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a method that is none":                   "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a method with a colon":                   "GET: / HTTP/1.1\r\nHost: a\r\n\r\n",
		"HTTP/2.0":                                "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
		"HTTP/1.2":                                "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
		"no version":                              "GET /\r\nHost: a\r\n\r\n",
		"a space in the target":                   "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := f.dial()
			p.send(request + smuggled)
			got := p.rest()
			if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
				t.Errorf("answered %q, want a 400", firstLine(got))
			}
			if n := strings.Count("\n"+got, "\nHTTP/1.1 "); n != 1 {
				t.Errorf("there are %d answers, want one and the connection closed:\n%s", n, got)
			}
			if n := s.connections(); n != 0 {
				t.Errorf("the service was reached")
			}
		})
	}
}

func TestOrdinaryRequestsAreNotAmbiguous(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"GET /a/%2F%23?b=c;d&e=%00 HTTP/1.1\r\nHost: api.example.com:8080\r\nAccept: */*\r\nCookie: a=b; c=\"d\"\r\n\r\n",
		"GET http://A.example:80/x HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
		"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:   4  \r\n\r\nabcd",
		"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
		"PROPFIND / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Tab:\ta\tb\r\nX-Latin: caf\xe9\r\n\r\n",
	} {
		var h fasthttp.RequestHeader
		if err := h.Read(bufio.NewReader(strings.NewReader(raw))); err != nil {
			t.Errorf("%q: %v", raw, err)
			continue
		}
		if what := Ambiguous(&h); what != "" {
			t.Errorf("%q is called ambiguous: %s", raw, what)
		}
	}
	var made fasthttp.RequestHeader // not read from a connection
	made.SetHost("forebay")
	if what := Ambiguous(&made); what != "" {
		t.Errorf("a request made by hand is called ambiguous: %s", what)
	}
}

// typical is the header that a browser sends with a request to an API.
const typical = "GET /api/v1/optimized/clients/search/advanced?query=ann&limit=20 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: application/json\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nReferer: http://127.0.0.1:3000/\r\n" +
	"Origin: http://127.0.0.1:3000\r\nConnection: keep-alive\r\nSec-Fetch-Mode: cors\r\n\r\n"

func TestAmbiguousAllocatesNothing(t *testing.T) {
	var h fasthttp.RequestHeader
	if err := h.Read(bufio.NewReader(strings.NewReader(typical))); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = Ambiguous(&h) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkAmbiguous(b *testing.B) {
	var h fasthttp.RequestHeader
	if err := h.Read(bufio.NewReader(strings.NewReader(typical))); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = Ambiguous(&h)
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\r\n")
	return line
}
