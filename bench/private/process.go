package private

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTimeout bounds the wait for a server to accept connections.
const startTimeout = 60 * time.Second

// process is a server started by this package. Safe for concurrent use.
type process struct {
	name string
	dir  string // its own directory, removed at the end
	port int
	side int      // a second port, of programs that have two listeners
	uid  *account // whom it runs as; nil: the caller
	log  string   // path of what it printed
	env  []string // beside the caller's environment

	mu   sync.Mutex // guards cmd and done
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd ended
}

// account is a user that servers run as when the caller is root, whom Postgres refuses.
type account struct{ uid, gid uint32 }

// servantAccount returns whom to run a server as: nil unless the caller is root.
func servantAccount() (*account, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		if a, err := accountOf(name); err == nil {
			return a, nil
		}
	}
	return nil, errors.New("cannot run Postgres as root and found no user postgres or nobody to run it as; start forebay as an ordinary user")
}

// accountOf finds a user.
func accountOf(name string) (*account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("look up user %q: %w", name, err)
	}
	uid, errU := strconv.ParseUint(u.Uid, 10, 32)
	gid, errG := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errU, errG); err != nil {
		return nil, fmt.Errorf("look up user %q: %w", name, err)
	}
	return &account{uid: uint32(uid), gid: uint32(gid)}, nil
}

// newProcess makes the directory. It stands directly under the system's temporary directory: a home of
// mode 0700 would lock the servant out.
func newProcess(name string) (*process, error) {
	uid, err := servantAccount()
	if err != nil {
		return nil, err
	}
	return newProcessOf(name, uid)
}

// newProcessOf makes the directory of a process that runs as the account, or as the caller if it is nil.
func newProcessOf(name string, uid *account) (*process, error) {
	dir, err := os.MkdirTemp("", "forebay-"+name+"-")
	if err != nil {
		return nil, fmt.Errorf("make directory for %s: %w", name, err)
	}
	p := &process{name: name, dir: dir, uid: uid, log: filepath.Join(dir, name+".log")}
	if uid != nil {
		if err := os.Chown(dir, int(uid.uid), int(uid.gid)); err != nil {
			_ = os.RemoveAll(dir)
			return nil, fmt.Errorf("chown %s: %w", dir, err)
		}
	}
	for _, port := range []*int{&p.port, &p.side} {
		if *port, err = freePort(); err != nil {
			_ = os.RemoveAll(dir)
			return nil, err
		}
	}
	return p, nil
}

// filler puts the process's ports and directory into texts.
func (p *process) filler() *strings.Replacer {
	return strings.NewReplacer("%PORT%", strconv.Itoa(p.port), "%SIDE%", strconv.Itoa(p.side), "%DIR%", p.dir)
}

// write writes a file into the directory, for the account to read.
func (p *process) write(name, text string) error {
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make directory of %s: %w", name, err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// command makes a command that runs as the servant in the process's directory.
func (p *process) command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = p.dir
	if p.env != nil {
		cmd.Env = append(os.Environ(), p.env...)
	}
	cmd.SysProcAttr = childAttributes()
	if p.uid != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.uid.uid, Gid: p.uid.gid}
	}
	return cmd
}

// start runs the server and waits until ready says so, the server ends, or the time is up.
func (p *process) start(ctx context.Context, ready func() error, path string, args ...string) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.name, err)
	}
	defer log.Close()
	cmd := p.command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	done := make(chan struct{})
	if err := startCommand(cmd, done); err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	p.mu.Lock()
	p.cmd, p.done = cmd, done
	p.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = ready(); err == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("%s ended at its start: %s", p.name, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready in time (%w): %s", p.name, err, p.tail())
		case <-tick.C:
		}
	}
}

// stop sends the signal and waits for the end, killing after the grace.
func (p *process) stop(signal syscall.Signal, grace time.Duration) {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(signal)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		_ = cmd.Process.Kill()
		<-done
	}
}

// Signal sends the server a signal, SIGSTOP and SIGCONT for one.
func (p *process) Signal(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Signal(signal)
}

// Kill ends the server as a power cut would, and waits for its end.
func (p *process) Kill() { p.stop(syscall.SIGKILL, time.Second) }

// Pid returns the server's process id.
func (p *process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Address returns host:port.
func (p *process) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// tail returns the last of what the server printed.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// accepts reports whether something listens on the address.
func (p *process) accepts() error {
	conn, err := net.DialTimeout("tcp", p.Address(), time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

// freePort asks the kernel for a port that is free now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
