package nexus_test

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"
)

const (
	searchRoute     = "GET /api/v1/optimized/clients/search/advanced"
	searchPostRoute = "POST /api/v1/clients/search"
)

// page is pagination as responses show it.
type page struct {
	TotalCount  int  `json:"total_count"`
	Limit       int  `json:"limit"`
	Offset      int  `json:"offset"`
	HasMore     bool `json:"has_more"`
	CurrentPage int  `json:"current_page"`
	TotalPages  int  `json:"total_pages"`
}

// answer is what a search brings.
type answer struct {
	Clients []client `json:"clients"`
	Page    page     `json:"pagination"`
	Filters struct {
		Query       *string `json:"query"`
		Status      *string `json:"status"`
		ProgramType *string `json:"program_type"`
	} `json:"filters_applied"`
}

// search is what is asked for. An empty text asks for nothing.
type search struct {
	query, status, program string
	limit, offset          int
}

func (s search) arguments() arguments {
	args := arguments{"limit": strconv.Itoa(s.limit), "offset": strconv.Itoa(s.offset)}
	for name, value := range map[string]string{"query": s.query, "status": s.status, "program_type": s.program} {
		if value != "" {
			args[name] = value
		}
	}
	return args
}

// naive looks at every client.
func (s search) naive(all []client) ([]client, page) {
	found := []client{}
	for _, c := range all {
		q := strings.ToLower(s.query)
		if (strings.Contains(strings.ToLower(c.Name), q) || strings.Contains(strings.ToLower(c.Email), q)) &&
			(s.status == "" || c.Status == s.status) && (s.program == "" || c.ProgramType == s.program) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b client) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	total := len(found)
	return found[min(s.offset, total):min(s.offset+s.limit, total)], page{
		TotalCount: total, Limit: s.limit, Offset: s.offset, HasMore: s.offset+s.limit < total,
		CurrentPage: s.offset/s.limit + 1, TotalPages: (total + s.limit - 1) / s.limit,
	}
}

// difference runs the search and returns how it differs from the naive one.
func (s search) difference(t testing.TB, conn *pgx.Conn, route string, all []client) string {
	var answers []answer
	find(t, route, "rows").rows(t, conn, s.arguments(), &answers)
	var want answer
	want.Clients, want.Page = s.naive(all)
	for name, filter := range map[string]**string{"query": &want.Filters.Query, "status": &want.Filters.Status, "program_type": &want.Filters.ProgramType} {
		if value, given := s.arguments()[name]; given {
			*filter = &value
		}
	}
	return gocmp.Diff([]answer{want}, answers)
}

// awkward are clients whose names are hard to search.
const awkward = `insert into clients (name, email, program_type, status) values
	('100% Anna_B\C', 'percent%under_score\back@example.com', 'PRIME', 'active'),
	('JOSÉ ÁLVAREZ ŁUKASZ', 'Upper.Case@EXAMPLE.com', 'HYBRID', 'paused'),
	('ÆØÅ ΣΊΣΥΦΟΣ', 'x@y.zz', 'LONGEVITY', 'trial'),
	('李小龍', 'bruce@example.com', 'PRIME', 'active'),
	('a', 'b@c.dd', 'PRIME', 'cancelled')`

func TestSearchFindsWhatLookingAtEveryClientFinds(t *testing.T) {
	t.Parallel()
	tx := begin(t, filled(t))
	exec(t, tx.Conn(), awkward)
	exec(t, tx.Conn(), "set local plan_cache_mode = force_custom_plan")
	all := everyClient(t, tx.Conn())
	f := func(s search) {
		t.Helper()
		s.limit = cmp.Or(s.limit, 20)
		for _, route := range []string{searchRoute, searchPostRoute} {
			if d := s.difference(t, tx.Conn(), route, all); d != "" {
				t.Errorf("%s %+v (-want +got):\n%s", route, s, d)
			}
		}
	}
	f(search{})
	f(search{limit: 1})
	f(search{limit: 100, offset: smallSize - 3})
	f(search{offset: 1_000_000})
	f(search{status: "active"})
	f(search{program: "HYBRID"})
	f(search{status: "cancelled", program: "LONGEVITY", limit: 7, offset: 7})
	f(search{query: "ann"})
	f(search{query: "ANN", status: "active", program: "PRIME"})
	f(search{query: "ann", offset: 1_000_000})
	f(search{query: "nobody is called that"})
	// Shorter than a trigram.
	f(search{query: "a"})
	f(search{query: "zo"})
	f(search{query: "@"})
	f(search{query: "李"})
	// What LIKE would take for wildcards.
	f(search{query: "%"})
	f(search{query: "_"})
	f(search{query: `\`})
	f(search{query: `%%%`})
	f(search{query: "100%"})
	f(search{query: "r_s"})
	f(search{query: `b\c`})
	f(search{query: `\\`})
	// Between and around words; no query reaches from the name into the e-mail.
	f(search{query: "a s"})
	f(search{query: " "})
	f(search{query: "  "})
	f(search{query: "garcia\ngarcia"})
	f(search{query: "@example.com"})
	// Beyond ASCII, in either case.
	f(search{query: "josé"})
	f(search{query: "ÁLVAREZ"})
	f(search{query: "łuk"})
	f(search{query: "小龍"})
	f(search{query: "'; drop table clients; --"})
}

func TestSearchAgreesWithNaiveOnAnything(t *testing.T) {
	t.Parallel()
	tx := begin(t, filled(t))
	exec(t, tx.Conn(), awkward)
	exec(t, tx.Conn(), "set local plan_cache_mode = force_custom_plan")
	all := everyClient(t, tx.Conn())
	rapid.Check(t, func(r *rapid.T) {
		c := all[rapid.IntRange(0, len(all)-1).Draw(r, "client")]
		text := []rune(rapid.SampledFrom([]string{c.Name, c.Email, strings.ToUpper(c.Name), c.Name + " " + c.Email}).Draw(r, "text"))
		from := rapid.IntRange(0, len(text)-1).Draw(r, "from")
		to := rapid.IntRange(from, min(len(text), from+12)).Draw(r, "to")
		s := search{
			query:   string(text[from:to]),
			status:  rapid.SampledFrom([]string{"", "", "active", "trial", "cancelled"}).Draw(r, "status"),
			program: rapid.SampledFrom([]string{"", "", "PRIME", "HYBRID"}).Draw(r, "program"),
			limit:   rapid.IntRange(1, 100).Draw(r, "limit"),
			offset:  rapid.SampledFrom([]int{0, 0, 1, 20, 1999, 5000}).Draw(r, "offset"),
		}
		// So few rows would never be looked up in an index.
		indexed := rapid.SampledFrom([]string{"off", "on"}).Draw(r, "enable_seqscan")
		exec(t, tx.Conn(), "set local enable_seqscan = "+indexed)
		if d := s.difference(t, tx.Conn(), searchRoute, all); d != "" {
			r.Fatalf("%+v (-want +got):\n%s", s, d)
		}
	})
}

func TestSearchOfNoClientsHasNoPages(t *testing.T) {
	t.Parallel()
	tx := begin(t, newDatabase(t, nil))
	for _, s := range []search{{limit: 20}, {limit: 20, query: "ann"}, {limit: 20, status: "active"}} {
		if d := s.difference(t, tx.Conn(), searchRoute, nil); d != "" {
			t.Errorf("%+v (-want +got):\n%s", s, d)
		}
	}
}

func TestByIDsAnswersInTheOrderAsked(t *testing.T) {
	t.Parallel()
	const route = "GET /api/v1/optimized/clients/by-ids"
	const unknown1, unknown2 = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
	tx := begin(t, filled(t))
	all := everyClient(t, tx.Conn())
	a, b, c := all[900], all[3], all[1500]
	args := arguments{"ids": "{" + strings.Join([]string{a.ID, unknown1, b.ID, a.ID, unknown2, unknown1, c.ID}, ",") + "}"}

	var clients []client
	find(t, route, "clients").rows(t, tx.Conn(), args, &clients)
	if d := gocmp.Diff([]client{a, b, c}, clients); d != "" {
		t.Errorf("clients (-want +got):\n%s", d)
	}
	var numbers []struct{ Count int }
	find(t, route, "requested_count").rows(t, tx.Conn(), args, &numbers)
	find(t, route, "found_count").rows(t, tx.Conn(), args, &numbers)
	if numbers[0].Count != 3 {
		t.Errorf("found_count = %d, want 3", numbers[0].Count)
	}
	var missing []struct{ Coalesce []string }
	find(t, route, "missing_ids").rows(t, tx.Conn(), args, &missing)
	if d := gocmp.Diff([]string{unknown1, unknown2}, missing[0].Coalesce); d != "" {
		t.Errorf("missing_ids (-want +got):\n%s", d)
	}
	find(t, route, "requested_count").rows(t, tx.Conn(), args, &numbers)
	if numbers[0].Count != 5 {
		t.Errorf("requested_count = %d, want 5", numbers[0].Count)
	}
	find(t, route, "missing_ids").rows(t, tx.Conn(), arguments{"ids": "{" + a.ID + "}"}, &missing)
	if missing[0].Coalesce == nil || len(missing[0].Coalesce) != 0 {
		t.Errorf("missing_ids of a known id = %v, want []", missing[0].Coalesce)
	}
}

func TestOneClientAndTheExportShowTheSameFields(t *testing.T) {
	t.Parallel()
	tx := begin(t, filled(t))
	all := everyClient(t, tx.Conn())
	slices.SortFunc(all, func(a, b client) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID)) })

	var got []client
	find(t, "GET /api/v1/clients/{id}", "rows").rows(t, tx.Conn(), arguments{"id": all[42].ID}, &got)
	if d := gocmp.Diff(all[42:43], got); d != "" {
		t.Errorf("client (-want +got):\n%s", d)
	}
	export := find(t, "GET /api/v1/optimized/clients/bulk-export", "rows")
	export.rows(t, tx.Conn(), nil, &got)
	if d := gocmp.Diff(all, got); d != "" {
		t.Errorf("export (-want +got):\n%s", d)
	}
	export.rows(t, tx.Conn(), arguments{"status": "trial", "program_type": "HYBRID"}, &got)
	all = slices.DeleteFunc(all, func(c client) bool { return c.Status != "trial" || c.ProgramType != "HYBRID" })
	if d := gocmp.Diff(all, got); d != "" {
		t.Errorf("filtered export (-want +got):\n%s", d)
	}
}
