package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/fstest"

	"forebay/proxy"
	"forebay/rules"
)

// TestPipelinedHitsOfEverySizeArriveWhole asks for the same response many times without waiting, so that headers
// and bodies fall on every place in the connection's buffer, and what is lent follows what is copied.
func TestPipelinedHitsOfEverySizeArriveWhole(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 8<<10 - 1, 8 << 10, 20 << 10, 300 << 10} {
		body := jsonOf(size)
		address := serveHits(t, body)
		for _, between := range []int{0, 1, 7, 31, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89} { // the last fill the buffer up to somewhere in a header
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			const requests = 5
			var script bytes.Buffer
			var methods []string
			ask := func(method, more string) {
				fmt.Fprintf(&script, "%s %s HTTP/1.1\r\nHost: bench\r\n%s\r\n", method, hitPath, more)
				methods = append(methods, method)
			}
			for range requests {
				ask("GET", "")
				for range between { // small answers that are gathered in the buffer: they move where the next header begins
					ask("HEAD", "")
				}
				ask("GET", "If-None-Match: \"0123456789abcdef0123456789abcdef\"\r\n")
			}
			go func() { _, _ = conn.Write(script.Bytes()) }()
			reader := bufio.NewReader(conn)
			for i, method := range methods {
				response, err := http.ReadResponse(reader, &http.Request{Method: method})
				if err != nil {
					t.Fatalf("%d bytes, %d between: answer %d: %v", size, between, i, err)
				}
				got, err := io.ReadAll(response.Body)
				if err != nil {
					t.Fatalf("%d bytes, %d between: body %d: %v", size, between, i, err)
				}
				want := body
				if method == "HEAD" || response.StatusCode == http.StatusNotModified {
					want = nil
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, %d between: answer %d (%s, status %d) has %d bytes, want %d", size, between, i, method, response.StatusCode, len(got), len(want))
				}
				if response.Header.Get("Etag") == "" || response.Header.Get("Cache-Control") != "no-cache" {
					t.Fatalf("%d bytes, %d between: answer %d (%s): %d %s, fields %v", size, between, i, method, response.StatusCode, got, response.Header)
				}
			}
		}
	}
}

// serveHits serves a hit with the body, and returns where.
func serveHits(t *testing.T, body []byte) string {
	t.Helper()
	config, err := rules.Parse("bench.yaml", []byte(hitConfig), fstest.MapFS{}, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := proxy.NewServer(newHitProxy(t, body), config.Server, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Shutdown(t.Context()); err != nil {
			_ = l.Close()
		}
		<-served
	})
	return l.Addr().String()
}
