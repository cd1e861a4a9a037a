package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"forebay/rules"
	"forebay/upstream/changes"
	"forebay/upstream/postgres"
)

// changesCmd installs what helps forebay to hear of changes.
type changesCmd struct {
	Install   changesInstallCmd   `cmd:"" help:"Print the SQL that forebay would like to have in the database, and with --yes run it."`
	Uninstall changesUninstallCmd `cmd:"" help:"Print the SQL that removes all of it, and with --yes run it."`
}

// changesInstallCmd installs triggers.
type changesInstallCmd struct {
	Config string   `short:"c" required:"" env:"FOREBAY_CONFIG" type:"path" help:"Configuration file."`
	Notify bool     `help:"Triggers for postgres.changes: notify, on the tables that rules read. They serialise commits: try wal first."`
	Tables []string `name:"table" help:"The tables instead of those that rules read; of a partitioned one, all its partitions."`
	Yes    bool     `help:"Run it."`
}

// Run prints, and runs.
func (c *changesInstallCmd) Run(ctx context.Context) error {
	config, err := configWithPostgres(c.Config)
	if err != nil {
		return err
	}
	sql := changes.DDLSQL()
	if c.Notify {
		tables := c.Tables
		if len(tables) == 0 {
			if tables, err = tablesOf(ctx, config); err != nil {
				return err
			}
		}
		if sql, err = changes.NotifySQL(ctx, changes.ConfigOf(config.Postgres, changes.ModeNotify), tables); err != nil {
			return fmt.Errorf("cannot install triggers: %w", err)
		}
	}
	return runOrPrint(ctx, config, sql, c.Yes)
}

// changesUninstallCmd removes them.
type changesUninstallCmd struct {
	Config string `short:"c" required:"" env:"FOREBAY_CONFIG" type:"path" help:"Configuration file."`
	Yes    bool   `help:"Run it."`
}

// Run prints, and runs.
func (c *changesUninstallCmd) Run(ctx context.Context) error {
	config, err := configWithPostgres(c.Config)
	if err != nil {
		return err
	}
	return runOrPrint(ctx, config, changes.UninstallSQL(), c.Yes)
}

func configWithPostgres(path string) (*rules.Config, error) {
	config, err := rules.Load(path, os.LookupEnv)
	if err != nil {
		return nil, reportMistakes(err)
	}
	if config.Postgres == nil {
		return nil, fmt.Errorf("%s has no postgres section, so there is nothing to install into", path)
	}
	return config, nil
}

// tablesOf returns the tables that rules read.
func tablesOf(ctx context.Context, config *rules.Config) ([]string, error) {
	seen := survey(ctx, config)
	for _, f := range seen.findings {
		if f.State == changes.FindingFail {
			return nil, fmt.Errorf("cannot find out what the rules read: %s; name the tables with --table", f.Detail)
		}
	}
	return seen.tables, nil
}

// runOrPrint says what would be done, and does it if that was asked for.
func runOrPrint(ctx context.Context, config *rules.Config, sql string, yes bool) error {
	fmt.Print(strings.TrimRight(sql, "\n") + "\n")
	if !yes {
		fmt.Fprintln(os.Stderr, "Nothing was changed. Run it with psql, or say --yes.")
		return nil
	}
	if err := postgres.RunScript(ctx, string(config.Postgres.URL), nil, sql); err != nil {
		return fmt.Errorf("cannot run this: %w", err)
	}
	fmt.Fprintln(os.Stderr, "Done.")
	return nil
}
