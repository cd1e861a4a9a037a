package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"forebay/bench/private"
	"forebay/configs/nexus"
	"forebay/rules"
	"forebay/upstream/postgres"
)

// demoCmd serves the NEXUS clients API from a Postgres of its own.
type demoCmd struct {
	serveFlags
	Clients  int    `default:"200000" help:"How many clients to make up; each has some sessions and progress records."`
	Redis    bool   `help:"Start a private Redis as the shared tier, too."`
	Database string `placeholder:"URL" help:"Use this empty database instead of a private one. The NEXUS schema is created in it."`
}

// Validate refuses what there would be nothing to try out with.
func (d *demoCmd) Validate() error {
	if err := d.serveFlags.Validate(); err != nil {
		return err
	}
	return inBounds("--clients", d.Clients, 1, 10_000_000)
}

// Run starts everything, prints how to use it, and ends everything when it is told to.
func (d *demoCmd) Run(ctx context.Context) error {
	env := map[string]string{"FOREBAY_ADMIN_TOKEN": os.Getenv("FOREBAY_ADMIN_TOKEN"), "REDIS_URL": "", "LOG_LEVEL": ""}
	if env["FOREBAY_ADMIN_TOKEN"] == "" {
		env["FOREBAY_ADMIN_TOKEN"] = rand.Text()
	}
	stop, err := d.servers(ctx, env)
	defer stop()
	if err != nil {
		return err
	}
	if err := d.load(ctx, env["DATABASE_URL"]); err != nil {
		return err
	}
	config, err := demoConfig(env)
	if err != nil {
		return reportMistakes(err)
	}
	if d.LogLevel == "" {
		d.LogLevel = "warn"
	}
	d.apply(config)
	public, err := listenNear(config.Listen)
	if err != nil {
		return err
	}
	operator, err := listenNear(config.Admin.Listen)
	if err != nil {
		_ = public.Close()
		return err
	}
	a, err := newApp(config, nil, newLogger(config.Log))
	if err != nil {
		return err
	}
	go func() {
		if err := d.explain(ctx, a, public, operator, env); err != nil && ctx.Err() == nil {
			a.logger.Error("cannot say how to use the demo", "err", err)
		}
	}()
	return a.run(ctx, public, operator)
}

// servers starts what the demo stands on and puts their URLs into env. Stop is never nil.
func (d *demoCmd) servers(ctx context.Context, env map[string]string) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	env["DATABASE_URL"] = d.Database
	if d.Database == "" {
		fmt.Println("Starting a private Postgres …")
		pg, err := private.StartPostgres(ctx)
		if err != nil {
			return stop, err
		}
		stops = append(stops, pg.Stop)
		env["DATABASE_URL"] = pg.URL("postgres")
	}
	if d.Redis {
		fmt.Println("Starting a private Redis …")
		r, err := private.StartRedis(ctx)
		if err != nil {
			return stop, err
		}
		stops = append(stops, r.Stop)
		env["REDIS_URL"] = r.URL()
	}
	return stop, nil
}

// load creates the schema and makes the data up.
func (d *demoCmd) load(ctx context.Context, url string) error {
	fmt.Printf("Making up %d clients …\n", d.Clients)
	start := time.Now()
	settings := map[string]string{"nexus.clients": strconv.Itoa(d.Clients)}
	for _, name := range []string{"schema.sql", "data.sql"} {
		text, err := fs.ReadFile(nexus.Files, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if err := postgres.RunScript(ctx, url, settings, string(text)); err != nil {
			return fmt.Errorf("cannot load %s: %w", name, err)
		}
	}
	fmt.Printf("Loaded in %s.\n", time.Since(start).Round(100*time.Millisecond))
	return nil
}

// demoConfig is the NEXUS configuration that the binary carries.
func demoConfig(env map[string]string) (*rules.Config, error) {
	text, err := fs.ReadFile(nexus.Files, "forebay.yaml")
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return rules.Parse("forebay.yaml", text, nexus.Files, func(name string) (string, bool) {
		if value, ok := env[name]; ok {
			return value, value != ""
		}
		return os.LookupEnv(name)
	})
}

// listenNear opens the address, or the next free port after it, and says so.
func listenNear(address string) (net.Listener, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %w; want host:port", address, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: the port is not a number", address)
	}
	const tries = 50
	for i := range tries {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port+i)))
		if err == nil {
			if i > 0 && port > 0 {
				fmt.Printf("Port %d is taken; using %d.\n", port, port+i)
			}
			return l, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
		}
	}
	return nil, fmt.Errorf("cannot listen on %s nor on the %d ports after it: all are taken", address, tries-1)
}

// explain prints the URLs and three lines that show a miss, a hit, and a fresh answer after a write.
func (d *demoCmd) explain(ctx context.Context, a *app, public, operator net.Listener, env map[string]string) error {
	select {
	case <-a.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	a.awaitFollowed(ctx)
	// Asked beside forebay: what the performance endpoints show is to be the caller's own.
	id, err := postgres.Value(ctx, env["DATABASE_URL"], "select min(id::text) from clients")
	if err != nil {
		return fmt.Errorf("cannot find a client: %w", err)
	}
	base := "http://" + public.Addr().String()
	client := base + "/api/v1/clients/" + id
	fmt.Printf(`
forebay      %[1]s
dashboard    %[1]s/api/v1/optimized/clients/dashboard
performance  %[1]s/api/v1/performance/
admin        http://%[2]s   (livez, readyz, metrics, purge)
database     psql '%[3]s'
admin token  %[4]s

A miss, a hit, and a fresh answer after a write (look at Cache-Status):

curl -i %[5]s
curl -i %[5]s
curl -s -o /dev/null -X PUT -H 'Content-Type: application/json' -d '{"notes":"written just now"}' %[5]s; curl -i %[5]s

Change it behind forebay's back, and look again: fresh, while other clients are still hits.

psql '%[3]s' -c "update clients set notes = 'by psql' where id = '%[6]s'"; curl -i %[5]s

Ctrl-C ends it all.
`, base, operator.Addr(), env["DATABASE_URL"], env["FOREBAY_ADMIN_TOKEN"], client, id)
	return nil
}
