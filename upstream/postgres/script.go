package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// RunScript runs a script of any number of statements on a connection of its own, with the settings made
// first: a schema, or made-up data. For tools; no request's path comes here.
func RunScript(ctx context.Context, url string, settings map[string]string, script string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for name, value := range settings {
		if _, err := conn.Exec(ctx, "select set_config($1, $2, false)", name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	if _, err := conn.PgConn().Exec(ctx, script).ReadAll(); err != nil {
		return fmt.Errorf("run script: %w", err)
	}
	return nil
}

// Value asks for one text on a connection of its own.
func Value(ctx context.Context, url, query string) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var value string
	if err := conn.QueryRow(ctx, query).Scan(&value); err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	return value, nil
}
