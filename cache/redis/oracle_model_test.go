package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// bothServers runs commands on the model and on a real server.
type bothServers struct {
	t     *testing.T
	model *modelServer
	real  *realServer
	names map[string]string // of ids that the two made of their clocks
}

// run runs a script, and holds the model to the real one's reply.
func (b *bothServers) run(text, key string, args ...any) {
	b.t.Helper()
	ctx := context.Background()
	s := newScript(text)
	real := s.run(ctx, b.real.client, key, args...)
	if real.Err() != nil {
		b.t.Fatal(real.Err())
	}
	model := goredis.NewCmd(ctx, append([]any{"evalsha", s.flagged.Hash(), 1, key}, args...)...)
	if err := b.model.do(ctx, []goredis.Cmder{model}); err != nil {
		b.t.Fatal(err)
	}
	r, m := real.Val(), model.Val()
	if text == lookScript {
		r, m = r.([]any)[3], m.([]any)[3] // the rest is of the clock
	}
	if text != writeScript && text != askScript && r != m {
		b.t.Fatalf("the model says %v, Redis %v: %.40s %v", m, r, text, args)
	}
}

// compare holds the model to what the real server has.
func (b *bothServers) compare(stream string) {
	b.t.Helper()
	for _, args := range [][]any{{"xrange", stream, "-", "+", "count", 1000}, {"xrevrange", stream, "+", "-", "count", 1}} {
		ctx := context.Background()
		real, model := goredis.NewXMessageSliceCmd(ctx, args...), goredis.NewXMessageSliceCmd(ctx, args...)
		if err := b.real.do(ctx, []goredis.Cmder{real}); err != nil {
			b.t.Fatal(err)
		}
		if err := b.model.do(ctx, []goredis.Cmder{model}); err != nil {
			b.t.Fatal(err)
		}
		if r, m := b.texts("real", stream, real.Val()), b.texts("model", stream, model.Val()); !slices.Equal(r, m) {
			b.t.Fatalf("the model has %v, Redis %v", m, r)
		}
	}
}

// texts names each entry's fields but for its time. Ids that are of the clock are named by where they are.
func (b *bothServers) texts(whose, stream string, messages []goredis.XMessage) []string {
	name := func(id string) string {
		if stream == oracleChain || id == "0-0" {
			return id
		}
		return b.names[whose+id]
	}
	var list []string
	for _, m := range messages {
		if _, known := b.names[whose+m.ID]; !known {
			b.names[whose] += "|"
			b.names[whose+m.ID] = b.names[whose]
		}
		list = append(list, fmt.Sprint(name(m.ID), name(m.Values[fieldPredecessor].(string)), m.Values[fieldChain], m.Values[fieldIncarnation], m.Values[fieldBody]))
	}
	return list
}

// The oracle's model of the scripts and streams answers as Redis does.
func TestTheModelAnswersAsRedisDoes(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	b := &bothServers{t: t, model: newModelServer(false), real: newRealServer(t), names: map[string]string{}}
	chain, last := "a", "0-0"
	for n := range 400 {
		id := fmt.Sprintf("%d-1", n+1)
		switch rng.IntN(8) {
		case 0:
			was := chain
			chain, last = fmt.Sprint("c", n), id
			b.run(claimScript, oracleChain, 3000, [...]string{was, "another"}[min(rng.IntN(4)/3, 1)], chain, id, "begin")
		case 1, 2:
			next := fmt.Sprintf("%d-2", n+1)
			b.run(appendScript, oracleChain, chain, last, 1000, 0, id, "x", next, "y")
			last = next
		case 3:
			b.run(appendScript, oracleChain, chain, last, 1000, rng.IntN(2), id, "z")
			last = id
		case 4:
			b.run(askScript, oraclePrefix+"asked", fmt.Sprint(rng.IntN(9)), fmt.Sprint(n), 6)
		case 5:
			b.run(lookScript, oracleLog, 1000, fmt.Sprint("i", n), "start", [...]string{"-", "-", fmt.Sprint("i", n-1)}[rng.IntN(3)])
		case 6:
			b.run(writeScript, oracleLog, 1000, fmt.Sprint("i", n), "start", "one", "two")
		case 7:
			if from := b.model.length(oracleChain) - 1 - rng.IntN(3); from > 0 {
				b.model.cut(oracleChain, from, from+1)
				b.real.cut(oracleChain, from, from+1)
			}
		}
		b.compare(oracleChain)
		b.compare(oracleLog)
	}
	ctx := context.Background()
	asked, err := b.real.client.HVals(ctx, oraclePrefix+"asked").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(asked)
	model := goredis.NewStringSliceCmd(ctx, "hvals", oraclePrefix+"asked")
	if err := b.model.do(ctx, []goredis.Cmder{model}); err != nil || !slices.Equal(asked, model.Val()) {
		t.Errorf("the model was asked %v, Redis %v: %v", model.Val(), asked, err)
	}
}
