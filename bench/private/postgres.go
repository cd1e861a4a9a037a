package private

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Postgres is a running server with a superuser postgres, trusting loopback. Safe for concurrent use.
type Postgres struct {
	*process
	bin string
}

// StartPostgres makes a cluster and starts it. Settings are written as on the command line of postgres:
// "max_connections=50". The caller ends it with Stop; on Linux it also ends when the caller dies.
func StartPostgres(ctx context.Context, settings ...string) (*Postgres, error) {
	bin, err := PostgresBinaries()
	if err != nil {
		return nil, err
	}
	p, err := newProcess("postgres")
	if err != nil {
		return nil, err
	}
	pg := &Postgres{process: p, bin: bin}
	initdb := p.command(filepath.Join(bin, "initdb"), "--pgdata="+pg.data(), "--username=postgres",
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if out, err := initdb.CombinedOutput(); err != nil {
		pg.Stop()
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	conf := strings.Join(append([]string{
		"listen_addresses = '127.0.0.1'",
		"port = " + strconv.Itoa(p.port),
		"unix_socket_directories = ''",
		"wal_level = logical",
		"max_replication_slots = 50",
		"max_wal_senders = 50",
		"max_connections = 100",
		"shared_buffers = 256MB",
		"max_wal_size = 4GB",
		"timezone = 'UTC'",
		"log_min_messages = warning",
	}, settings...), "\n") + "\n"
	if err := appendFile(filepath.Join(pg.data(), "postgresql.conf"), conf); err != nil {
		pg.Stop()
		return nil, err
	}
	if err := pg.Start(ctx); err != nil {
		pg.Stop()
		return nil, err
	}
	return pg, nil
}

// Start starts the server again after Shutdown or Kill, on the same port and data. After a Kill the children of
// the one before may need a moment to notice, and it does not start while they hold its memory.
func (pg *Postgres) Start(ctx context.Context) error {
	for deadline := time.Now().Add(startTimeout); ; {
		err := pg.start(ctx, pg.ready, filepath.Join(pg.bin, "postgres"), "-D", pg.data())
		if err == nil || !strings.Contains(err.Error(), "pre-existing shared memory block") || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Shutdown ends the server as `pg_ctl stop -m fast` does and keeps its data.
func (pg *Postgres) Shutdown() { pg.stop(syscall.SIGINT, 20*time.Second) }

// Stop ends the server and removes its data.
func (pg *Postgres) Stop() {
	pg.stop(syscall.SIGINT, 20*time.Second)
	_ = os.RemoveAll(pg.dir)
}

// URL returns the connection URL of a database, "postgres" for one, as psql takes it.
func (pg *Postgres) URL(database string) string {
	return "postgres://postgres@" + pg.Address() + "/" + database + "?sslmode=disable"
}

// Command makes a command that runs one of the server's own programs, pg_resetwal for one, as the server's
// user. Its directory is the cluster's; most of them want the server shut down.
func (pg *Postgres) Command(program string, args ...string) *exec.Cmd {
	cmd := pg.command(filepath.Join(pg.bin, program), args...)
	cmd.Dir = pg.data()
	return cmd
}

func (pg *Postgres) data() string { return filepath.Join(pg.dir, "data") }

// ready reports whether the server takes connections: postmaster.pid says so in its eighth line.
func (pg *Postgres) ready() error {
	text, err := os.ReadFile(filepath.Join(pg.data(), "postmaster.pid"))
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 8 || strings.TrimSpace(lines[7]) != "ready" {
		return errors.New("not ready yet")
	}
	if pid, err := strconv.Atoi(lines[0]); err != nil || pid != pg.Pid() {
		return errors.New("postmaster.pid is of an earlier start")
	}
	return pg.accepts()
}

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if _, err := f.WriteString(text); err != nil {
		_ = f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}
