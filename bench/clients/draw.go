package clients

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"

	"forebay/bench/load"
)

// popular is how people's requests are spread over things.
var popular = load.Distribution{Zipf: 1.1}

// DrawFunc makes the function that draws one connection's requests, as load.Stream wants it.
type DrawFunc = func(*rand.Rand) load.DrawFunc

// Dashboards asks for the dashboard.
func (p *Population) Dashboards() DrawFunc {
	return load.Fixed(load.NewRequest(OfDashboard, "GET", Dashboard, ""))
}

// Searches asks for parts of names with several filters, the popular ones more often.
func (p *Population) Searches() DrawFunc { return zipf(p.searches) }

// Analyses asks for periods and programs.
func (p *Population) Analyses() DrawFunc { return zipf(p.analyses) }

// ByID asks for single clients, the popular ones more often.
func (p *Population) ByID() DrawFunc { return zipf(p.byID) }

// Mixed is what a frontend asks for: 60 % single clients, 30 % filtered lists, 5 % dashboard, 5 % analytics.
func (p *Population) Mixed() DrawFunc {
	return func(random *rand.Rand) load.DrawFunc {
		byID, lists, dashboards, analyses := zipf(p.byID)(random), zipf(p.lists)(random), p.Dashboards()(random), p.Analyses()(random)
		return func() *load.Request {
			switch share := random.IntN(100); {
			case share < 60:
				return byID()
			case share < 90:
				return lists()
			case share < 95:
				return dashboards()
			}
			return analyses()
		}
	}
}

// Pass asks for every single client, list and analysis once, whichever connection comes first.
func (p *Population) Pass() DrawFunc {
	all := append(append(append([]*load.Request{}, p.byID...), p.lists...), p.analyses...)
	return Once(all)
}

// PassByID asks for every single client once.
func (p *Population) PassByID() DrawFunc { return Once(p.byID) }

// Once asks for each of the requests once, whichever connection comes first.
func Once(all []*load.Request) DrawFunc {
	var next atomic.Int64
	return func(*rand.Rand) load.DrawFunc {
		return func() *load.Request {
			if i := next.Add(1) - 1; i < int64(len(all)) {
				return all[i]
			}
			return nil
		}
	}
}

// Writes changes the notes of clients, the popular ones more often: who is looked at is who is worked on. No two
// say the same, in whichever measurement: what changes nothing would be read anew for nothing.
func (p *Population) Writes() DrawFunc {
	return func(random *rand.Rand) load.DrawFunc {
		keys := load.NewKeys(random, len(p.ids), popular)
		return func() *load.Request {
			return load.NewRequest(OfWrite, "PUT", Client+p.ids[keys.Next()], fmt.Sprintf(`{"notes":"Seen on visit %d."}`, p.visits.Add(1)))
		}
	}
}

// BatchSize is how many clients a batch creates.
const BatchSize = 50

// CreatedBy begins the addresses of the clients that batches create, so that they can be removed.
const CreatedBy = "forebay-bench-"

// Batches creates clients, fifty at once. Mark makes their addresses different from those of other runs.
func (p *Population) Batches(mark string) DrawFunc {
	var number atomic.Int64
	return func(random *rand.Rand) load.DrawFunc {
		return func() *load.Request {
			n := number.Add(1)
			var b strings.Builder
			for i := range BatchSize {
				sep := ","
				if i == 0 {
					sep = "["
				}
				fmt.Fprintf(&b, `%s{"name":"Bench Client","email":"%s%s-%d-%d@example.com","program_type":%q,"status":%q}`,
					sep, CreatedBy, mark, n, i, pick(random, programs), pick(random, statuses))
			}
			b.WriteByte(']')
			return load.NewRequest(OfBatch, "POST", Batch, b.String())
		}
	}
}

// First returns the n-th most popular client's id.
func (p *Population) First(n int) string { return p.ids[n%len(p.ids)] }

// zipf draws from the requests, the first ones more often.
func zipf(from []*load.Request) DrawFunc {
	return func(random *rand.Rand) load.DrawFunc {
		keys := load.NewKeys(random, len(from), popular)
		return func() *load.Request { return from[keys.Next()] }
	}
}
