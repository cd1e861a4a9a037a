package paths

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"forebay/bench/gauge"
	"forebay/bench/load"
	"forebay/bench/private"
	"forebay/bench/report"
	"forebay/bench/stage"
	"forebay/configs/nexus"
)

// configuration has a row, a list, a row that any client may turn out to be, and an export, each stored for minutes.
const configuration = `listen: ${FOREBAY_LISTEN}
admin: {listen: "${FOREBAY_ADMIN_LISTEN}", token: "${FOREBAY_ADMIN_TOKEN}"}
postgres: {url: "${DATABASE_URL}"}
routes:
  - route: GET /row/{id}
    kind: find
    params: {id: uuid}
    query: row.sql
    rows: one
  - route: GET /list/{id}
    kind: search
    params: {id: uuid}
    query: list.sql
    rows: many
  - route: GET /next/{id}
    kind: find
    params: {id: uuid}
    query: next.sql
    rows: one
  - route: PUT /row/{id}
    params: {id: uuid}
    body: {notes: text}
    query: write.sql
    rows: one
  - route: GET /export
    kind: search
    timeout: 5m
    query: export.sql
    rows: many
    formats:
      - {accept: text/csv, filename: clients.csv}
`

// list is fifty rows from an index, as pages of lists are.
const list = `select id, name, email, phone, program_type, status, created_at, updated_at, notes, metadata
from clients
where id >= @id::uuid
order by id
limit 50
`

// next is a row that a write to any other may change, so that all of these hang on the whole table.
const next = "select id, updated_at from clients where id > @id::uuid order by id limit 1"

// write changes a row that responses were made of.
const write = "update clients set notes = @notes where id = @id::uuid returning id"

// aggregated is the list as one value.
const aggregated = "select coalesce(json_agg(listed), '[]')::text from (" + list + ") as listed"

// export is every row.
const export = `select id, name, email, phone, program_type, status, created_at, updated_at, notes
from clients
order by created_at, id
`

// workers are the connections of misses, more than the pool has.
const workers = 16

// Settings say how much is measured.
type Settings struct {
	Quick bool
	Seed  uint64
	Step  func(format string, args ...any)
}

func (s *Settings) rounds() int {
	if s.Quick {
		return 2
	}
	return 10
}

// Run measures on the stage, and returns what it has also beside an error. IDs are clients.
func Run(ctx context.Context, s Settings, st *stage.Stage, binary string, ids []string) (*report.Section, error) {
	section := report.NewSection("paths", "Beside the same done directly",
		"What forebay takes for a miss, a list, an export and a hit in Redis, beside a handler that does nothing but the statement through pgx, json_agg, COPY and one GET by go-redis: the median of paired ratios. A goal is met if the interval's lower end meets it.")
	row, err := fs.ReadFile(nexus.Files, "queries/client.sql")
	if err != nil {
		return section, fmt.Errorf("read statement: %w", err)
	}
	p := &pair{settings: &s, section: section, table: report.Table{Title: "Rounds that take turns", Columns: []string{"", "answers / s", "directly", "ratio", "interval", "CPU µs", "directly", "ratio", "interval"}}}
	forebay, err := stage.StartForebay(ctx, stage.Plan{
		Binary: binary, Env: []string{"DATABASE_URL=" + st.URL(stage.After)},
		Files: map[string]string{"forebay.yaml": configuration, "row.sql": string(row), "list.sql": list, "export.sql": export, "write.sql": write, "next.sql": next},
	})
	if err != nil {
		return section, err
	}
	defer forebay.Stop()
	direct, err := startPlain(ctx, binary, "--database", st.URL(stage.After), "--row", string(row), "--list", aggregated)
	if err != nil {
		return section, err
	}
	defer direct.Stop()
	if err := p.misses(ctx, forebay, direct, st, ids); err != nil {
		return section, err
	}
	if err := p.dependants(ctx, forebay, st); err != nil {
		return section, err
	}
	if err := s.export(ctx, section, forebay, st); err != nil {
		return section, err
	}
	err = p.redis(ctx, binary)
	section.Tables = append(section.Tables, p.table)
	return section, err
}

// startPlain starts the handler that does things directly.
func startPlain(ctx context.Context, binary string, args ...string) (*private.Program, error) {
	p, err := private.NewProgram(private.Plan{Name: "plain", Command: append([]string{binary, "bench", "serve", "plain", "--listen", "127.0.0.1:%PORT%"}, args...)})
	if err != nil {
		return nil, err
	}
	if err := p.Start(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// pair compares forebay with a plain handler. Not safe for concurrent use.
type pair struct {
	settings *Settings
	section  *report.Section
	table    report.Table
}

// contest is one comparison: both do the same, in turns.
type contest struct {
	name        string
	connections int
	requests    func(i int) *load.Request // the i-th of a round
	count       int                       // of a round
	before      func() error              // each of forebay's rounds
	forebay     *contestant
	direct      *contestant
}

// contestant is one of both.
type contestant struct {
	address         string
	processes       []*gauge.Processes
	throughput, cpu []float64
}

func (c *contest) run(ctx context.Context, rounds int, seed uint64) error {
	for round := -1; round < rounds; round++ {
		order := []*contestant{c.forebay, c.direct}
		if round%2 != 0 {
			order[0], order[1] = order[1], order[0]
		}
		for _, who := range order {
			if who == c.forebay && c.before != nil {
				if err := c.before(); err != nil {
					return err
				}
			}
			if err := who.round(ctx, c, seed, round >= 0); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

func (who *contestant) round(ctx context.Context, c *contest, seed uint64, counted bool) error {
	for _, p := range who.processes {
		p.Refresh()
	}
	before, err := who.spent()
	if err != nil {
		return err
	}
	var next atomic.Int64
	m := load.Run(ctx, load.Config{Address: who.address, Window: time.Minute, Timeout: 20 * time.Second, Slices: 1, Seed: seed},
		load.Stream{Name: c.name, Connections: c.connections, New: func(*rand.Rand) load.DrawFunc {
			return func() *load.Request {
				if i := int(next.Add(1)) - 1; i < c.count {
					return c.requests(i)
				}
				return nil
			}
		}})
	after, err := who.spent()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if n := m.Results[0].Counts.Answered; n != c.count {
		return fmt.Errorf("%d of %d were answered: %v", n, c.count, m.Strange)
	}
	if counted {
		who.throughput = append(who.throughput, float64(c.count)/m.Seconds)
		who.cpu = append(who.cpu, float64((after-before).Nanoseconds())/1000/float64(c.count))
	}
	return nil
}

// spent is the CPU time of all the contestant's processes so far.
func (who *contestant) spent() (time.Duration, error) {
	var sum time.Duration
	for _, p := range who.processes {
		t, err := p.CPU()
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		sum += t
	}
	return sum, nil
}

// tell adds the comparison's row and returns its two ratios.
func (p *pair) tell(c *contest) (throughput, cpu gauge.Ratio) {
	throughput = gauge.Median(gauge.Over(c.forebay.throughput, c.direct.throughput))
	cpu = gauge.Median(gauge.Over(c.forebay.cpu, c.direct.cpu))
	of := func(v []float64) string { return report.Number(gauge.Median(v).Median) }
	interval := func(r gauge.Ratio) string { return fmt.Sprintf("%.2f to %.2f", r.Low, r.High) }
	p.table.Row(c.name, of(c.forebay.throughput), of(c.direct.throughput), fmt.Sprintf("%.2f", throughput.Median), interval(throughput),
		of(c.forebay.cpu), of(c.direct.cpu), fmt.Sprintf("%.2f", cpu.Median), interval(cpu))
	return throughput, cpu
}

// misses compares rows and lists that are not stored.
func (p *pair) misses(ctx context.Context, forebay *stage.Forebay, direct *private.Program, st *stage.Stage, ids []string) error {
	for _, kind := range []string{"row", "list"} {
		p.settings.Step("paths · misses of a %s", kind)
		database := gauge.ProcessesOf(st.Postgres.Pid())
		requests := make([]*load.Request, min(len(ids), map[string]int{"row": 4000, "list": 1500}[kind]))
		for i := range requests {
			requests[i] = load.NewRequest(kind, "GET", "/"+kind+"/"+ids[i], "")
		}
		c := &contest{
			name: "miss: a " + kind, connections: workers, count: len(requests), before: forebay.Purge,
			requests: func(i int) *load.Request { return requests[i] },
			forebay:  &contestant{address: forebay.Address(), processes: []*gauge.Processes{gauge.ProcessesOf(forebay.Pid()), database}},
			direct:   &contestant{address: direct.Address(), processes: []*gauge.Processes{gauge.ProcessesOf(direct.Pid()), database}},
		}
		if err := c.run(ctx, p.settings.rounds(), p.settings.Seed); err != nil {
			return err
		}
		throughput, cpu := p.tell(c)
		if kind == "row" {
			p.section.Figures = append(p.section.Figures,
				report.Low("paths.row.cpu", "miss beside its statement through pgx: CPU with Postgres'", cpu.Median, "×").Want(1.10, "goal").JudgedBy(cpu.Low).With("%s", cpu),
				report.High("paths.row.throughput", "miss beside its statement through pgx: throughput", throughput.Median, "×").Want(0.9, "goal").JudgedBy(throughput.Low).With("%s", throughput))
		} else {
			p.section.Figures = append(p.section.Figures,
				report.High("paths.list.throughput", "list of 50 rows beside json_agg: throughput", throughput.Median, "×").Want(1.8, "goal").JudgedBy(throughput.Low).With("%s", throughput))
		}
	}
	return nil
}

// shortened cuts a text for a table.
func shortened(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}
