package origin

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httputil"
	"strconv"
	"strings"
	"testing"
	"time"
)

// big is far more than forebay may hold of a body on the way.
const big = 12 << 20

// pattern is a body whose every part tells its place.
type pattern struct{ at, size int }

// texture repeats after a prime number of bytes, so that no buffer's worth of it can be lost or swapped
// unseen.
var texture = func() []byte {
	b := make([]byte, 65_521)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.size {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size-p.at)], texture[p.at%len(texture):])
	p.at += n
	return n, nil
}

// isPattern reads the body to its end and tells whether it is the pattern, whole.
func isPattern(r io.Reader, size int) error {
	want := &pattern{size: size}
	got, expected := make([]byte, 64<<10), make([]byte, 64<<10)
	total := 0
	for {
		n, err := r.Read(got)
		_, _ = io.ReadFull(want, expected[:n])
		if string(got[:n]) != string(expected[:n]) {
			return fmt.Errorf("differs between %d and %d", total, total+n)
		}
		total += n
		if err == io.EOF && total == size {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d bytes of %d: %w", total, size, err)
		}
	}
}

// bodyOf returns the body that follows a header, by its framing; of a chunked one, trailers are read too.
func (p *peer) bodyOf(head string) io.Reader {
	if strings.EqualFold(field(head, "Transfer-Encoding"), "chunked") {
		return io.MultiReader(httputil.NewChunkedReader(p.br), &trailer{p: p})
	}
	if n, err := strconv.Atoi(field(head, "Content-Length")); err == nil {
		return io.LimitReader(p.br, int64(n))
	}
	return p.br
}

// trailer reads what is behind the last chunk, and yields nothing.
type trailer struct{ p *peer }

func (t *trailer) Read([]byte) (int, error) {
	if end := t.p.head(); !strings.HasSuffix(end, "\r\n") {
		return 0, fmt.Errorf("the body ends with %q: %w", end, io.ErrUnexpectedEOF)
	}
	return 0, io.EOF
}

func TestBigBodiesStreamBothWaysInEitherFraming(t *testing.T) {
	t.Parallel()
	for _, framing := range []string{"Content-Length: " + strconv.Itoa(big), "Transfer-Encoding: chunked"} {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			got := make(chan error, 1)
			s := serve(t, func(p *peer) {
				h := p.head()
				if want := framing; !strings.Contains(h, want+"\r\n") {
					t.Errorf("the service got another framing:\n%s", h)
				}
				got <- isPattern(p.bodyOf(h), big)
				p.send("HTTP/1.1 200 OK\r\n" + framing + "\r\n\r\n")
				write(p, framing, big)
			})
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, nil)
			p := f.dial()
			p.send("POST / HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n\r\n")
			write(p, framing, big)
			if err := <-got; err != nil {
				t.Errorf("the service's body: %v", err)
			}
			h := p.head()
			if err := isPattern(p.bodyOf(h), big); err != nil {
				t.Errorf("the client's body: %v\n%s", err, h)
			}
		})
	}
}

// write sends the pattern in the framing.
func write(p *peer, framing string, size int) {
	if !strings.Contains(framing, "chunked") {
		_, _ = io.Copy(p.Conn, &pattern{size: size})
		return
	}
	w := httputil.NewChunkedWriter(p.Conn)
	_, _ = io.CopyBuffer(struct{ io.Writer }{w}, &pattern{size: size}, make([]byte, 50_000))
	_ = w.Close()
	p.send("\r\n")
}

// A service that echoes answers before it has read the request. Neither side may wait for the other.
func TestABodyIsEchoedWhileItIsStillSent(t *testing.T) {
	t.Parallel()
	for _, framing := range []string{"Content-Length: " + strconv.Itoa(big), "Transfer-Encoding: chunked"} {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(p *peer) {
				h := p.head()
				p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				w := httputil.NewChunkedWriter(p.Conn)
				_, _ = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{p.bodyOf(h)}, make([]byte, 64<<10))
				_ = w.Close()
				p.send("\r\n")
			})
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, nil)
			p := f.dial()
			p.send("POST / HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n\r\n")
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				write(p, framing, big)
			}()
			h := p.head()
			if err := isPattern(p.bodyOf(h), big); err != nil {
				t.Errorf("the client's body: %v\n%s", err, h)
			}
			<-sent
		})
	}
}

func TestAnEarlyRefusalReachesAClientThatIsStillSending(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]func(*peer){
		"and the service closes":     func(*peer) {},
		"and the service goes quiet": func(p *peer) { _ = p.rest() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(p *peer) {
				p.head()
				p.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
				after(p)
			})
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, nil)
			p := f.dial()
			p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + strconv.Itoa(big) + "\r\n\r\n")
			p.send(strings.Repeat("x", 100_000)) // and no more: the client waits for what the service says
			h := p.head()
			if got := firstLine(h); !strings.HasPrefix(got, "HTTP/1.1 413 ") {
				t.Fatalf("answered %q", got)
			}
			if got := p.read(3); got != "big" {
				t.Errorf("body %q", got)
			}
			if got := p.rest(); got != "" {
				t.Errorf("the connection went on: %q", got)
			}
		})
	}
}

func TestTheClientsConnectionStaysInStepAfterABody(t *testing.T) {
	t.Parallel()
	s := serve(t, func(p *peer) {
		for {
			h := p.head()
			if h == "" {
				return
			}
			body, _ := io.ReadAll(p.bodyOf(h))
			p.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		}
	})
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	for i, request := range []string{
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nsmall",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("y", 100_000),
		"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=\"x\"\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n",
		"DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nfat",
		"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nwait",
	} {
		want := []int{5, 100_000, 5, 2, 3, 4}[i]
		p.send(request)
		h := p.head()
		if strings.HasPrefix(h, "HTTP/1.1 100 ") {
			h = p.head()
		}
		if got := field(h, "Content-Length"); got != strconv.Itoa(want) {
			t.Fatalf("request %d: Content-Length %q, want %d\n%s", i, got, want, h)
		}
		if got := p.read(want); len(got) != want {
			t.Fatalf("request %d: body ended after %d bytes", i, len(got))
		}
	}
	if n := s.connections(); n != 1 {
		t.Errorf("%d connections to the service, want one", n)
	}
}

func TestABodyAboveTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"announced":   "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", inlineBody),
		"found large": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n" + strings.Repeat("x", 200_000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := make(chan bool, 1)
			s := serve(t, func(p *peer) { whole <- strings.HasSuffix(p.rest(), "0\r\n\r\n") })
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, func(p *Passage) { p.MaxBody = 100_000 })
			p := f.dial()
			p.send(request)
			if h := p.head(); !strings.HasPrefix(h, "HTTP/1.1 413 ") {
				t.Errorf("answered %q, want a 413", firstLine(h))
			}
			if s.connections() > 0 && <-whole {
				t.Error("the service got a body that looks whole")
			}
			if got := o.outcomes(unwell) + o.outcomes(broken) + o.outcomes(timedOut); got != "000" {
				t.Errorf("the service was blamed: %s", got)
			}
		})
	}
}

// A client that leaves in the middle of its body must not leave the service with one that looks whole, nor
// count as the service's failure.
func TestAnUploadThatIsCutIsCutForTheServiceToo(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{
		"sized":             "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", inlineBody+1),
		"chunked":           "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"broken chunk":      "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n",
		"chunk size hex":    "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
		"length at the end": "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n",
		"bare line feed":    "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 1)
			s := serve(t, func(p *peer) {
				p.head()
				got <- p.rest()
			})
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, nil)
			c := f.dial()
			c.send("POST / HTTP/1.1\r\nHost: a\r\n" + begin)
			if name == "sized" || name == "chunked" {
				_ = c.Close()
			}
			if err := f.err(); !isRequestError(err) {
				t.Errorf("blamed %v, want the client", err)
			}
			if s.connections() > 0 {
				if body := <-got; strings.HasSuffix(body, "0\r\n\r\n") {
					t.Errorf("the service got %q, which looks whole", body)
				}
			}
			if got := o.breaker.Counts().TotalFailures; got != 0 {
				t.Errorf("the breaker counted %d failures", got)
			}
		})
	}
}

// Whatever cuts an answer's body, the client must see that it is cut.
func TestAnAnswerThatIsCutIsVisiblyBroken(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"short of its length":     "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 50000),
		"within a chunk":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"between chunks":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"before the last newline": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
		"by a chunk that is none": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answers(answer))
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, nil)
			p := f.dial()
			p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			h := p.head()
			body := p.rest()
			if n, err := strconv.Atoi(field(h, "Content-Length")); err == nil && len(body) >= n {
				t.Errorf("%d bytes of %d arrived: looks whole", len(body), n)
			}
			if strings.HasSuffix(body, "0\r\n\r\n") {
				t.Errorf("the last chunk was sent: %q", body)
			}
			eventually(t, "the request is counted as broken", func() bool { return o.outcomes(broken) == "1" })
		})
	}
}

// While the client has seen nothing of an answer, another one can be given.
func TestAnAnswerThatIsCutBeforeTheClientSawItIsNone(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"without a byte":          "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
		"short of its length":     "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
		"far from its length":     "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 10000),
		"before a chunk":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"by a chunk that is none": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answers(answer))
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, func(p *Passage) {
				p.Ended = func(error) { t.Error("the end of an answer is told that was not given") }
			})
			if got := f.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
				t.Errorf("answered %q, want a 502", got)
			}
			if e := asError(t, f.err()); !e.Reached {
				t.Error("the service is said not to have had the request")
			}
			if o.outcomes(broken) != "1" {
				t.Error("the request is not counted as broken")
			}
		})
	}
}

// What became of an answer is told once, when it is known.
func TestTheEndOfAnAnswerIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer string
		cut    bool
	}{
		"whole, short":   {answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"},
		"whole, long":    {answer: "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000)},
		"whole, chunked": {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		"no body":        {answer: "HTTP/1.1 204 No Content\r\n\r\n"},
		"no chunk":       {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		"cut, long":      {answer: "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 50000), cut: true},
		"cut, chunked":   {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", cut: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answers(c.answer))
			o := newOrigin(t, s.url(), nil)
			ends := make(chan error, 2)
			f := newFront(t, o.Origin, func(p *Passage) { p.Ended = func(cut error) { ends <- cut } })
			f.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if cut := <-ends; (cut != nil) != c.cut {
				t.Errorf("told %v", cut)
			}
			eventually(t, "the request ends", func() bool { return o.count(`forebay_upstream_running{upstream="legacy"}`) != "1" })
			if len(ends) > 0 {
				t.Error("told twice")
			}
		})
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond) // a poll, with a deadline
	}
}

func TestAnAnswerWithoutALengthEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	s := serve(t, answers("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end"))
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	for range 2 {
		p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		h := p.head()
		if field(h, "Transfer-Encoding") != "chunked" {
			t.Fatalf("the client cannot tell where it ends:\n%s", h)
		}
		body, err := io.ReadAll(p.bodyOf(h))
		if string(body) != "to the end" || err != nil {
			t.Fatalf("body %q, %v", body, err)
		}
	}
	old := f.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
	if head, body, _ := strings.Cut(old, "\r\n\r\n"); body != "to the end" || strings.Contains(head, "chunked") {
		t.Errorf("an HTTP/1.0 client got %q", old)
	}
}

func TestPiecesOfAStreamArriveAsTheyAreSent(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	s := serve(t, func(p *peer) {
		p.head()
		p.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for piece := range next {
			p.send(fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece))
		}
		p.send("0\r\n\r\n")
	})
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	next <- "data: 0\n\n"
	body := p.bodyOf(p.head())
	for i := range 3 {
		b := make([]byte, len("data: 0\n\n"))
		if _, err := io.ReadFull(body, b); err != nil || string(b) != fmt.Sprintf("data: %d\n\n", i) {
			t.Fatalf("piece %d: %q, %v", i, b, err)
		}
		if i < 2 {
			next <- fmt.Sprintf("data: %d\n\n", i+1)
		}
	}
	close(next)
	if rest, err := io.ReadAll(body); len(rest) != 0 || err != nil {
		t.Errorf("the end: %q, %v", rest, err)
	}
}

func TestAClientThatLeavesEndsTheServicesAnswer(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	s := serve(t, func(p *peer) {
		p.head()
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			if _, err := io.WriteString(p.Conn, "400\r\n"+strings.Repeat("x", 1024)+"\r\n"); err != nil {
				close(stopped)
				return
			}
		}
	})
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	p.head()
	_ = p.Close()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("the service is still sending")
	}
	eventually(t, "the request is counted as abandoned", func() bool { return o.outcomes(abandoned) == "1" })
}
