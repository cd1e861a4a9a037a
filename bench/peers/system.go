package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"forebay/bench/bare"
	"forebay/bench/gauge"
	"forebay/bench/load"
	"forebay/bench/private"
	"forebay/bench/stage"
)

// The two that are always there.
const (
	bareName    = "bare"
	forebayName = "forebay"
)

// system is one server that is measured. Not safe for concurrent use.
type system struct {
	name, version string
	address       string
	processes     *gauge.Processes
	connections   []*load.Connection
	stop          func()
}

// house is everything that runs for one number of cores. Not safe for concurrent use.
type house struct {
	settings *Settings
	cores    int
	origin   *private.Program
	asked    *load.Connection // to the origin
	systems  []*system        // bare first, forebay second
	configs  map[string]string
	missing  []string // peers that are not measured, each with the reason
	filled   map[int]bool
}

// open starts all servers. The caller must close it.
func open(ctx context.Context, s *Settings, cores int) (*house, error) {
	h := &house{settings: s, cores: cores, configs: map[string]string{}, filled: map[int]bool{}}
	origin, err := stage.StartOrigin(ctx, s.Binary)
	if err != nil {
		return nil, err
	}
	h.origin, h.asked = origin, load.NewConnection(origin.Address(), 10*time.Second)
	if err := h.start(ctx); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *house) close() {
	for _, s := range h.systems {
		s.close()
	}
	h.asked.Close()
	h.origin.Stop()
}

// start starts forebay first: what it adds to a response is what the bare handler writes, too.
func (h *house) start(ctx context.Context) error {
	forebay, _, err := stage.Documents(ctx, stage.DocumentsPlan{
		Binary: h.settings.Binary, Memory: "6GiB", Origin: "http://" + h.origin.Address(), Prefix: h.pin(), Env: h.processors(),
	})
	if err != nil {
		return err
	}
	h.systems = append(h.systems, h.system(forebayName, "", forebay.Address(), forebay.Pid(), forebay.Stop))
	h.configs[forebayName] = stage.DocumentsConfiguration()
	if err := h.startBare(ctx, forebay.Address()); err != nil {
		return err
	}
	h.systems[0], h.systems[1] = h.systems[1], h.systems[0]
	for _, p := range known() {
		path, version := p.find()
		if path == "" {
			h.missing = append(h.missing, p.name+" is not installed")
			continue
		}
		plan := p.plan(path, h.origin.Address(), h.cores)
		plan.Command = append(h.pin(), plan.Command...)
		if err := h.startPeer(ctx, p.name, version, plan); err != nil {
			h.missing = append(h.missing, fmt.Sprintf("%s %s was not measured: %v", p.name, version, err))
		}
	}
	return nil
}

// startBare starts the yardstick with the header fields of a hit in forebay.
func (h *house) startBare(ctx context.Context, forebay string) error {
	c := load.NewConnection(forebay, 10*time.Second)
	defer c.Close()
	for range 3 {
		answer, err := c.Do(load.NewRequest("hit", "GET", bare.Target(1<<10, 0), ""))
		if err := answer.Expect(200, err); err != nil {
			return fmt.Errorf("ask forebay for a document: %w", err)
		}
	}
	fields, err := json.Marshal(c.Fields())
	if err != nil {
		return fmt.Errorf("encode header fields: %w", err)
	}
	var counts []string
	for size, n := range documents(h.settings.Quick) {
		counts = append(counts, fmt.Sprintf("%d=%d", size, n))
	}
	plan := private.Plan{
		Name: bareName, Env: h.processors(),
		Command: append(h.pin(), h.settings.Binary, "bench", "serve", "bare", "--listen", "127.0.0.1:%PORT%", "--documents", strings.Join(counts, ";"), "--fields", string(fields)),
	}
	return h.startPeer(ctx, bareName, "", plan)
}

func (h *house) startPeer(ctx context.Context, name, version string, plan private.Plan) error {
	program, err := private.NewProgram(plan)
	if err != nil {
		return err
	}
	if err := program.Start(ctx); err != nil {
		program.Stop()
		return err
	}
	text := strings.Join(plan.Command, " ") + "\n"
	for file, body := range plan.Files {
		text += "\n# " + file + "\n" + body
	}
	h.configs[name] = strings.ReplaceAll(text, program.Dir(), "%DIR%")
	h.systems = append(h.systems, h.system(name, version, program.Address(), program.Pid(), program.Stop))
	return nil
}

func (h *house) system(name, version, address string, pid int, stop func()) *system {
	s := &system{name: name, version: version, address: address, processes: gauge.ProcessesOf(pid), stop: stop}
	for range mostConnections {
		s.connections = append(s.connections, load.NewConnection(address, 20*time.Second))
	}
	return s
}

// mostConnections is the most that a workload has.
const mostConnections = 200

// pin returns what starts a command on the first cores only, where there are more than it is to have.
func (h *house) pin() []string {
	if h.cores >= runtime.NumCPU() || !canPin() {
		return nil
	}
	return []string{"taskset", "-c", fmt.Sprintf("0-%d", h.cores-1)}
}

// processors tells a Go program how many cores it has.
func (h *house) processors() []string { return []string{"GOMAXPROCS=" + strconv.Itoa(h.cores)} }

func canPin() bool {
	_, err := exec.LookPath("taskset")
	return err == nil
}

// fill has every system store the documents of a size, asking for each twice: some store on the second time.
func (h *house) fill(ctx context.Context, size int) error {
	if h.filled[size] {
		return nil
	}
	requests := requestsOf(size, documents(h.settings.Quick)[size])
	kept := h.systems[:0:0]
	for i, s := range h.systems {
		h.settings.Step("peers · %s stores %d documents of %d KiB", s.name, len(requests), size>>10)
		err := s.fill(ctx, requests)
		if err != nil && i < 2 {
			return err
		}
		if err != nil {
			h.missing = append(h.missing, fmt.Sprintf("From %d KiB on, %s was not measured: %v", size>>10, s.name, err))
			s.close()
			continue
		}
		kept = append(kept, s)
	}
	h.systems = kept
	h.filled[size] = true
	return ctx.Err()
}

// fill has one system store documents.
func (s *system) fill(ctx context.Context, requests []*load.Request) error {
	for range 2 {
		m := load.Run(ctx, load.Config{Address: s.address, Window: time.Minute, Timeout: 20 * time.Second, Slices: 1},
			load.Stream{Name: "fill", Connections: 16, New: once(requests)})
		if r := m.Of("hit"); r.Counts.Answered != len(requests) && ctx.Err() == nil {
			return fmt.Errorf("store documents in %s: %d of %d were answered: %v", s.name, r.Counts.Answered, len(requests), m.Strange)
		}
	}
	s.processes.Refresh()
	return nil
}

// close ends the system.
func (s *system) close() {
	for _, c := range s.connections {
		c.Close()
	}
	s.stop()
}

// asks returns how many documents the origin was asked for so far.
func (h *house) asks() (int, error) {
	if _, err := h.asked.Do(load.NewRequest("asked", "GET", bare.Asked, "")); err != nil {
		return 0, fmt.Errorf("ask the origin: %w", err)
	}
	return strconv.Atoi(string(h.asked.Body()))
}
