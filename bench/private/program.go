package private

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Program is a running server that is not a database: forebay itself, or a cache that it is compared with.
// It runs as the caller. Safe for concurrent use, but for Start and Stop.
type Program struct {
	*process
	command []string
	ready   func() error
}

// Plan says what a program is and how to start it.
type Plan struct {
	Name string
	// Command is the program and its arguments. Every %PORT% in it, in Env and in Files becomes the program's
	// port, %SIDE% a second one, and %DIR% its directory.
	Command []string
	Env     []string          // NAME=value, beside the caller's environment
	Files   map[string]string // written into its directory before it starts: name → text
	// As is the account to run as when the caller is root: "" for the caller's own.
	As string
	// Ready reports whether the program can be used; nil: once it takes connections on its port.
	Ready func(address string) error
}

// NewProgram makes the program's directory and files, and starts nothing. The caller ends it with Stop.
func NewProgram(plan Plan) (*Program, error) {
	var uid *account
	if plan.As != "" && os.Getuid() == 0 {
		var err error
		if uid, err = accountOf(plan.As); err != nil {
			return nil, err
		}
	}
	p, err := newProcessOf(plan.Name, uid)
	if err != nil {
		return nil, err
	}
	fill := p.filler()
	program := &Program{process: p, ready: p.accepts}
	if plan.Ready != nil {
		program.ready = func() error { return plan.Ready(p.Address()) }
	}
	for _, word := range plan.Command {
		program.command = append(program.command, fill.Replace(word))
	}
	for _, pair := range plan.Env {
		p.env = append(p.env, fill.Replace(pair))
	}
	for name, text := range plan.Files {
		if err := p.write(name, fill.Replace(text)); err != nil {
			program.Stop()
			return nil, err
		}
	}
	return program, nil
}

// Start starts the program, for the first time or after it ended.
func (p *Program) Start(ctx context.Context) error {
	return p.start(ctx, p.ready, p.command[0], p.command[1:]...)
}

// Stop ends the program and removes its directory.
func (p *Program) Stop() {
	p.Shutdown()
	_ = os.RemoveAll(p.dir)
}

// Shutdown asks the program to end, waits for it, and keeps its directory.
func (p *Program) Shutdown() { p.stop(syscall.SIGTERM, 15*time.Second) }

// SideAddress returns host:port of its second listener, if it has one.
func (p *Program) SideAddress() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.side)) }

// Dir returns the program's directory.
func (p *Program) Dir() string { return p.dir }

// Log returns the end of what the program printed.
func (p *Program) Log() string { return p.tail() }

// Path returns the path of one of its files.
func (p *Program) Path(name string) string { return filepath.Join(p.dir, name) }
