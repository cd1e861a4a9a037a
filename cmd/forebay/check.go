package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"forebay/cache"
	"forebay/rules"
	"forebay/upstream/changes"
	"forebay/upstream/postgres"
)

// checkCmd says what is wrong with a configuration.
type checkCmd struct {
	Config  string `short:"c" required:"" env:"FOREBAY_CONFIG" type:"path" help:"Configuration file."`
	Offline bool   `help:"Do not try to reach the database."`
	Strict  bool   `help:"Fail on warnings, and when the database cannot be reached."`
	Dump    bool   `help:"Print the effective configuration, defaults filled in and secrets masked."`
	Format  string `enum:"text,json" default:"text" help:"How mistakes are printed: text on standard error, or json on standard output."`
}

// databaseTimeout bounds the whole check against the database.
const databaseTimeout = 20 * time.Second

// Run checks and prints.
func (c *checkCmd) Run(ctx context.Context) error {
	config, mistakes, err := rules.Inspect(c.Config, os.LookupEnv)
	if err != nil {
		return err
	}
	var judged []changes.Finding
	if config != nil && config.Postgres != nil && !c.Offline {
		var found rules.Mistakes
		found, judged = c.prepare(ctx, config)
		mistakes = append(mistakes, found...)
		mistakes.Sort(c.Config)
	}
	wrong := 0
	for _, m := range mistakes {
		if !m.Warning || c.Strict {
			wrong++
		}
	}
	if err := c.print(mistakes, judged, wrong); err != nil {
		return err
	}
	if wrong > 0 {
		return errReported
	}
	if c.Dump {
		text, err := config.Dump()
		if err != nil {
			return fmt.Errorf("dump configuration: %w", err)
		}
		_, err = os.Stdout.Write(text)
		return err
	}
	return nil
}

// prepare has the database at hand prepare every statement, and returns what is wrong and how each rule would be
// judged.
func (c *checkCmd) prepare(ctx context.Context, config *rules.Config) (rules.Mistakes, []changes.Finding) {
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	unreachable := func(err error) (rules.Mistakes, []changes.Finding) {
		return rules.Mistakes{{
			Position: rules.Position{File: c.Config, Line: 1, Column: 1}, Path: "postgres.url", Warning: true,
			Message: fmt.Sprintf("statements were not prepared: %v; start the database, or say --offline", err),
		}}, nil
	}
	clock := cache.NewClock(time.Now())
	d, err := postgres.New(postgres.ConfigOf(config.Postgres), postgres.Deps{
		Log: cache.NewChangeLog("check"), Clock: clock, Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet(),
	})
	if err != nil {
		return unreachable(err)
	}
	defer d.Close()
	if err := d.Ping(ctx); err != nil {
		return unreachable(err)
	}
	return append(c.standby(ctx, config, d), d.Prepare(ctx, config.Rules.Rules())...), survey(ctx, config).rules
}

// standby warns of one that would not be read from.
func (c *checkCmd) standby(ctx context.Context, config *rules.Config, d *postgres.Database) []rules.Mistake {
	if config.Postgres.Standby == "" {
		return nil
	}
	f := examineStandby(ctx, d)
	if f.State == changes.FindingOK {
		return nil
	}
	return []rules.Mistake{{
		Position: rules.Position{File: c.Config, Line: 1, Column: 1}, Path: "postgres.standby", Warning: true,
		Message: strings.TrimSuffix(f.Detail+"; "+f.Fix, "; "),
	}}
}

func (c *checkCmd) print(mistakes rules.Mistakes, judged []changes.Finding, wrong int) error {
	if c.Format == "json" {
		type line struct {
			File    string `json:"file"`
			Line    int    `json:"line"`
			Column  int    `json:"column"`
			Path    string `json:"path"`
			Rule    string `json:"rule"`
			Message string `json:"message"`
			Warning bool   `json:"warning"`
		}
		lines := make([]line, 0, len(mistakes))
		for _, m := range mistakes {
			lines = append(lines, line{m.File, m.Line, m.Column, m.Path, m.Rule, m.Message, m.Warning})
		}
		return json.NewEncoder(os.Stdout).Encode(lines)
	}
	for _, m := range mistakes {
		fmt.Fprintln(os.Stderr, m)
	}
	if wrong == 0 {
		for _, f := range judged {
			fmt.Fprintf(os.Stderr, "%s: %s: %s\n", c.Config, f.Check, f.Detail)
		}
		fmt.Fprintf(os.Stderr, "%s: good\n", c.Config)
	}
	return nil
}

// schemaCmd prints the configuration's JSON Schema.
type schemaCmd struct{}

// Run prints.
func (schemaCmd) Run() error {
	text, err := rules.Schema()
	if err != nil {
		return fmt.Errorf("make schema: %w", err)
	}
	_, err = os.Stdout.Write(text)
	return err
}
