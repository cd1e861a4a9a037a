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
	// Kept are used instead of new connections, and left open for another run; nil: none are.
	Kept []*Connection
	// Group names a second class under which a request is counted, "" for none; nil: none is.
	Group func(class string) string
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
	if u.stream.Kept == nil {
		defer u.conn.Close()
	}
	if u.every > 0 {
		u.keep(ctx)
		return
	}
	time.Sleep(time.Until(u.first))
	for u.run.take(u.stream) && ctx.Err() == nil && time.Now().Before(u.end) {
		r := u.draw()
		if r == nil {
			return
		}
		if u.ask(r, time.Now()) != nil {
			time.Sleep(pause)
		}
	}
}

// keep asks by the timetable.
func (u *user) keep(ctx context.Context) {
	alarm, err := newAlarm()
	if err != nil {
		return // out of file descriptors: everything of this connection is unserved
	}
	defer alarm.close()
	due := u.first
	for ; due.Before(u.end) && ctx.Err() == nil; due = due.Add(u.every) {
		if !u.run.take(u.stream) {
			return
		}
		if wait := time.Until(due); wait > 0 {
			alarm.wait(wait)
			u.run.late(time.Since(due))
		} else if !time.Now().Before(u.end) {
			break
		}
		r := u.draw()
		if r == nil {
			return
		}
		_ = u.ask(r, due) // it is taken down
	}
	for ; due.Before(u.end) && ctx.Err() == nil; due = due.Add(u.every) {
		if r := u.draw(); r != nil {
			u.run.recorder(r.Class).unserved(u.number, due)
			if group := u.stream.group(r.Class); group != "" {
				u.run.recorder(group).unserved(u.number, due)
			}
		}
	}
}

// ask sends one request and takes its outcome down.
func (u *user) ask(r *Request, due time.Time) error {
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
	return err
}
