package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"forebay/bench/clients"
	"forebay/bench/gauge"
	"forebay/bench/load"
	"forebay/bench/paths"
	"forebay/bench/report"
	"forebay/bench/scenario"
	"forebay/bench/stage"
)

// Part is a piece of a run that can be asked for by itself.
type Part string

// The parts of a run.
const (
	Scenarios Part = "scenarios"
	Failures  Part = "failures"
	Paths     Part = "paths"
	Peers     Part = "peers"
	Scale     Part = "scale"
)

// Config says what to run.
type Config struct {
	Binary  string // forebay that is measured; "": this program
	Version string // of it, for the report
	Command string // that this run was started with, for the report
	Clients int    // how many the data has
	Seed    uint64
	Quick   bool          // only show that everything works
	Limit   time.Duration // of the whole run; what is not done by then is missing from the report
	Parts   []Part
	Matrix  bool // compare with peers on every workload, not only on the telling ones
	Stored  int  // the most responses that scale stores; 0: a million
	Target  Target
	// Progress is told what is being done; on a terminal as a line that changes.
	Progress io.Writer
}

// Target is a service that runs already and is measured instead of one started here.
type Target struct {
	Address  string // host:port; "": everything is started here
	Database string // URL of its database, for pg_stat_statements; "": database time is not known
	Writes   bool   // it may be written to
}

// Run runs the parts and returns the report of what was measured, also beside an error.
func Run(ctx context.Context, c Config) (*report.Report, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.Limit)
	defer cancel()
	r := report.New("forebay bench", c.Command, c.Version, c.Seed, c.Quick)
	p := newProgress(c.Progress)
	defer p.end()
	if c.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return r, fmt.Errorf("find this program: %w", err)
		}
		c.Binary = self
	}
	b := &runner{config: c, report: r, progress: p, settings: scenario.Full(c.Seed, p.step)}
	if c.Quick {
		b.settings = scenario.Quick(c.Seed, p.step)
	}
	err := b.run(ctx)
	err = errors.Join(append(b.failed, err)...)
	r.Complete = err == nil
	r.Seconds = time.Since(start).Seconds()
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		err = fmt.Errorf("the run was not done after %s and was ended; give it more with --limit, or less with --only", c.Limit)
	}
	return r, err
}

// runner runs the parts of one run.
type runner struct {
	config   Config
	report   *report.Report
	progress *progress
	settings scenario.Settings
	failed   []error // parts that could not be finished
}

func (b *runner) run(ctx context.Context) error {
	if b.config.Target.Address != "" {
		return b.target(ctx)
	}
	if b.wanted(Scenarios) || b.wanted(Failures) || b.wanted(Paths) {
		if err := b.onStage(ctx); err != nil {
			return err
		}
	}
	if b.wanted(Failures) {
		section, err := b.settings.Flood(ctx, b.config.Binary)
		if err := b.add(ctx, err, section); err != nil {
			return err
		}
	}
	if b.wanted(Peers) {
		if err := b.peers(ctx); err != nil {
			return err
		}
	}
	if b.wanted(Scale) {
		return b.scale(ctx)
	}
	return nil
}

func (b *runner) wanted(p Part) bool { return slices.Contains(b.config.Parts, p) }

// add puts sections into the report, also what there is of ones that failed. A failure is taken down, and the
// run goes on with what comes next, unless it is being ended.
func (b *runner) add(ctx context.Context, err error, sections ...*report.Section) error {
	for _, section := range sections {
		if section != nil {
			b.report.Sections = append(b.report.Sections, section)
		}
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	if len(sections) > 0 {
		err = fmt.Errorf("%s: %w", sections[len(sections)-1].ID, err)
	}
	b.failed = append(b.failed, err)
	b.report.Notes = append(b.report.Notes, fmt.Sprintf("Not finished: %v.", err))
	return nil
}

// onStage plays everything that needs a database.
func (b *runner) onStage(ctx context.Context) error {
	s, err := stage.Open(ctx, stage.Config{Binary: b.config.Binary, Clients: b.config.Clients, Step: b.progress.step})
	if err != nil {
		return err
	}
	defer s.Close()
	b.report.Notes = append(b.report.Notes, s.Facts...)
	population, err := b.population(ctx, s)
	if err != nil {
		return err
	}
	if b.wanted(Scenarios) {
		if err := b.scenarios(ctx, s, population); err != nil {
			return err
		}
	}
	if b.wanted(Paths) {
		section, err := paths.Run(ctx, paths.Settings{Quick: b.config.Quick, Seed: b.config.Seed, Step: b.progress.step}, s, b.config.Binary, population.IDs())
		if err := b.add(ctx, err, section); err != nil {
			return err
		}
	}
	if !b.wanted(Failures) {
		return nil
	}
	for _, play := range []func() (*report.Section, error){
		func() (*report.Section, error) { return b.settings.Fresh(ctx, s, population) },
		func() (*report.Section, error) { return b.settings.Stampede(ctx, s) },
		func() (*report.Section, error) { return b.settings.SlowClients(ctx, s, population) },
		func() (*report.Section, error) { return b.settings.RedisDown(ctx, s, population) },
		func() (*report.Section, error) { return b.settings.PostgresDown(ctx, s, population) },
	} {
		section, err := play()
		if err := b.add(ctx, err, section); err != nil {
			return err
		}
	}
	return nil
}

// population asks a forebay that is used for nothing else.
func (b *runner) population(ctx context.Context, s *stage.Stage) (*clients.Population, error) {
	f, err := s.Clients(ctx, stage.Variant{})
	if err != nil {
		return nil, err
	}
	defer f.Stop()
	b.progress.step("asking for %d clients", b.settings.Keys)
	return clients.Discover(ctx, f.Address(), b.settings.Keys, b.config.Seed)
}

// scenarios plays before and after.
func (b *runner) scenarios(ctx context.Context, s *stage.Stage, population *clients.Population) error {
	changes := stage.Variant{Changes: s.Supports(ctx, stage.Variant{Changes: true}) == ""}
	f, err := s.Clients(ctx, changes)
	if err != nil {
		return err
	}
	defer f.Stop()
	sides := []*scenario.Side{
		{Name: "before", Address: s.Legacy.Address(), Pool: s.LegacyPool()},
		{Name: "after", Address: f.Address(), Pool: f.Pool(), Purge: f.Purge, Refills: f.Refills},
	}
	for i, database := range []string{stage.Before, stage.After} {
		statements, err := gauge.NewStatements(ctx, s.URL(stage.Admin), database)
		if err != nil {
			return err
		}
		defer statements.Close()
		sides[i].Spent, sides[i].Calm = statements.Spent, statements.Calm
	}
	section, err := b.settings.Misses(ctx, sides, population, b.config.Clients)
	if err := b.add(ctx, err, section); err != nil {
		return err
	}
	sections, err := b.settings.Five(ctx, sides, population, s.Tidy)
	if err := b.add(ctx, err, sections...); err != nil {
		return err
	}
	section, err = b.settings.Bounded(ctx, s, population, scenario.SameBefore(sections))
	return b.add(ctx, err, section)
}

// target measures what runs already.
func (b *runner) target(ctx context.Context) error {
	t := b.config.Target
	b.progress.step("asking for clients")
	population, err := clients.Discover(ctx, t.Address, b.settings.Keys, b.config.Seed)
	if err != nil {
		return err
	}
	side := &scenario.Side{Name: "after", Address: t.Address, Pool: targetPool(t.Address)}
	if t.Database != "" {
		statements, err := gauge.OwnStatements(ctx, t.Database)
		if err != nil {
			return err
		}
		defer statements.Close()
		side.Spent = statements.Spent
	}
	tidy := func(context.Context) error { return nil }
	if !t.Writes {
		b.settings.Shares, tidy = []int{0}, nil
		b.report.Notes = append(b.report.Notes, "Nothing was written to the target: --target-writes allows it.")
	}
	sections, err := b.settings.Five(ctx, []*scenario.Side{side}, population, tidy)
	return b.add(ctx, err, sections...)
}

// targetPool asks a forebay's performance endpoints.
func targetPool(address string) gauge.PoolFunc {
	return stage.PoolOfHealth(load.NewConnection(address, time.Second))
}
