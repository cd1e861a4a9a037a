// Command withservers starts a private Postgres and Redis, runs the command that follows with
// FOREBAY_TEST_DATABASE_URL and FOREBAY_TEST_REDIS_URL set, and stops both whatever happens.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"forebay/bench/private"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: withservers COMMAND [ARGUMENT …]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "withservers:", err)
	}
	os.Exit(code)
}

// run returns the command's exit code.
func run(ctx context.Context, args []string) (int, error) {
	pg, err := private.StartPostgres(ctx, "max_connections = 400", "fsync = off", "max_prepared_transactions = 10")
	if err != nil {
		return 1, err
	}
	defer pg.Stop()
	redis, err := private.StartRedis(ctx)
	if err != nil {
		return 1, err
	}
	defer redis.Stop()

	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"FOREBAY_TEST_DATABASE_URL="+pg.URL("postgres"),
		"FOREBAY_TEST_REDIS_URL="+redis.URL())
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, fmt.Errorf("run %s: %w", args[0], err)
	}
	return 0, nil
}
