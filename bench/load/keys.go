package load

import (
	"math/rand/v2"
)

// Keys draws which of n things is asked for. Not safe for concurrent use: each connection has its own.
type Keys struct {
	n      int
	random *rand.Rand
	zipf   *rand.Zipf // nil: uniform
}

// Distribution says how often each key is asked for.
type Distribution struct {
	// Zipf is the exponent: 1.1 is usual for what people ask for; 0: every key equally often.
	Zipf float64
}

// NewKeys draws from 0 to n-1. Under Zipf, 0 is the most popular.
func NewKeys(random *rand.Rand, n int, d Distribution) *Keys {
	k := &Keys{n: n, random: random}
	if d.Zipf > 1 && n > 1 {
		k.zipf = rand.NewZipf(random, d.Zipf, 1, uint64(n-1))
	}
	return k
}

// Next returns a key.
func (k *Keys) Next() int {
	if k.zipf != nil {
		return int(k.zipf.Uint64())
	}
	return k.random.IntN(k.n)
}

// Random returns the source that belongs to the n-th user of a seed.
func Random(seed uint64, user int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(user)*0x9e3779b97f4a7c15+1))
}
