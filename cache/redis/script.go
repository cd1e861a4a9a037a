package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"
)

// Both scripts are given the log as KEYS[1] and
//
//	ARGV[1]  how many entries are kept, about
//	ARGV[2]  the incarnation to begin, if one has to
//	ARGV[3]  the body of its first entry
//
// They run in one step on the server, so each entry names its true predecessor whoever writes beside it.
const scriptHead = `
local function head()
  local found = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  if #found == 0 then return '0-0', '' end
  local fields = found[1][2]
  for n = 1, #fields, 2 do
    if fields[n] == 'i' then return found[1][1], fields[n + 1] end
  end
  return found[1][1], ''
end
local function begin()
  local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'i', ARGV[2], 'p', '0-0', 'b', ARGV[3])
  return id, ARGV[2]
end
local last, incarnation = head()
`

// lookScript tells where the log ends and what the server's time is. It begins an incarnation if the log is
// not there, or if the caller knows that the one it is in (ARGV[4]) has lost entries.
const lookScript = scriptHead + `
local time = redis.call('TIME')
if incarnation == '' or incarnation == ARGV[4] then last, incarnation = begin() end
return {time[1], time[2], last, incarnation}
`

// writeScript appends the bodies from ARGV[4] on.
const writeScript = scriptHead + `
if incarnation == '' then last, incarnation = begin() end
for n = 4, #ARGV do
  last = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'i', incarnation, 'p', last, 'b', ARGV[n])
end
return last
`

// maxLogEntries is how long the log is kept. An instance that was away for longer than that finds a gap.
const maxLogEntries = 10000

// scripts are the two of them. Safe for concurrent use.
type scripts struct{ look, write *script }

func newScripts() scripts {
	return scripts{look: newScript(lookScript), write: newScript(writeScript)}
}

// script is one of them, as go-redis caches it on the server. Safe for concurrent use.
//
// It may write although the server has no room: what is purged must be heard of, and the log is bounded.
// Servers before Redis 7 know no such flag and refuse the text, which then goes without.
type script struct {
	flagged, plain *goredis.Script
	old            atomic.Bool // the server knows no flags
}

func newScript(text string) *script {
	return &script{flagged: goredis.NewScript("#!lua flags=allow-oom\n" + text), plain: goredis.NewScript(text)}
}

func (s *script) run(ctx context.Context, client goredis.UniversalClient, key string, args ...any) *goredis.Cmd {
	if !s.old.Load() {
		reply := s.flagged.Run(ctx, client, []string{key}, args...)
		if !goredis.HasErrorPrefix(reply.Err(), "Error compiling script") {
			return reply
		}
		s.old.Store(true)
	}
	return s.plain.Run(ctx, client, []string{key}, args...)
}

// head is where the log ends.
type head struct {
	incarnation uint64
	last        streamID
	micros      int64 // the server's time
}

// lookAt asks where the log ends. Lost is the incarnation that is known to have lost entries; 0: none.
func (s *Store) lookAt(ctx context.Context, lost uint64) (head, error) {
	broken := "-"
	if lost != 0 {
		broken = incarnationText(lost)
	}
	first := s.entryBody(&entry{kind: entryStart})
	reply, err := s.scripts.look.run(ctx, s.control, s.logKey, maxLogEntries, incarnationText(newNonce()), first, broken).StringSlice()
	if err != nil {
		return head{}, fmt.Errorf("look at the shared log: %w", err)
	}
	if len(reply) != 4 {
		return head{}, errors.New("look at the shared log: reply of another shape")
	}
	seconds, err := strconv.ParseInt(reply[0], 10, 64)
	if err != nil {
		return head{}, fmt.Errorf("parse server time: %w", err)
	}
	micros, err := strconv.ParseInt(reply[1], 10, 64)
	if err != nil {
		return head{}, fmt.Errorf("parse server time: %w", err)
	}
	h := head{micros: seconds*1_000_000 + micros}
	if h.last, err = parseStreamID(reply[2]); err != nil {
		return head{}, err
	}
	if h.incarnation, err = strconv.ParseUint(reply[3], 16, 64); err != nil {
		return head{}, fmt.Errorf("parse incarnation: %w", err)
	}
	return h, nil
}

// write appends entries to the log.
func (s *Store) write(ctx context.Context, bodies [][]byte) error {
	args := make([]any, 0, 3+len(bodies))
	args = append(args, maxLogEntries, incarnationText(newNonce()), s.entryBody(&entry{kind: entryStart}))
	for _, b := range bodies {
		args = append(args, b)
	}
	if err := s.scripts.write.run(ctx, s.control, s.logKey, args...).Err(); err != nil {
		return fmt.Errorf("write to the shared log: %w", err)
	}
	return nil
}

func incarnationText(n uint64) string { return fmt.Sprintf("%016x", n) }
