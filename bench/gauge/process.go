package gauge

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// Processes are a server's: the one that was started and all that come from it. Not safe for concurrent use.
type Processes struct {
	root int
	pids []int
}

// ProcessesOf finds a server's processes as they are now; Refresh finds them again.
func ProcessesOf(pid int) *Processes {
	p := &Processes{root: pid}
	p.Refresh()
	return p
}

// Refresh finds the processes again. On a system without /proc only the first one is known.
func (p *Processes) Refresh() {
	p.pids = []int{p.root}
	children := map[int][]int{}
	dirs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return
	}
	for _, path := range dirs {
		fields, err := stat(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		pid, err1 := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, err2 := strconv.Atoi(fields[1])
		if err1 == nil && err2 == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	for i := 0; i < len(p.pids); i++ {
		p.pids = append(p.pids, children[p.pids[i]]...)
	}
}

// CPU returns the user and system time that the processes have taken so far. The kernel's clocks of the
// processes are asked, which are what utime + stime of /proc are made of before these are cut to 10 ms.
func (p *Processes) CPU() (time.Duration, error) {
	var sum time.Duration
	var failed error
	found := false
	for _, pid := range p.pids {
		t, err := processTime(pid)
		if err != nil {
			t, err = statTime(pid)
		}
		if err != nil {
			failed = err
			continue
		}
		found = true
		sum += t
	}
	if !found {
		return 0, failed
	}
	return sum, nil
}

// RSS returns the resident memory of the processes in bytes, what they share counted once for each but for
// the pages of files and shared memory.
func (p *Processes) RSS() (int, error) {
	sum := 0
	for _, pid := range p.pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
		}
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				kib, err := strconv.Atoi(strings.Fields(value)[0])
				if err != nil {
					return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
				}
				sum += kib << 10
			}
		}
	}
	return sum, nil
}

// statTime reads utime and stime of /proc.
func statTime(pid int) (time.Duration, error) {
	fields, err := stat(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// stat returns the fields of /proc/PID/stat from the state on: what is before may hold spaces.
func stat(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return nil, fmt.Errorf("read %s: too short", path)
	}
	return fields, nil
}
