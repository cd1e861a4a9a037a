package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"forebay/cache"
)

const (
	writeEvery    = 25 * time.Millisecond  // between two appends, of a batch or more each
	claimEvery    = 500 * time.Millisecond // between two attempts to own the chain
	leaseFor      = 3 * time.Second        // without an entry, after which another instance may begin a chain
	writeTimeout  = time.Second
	chainBatch    = 500
	maxChainLog   = 1 << 16 // entries that are kept, about
	coverageEvery = 1 << 10 // entries, after which what is covered is said again for those that begin to read
	ackEvery      = 20 * time.Millisecond
	maxAcks       = 64
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

	chain    uint64 // 0: none is owned
	before   uint64 // the chain it last tried to begin, which may be in Redis or appear there
	last     streamID
	coverage []byte
	since    int // entries since the coverage was said
	acks     []ack
	claimed  cache.Instant // when it last tried
}

// ack says that the entry was known to be written at the instant.
type ack struct {
	at cache.Instant
	id streamID
}

// writeChain owns the chain whenever it can, until ctx ends.
func (s *Store) writeChain(ctx context.Context) {
	o := &owner{Store: s, claim: newScript(claimScript), append: newScript(appendScript), claimed: -cache.Instant(claimEvery)}
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
	o.chain, o.last, o.acks = chain, first, nil
	o.coverage, o.since = coverage, coverageEvery
	o.ack()
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
			e.body = positionBody(o.known(e.asOf))
		case chainCoverage:
			o.coverage, o.since = e.body, 0
		}
		put(e.lsn, e.body)
		if o.since >= coverageEvery {
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
	o.ack()
	return nil
}

// ack notes that what was written is.
func (o *owner) ack() {
	now := o.clock.Now()
	if n := len(o.acks); n > 0 && now.Sub(o.acks[n-1].at) < ackEvery {
		return
	}
	if len(o.acks) == maxAcks {
		o.acks = append(o.acks[:0], o.acks[1:]...)
	}
	o.acks = append(o.acks, ack{at: now, id: o.last})
}

// known returns the newest entry that was known to be written by the instant.
func (o *owner) known(at cache.Instant) streamID {
	for i := len(o.acks) - 1; i >= 0; i-- {
		if o.acks[i].at <= at {
			return o.acks[i].id
		}
	}
	return streamID{}
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
