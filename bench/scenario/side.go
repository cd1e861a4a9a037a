package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"forebay/bench/clients"
	"forebay/bench/gauge"
	"forebay/bench/load"
	"forebay/bench/stage"
)

// Side is one of the services that are compared.
type Side struct {
	Name    string // "before" or "after"
	Address string
	Pool    gauge.PoolFunc // nil: it does not tell
	// Spent reads what its database spent so far; nil: it cannot be asked.
	Spent func(context.Context) (gauge.Spent, error)
	// Calm waits until its database has nothing to do; nil: that cannot be told.
	Calm func(context.Context) error
	// Refills reads how often it read anew so far; nil: it does not tell.
	Refills func() (stage.Refills, error)
	// Purge drops what is stored; nil: nothing is, or it may not be dropped.
	Purge func() error
}

// Play is one measurement of one side.
type Play struct {
	Scenario string         `json:"scenario"`
	Side     string         `json:"side"`
	Loop     string         `json:"loop"` // "open", "closed" or "same": a fixed number of the same requests
	Writes   int            `json:"writes_percent"`
	Measured *load.Measured `json:"measured"`
	Spent    *gauge.Spent   `json:"database,omitempty"` // nil: it cannot be asked
	Pool     gauge.PoolUse  `json:"pool_percent"`
	Refills  *stage.Refills `json:"refills,omitempty"` // nil: it does not tell
}

// Reads is the result of everything that is not a write: a mix of classes is one.
func (p *Play) Reads() *load.Result { return p.Measured.Of(readClass) }

// readClass is the name under which a scenario's own requests are counted, whatever they are.
const readClass = "reads"

// Answered returns the right answers of all classes.
func (p *Play) Answered() int {
	n := 0
	for i := range p.Measured.Results {
		if c := &p.Measured.Results[i]; c.Class == readClass || c.Class == clients.OfWrite {
			n += c.Counts.Answered
		}
	}
	return n
}

// perThousand returns what a thousand answers cost the database, as far as it can be asked.
func (p *Play) perThousand() (calls, millis float64) {
	if p.Spent == nil {
		return 0, 0
	}
	n := float64(max(p.Answered(), 1)) / 1000
	return float64(p.Spent.Calls) / n, float64(p.Spent.Time) / float64(time.Millisecond) / n
}

// slice is how long a piece of a plot over time is.
const slice = 200 * time.Millisecond

// play measures one side. Caches, pools and prepared statements are warm: that was another run.
func (s *Settings) play(ctx context.Context, side *Side, p Play, window time.Duration, streams ...load.Stream) (*Play, error) {
	p.Side = side.Name
	var before gauge.Spent
	if side.Spent != nil {
		var err error
		if before, err = side.Spent(ctx); err != nil {
			return nil, err
		}
	}
	var refills stage.Refills
	if side.Refills != nil {
		var err error
		if refills, err = side.Refills(); err != nil {
			return nil, err
		}
	}
	pool := gauge.WatchPool(side.Pool)
	p.Measured = load.Run(ctx, load.Config{Address: side.Address, Window: window, Timeout: s.Timeout, Seed: s.Seed, Slices: max(int(window/slice), 4)}, streams...)
	p.Pool = pool()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("play %s: %w", p.Scenario, err)
	}
	if side.Spent != nil {
		after, err := side.Spent(ctx)
		if err != nil {
			return nil, err
		}
		spent := after.Less(before)
		p.Spent = &spent
	}
	if side.Refills != nil {
		after, err := side.Refills()
		if err != nil {
			return nil, err
		}
		p.Refills = after.Less(refills)
	}
	if side.Calm != nil {
		return &p, side.Calm(ctx)
	}
	return &p, nil
}

// users are people with a second of thought between two requests.
func (s *Settings) users(name string, draw clients.DrawFunc) load.Stream {
	return load.Stream{Name: name, Connections: s.Users, Rate: float64(s.Users), New: draw, Group: reads}
}

// workers ask as fast as they are answered.
func (s *Settings) workers(name string, draw clients.DrawFunc) load.Stream {
	return load.Stream{Name: name, Connections: s.Workers, New: draw, Group: reads}
}

// reads counts everything that is not a write as one class.
func reads(class string) string {
	if class == clients.OfWrite {
		return ""
	}
	return readClass
}

// withWrites draws a share of writes among the reads.
func withWrites(reads, writes clients.DrawFunc, percent int) clients.DrawFunc {
	return func(random *rand.Rand) load.DrawFunc {
		read, write := reads(random), writes(random)
		return func() *load.Request {
			if random.IntN(100) < percent {
				return write()
			}
			return read()
		}
	}
}
