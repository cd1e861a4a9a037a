package origin

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// Two parsers that agree are no proof, but two that do not are a hole: what is not called ambiguous must be
// the same request for net/http, with the same bytes behind it.
func FuzzRequestsThatAreNotAmbiguousAreOneForAnotherReader(f *testing.F) {
	for _, raw := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x?y HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nabcdeGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
		"GET http://a/ HTTP/1.1\r\nHost: A\r\nConnection: close, X\r\nX: y\r\n\r\n",
		"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\nContent-Length: 5\r\n\r\nabcde",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var h fasthttp.RequestHeader
		br := bufio.NewReaderSize(bytes.NewReader(raw), 64<<10)
		if h.Read(br) != nil || Ambiguous(&h) != "" {
			return
		}
		rest, _ := io.ReadAll(br)
		other := bufio.NewReaderSize(bytes.NewReader(raw), 64<<10)
		r, err := http.ReadRequest(other)
		if err != nil {
			return // stricter is no other reading
		}
		length := int64(max(h.ContentLength(), 0))
		if h.ContentLength() == -1 {
			length = -1
		}
		if r.Method != string(h.Method()) || !strings.EqualFold(r.Host, string(h.Host())) || r.ContentLength != length {
			t.Errorf("%q\nis %s of %q with %d bytes for one and %s of %q with %d bytes for the other",
				raw, h.Method(), h.Host(), length, r.Method, r.Host, r.ContentLength)
		}
		if behind, _ := io.ReadAll(other); length == 0 && !bytes.Equal(behind, rest) {
			t.Errorf("%q\nis followed by %q for one and by %q for the other", raw, rest, behind)
		}
	})
}

// What an answer's header is taken for must be what net/http takes it for.
func FuzzAnswersAreOneForAnotherReader(f *testing.F) {
	for _, raw := range []string{
		ok,
		"HTTP/1.1 100 Continue\r\n\r\n" + ok,
		"HTTP/1.0 404 Not Found\r\nContent-Type: text/plain\r\n\r\nend",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 200\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nX: y\r\n Content-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\nok",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var h fasthttp.ResponseHeader
		if readHead(bufio.NewReaderSize(bytes.NewReader(raw), bufferSize), &h) != nil {
			return
		}
		other := bufio.NewReader(bytes.NewReader(raw))
		for range maxInterim {
			r, err := http.ReadResponse(other, nil)
			if err != nil {
				return // stricter is no other reading
			}
			if r.StatusCode < 200 && r.StatusCode != http.StatusSwitchingProtocols {
				continue
			}
			want := map[framing]int64{noBody: 0, bySize: int64(h.ContentLength()), byChunks: -1, byClose: -1}[framingOf("GET", &h)]
			chunked := len(r.TransferEncoding) > 0
			if r.StatusCode != h.StatusCode() || r.ContentLength != want || chunked != (framingOf("GET", &h) == byChunks) {
				t.Errorf("%q\nis a %d of %d bytes (%d) for one and a %d of %d bytes (chunked: %v) for the other",
					raw, h.StatusCode(), want, framingOf("GET", &h), r.StatusCode, r.ContentLength, chunked)
			}
			return
		}
	})
}
