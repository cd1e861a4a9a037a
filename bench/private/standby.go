package private

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// StartStandby makes a copy of a running server and starts it as a standby that streams from it, under the name
// standby. It has the settings of the primary, and these beside. The caller ends it with Stop.
func StartStandby(ctx context.Context, primary *Postgres, settings ...string) (*Postgres, error) {
	p, err := newProcess("postgres")
	if err != nil {
		return nil, err
	}
	pg := &Postgres{process: p, bin: primary.bin}
	if err := pg.Follow(ctx, primary, settings...); err != nil {
		pg.Stop()
		return nil, err
	}
	return pg, nil
}

// Follow makes the server a standby of the primary, on the port it has: its own data, if there is any, is given
// up for a copy of the primary's. It must not be running.
func (pg *Postgres) Follow(ctx context.Context, primary *Postgres, settings ...string) error {
	if err := os.RemoveAll(pg.data()); err != nil {
		return fmt.Errorf("give up data: %w", err)
	}
	copied := pg.command(filepath.Join(pg.bin, "pg_basebackup"), "--pgdata="+pg.data(), "--dbname="+primary.URL("postgres")+"&application_name=standby",
		"--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	if out, err := copied.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	// Standbys look for their primary each five seconds otherwise.
	conf := "port = " + strconv.Itoa(pg.port) + "\nwal_retrieve_retry_interval = 100ms\n"
	for _, s := range settings {
		conf += s + "\n"
	}
	if err := appendFile(filepath.Join(pg.data(), "postgresql.conf"), conf); err != nil {
		return err
	}
	return pg.Start(ctx)
}

// Promote makes a standby a primary, and returns when it is one.
func (pg *Postgres) Promote() error {
	if out, err := pg.Command("pg_ctl", "promote", "-D", ".", "-w").CombinedOutput(); err != nil {
		return fmt.Errorf("pg_ctl promote: %w: %s", err, out)
	}
	return nil
}
