package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// What of a server is put back when an old copy is.
const (
	allOfIt = iota
	chainOfIt
	logOfIt
	valuesOfIt
)

// oracleServer is a Redis that the oracle does things to: a model, or a real one.
type oracleServer interface {
	do(ctx context.Context, cmds []goredis.Cmder) error
	copyOf() oracleCopy               // what would be found after a restart from a dump made now
	putBack(old oracleCopy, what int) // an old copy takes the place of what is there; the zero value is empty
	cut(stream string, from, to int)  // takes entries out of a stream
	length(stream string) int         // of a stream
	turnClock(by time.Duration)
}

// oracleCopy is what a server held.
type oracleCopy struct {
	values  map[string][]byte
	streams map[string]modelStream
	asked   map[string]string
	dump    []byte            // of a real server: its RDB file
	pieces  map[string]string // likewise: each key as DUMP writes it
}

// modelStream is a stream. Its entries are not written again.
type modelStream struct {
	last    streamID
	entries []modelEntry
}

type modelEntry struct {
	id     streamID
	fields map[string]any
}

// modelServer is a Redis as far as this tier uses one. The scripts are told apart by their hashes, and are written
// here once more in Go: TestTheModelAnswersAsRedisDoes holds both to the same answers.
type modelServer struct {
	values  map[string][]byte
	streams map[string]modelStream
	asked   map[string]string
	ahead   time.Duration // of its clock
	scripts map[string]func(m *modelServer, key string, args []string) any
}

// noChecks : a piece of the rule is removed from the script that appends to the chain.
func newModelServer(noChecks bool) *modelServer {
	m := &modelServer{values: map[string][]byte{}, streams: map[string]modelStream{}, asked: map[string]string{}}
	m.scripts = map[string]func(*modelServer, string, []string) any{}
	for text, do := range map[string]func(*modelServer, string, []string) any{
		claimScript:  (*modelServer).claim,
		appendScript: func(m *modelServer, key string, args []string) any { return m.appendTo(key, args, noChecks) },
		lookScript:   (*modelServer).look,
		askScript:    (*modelServer).ask,
		writeScript:  (*modelServer).write,
	} {
		m.scripts[newScript(text).flagged.Hash()] = do
	}
	return m
}

var errModel = errors.New("the model does not know this command")

func (m *modelServer) do(_ context.Context, cmds []goredis.Cmder) error {
	var first error
	for _, cmd := range cmds {
		m.answer(cmd)
		if err := cmd.Err(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (m *modelServer) answer(cmd goredis.Cmder) {
	args := make([]string, len(cmd.Args()))
	for i, a := range cmd.Args() {
		args[i] = argText(a)
	}
	switch c := cmd.(type) {
	case *goredis.StringCmd: // GET
		if b, ok := m.values[args[1]]; ok {
			c.SetVal(string(b))
		} else {
			c.SetErr(goredis.Nil)
		}
	case *goredis.StringSliceCmd: // HVALS
		c.SetVal(slices.Sorted(maps.Values(m.asked)))
	case *goredis.StatusCmd: // SET
		m.values[args[1]] = []byte(args[2])
	case *goredis.XMessageSliceCmd:
		c.SetVal(m.rangeOf(args))
	case *goredis.XStreamSliceCmd: // XREAD COUNT n BLOCK ms STREAMS key id
		if found := m.rangeOf([]string{"xrange", args[6], "(" + args[7], "+", "count", args[2]}); len(found) > 0 {
			c.SetVal([]goredis.XStream{{Stream: args[6], Messages: found}})
		} else {
			c.SetErr(goredis.Nil)
		}
	case *goredis.Cmd: // EVALSHA hash 1 key …
		if do := m.scripts[args[1]]; do != nil {
			c.SetVal(do(m, args[3], args[4:]))
			return
		}
		c.SetErr(errModel)
	default:
		cmd.SetErr(errModel)
	}
}

func argText(a any) string {
	switch a := a.(type) {
	case string:
		return a
	case *string:
		return *a
	case []byte:
		return string(a)
	}
	return fmt.Sprint(a)
}

// rangeOf answers XRANGE key from + COUNT n, and XREVRANGE key + - COUNT 1.
func (m *modelServer) rangeOf(args []string) []goredis.XMessage {
	entries := m.streams[args[1]].entries
	if args[0] == "xrevrange" {
		entries = entries[max(0, len(entries)-1):]
	} else if from := args[2]; from != "-" {
		from, after := strings.CutPrefix(from, "(")
		id, _ := parseStreamID(from)
		i, found := slices.BinarySearchFunc(entries, id, func(e modelEntry, id streamID) int {
			switch {
			case e.id.less(id):
				return -1
			case id.less(e.id):
				return 1
			}
			return 0
		})
		if found && after {
			i++
		}
		entries = entries[i:]
	}
	most, _ := strconv.Atoi(args[5])
	found := make([]goredis.XMessage, 0, min(len(entries), most))
	for _, e := range entries[:min(len(entries), most)] {
		found = append(found, goredis.XMessage{ID: e.id.String(), Values: maps.Clone(e.fields)})
	}
	return found
}

func (m *modelServer) add(key string, id streamID, fields map[string]any) {
	s := m.streams[key]
	s.entries, s.last = append(slices.Clip(s.entries), modelEntry{id, fields}), id
	m.streams[key] = s
}

// now is the server's time.
func (m *modelServer) now() time.Time { return time.Now().Add(m.ahead) }

// next is the id that XADD * gives.
func (m *modelServer) next(key string) streamID {
	id, last := streamID{ms: uint64(m.now().UnixMilli())}, m.streams[key].last
	if !last.less(id) {
		id = streamID{last.ms, last.seq + 1}
	}
	return id
}

// head returns the last entry of a stream, and one of its fields.
func (m *modelServer) head(key, field string) (id streamID, value string, written int64, ok bool) {
	entries := m.streams[key].entries
	if len(entries) == 0 {
		return streamID{}, "", 0, false
	}
	last := entries[len(entries)-1]
	value, _ = last.fields[field].(string)
	t, _ := last.fields[fieldTime].(string)
	written, _ = strconv.ParseInt(t, 10, 64)
	return last.id, value, written, true
}

func (m *modelServer) claim(key string, args []string) any {
	lease, _ := strconv.ParseInt(args[0], 10, 64)
	now := m.now().UnixMilli()
	_, chain, written, ok := m.head(key, fieldChain)
	if ok && chain != args[1] && written <= now && written+lease > now {
		return int64(0)
	}
	delete(m.streams, key)
	id, _ := parseStreamID(args[3])
	m.add(key, id, chainFields(args[2], "0-0", now, args[4]))
	return int64(1)
}

func (m *modelServer) appendTo(key string, args []string, noChecks bool) any {
	now := m.now().UnixMilli()
	last, chain, _, ok := m.head(key, fieldChain)
	name := ""
	if ok {
		name = last.String()
	}
	if !noChecks && (name != args[1] || chain != args[0]) || noChecks && chain != args[0] {
		return int64(0)
	}
	if args[3] == "1" {
		now = 0
	}
	for n := 4; n+1 < len(args); n += 2 {
		id, _ := parseStreamID(args[n])
		m.add(key, id, chainFields(args[0], name, now, args[n+1]))
		name = args[n]
	}
	return int64(1)
}

func chainFields(chain, predecessor string, now int64, body string) map[string]any {
	return map[string]any{fieldChain: chain, fieldPredecessor: predecessor, fieldTime: strconv.FormatInt(now, 10), fieldBody: body}
}

func logFields(incarnation, predecessor, body string) map[string]any {
	return map[string]any{fieldIncarnation: incarnation, fieldPredecessor: predecessor, fieldBody: body}
}

func (m *modelServer) ask(_ string, args []string) any {
	if most, _ := strconv.Atoi(args[2]); len(m.asked) >= most {
		clear(m.asked)
	}
	m.asked[args[0]] = args[1]
	return int64(0)
}

func (m *modelServer) look(key string, args []string) any {
	now := m.now()
	last, incarnation, _, ok := m.head(key, fieldIncarnation)
	if !ok || incarnation == args[3] {
		last, incarnation = m.next(key), args[1]
		m.add(key, last, logFields(incarnation, "0-0", args[2]))
	}
	return []any{strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond() / 1000), last.String(), incarnation}
}

func (m *modelServer) write(key string, args []string) any {
	last, incarnation, _, ok := m.head(key, fieldIncarnation)
	if !ok {
		last, incarnation = m.next(key), args[1]
		m.add(key, last, logFields(incarnation, "0-0", args[2]))
	}
	for _, body := range args[3:] {
		id := m.next(key)
		m.add(key, id, logFields(incarnation, last.String(), body))
		last = id
	}
	return last.String()
}

func (m *modelServer) copyOf() oracleCopy {
	return oracleCopy{values: maps.Clone(m.values), streams: maps.Clone(m.streams), asked: maps.Clone(m.asked)}
}

func (m *modelServer) putBack(old oracleCopy, what int) {
	if what == allOfIt || what == valuesOfIt {
		m.values = maps.Clone(old.values)
		if m.values == nil {
			m.values = map[string][]byte{}
		}
	}
	if what == valuesOfIt {
		return
	}
	if m.asked = maps.Clone(old.asked); m.asked == nil {
		m.asked = map[string]string{}
	}
	for _, key := range []string{oracleChain, oracleLog} {
		if what == allOfIt || what == chainOfIt && key == oracleChain || what == logOfIt && key == oracleLog {
			m.streams[key] = old.streams[key]
		}
	}
}

func (m *modelServer) cut(stream string, from, to int) {
	s := m.streams[stream]
	s.entries = slices.Delete(slices.Clone(s.entries), from, to)
	m.streams[stream] = s
}

func (m *modelServer) length(stream string) int { return len(m.streams[stream].entries) }

func (m *modelServer) turnClock(by time.Duration) { m.ahead += by }
