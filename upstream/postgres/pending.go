package postgres

import (
	"context"
	"errors"

	"forebay/cache"
	"forebay/rules"
)

// Database is one Postgres database behind a pool, a breaker and retries. Safe for concurrent use.
type Database struct{}

// Export is the rows of a streamed form. Not safe for concurrent use.
type Export struct {
	ContentType string
	Filename    string
}

// Read returns the next bytes.
func (e *Export) Read(p []byte) (int, error) { return 0, errors.New("pending") }

// Close ends it.
func (e *Export) Close() error { return nil }

// New makes it.
func New(cfg Config, deps Deps) (*Database, error) { return &Database{}, nil }

// Run runs.
func (d *Database) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close closes, for those who never Run.
func (d *Database) Close() {}

// Fill fills.
func (d *Database) Fill(ctx context.Context, call Call) (cache.Fill, error) {
	return cache.Fill{}, errors.New("pending")
}

// Write writes.
func (d *Database) Write(ctx context.Context, call Call) (Written, error) {
	return Written{}, errors.New("pending")
}

// WriteBatch writes.
func (d *Database) WriteBatch(ctx context.Context, call Call) (Written, error) {
	return Written{}, errors.New("pending")
}

// Export exports.
func (d *Database) Export(ctx context.Context, call Call) (*Export, error) {
	return nil, errors.New("pending")
}

// Prepare checks.
func (d *Database) Prepare(ctx context.Context, rs []*rules.Rule) []rules.Mistake { return nil }

// Stats tells.
func (d *Database) Stats() PoolStats { return PoolStats{} }

// Health tells: up, degraded or down, and why.
func (d *Database) Health() (state, reason string) { return "up", "" }

// BreakerState tells closed, half-open or open.
func (d *Database) BreakerState() string { return "closed" }

// Classification tells how the rule is judged.
func (d *Database) Classification(r *rules.Rule) Classification { return Classification{} }

// TableName names a dependency on a relation, "" if unknown.
func (d *Database) TableName(dependency cache.Dependency) string { return "" }

// TableDependency finds a table by name.
func (d *Database) TableDependency(ctx context.Context, name string) (cache.Dependency, error) {
	return "", errors.New("pending")
}
