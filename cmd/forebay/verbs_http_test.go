package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// reply is an HTTP response as a script sees it, with the request that brought it.
type reply struct {
	status  int
	header  http.Header
	body    string
	took    time.Duration
	err     error
	request []string // the arguments, to ask again
}

// httpVerb sends one request.
func httpVerb(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	if len(args) > 1 && args[0] == "-bg" {
		ctx, leave := context.WithCancel(context.Background())
		p := pendingReply{make(chan reply, 1), leave}
		w.pending[args[1]] = p
		go func() { p.reply <- sendUntil(ctx, args[2:]) }()
		return
	}
	w.last = send(args)
	ts.Check(w.last.err)
	ts.Logf("%d %v\n%s", w.last.status, w.last.header, shorten(w.last.body))
}

func shorten(s string) string {
	if len(s) > 500 {
		return s[:500] + "…"
	}
	return s
}

func waitHTTP(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	select {
	case w.last = <-w.pending[args[0]].reply:
		ts.Check(w.last.err)
	case <-time.After(patience):
		ts.Fatalf("request %s is still not answered", args[0])
	}
}

// pendingReply is a request in the background. Safe for concurrent use.
type pendingReply struct {
	reply chan reply
	leave func()
}

// leave has the client of a request in the background go away, and waits until it has.
func leave(ts *testscript.TestScript, _ bool, args []string) {
	p := worldOf(ts).pending[args[0]]
	p.leave()
	if r := <-p.reply; r.err == nil {
		ts.Fatalf("request %s was answered before: %d", args[0], r.status)
	}
}

// again repeats the last request until a header matches, for what happens by itself.
func again(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	re := compile(ts, args[1])
	eventually(ts, func() (bool, string) {
		w.last = send(w.last.request)
		if w.last.err != nil {
			return false, w.last.err.Error()
		}
		value := strings.Join(w.last.header.Values(args[0]), ", ")
		return re.MatchString(value), value
	})
}

// send sends [-H 'K: V'] [-d BODY] METHOD URL.
func send(args []string) reply { return sendUntil(context.Background(), args) }

// sendUntil is send by a client who leaves when ctx ends.
func sendUntil(ctx context.Context, args []string) reply {
	header := http.Header{}
	var body io.Reader
	rest := args
	for len(rest) > 2 && strings.HasPrefix(rest[0], "-") {
		switch rest[0] {
		case "-H":
			k, v, _ := strings.Cut(rest[1], ":")
			header.Add(k, strings.TrimSpace(v))
		case "-d":
			body = strings.NewReader(rest[1])
			if header.Get("Content-Type") == "" {
				header.Set("Content-Type", "application/json")
			}
		}
		rest = rest[2:]
	}
	request, err := http.NewRequestWithContext(ctx, rest[0], rest[1], body)
	if err != nil {
		return reply{err: err, request: args}
	}
	request.Header = header
	if host := header.Get("Host"); host != "" {
		request.Host = host
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	start := time.Now()
	response, err := (&http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(request)
	if err != nil {
		return reply{err: err, request: args}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	r := reply{status: response.StatusCode, header: response.Header, body: string(text), took: time.Since(start), request: args}
	if err != nil {
		r.body += "\n[broken off: " + err.Error() + "]"
	}
	return r
}

// raw sends what http cannot, and reads until the response or the connection ends.
func raw(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	conn, err := net.Dial("tcp", strings.TrimPrefix(ts.Getenv(args[0]), "http://"))
	ts.Check(err)
	defer conn.Close()
	ts.Check(conn.SetDeadline(time.Now().Add(patience)))
	start := time.Now()
	_, err = io.WriteString(conn, strings.ReplaceAll(strings.TrimSuffix(ts.ReadFile(args[1]), "\n"), "\n", "\r\n"))
	ts.Check(err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	ts.Check(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	ts.Check(err)
	w.last = reply{status: response.StatusCode, header: response.Header, body: string(text), took: time.Since(start)}
	ts.Logf("%d %v\n%s", w.last.status, w.last.header, shorten(w.last.body))
}

func fill(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Setenv(args[0], strings.Repeat("x", n))
}

// scriptedOrigin is an HTTP service that does as the script says. Safe for concurrent use.
type scriptedOrigin struct {
	listener net.Listener

	mu       sync.Mutex // guards all below
	response string     // raw, as sent
	seen     []string   // raw request headers
	held     chan struct{}
	conns    []net.Conn
}

// originVerb tells an origin what to do.
func originVerb(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	o := w.origins[args[0]]
	switch args[1] {
	case "start":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		o = &scriptedOrigin{listener: l, response: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}
		w.origins[args[0]] = o
		ts.Setenv("LEGACY_URL", "http://"+l.Addr().String())
		go o.serve()
	case "respond":
		text := strings.ReplaceAll(ts.ReadFile(args[2]), "\n", "\r\n")
		head, body, _ := strings.Cut(text, "\r\n\r\n")
		body = strings.TrimSuffix(body, "\r\n")
		if !strings.Contains(head, "Content-Length") && !strings.Contains(head, "Transfer-Encoding") {
			head += "\r\nContent-Length: " + strconv.Itoa(len(body))
		}
		o.set(head + "\r\n\r\n" + body)
	case "hold":
		o.hold()
	case "release":
		o.release()
	case "seen":
		if n := o.count(); strconv.Itoa(n) != args[2] != neg {
			ts.Fatalf("origin %s saw %d requests", args[0], n)
		}
	case "await":
		eventually(ts, func() (bool, string) { n := o.count(); return strconv.Itoa(n) == args[2], strconv.Itoa(n) })
	case "got":
		if all := o.requests(); matches(ts, args[2], all) == neg {
			ts.Fatalf("origin %s got:\n%s", args[0], all)
		}
	case "stop":
		o.close()
	default:
		usage(ts, "origin NAME start|respond FILE|hold|release|seen N|await N|got REGEXP|stop")
	}
}

func (o *scriptedOrigin) set(response string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.response = response
}

func (o *scriptedOrigin) hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = make(chan struct{})
}

func (o *scriptedOrigin) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held != nil {
		close(o.held)
		o.held = nil
	}
}

func (o *scriptedOrigin) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.seen)
}

func (o *scriptedOrigin) requests() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.seen, "\n\n")
}

func (o *scriptedOrigin) close() {
	o.release()
	_ = o.listener.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		_ = c.Close()
	}
}

func (o *scriptedOrigin) serve() {
	for {
		conn, err := o.listener.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns = append(o.conns, conn)
		o.mu.Unlock()
		go o.answer(conn)
	}
}

// answer serves one connection: requests with a body are read to their end, and the connection goes on.
func (o *scriptedOrigin) answer(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		var head strings.Builder
		head.WriteString(request.Method + " " + request.RequestURI + "\nHost: " + request.Host + "\n")
		_ = request.Header.Write(&head)
		head.Write(body)
		o.mu.Lock()
		o.seen = append(o.seen, head.String())
		held, response := o.held, o.response
		o.mu.Unlock()
		if held != nil {
			<-held
			o.mu.Lock()
			response = o.response
			o.mu.Unlock()
		}
		if _, err := io.WriteString(conn, response); err != nil || strings.Contains(response, "Connection: close") {
			return
		}
	}
}
