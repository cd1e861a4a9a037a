package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"forebay/upstream/postgres"
)

// BenchmarkSnapshot compares fills that are as they always are with the same fills that take no snapshot: what
// knowing how old an answer is costs a miss. Shared is eight at a time, where fills take over each other's; own is
// one at a time, each with its own; look is the fill that looks at its locks again, of which a rule has one in ten
// seconds, beside one that does not.
func BenchmarkSnapshot(b *testing.B) {
	s := newSite(b, benchSchema, benchRoutes)
	for _, route := range []struct{ name, request string }{{"one", "GET /clients/%d"}, {"fifty", "GET /clients?after=%d"}} {
		var calls []postgres.Call
		for i := range 100 {
			calls = append(calls, s.call(b, fmt.Sprintf(route.request, i*997+1), ""))
		}
		each := func(name string, before func(postgres.Call)) side {
			return side{name, func(n int) {
				for i := range n {
					before(calls[i%len(calls)])
					if _, err := s.Fill(context.Background(), calls[i%len(calls)]); err != nil {
						b.Fatal(err)
					}
				}
			}}
		}
		forget := func(postgres.Call) { postgres.ForgetSnapshot(s.Database) }
		without := func(run side) side {
			return side{"without", func(n int) {
				forget(calls[0])
				if _, err := s.Fill(context.Background(), calls[0]); err != nil {
					b.Fatal(err)
				}
				postgres.KeepSnapshot(s.Database)
				run.do(n)
				forget(calls[0])
			}}
		}
		nothing := func(postgres.Call) {}
		b.Run(route.name+"/shared", func(b *testing.B) {
			compare(b, s, 4000, s.fills(b, "with", calls), without(s.fills(b, "without", calls)))
		})
		b.Run(route.name+"/own", func(b *testing.B) {
			compare(b, s, 1000, each("with", forget), without(each("without", nothing)))
		})
		b.Run(route.name+"/look", func(b *testing.B) {
			look := func(c postgres.Call) { postgres.LookAgain(s.Database, c); forget(c) }
			compare(b, s, 500, each("looking", look), each("with", forget))
		})
	}
}
