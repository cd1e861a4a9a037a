package stage

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"time"

	"forebay/bench/gauge"
	"forebay/bench/load"
	"forebay/bench/private"
	"forebay/configs/nexus"
)

// Forebay is a running forebay, a child of this process. Safe for concurrent use.
type Forebay struct {
	*private.Program
	token string
}

// Plan says how a forebay is to be run.
type Plan struct {
	Binary string
	Files  map[string]string // forebay.yaml and what it names
	Env    []string
	Prefix []string // before the command: taskset and its arguments
}

// StartForebay starts one and waits until it is ready. The caller must Stop it.
func StartForebay(ctx context.Context, plan Plan) (*Forebay, error) {
	f := &Forebay{token: rand.Text()}
	env := append([]string{
		"FOREBAY_LISTEN=127.0.0.1:%PORT%", "FOREBAY_ADMIN_LISTEN=127.0.0.1:%SIDE%", "FOREBAY_ADMIN_TOKEN=" + f.token,
		"FOREBAY_LOG_LEVEL=warn", "REDIS_URL=",
	}, plan.Env...)
	program, err := private.NewProgram(private.Plan{
		Name:    "forebay",
		Command: append(append([]string{}, plan.Prefix...), plan.Binary, "run", "-c", "%DIR%/forebay.yaml"),
		Env:     env,
		Files:   plan.Files,
		Ready:   func(string) error { return f.ready() },
	})
	if err != nil {
		return nil, err
	}
	f.Program = program
	if err := program.Start(ctx); err != nil {
		program.Stop()
		return nil, err
	}
	return f, nil
}

// ready asks whether requests can be answered.
func (f *Forebay) ready() error {
	_, err := f.operate("GET", "/readyz", "")
	return err
}

// Purge drops every stored response.
func (f *Forebay) Purge() error {
	_, err := f.operate("POST", "/purge", `{"all":true}`)
	return err
}

// operate asks the admin listener and returns the body of its answer.
func (f *Forebay) operate(method, path, body string) (string, error) {
	c := load.NewConnection(f.SideAddress(), 5*time.Second)
	defer c.Close()
	answer, err := c.Do(load.NewRequestWith("operate", method, path, body, "Authorization: Bearer "+f.token+"\r\n"))
	if err := answer.Expect(200, err); err != nil {
		return "", fmt.Errorf("%s %s of forebay's admin listener: %w", method, path, err)
	}
	return string(c.Body()), nil
}

// Metric returns the sum of a metric over its labels that contain the text.
func (f *Forebay) Metric(name, labels string) (float64, error) {
	body, err := f.operate("GET", "/metrics", "")
	if err != nil {
		return 0, err
	}
	sum, found := gauge.Metric(body, name, labels)
	if !found {
		return 0, fmt.Errorf("read metrics: there is no %s", name)
	}
	return sum, nil
}

// Refills are how often a change caused something to be read anew.
type Refills struct {
	Outdated float64 `json:"outdated"` // found so when they were asked for
	Needless float64 `json:"needless"` // of them, those that brought what was stored already
}

// Less returns what came since.
func (r Refills) Less(before Refills) *Refills {
	return &Refills{Outdated: r.Outdated - before.Outdated, Needless: r.Needless - before.Needless}
}

// Refills reads how often a change caused something to be read anew so far.
func (f *Forebay) Refills() (Refills, error) {
	outdated, err := f.Metric("forebay_outdated_total", "")
	if err != nil {
		return Refills{}, err
	}
	needless, err := f.Metric("forebay_refills_needless_total", "")
	return Refills{Outdated: outdated, Needless: needless}, err
}

// Variant is how a forebay of the clients API differs from the shipped configuration.
type Variant struct {
	// Changes follows the changes that others make, where this version can.
	Changes bool
	// Bounded lets routes answer for up to a second after a change, where this version can.
	Bounded bool
	Redis   string // URL; "": none
	OpenFor string // how long the database's circuit stays open, "1s"; "": as shipped
}

// Configuration returns the files of the shipped clients API with the variant put in.
func Configuration(v Variant) (map[string]string, error) {
	files := map[string]string{}
	err := fs.WalkDir(nexus.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".sql") && !strings.HasSuffix(path, ".yaml") {
			return err
		}
		text, err := fs.ReadFile(nexus.Files, path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the clients API's configuration: %w", err)
	}
	yaml := files["forebay.yaml"]
	if v.Changes && !strings.Contains(yaml, "\n  changes:") {
		yaml = strings.Replace(yaml, "\npostgres:\n", "\npostgres:\n  changes: auto\n", 1)
	}
	if v.Bounded {
		yaml = strings.ReplaceAll(yaml, "\n    tags: [clients]\n", "\n    tags: [clients]\n    freshness: bounded\n    max_lag: 1s\n")
	}
	if v.OpenFor != "" {
		yaml = strings.Replace(yaml, "open_for: 10s", "open_for: "+v.OpenFor, 1)
	}
	files["forebay.yaml"] = yaml
	return files, nil
}

// Clients starts a forebay of the clients API on the stage's data.
func (s *Stage) Clients(ctx context.Context, v Variant) (*Forebay, error) {
	files, err := Configuration(v)
	if err != nil {
		return nil, err
	}
	return StartForebay(ctx, Plan{Binary: s.config.Binary, Files: files, Env: []string{"DATABASE_URL=" + s.URL(After), "REDIS_URL=" + v.Redis}})
}

// Supports asks this version's `check` whether it knows the variant, and returns what it says if not.
func (s *Stage) Supports(ctx context.Context, v Variant) (no string) {
	files, err := Configuration(v)
	if err != nil {
		return err.Error()
	}
	p, err := private.NewProgram(private.Plan{Name: "check", Files: files, Command: []string{"true"}})
	if err != nil {
		return err.Error()
	}
	defer p.Stop()
	cmd := exec.CommandContext(ctx, s.config.Binary, "check", "--offline", "-c", p.Path("forebay.yaml"))
	cmd.Env = append(cmd.Environ(), "DATABASE_URL="+s.URL(After), "REDIS_URL=")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return ""
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return strings.TrimPrefix(first, p.Dir()+"/")
}

// Pool returns a function that tells the connections in use and their limit. It is not safe for concurrent use.
func (f *Forebay) Pool() gauge.PoolFunc {
	return poolOf(f.SideAddress(), "/metrics", func(body string) (float64, float64, bool) {
		inUse, found := gauge.Metric(body, "forebay_db_pool_in_use", "")
		limit, _ := gauge.Metric(body, "forebay_db_pool_max", "")
		return inUse, limit, found
	})
}

// LegacyPool is Pool for the old service.
func (s *Stage) LegacyPool() gauge.PoolFunc {
	return poolOf(s.Legacy.Address(), "/pool", func(body string) (float64, float64, bool) {
		var pool struct {
			InUse float64 `json:"in_use"`
			Max   float64 `json:"max"`
		}
		err := json.Unmarshal([]byte(body), &pool)
		return pool.InUse, pool.Max, err == nil
	})
}

// poolOf asks over one connection.
func poolOf(address, path string, read func(body string) (inUse, limit float64, ok bool)) gauge.PoolFunc {
	c := load.NewConnection(address, time.Second)
	request := load.NewRequest("pool", "GET", path, "")
	return func() (float64, float64, error) {
		answer, err := c.Do(request)
		if err := answer.Expect(200, err); err != nil {
			return 0, 0, fmt.Errorf("read pool: %w", err)
		}
		inUse, limit, ok := read(string(c.Body()))
		if !ok {
			return 0, 0, errors.New("read pool: the server does not tell")
		}
		return inUse, limit, nil
	}
}

// PoolOfHealth is Pool for a forebay whose admin listener cannot be reached: its performance endpoints tell.
func PoolOfHealth(c *load.Connection) gauge.PoolFunc {
	request := load.NewRequest("pool", "GET", "/api/v1/performance/health", "")
	return func() (float64, float64, error) {
		answer, err := c.Do(request)
		if err := answer.Expect(200, err); err != nil {
			return 0, 0, fmt.Errorf("read health: %w", err)
		}
		var health struct {
			Data struct {
				Pool struct {
					Max    float64 `json:"max_connections"`
					Active float64 `json:"active_connections"`
				} `json:"connection_pool"`
			} `json:"data"`
		}
		if err := json.Unmarshal(c.Body(), &health); err != nil {
			return 0, 0, fmt.Errorf("read health: %w", err)
		}
		return health.Data.Pool.Active, health.Data.Pool.Max, nil
	}
}
