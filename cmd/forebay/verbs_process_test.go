package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// process is a forebay that a script started. Safe for concurrent use.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex // guards log
	log bytes.Buffer
}

// Write takes the process's log in.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) logText() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// end kills what still runs.
func (p *process) end() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Kill()
	<-p.done
}

// serve starts the real binary and waits until it listens and, unless -now is given, until it is known whether
// changes are followed.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	now := len(args) > 0 && args[0] == "-now"
	if now {
		args = args[1:]
	}
	if len(args) < 2 {
		usage(ts, "serve [-now] NAME CONFIG [FLAG …]")
	}
	w := worldOf(ts)
	name := args[0]
	binary, err := os.Executable()
	ts.Check(err)
	p := &process{done: make(chan struct{})}
	p.cmd = exec.Command(binary, append([]string{"run", "-c", args[1], "--log-format=json", "--log-level=info"}, args[2:]...)...)
	p.cmd.Args[0] = "forebay" // testscript runs the command that the name says
	p.cmd.Path = binary
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = append([]string{"FOREBAY_LISTEN=127.0.0.1:0", "FOREBAY_ADMIN_LISTEN=127.0.0.1:0", "PATH=" + os.Getenv("PATH")},
		environment(ts, "DATABASE_URL", "STANDBY_URL", "REDIS_URL", "LEGACY_URL", "FOREBAY_ADMIN_TOKEN", "FOREBAY_BYPASS", "HOME", "EXTRA")...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	ts.Check(p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	w.processes[name] = p
	eventually(ts, func() (bool, string) {
		line, ok := findLog(p.logText(), "serving")
		if ok {
			ts.Setenv(name, "http://"+line["listen"])
			ts.Setenv(name+"_admin", "http://"+line["admin"])
			ts.Setenv(name+"_address", line["listen"])
			if line["changes"] == "off" || now {
				return true, ""
			}
			_, followed := findLog(p.logText(), "changes are followed")
			_, not := findLog(p.logText(), "changes made outside forebay are not followed")
			return followed || not, p.logText()
		}
		select {
		case <-p.done:
			ts.Fatalf("forebay ended at its start: %s", p.logText())
		default:
		}
		return false, p.logText()
	})
}

// findLog returns the first line of the log with the message.
func findLog(log, message string) (map[string]string, bool) {
	for line := range strings.SplitSeq(log, "\n") {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil || fields["msg"] != message {
			continue
		}
		text := map[string]string{}
		for k, v := range fields {
			if s, ok := v.(string); ok {
				text[k] = s
			}
		}
		return text, true
	}
	return nil, false
}

// environment returns the script's variables of these names.
func environment(ts *testscript.TestScript, names ...string) []string {
	var env []string
	for _, name := range names {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func signalVerb(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "KILL": syscall.SIGKILL}
	ts.Check(processOf(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// end ends a forebay as its operator would, and wants it to end well.
func end(ts *testscript.TestScript, _ bool, args []string) {
	p := processOf(ts, args[0])
	if _, told := findLog(p.logText(), "draining"); !told { // a second signal would be an order to end at once
		if err := p.cmd.Process.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
			ts.Check(err)
		}
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("still runs: %s", p.logText())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		ts.Fatalf("exit code %d: %s", code, p.logText())
	}
	if text := p.logText(); strings.Contains(text, "DATA RACE") {
		ts.Fatalf("%s", text)
	}
}

func logged(ts *testscript.TestScript, neg bool, args []string) {
	p := processOf(ts, args[0])
	re := compile(ts, args[1])
	if neg {
		if re.MatchString(p.logText()) {
			ts.Fatalf("logged: %s", p.logText())
		}
		return
	}
	eventually(ts, func() (bool, string) { return re.MatchString(p.logText()), p.logText() })
}

// metric waits until a series has a value.
func metric(ts *testscript.TestScript, neg bool, args []string) {
	url := ts.Getenv(args[0]+"_admin") + "/metrics"
	eventually(ts, func() (bool, string) {
		r, err := http.Get(url)
		if err != nil {
			return false, err.Error()
		}
		defer r.Body.Close()
		var text bytes.Buffer
		if _, err := text.ReadFrom(r.Body); err != nil {
			return false, err.Error()
		}
		for line := range strings.SplitSeq(text.String(), "\n") {
			if series, value, ok := cutLast(line); ok && series == args[1] {
				return (value == args[2]) != neg, line
			}
		}
		return args[2] == "absent", "no such series in:\n" + text.String()
	})
}

// cutLast cuts a line at its last space: label values may have some, too.
func cutLast(line string) (series, value string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

func processOf(ts *testscript.TestScript, name string) *process {
	p := worldOf(ts).processes[name]
	if p == nil {
		ts.Fatalf("no forebay %q was started", name)
	}
	return p
}

// freezer is a server that can be stopped in its tracks.
type freezer interface{ Signal(syscall.Signal) error }

func freezeOrThaw(ts *testscript.TestScript, s freezer, what string) {
	switch what {
	case "freeze":
		ts.Check(s.Signal(syscall.SIGSTOP))
	case "thaw":
		ts.Check(s.Signal(syscall.SIGCONT))
	default:
		usage(ts, "start|stop|kill|freeze|thaw")
	}
}

func compile(ts *testscript.TestScript, expression string) *regexp.Regexp {
	re, err := regexp.Compile(`(?s)` + expression)
	ts.Check(err)
	return re
}

func matches(ts *testscript.TestScript, expression, text string) bool {
	return compile(ts, expression).MatchString(text)
}
