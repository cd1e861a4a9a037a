package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"forebay/bench"
	"forebay/bench/report"
)

// benchCmd measures forebay.
type benchCmd struct {
	All     benchAllCmd     `cmd:"" default:"withargs" help:"Everything, from nothing: scenarios, failures, paths, peers, scale."`
	Peers   benchPeersCmd   `cmd:"" help:"Beside nginx, Varnish, HAProxy and Traffic Server, those that are installed."`
	Scale   benchScaleCmd   `cmd:"" help:"What stays flat as stored responses, rules and connections grow."`
	Compare benchCompareCmd `cmd:"" help:"Hold one run's JSON against an older one's."`
	Serve   benchServeCmd   `cmd:"" hidden:"" help:"The servers that a run starts beside forebay."`
}

// benchFlags are what every run takes.
type benchFlags struct {
	Seed  uint64        `default:"1" help:"Draws the same requests again."`
	Quick bool          `help:"Show in a minute that everything works; the figures mean nothing."`
	Out   string        `type:"path" placeholder:"DIR" help:"Directory for the JSON and the page; made if it is not there. Only a complete run is written."`
	Limit time.Duration `default:"30m" help:"End the run after this long, with what there is."`
}

// benchAllCmd runs everything, or against a target.
type benchAllCmd struct {
	benchFlags
	Clients        int      `default:"200000" help:"How many clients to make up."`
	Only           []string `enum:"scenarios,failures,paths,peers,scale" help:"Run these parts alone: scenarios, failures, paths, peers, scale."`
	Target         string   `placeholder:"URL" help:"Measure the scenarios against what serves the clients API there already, reading only."`
	TargetWrites   bool     `help:"The target may be written to: clients are changed and created."`
	TargetDatabase string   `placeholder:"URL" help:"The target's database, for what pg_stat_statements has to say."`
}

// Validate refuses what no run could be about: its scenarios draw from a thousand clients and more.
func (c *benchAllCmd) Validate() error { return inBounds("--clients", c.Clients, 1000, 10_000_000) }

// inBounds refuses a number that is out of bounds.
func inBounds(flag string, n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("%s=%d is out of bounds; want %d to %d", flag, n, least, most)
	}
	return nil
}

// Run runs and reports.
func (c *benchAllCmd) Run(ctx context.Context) error {
	config := c.config(bench.Scenarios, bench.Paths, bench.Failures, bench.Peers, bench.Scale)
	config.Clients = c.Clients
	if c.Quick && config.Clients == 200_000 {
		config.Clients = 2_000
	}
	if len(c.Only) > 0 {
		config.Parts = nil
		for _, part := range c.Only {
			config.Parts = append(config.Parts, bench.Part(part))
		}
	}
	if c.Target != "" {
		target, err := url.Parse(c.Target)
		if err != nil || target.Scheme != "http" || target.Host == "" {
			return fmt.Errorf("cannot use --target=%q; give it as http://host:port", c.Target)
		}
		address := target.Host
		if target.Port() == "" {
			address += ":80"
		}
		config.Target = bench.Target{Address: address, Database: c.TargetDatabase, Writes: c.TargetWrites}
	}
	return c.run(ctx, config)
}

// benchPeersCmd runs the comparison with other caches.
type benchPeersCmd struct{ benchFlags }

// Run runs and reports.
func (c *benchPeersCmd) Run(ctx context.Context) error {
	config := c.config(bench.Peers)
	config.Matrix = !c.Quick
	return c.run(ctx, config)
}

// benchScaleCmd runs the benchmarks over size.
type benchScaleCmd struct {
	benchFlags
	Stored int `default:"1000000" help:"The most responses to store; 5000000 takes 8 GiB and a quarter of an hour."`
}

// Validate refuses what nothing could be seen at, and what no machine holds.
func (c *benchScaleCmd) Validate() error { return inBounds("--stored", c.Stored, 1000, 100_000_000) }

// Run runs and reports.
func (c *benchScaleCmd) Run(ctx context.Context) error {
	config := c.config(bench.Scale)
	config.Stored = c.Stored
	return c.run(ctx, config)
}

// config is what the flags say.
func (f *benchFlags) config(parts ...bench.Part) bench.Config {
	command := strings.Join(append([]string{"forebay"}, os.Args[1:]...), " ")
	return bench.Config{
		Version: version, Command: command, Seed: f.Seed, Quick: f.Quick, Limit: f.Limit, Parts: parts, Progress: os.Stderr,
	}
}

// run runs, prints, and writes what is to be kept.
func (f *benchFlags) run(ctx context.Context, config bench.Config) error {
	if f.Out != "" {
		if err := writable(f.Out); err != nil {
			return err
		}
	}
	r, err := bench.Run(ctx, config)
	if printed := r.WriteText(os.Stdout); printed != nil {
		return printed
	}
	if err != nil {
		return fmt.Errorf("cannot finish the run: %w", err)
	}
	if f.Out == "" {
		return nil
	}
	return write(os.Stdout, r, f.Out)
}

// writable makes the directory and tries a file in it, before a run is measured that could not be kept.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make --out=%q: %w", dir, err)
	}
	try, err := os.CreateTemp(dir, ".bench-*")
	if err != nil {
		return fmt.Errorf("cannot write into --out=%q: %w", dir, err)
	}
	return errors.Join(try.Close(), os.Remove(try.Name()))
}

// write writes the JSON and the page.
func write(w io.Writer, r *report.Report, dir string) error {
	name := filepath.Join(dir, "bench-"+r.Started.Format("2006-01-02T1504"))
	if err := r.WriteJSON(name + ".json"); err != nil {
		return err
	}
	if err := r.WriteHTML(name + ".html"); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s.json\n%s.html\n", name, name)
	return err
}

// benchCompareCmd compares two runs.
type benchCompareCmd struct {
	Old string `arg:"" type:"existingfile" help:"JSON of the older run."`
	New string `arg:"" type:"existingfile" help:"JSON of the newer run."`
}

// Run compares and prints.
func (c *benchCompareCmd) Run() error {
	older, err := report.Read(c.Old)
	if err != nil {
		return err
	}
	newer, err := report.Read(c.New)
	if err != nil {
		return err
	}
	_, err = fmt.Print(report.Compare(older, newer).Text())
	return err
}
