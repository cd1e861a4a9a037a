package bare

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Lifetime is how long the origin lets its responses be reused: longer than any run.
const Lifetime = time.Hour

// Asked is the path under which the origin tells how many documents it was asked for: what it was not asked
// for, a cache answered.
const Asked = "/asked"

// Target returns the path of the n-th document of a size in bytes.
func Target(size, n int) string { return "/" + strconv.Itoa(size) + "/" + strconv.Itoa(n) }

// Document returns the n-th document of a size: JSON that is different for each of them.
func Document(size, n int) []byte {
	head := fmt.Sprintf(`{"size":%d,"n":%d,"text":"`, size, n)
	return []byte(head + strings.Repeat("x", max(size-len(head)-2, 0)) + `"}`)
}

// NewOrigin answers every document with an hour to live. Rows, search results and the like come from
// databases; here only the cache counts.
func NewOrigin() *fasthttp.Server {
	age := fmt.Sprintf("public, max-age=%d", int(Lifetime.Seconds()))
	var asked atomic.Int64
	return server(func(ctx *fasthttp.RequestCtx) {
		if string(ctx.Path()) == Asked {
			ctx.Response.Header.Set("Cache-Control", "no-store")
			ctx.SetBodyString(strconv.FormatInt(asked.Load(), 10))
			return
		}
		size, n, ok := parse(ctx.Path())
		if !ok {
			ctx.SetStatusCode(fasthttp.StatusNotFound)
			return
		}
		asked.Add(1)
		ctx.Response.Header.Set("Cache-Control", age)
		ctx.Response.Header.Set("Etag", `"`+strconv.Itoa(size)+"-"+strconv.Itoa(n)+`"`)
		ctx.SetContentType("application/json")
		ctx.Response.SetBodyRaw(Document(size, n))
	})
}

// New answers documents, so many of each size, with the header fields given, all made before it starts. The
// handler finds the document's size and number in the path and does nothing else.
func New(documents map[int]int, fields [][2]string) *fasthttp.Server {
	bodies := make(map[int][][]byte, len(documents))
	for size, count := range documents {
		for n := range count {
			bodies[size] = append(bodies[size], Document(size, n))
		}
	}
	names, values := make([][]byte, 0, len(fields)), make([][]byte, 0, len(fields))
	var contentType []byte
	for _, f := range fields {
		switch f[0] {
		case "Content-Type":
			contentType = []byte(f[1])
		case "Content-Length", "Date", "Connection": // the server's own
		default:
			names, values = append(names, []byte(f[0])), append(values, []byte(f[1]))
		}
	}
	return server(func(ctx *fasthttp.RequestCtx) {
		size, n, ok := parse(ctx.Path())
		if !ok || n >= len(bodies[size]) {
			ctx.SetStatusCode(fasthttp.StatusNotFound)
			return
		}
		h := &ctx.Response.Header
		for i := range names {
			h.SetCanonical(names[i], values[i])
		}
		h.SetContentTypeBytes(contentType)
		ctx.Response.SetBodyRaw(bodies[size][n])
	})
}

func server(handler fasthttp.RequestHandler) *fasthttp.Server {
	return &fasthttp.Server{Handler: handler, NoDefaultServerHeader: true, NoDefaultContentType: true, ReadBufferSize: 16 << 10}
}

// Serve serves on the listener until ctx ends.
func Serve(ctx context.Context, s *fasthttp.Server, l net.Listener) error {
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- s.ShutdownWithContext(grace)
	}()
	if err := s.Serve(l); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return <-stopped
}

// parse reads /SIZE/N.
func parse(path []byte) (size, n int, ok bool) {
	if len(path) == 0 || path[0] != '/' {
		return 0, 0, false
	}
	first, second, found := bytes.Cut(path[1:], []byte("/"))
	if !found {
		return 0, 0, false
	}
	size, err1 := fasthttp.ParseUint(first)
	n, err2 := fasthttp.ParseUint(second)
	return size, n, err1 == nil && err2 == nil && size > 0 && size <= 16<<20
}
