package peers

import (
	"fmt"
	"math/rand/v2"

	"forebay/bench/bare"
	"forebay/bench/load"
)

// Workload is one way of asking for documents.
type Workload struct {
	Keys        string `json:"keys"` // "hot": one document; "uniform" or "zipf": all of them
	Size        int    `json:"size"` // of a document in bytes
	Connections int    `json:"connections"`
	Cores       int    `json:"cores"` // for the server
}

// documents is how many there are of each size: 256 KiB of fewer, so that every cache holds them in memory.
func documents(quick bool) map[int]int {
	if quick {
		return map[int]int{1 << 10: 100}
	}
	return map[int]int{1 << 10: 10_000, 16 << 10: 10_000, 256 << 10: 1_000}
}

// telling are the workloads that show most in little time, and matrix all of them.
func telling() []Workload {
	return []Workload{
		{"hot", 1 << 10, 64, 1},
		{"uniform", 1 << 10, 64, 1},
		{"zipf", 1 << 10, 64, 1},
		{"hot", 1 << 10, 200, 1},
		{"hot", 16 << 10, 64, 1},
		{"uniform", 16 << 10, 64, 1},
		{"hot", 256 << 10, 64, 1},
		{"hot", 1 << 10, 64, 2},
	}
}

func matrix() []Workload {
	var all []Workload
	for _, cores := range []int{1, 2} {
		for _, connections := range []int{64, 200} {
			for _, size := range []int{1 << 10, 16 << 10, 256 << 10} {
				for _, keys := range []string{"hot", "uniform", "zipf"} {
					all = append(all, Workload{keys, size, connections, cores})
				}
			}
		}
	}
	return all
}

// ID names the workload in figures.
func (w Workload) ID() string {
	return fmt.Sprintf("%s%dk_c%d_p%d", w.Keys, w.Size>>10, w.Connections, w.Cores)
}

// String names it for people.
func (w Workload) String() string {
	cores := "one core"
	if w.Cores > 1 {
		cores = fmt.Sprintf("%d cores", w.Cores)
	}
	return fmt.Sprintf("%s, %d KiB, %d connections, %s", map[string]string{
		"hot": "one hot URL", "uniform": "all URLs alike", "zipf": "Zipf 1.1 over all URLs",
	}[w.Keys], w.Size>>10, w.Connections, cores)
}

// draw asks for the workload's documents out of those made before.
func (w Workload) draw(requests []*load.Request) func(*rand.Rand) load.DrawFunc {
	if w.Keys == "hot" {
		return load.Fixed(requests[0])
	}
	d := load.Distribution{}
	if w.Keys == "zipf" {
		d.Zipf = 1.1
	}
	return func(random *rand.Rand) load.DrawFunc {
		keys := load.NewKeys(random, len(requests), d)
		return func() *load.Request { return requests[keys.Next()] }
	}
}

// requestsOf makes the requests for all documents of a size.
func requestsOf(size, count int) []*load.Request {
	all := make([]*load.Request, count)
	for n := range all {
		all[n] = load.NewRequest("hit", "GET", bare.Target(size, n), "")
	}
	return all
}
