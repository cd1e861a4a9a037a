// Command forebay is a read-through caching proxy for APIs that live on Postgres.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set when the binary is linked.
var version = "unknown"

// Exit codes. A mistake in how forebay was called is 2, as the Go tools have it.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// cli is the command line.
type cli struct {
	Run     runCmd     `cmd:"" help:"Serve the rules of a configuration file."`
	Demo    demoCmd    `cmd:"" help:"Serve the NEXUS clients API from a throw-away Postgres, to try forebay out."`
	Check   checkCmd   `cmd:"" help:"Say what is wrong with a configuration, without serving it."`
	Purge   purgeCmd   `cmd:"" help:"Have a running forebay drop stored responses."`
	Bypass  bypassCmd  `cmd:"" help:"Turn the kill switch of a running forebay on or off: nothing is served from the cache while it is on."`
	Explain explainCmd `cmd:"" help:"Ask a running forebay what becomes of a request, and whether what is stored is current."`
	Doctor  doctorCmd  `cmd:"" help:"Look at the database and Redis that a configuration is for, and say what keeps changes from being followed."`
	Changes changesCmd `cmd:"" help:"Install or remove triggers that help forebay to hear of changes."`
	Ready   readyCmd   `cmd:"" help:"Ask a running forebay whether it is ready; for health checks."`
	Bench   benchCmd   `cmd:"" help:"Measure forebay: before and after, failures, other caches, scale."`
	Schema  schemaCmd  `cmd:"" help:"Print the JSON Schema of the configuration, for editors."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string) int {
	var c cli
	parser, err := kong.New(&c,
		kong.Name("forebay"),
		kong.Description("A read-through caching proxy for APIs that live on Postgres."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	command, err := parser.Parse(usual(args))
	if err != nil {
		fmt.Fprintln(os.Stderr, "forebay:", err)
		fmt.Fprintln(os.Stderr, "forebay --help says what there is.")
		return exitUsage
	}
	if err := command.Run(); err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "forebay:", err)
		}
		return exitFailure
	}
	return exitOK
}

// usual turns what people type out of habit into what is meant.
func usual(args []string) []string {
	switch {
	case len(args) == 0:
		return []string{"--help"}
	case args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case len(args) == 1 && args[0] == "--version":
		return []string{"version"}
	}
	return args
}

// errReported is the error of a command that has said all there is to say.
var errReported = errors.New("already reported")

// versionCmd prints the version.
type versionCmd struct{}

// Run prints.
func (versionCmd) Run() error {
	fmt.Println("forebay", version)
	return nil
}
