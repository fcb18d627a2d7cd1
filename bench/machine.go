package bench

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Machine says where and when something was measured, and with what.
type Machine struct {
	CPU    string    `json:"cpu"`
	CPUs   int       `json:"cpus"` // that Go uses
	OS     string    `json:"os"`
	Arch   string    `json:"arch"`
	Kernel string    `json:"kernel"`
	Go     string    `json:"go"`
	Commit string    `json:"commit"` // of this program; "" when the build does not know it
	Date   time.Time `json:"date"`
}

// ThisMachine describes the machine and the program.
func ThisMachine() Machine {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease") // "" elsewhere than on Linux
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	return Machine{
		CPU: cpuModel(cpuinfo), CPUs: runtime.GOMAXPROCS(0), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Kernel: strings.TrimSpace(string(release)), Go: runtime.Version(), Commit: commit(),
		Date: time.Now().UTC().Truncate(time.Second),
	}
}

func (m Machine) String() string {
	s := fmt.Sprintf("%s, %d CPUs, %s/%s %s, %s, %s", m.CPU, m.CPUs, m.OS, m.Arch, m.Kernel, m.Go, m.Date.Format(time.RFC3339))
	if m.Commit != "" {
		s += ", commit " + m.Commit
	}
	return s
}

// cpuModel finds the model in the text of /proc/cpuinfo.
func cpuModel(cpuinfo []byte) string {
	for line := range bytes.Lines(cpuinfo) {
		name, value, ok := strings.Cut(string(line), ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var revision, modified string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + modified
}
