package paths

import (
	"context"
	"fmt"
	"math/rand/v2"

	"forebay/bench/bare"
	"forebay/bench/gauge"
	"forebay/bench/load"
	"forebay/bench/plain"
	"forebay/bench/private"
	"forebay/bench/report"
	"forebay/bench/stage"
)

// askers are the connections of hits in Redis.
const askers = 64

// redis compares hits in the shared tier, of which nearly nothing fits into memory, with one GET by go-redis.
func (p *pair) redis(ctx context.Context, binary string) error {
	p.settings.Step("paths · hits in Redis")
	server, err := private.StartRedis(ctx)
	if err != nil {
		p.section.Note("Hits in Redis were not measured: %v", err)
		return nil
	}
	defer server.Stop()
	documents, count := 10_000, 20_000
	if p.settings.Quick {
		documents, count = 3_000, 1_000
	}
	forebay, origin, err := stage.Documents(ctx, stage.DocumentsPlan{
		Binary: binary, Memory: "1MiB", Env: []string{"REDIS_URL=" + server.URL()},
	})
	if err != nil {
		return err
	}
	defer origin.Stop()
	defer forebay.Stop()
	if err := plain.Put(ctx, server.URL(), documents, func(n int) (string, []byte) { return bare.Target(1<<10, n), bare.Document(1<<10, n) }); err != nil {
		return err
	}
	direct, err := startPlain(ctx, binary, "--redis", server.URL())
	if err != nil {
		return err
	}
	defer direct.Stop()
	return p.hits(ctx, forebay, direct, documents, count)
}

// hits plays the rounds, of so many requests for so many documents.
func (p *pair) hits(ctx context.Context, forebay *stage.Forebay, direct *private.Program, documents, count int) error {
	random := rand.New(rand.NewPCG(p.settings.Seed, 5))
	order := random.Perm(documents)
	c := &contest{
		name: "hit in Redis", connections: askers, count: documents,
		requests: func(i int) *load.Request {
			return load.NewRequest("hit", "GET", bare.Target(1<<10, order[i%documents]), "")
		},
		forebay: &contestant{address: forebay.Address(), processes: []*gauge.Processes{gauge.ProcessesOf(forebay.Pid())}},
		direct:  &contestant{address: direct.Address(), processes: []*gauge.Processes{gauge.ProcessesOf(direct.Pid())}},
	}
	// A first pass stores everything.
	if err := c.forebay.round(ctx, c, p.settings.Seed, false); err != nil {
		return err
	}
	c.count = count
	found, err := forebay.Metric("forebay_shared_lookups_total", `result="hit"`)
	if err != nil {
		return err
	}
	if err := c.run(ctx, p.settings.rounds(), p.settings.Seed); err != nil {
		return err
	}
	after, err := forebay.Metric("forebay_shared_lookups_total", `result="hit"`)
	if err != nil {
		return err
	}
	p.tellHits(c, after, found, count)
	return nil
}

// tellHits tells the ratios, and how many of the requests were what they should be.
func (p *pair) tellHits(c *contest, after, found float64, count int) {
	share := 100 * (after - found) / float64(count*(p.settings.rounds()+1))
	throughput, cpu := p.tell(c)
	if share < 80 {
		p.section.Note("Only %.0f %% of the requests were hits in Redis: the comparison says little.", share)
	}
	p.section.Figures = append(p.section.Figures,
		report.Low("paths.redis.cpu", "hit in Redis beside one GET by go-redis: CPU", cpu.Median, "×").Want(0.7, "goal").JudgedBy(cpu.Low).With("%s; %.0f %% were hits in Redis", cpu, share),
		report.High("paths.redis.throughput", fmt.Sprintf("hit in Redis beside one GET by go-redis: throughput, %d connections", askers), throughput.Median, "×").Want(1.4, "goal").JudgedBy(throughput.Low).With("%s", throughput))
}
