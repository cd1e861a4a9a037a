package load

import (
	"context"
	"math/rand/v2"
	"time"
)

// Stream is some connections that ask for the same kind of things.
type Stream struct {
	Name        string
	Connections int
	// Rate is the arrivals a second of all connections together; 0: closed, each asks as fast as it is answered.
	Rate float64
	// Count ends the stream after so many requests; 0: only the time does.
	Count int
	// New returns the function that draws one connection's requests. Only that connection calls it.
	New func(random *rand.Rand) DrawFunc
	// Group names a second class under which a request is counted, "" for none; nil: none is.
	Group func(class string) string
	// Seen is told of each right answer and may look at the connection's response; nil: nobody is. It is called
	// by many connections at once, and its time is not in the latency.
	Seen func(r *Request, c *Connection, a Answer, due time.Time)
}

func (s *Stream) group(class string) string {
	if s.Group == nil {
		return ""
	}
	return s.Group(class)
}

// DrawFunc returns the next request; nil ends its connection's part.
type DrawFunc func() *Request

// Fixed asks for the same thing again and again.
func Fixed(r *Request) func(*rand.Rand) DrawFunc {
	return func(*rand.Rand) DrawFunc { return func() *Request { return r } }
}

// pause is how long a connection of a closed stream waits after it got no answer, so that a server that is
// down is not asked a million times.
const pause = 5 * time.Millisecond

// user is one connection of a stream with its timetable.
type user struct {
	number int // over all streams
	stream *Stream
	draw   DrawFunc
	conn   *Connection
	first  time.Time     // when the first request is due
	every  time.Duration // 0: closed
	end    time.Time
	run    *run
}

// work asks until the end.
func (u *user) work(ctx context.Context) {
	defer u.conn.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := u.first
	for ; due.Before(u.end) && ctx.Err() == nil && u.run.take(u.stream); due = due.Add(u.every) {
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
				u.run.late(time.Since(due))
			case <-ctx.Done():
				return
			}
		} else if u.every == 0 {
			due = time.Now()
		} else if !time.Now().Before(u.end) {
			break
		}
		r := u.draw()
		if r == nil {
			return
		}
		u.ask(ctx, timer, r, due)
	}
	for ; u.every > 0 && due.Before(u.end) && ctx.Err() == nil; due = due.Add(u.every) {
		if r := u.draw(); r != nil {
			u.run.recorder(r.Class).unserved(u.number, due)
			if group := u.stream.group(r.Class); group != "" {
				u.run.recorder(group).unserved(u.number, due)
			}
		}
	}
}

// ask sends one request and takes its outcome down.
func (u *user) ask(ctx context.Context, timer *time.Timer, r *Request, due time.Time) {
	answer, err := u.conn.Do(r)
	o := outcome{due: due, done: time.Now(), answer: answer, right: err == nil && r.right(answer.Status), err: err}
	if u.run.counted(o.due) {
		u.run.recorder(r.Class).record(u.number, o)
		if group := u.stream.group(r.Class); group != "" {
			u.run.recorder(group).record(u.number, o)
		}
		if !o.right {
			u.run.strange(r, o)
		}
	}
	if o.right && u.stream.Seen != nil {
		u.stream.Seen(r, u.conn, answer, due)
	}
	if err != nil && u.every == 0 {
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}
