package postgres

import (
	"context"
	"fmt"
	"time"
)

const (
	// reviveFirst is how soon after the circuit has opened the database is looked for.
	reviveFirst = 100 * time.Millisecond
	// reviveLast is how long at most between two looks: what a database costs that is starting, or down for long.
	reviveLast = time.Second
)

// attend has the circuit closed as soon as a database that was not there is there again, until ctx ends. Callers
// would find that out only when the circuit's time is over, since it lets none of them through.
func (d *Database) attend(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.breaker.trips:
		}
		for wait := reviveFirst; d.breaker.absence() != nil && ctx.Err() == nil; wait = min(2*wait, reviveLast) {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
				d.revive(ctx)
			}
		}
	}
}

// revive closes a circuit that is open because the database was not there, if it is. It reports whether it did.
func (d *Database) revive(ctx context.Context) bool {
	c := d.breaker.absence()
	if c == nil || !d.breaker.rested() || d.answers(ctx) != nil {
		return false
	}
	d.breaker.revive(c)
	return true
}

// answers asks the database for nothing, on one connection and past the breaker.
func (d *Database) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(d.cfg.ConnectTimeout, time.Second))
	defer cancel()
	pool, err := d.open()
	if err != nil {
		return err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire connection: %w", err)
	}
	defer d.giveBack(conn)
	return conn.Ping(ctx)
}
