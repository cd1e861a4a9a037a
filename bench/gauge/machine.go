package gauge

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Machine describes what something was measured on, without saying whose it is.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	System string `json:"system"`
	Go     string `json:"go"`
	// Busy is the load average before the run began: a machine that others use measures them, too.
	Busy string `json:"load_before"`
}

// ThisMachine describes the one this runs on.
func ThisMachine() Machine {
	m := Machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	if v := line("/proc/cpuinfo", "model name", ":"); v != "" {
		m.CPU = v
	}
	var kib int
	if _, err := fmt.Sscan(line("/proc/meminfo", "MemTotal", ":"), &kib); err == nil {
		m.Memory = fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
	}
	if out, err := exec.Command("uname", "-r").Output(); err == nil {
		m.Kernel = strings.TrimSpace(string(out))
	}
	if v := strings.Trim(line("/etc/os-release", "PRETTY_NAME", "="), `"`); v != "" {
		m.System = v + ", " + runtime.GOARCH
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Busy = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	return m
}

// line returns what follows the name in the first line of a file that begins with it.
func line(path, name, separator string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(text)) {
		if before, after, ok := strings.Cut(l, separator); ok && strings.TrimSpace(before) == name {
			return strings.TrimSpace(after)
		}
	}
	return ""
}
