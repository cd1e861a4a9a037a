package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"forebay/bench/load"
)

// The routes that are asked for.
const (
	Dashboard = "/api/v1/optimized/clients/dashboard"
	Search    = "/api/v1/optimized/clients/search/advanced"
	Analytics = "/api/v1/optimized/clients/analytics/performance"
	Batch     = "/api/v1/optimized/clients/batch"
	Client    = "/api/v1/clients/"
)

// Classes of requests, as results name them.
const (
	OfDashboard = "dashboard"
	OfSearch    = "search"
	OfAnalytics = "analytics"
	OfBatch     = "batch"
	OfByID      = "by-id"
	OfList      = "list"
	OfWrite     = "write"
)

// Population is who can be asked for. Safe for concurrent use.
type Population struct {
	ids      []string // the most popular ones first
	parts    []string // of names, that searches look for
	searches []*load.Request
	lists    []*load.Request
	byID     []*load.Request
	analyses []*load.Request
	visits   atomic.Int64 // that writes have told of; begins with the time, so that another run's were others
}

var (
	statuses = []string{"active", "inactive", "paused", "trial", "cancelled"}
	programs = []string{"PRIME", "LONGEVITY", "HYBRID"}
)

// page is how many clients one request for the population brings.
const page = 100

// Discover asks a service for up to n clients, through its search.
func Discover(ctx context.Context, address string, n int, seed uint64) (*Population, error) {
	c := load.NewConnection(address, 30*time.Second)
	defer c.Close()
	var ids, names []string
	for offset := 0; len(ids) < n && ctx.Err() == nil; offset += page {
		target := fmt.Sprintf("%s?limit=%d&offset=%d", Search, page, offset)
		answer, err := c.Do(load.NewRequest(OfList, "GET", target, ""))
		if err != nil {
			return nil, fmt.Errorf("ask %s for clients: %w", address, err)
		}
		if answer.Status != 200 {
			return nil, fmt.Errorf("ask %s for clients: GET %s answered with status %d; it has to serve the NEXUS clients API", address, target, answer.Status)
		}
		var found struct {
			Data struct {
				Clients []struct{ ID, Name string }
			}
		}
		if err := json.Unmarshal(c.Body(), &found); err != nil {
			return nil, fmt.Errorf("ask %s for clients: read answer: %w", address, err)
		}
		for _, client := range found.Data.Clients {
			ids, names = append(ids, client.ID), append(names, client.Name)
		}
		if len(found.Data.Clients) < page {
			break
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("ask %s for clients: it has none", address)
	}
	return newPopulation(ids[:min(n, len(ids))], names, seed), ctx.Err()
}

// newPopulation shuffles, so that popularity has nothing to do with age, and makes the requests.
func newPopulation(ids, names []string, seed uint64) *Population {
	random := load.Random(seed, 0)
	random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	p := &Population{ids: ids, parts: partsOf(names, random)}
	p.visits.Store(time.Now().UnixMicro())
	for _, id := range ids {
		p.byID = append(p.byID, load.NewRequest(OfByID, "GET", Client+id, ""))
	}
	for _, part := range p.parts {
		for _, filter := range []string{"", "&status=" + pick(random, statuses), "&program_type=" + pick(random, programs), "&status=active&program_type=" + pick(random, programs)} {
			p.searches = append(p.searches, load.NewRequest(OfSearch, "GET", Search+"?query="+part+filter, ""))
		}
	}
	for _, status := range statuses {
		for _, program := range programs {
			for offset := range 5 {
				p.lists = append(p.lists, load.NewRequest(OfList, "GET", fmt.Sprintf("%s?status=%s&program_type=%s&offset=%d", Search, status, program, 20*offset), ""))
			}
		}
	}
	for _, days := range []int{7, 30, 90, 365} {
		for _, program := range append([]string{""}, programs...) {
			target := fmt.Sprintf("%s?days=%d", Analytics, days)
			if program != "" {
				target += "&program_type=" + program
			}
			p.analyses = append(p.analyses, load.NewRequest(OfAnalytics, "GET", target, ""))
		}
	}
	for _, all := range [][]*load.Request{p.searches, p.lists, p.analyses} {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	return p
}

// maxParts bounds the parts of names that are searched for.
const maxParts = 40

// partsOf cuts pieces out of last names: what people type into a search box.
func partsOf(names []string, random *rand.Rand) []string {
	seen := map[string]bool{}
	var parts []string
	for _, i := range random.Perm(len(names)) {
		word := strings.ToLower(names[i][strings.LastIndexByte(names[i], ' ')+1:])
		if len(word) < 4 || strings.ContainsFunc(word, func(r rune) bool { return r < 'a' || r > 'z' }) {
			continue // other letters would have to be escaped, and search the same
		}
		part := word[:3+random.IntN(2)]
		if !seen[part] && len(parts) < maxParts {
			seen[part] = true
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		parts = []string{"ann"}
	}
	return parts
}

// Size returns how many clients can be asked for.
func (p *Population) Size() int { return len(p.ids) }

// IDs returns the ids of all clients that can be asked for.
func (p *Population) IDs() []string { return slices.Clone(p.ids) }

func pick(random *rand.Rand, from []string) string { return from[random.IntN(len(from))] }
