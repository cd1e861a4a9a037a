package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"forebay/cache"
)

const (
	writeEvery    = 25 * time.Millisecond  // between two appends, of a batch or more each
	claimEvery    = 500 * time.Millisecond // between two attempts to own the chain
	leaseFor      = 3 * time.Second        // without an entry, after which another instance may begin a chain
	writeTimeout  = time.Second
	chainBatch    = 500
	maxChainLog   = 1 << 16               // entries that are kept, about
	coverageEvery = 1 << 10               // entries, after which what is covered is said again for those that begin to read
	hearEvery     = 50 * time.Millisecond // questions are read
	maxHeard      = 64
)

// errForked : the chain in Redis does not end where this instance left it, or is another's.
var errForked = errors.New("the chain in Redis does not end where it was left")

// chainScript tells what both scripts have to know of the chain's last entry.
const chainScript = `
local found = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local last, chain, written = '', '', 0
if #found > 0 then
  last = found[1][1]
  local fields = found[1][2]
  for n = 1, #fields, 2 do
    if fields[n] == 'c' then chain = fields[n + 1] end
    if fields[n] == 't' then written = tonumber(fields[n + 1]) or 0 end
  end
end
`

// claimScript begins a chain in place of what is there, unless somebody has written to it lately who is not the
// caller.
//
//	ARGV  lease in milliseconds, the caller's chain of before, the new chain, id and body of its first entry
const claimScript = chainScript + `
if last ~= '' and chain ~= ARGV[2] and written <= now and written + ARGV[1] > now then return 0 end
redis.call('DEL', KEYS[1])
redis.call('XADD', KEYS[1], ARGV[4], 'c', ARGV[3], 'p', '0-0', 't', string.format('%.0f', now), 'b', ARGV[5])
return 1
`

// appendScript appends entries if the chain is the caller's and ends where the caller left it.
//
//	ARGV  chain, id of the last entry, entries to keep, 1: it ends; then id and body of each entry
const appendScript = chainScript + `
if last ~= ARGV[2] or chain ~= ARGV[1] then return 0 end
if ARGV[4] == '1' then now = 0 end
for n = 5, #ARGV, 2 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], ARGV[n], 'c', ARGV[1], 'p', last, 't', string.format('%.0f', now), 'b', ARGV[n + 1])
  last = ARGV[n]
end
return 1
`

// owner writes the chain, if nobody else does. Owned by its goroutine.
type owner struct {
	*Store
	claim, append *script
	every         int // entries, after which what is covered is said again

	chain    uint64 // 0: none is owned
	before   uint64 // the chain it last tried to begin, which may be in Redis or appear there
	last     streamID
	coverage []byte
	since    int           // entries since the coverage was said
	heard    []heard       // oldest first
	answered []uint64      // questions: what the answers before went by
	claimed  cache.Instant // when it last tried
}

// heard are the questions that were known at the instant.
type heard struct {
	at        cache.Instant
	questions []uint64
}

func newOwner(s *Store) *owner {
	return &owner{Store: s, claim: newScript(claimScript), append: newScript(appendScript), every: coverageEvery, claimed: -cache.Instant(claimEvery)}
}

// writeChain owns the chain whenever it can, until ctx ends.
func (s *Store) writeChain(ctx context.Context) {
	o := newOwner(s)
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	for {
		o.step(ctx)
		select {
		case <-ctx.Done():
			o.finish(context.WithoutCancel(ctx))
			return
		case <-ticker.C:
		}
	}
}

// step writes what there is to write. A write that failed, or of which it is not known that it did not, ends
// the chain: nothing is written behind it.
func (o *owner) step(ctx context.Context) {
	if o.chain == 0 {
		if now := o.clock.Now(); now.Sub(o.claimed) >= claimEvery {
			o.claimed = now
			o.begin(ctx)
		}
		return
	}
	o.hear(ctx)
	for ctx.Err() == nil {
		events, goesOn := o.exact.tap.take(chainBatch)
		if !goesOn {
			o.finish(ctx)
			return
		}
		if len(events) == 0 {
			return
		}
		if err := o.write(ctx, events, false); err != nil {
			o.lose(err)
			return
		}
	}
}

// begin tries to begin a chain. What comes in from here on waits to be written to it.
func (o *owner) begin(ctx context.Context) {
	from, coverage, ok := o.exact.tap.own()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	chain, first := newNonce(), streamID{from, 1}
	reply, err := o.claim.run(ctx, o.chainClient, o.exact.key, leaseFor.Milliseconds(), incarnationText(o.before), incarnationText(chain),
		first.String(), chainHead(chainBegin)).Int()
	o.before = chain // whatever the answer: it may be there, or come
	if err != nil || reply != 1 {
		o.exact.tap.release()
		return
	}
	o.chain, o.last, o.heard, o.answered = chain, first, nil, nil
	o.coverage, o.since = coverage, o.every
	o.metrics.chainBegins.Inc()
	o.metrics.chainOwned.Set(1)
	o.logger.Info("this instance writes the chain of changes", "chain", incarnationText(chain))
}

// write appends the events.
func (o *owner) write(ctx context.Context, events []event, end bool) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	last := o.last
	args := []any{incarnationText(o.chain), o.last.String(), maxChainLog, 0}
	if end {
		args[3] = 1
	}
	put := func(lsn uint64, body []byte) {
		if lsn > last.ms {
			last = streamID{lsn, 1}
		} else {
			last.seq++
		}
		args = append(args, last.String(), body)
		o.since++
	}
	for _, e := range events {
		switch e.kind {
		case chainPosition:
			e.body = positionBody(o.answers(e.asOf))
		case chainCoverage:
			o.coverage, o.since = e.body, 0
		}
		put(e.lsn, e.body)
		if o.since >= o.every {
			put(e.lsn, o.coverage)
			o.since = 0
		}
	}
	reply, err := o.append.run(ctx, o.chainClient, o.exact.key, args...).Int()
	switch {
	case err != nil:
		return fmt.Errorf("write to the chain of changes: %w", err)
	case reply != 1:
		return errForked
	}
	o.last = last
	return nil
}

// hear reads what is asked.
func (o *owner) hear(ctx context.Context) {
	if n := len(o.heard); n > 0 && o.clock.Now().Sub(o.heard[n-1].at) < hearEvery {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	texts, err := o.chainClient.HVals(ctx, o.exact.asked).Result()
	if err != nil {
		return // the next write finds out what is wrong
	}
	h := heard{at: o.clock.Now()}
	for _, text := range texts {
		if q, err := strconv.ParseUint(text, 16, 64); err == nil {
			h.questions = append(h.questions, q)
		}
	}
	if len(o.heard) == maxHeard {
		o.heard = slices.Delete(o.heard, 0, 1)
	}
	o.heard = append(o.heard, h)
}

// answers returns the questions that were known by the instant, but for those that were answered before: who asked
// them and asks no more is not told again and again.
func (o *owner) answers(at cache.Instant) []uint64 {
	for _, h := range slices.Backward(o.heard) {
		if h.at > at {
			continue
		}
		fresh := slices.DeleteFunc(slices.Clone(h.questions), func(q uint64) bool { return slices.Contains(o.answered, q) })
		o.answered = h.questions
		return fresh
	}
	return nil
}

// lose gives a chain up that may have lost an entry.
func (o *owner) lose(err error) {
	o.metrics.chainFailures.Inc()
	o.logger.Warn("the chain of changes is broken, exact responses in Redis are not used any more", "err", err)
	o.release()
}

// finish says that the chain ends, if it is this instance's; whoever is not told finds out by itself.
func (o *owner) finish(ctx context.Context) {
	if o.chain == 0 {
		return
	}
	if err := o.write(ctx, []event{{kind: chainEnd, lsn: o.last.ms, body: chainHead(chainEnd)}}, true); err != nil {
		o.logger.Debug("could not end the chain of changes", "err", err)
	}
	o.release()
}

func (o *owner) release() {
	o.chain, o.claimed = 0, -cache.Instant(claimEvery)
	o.exact.tap.release()
	o.metrics.chainOwned.Set(0)
}
