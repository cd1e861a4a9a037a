package rules

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"
)

// newGeneration digests everything that decides what a stored response of the rule contains, what tells
// two of them apart, and how long they may be used. When one of these changes, no key of before is found
// again. Where the file stands does not matter: instances have it in different places.
func (r *Rule) newGeneration() [8]byte {
	text, err := json.Marshal(struct {
		Format               int // of keys
		Method, Path, Source string
		TTL, Stale, Emergent time.Duration
		Negative             map[int]time.Duration
		Freshness            Freshness
		Primary              bool
		Params               []Param
		Identity             []IdentityPart
		Vary, Tags, Depends  []string
		Query                *Query
		Batch                *Batch
		Upstream             string
	}{
		Format: 1, Method: r.Method, Path: r.Pattern.Text, Source: r.Source,
		TTL: r.TTL, Stale: r.StaleWhileRevalidate, Emergent: r.StaleIfError,
		Negative: r.Negative, Freshness: r.Freshness, Primary: r.Primary,
		Params: r.Params, Identity: r.Identity, Vary: r.Vary, Tags: r.Tags, Depends: r.DependsOn,
		Query: r.Query.withoutPlaces(), Batch: r.Batch, Upstream: r.Upstream,
	})
	if err != nil {
		panic("BUG: rule cannot be encoded: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return [8]byte(sum[:8])
}

// withoutPlaces returns a copy that does not know where its texts come from.
func (q *Query) withoutPlaces() *Query {
	if q == nil {
		return nil
	}
	c := *q
	c.Statements = slices.Clone(q.Statements)
	for i := range c.Statements {
		c.Statements[i].File, c.Statements[i].Line = "", 0
	}
	return &c
}
