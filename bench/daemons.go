package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ticksPerSecond is the unit of times in /proc, the same on all machines.
const ticksPerSecond = 100

// DaemonUsage is what a daemon has used since it was started.
type DaemonUsage struct {
	Name       string  `json:"name"`
	PID        int     `json:"pid"`
	CPUSeconds float64 `json:"cpu_seconds"` // user and system
	PeakBytes  int64   `json:"peak_bytes"`  // of resident memory
	Ended      bool    `json:"ended"`       // before the benchmark did: the figures are the last known
}

// daemons are processes that are watched through a proc file system.
type daemons struct {
	proc string
	all  []DaemonUsage
}

func (d *daemons) add(name string, pid int) {
	if pid > 0 {
		d.all = append(d.all, DaemonUsage{Name: name, PID: pid})
	}
}

// usage reads anew what all have used.
func (d *daemons) usage() []DaemonUsage {
	for i := range d.all {
		u := &d.all[i]
		stat, err := os.ReadFile(d.path(u, "stat"))
		var cpu float64
		if err == nil {
			cpu, err = parseStat(stat)
		}
		if err != nil {
			u.Ended = true
			continue
		}
		u.CPUSeconds = cpu
		if status, err := os.ReadFile(d.path(u, "status")); err == nil {
			u.PeakBytes = max(u.PeakBytes, peakBytes(status))
		}
	}
	return d.all
}

func (d *daemons) path(u *DaemonUsage, file string) string {
	return filepath.Join(d.proc, strconv.Itoa(u.PID), file)
}

// cpuSeconds is the CPU time of all together.
func (d *daemons) cpuSeconds() float64 {
	sum := 0.0
	for _, u := range d.usage() {
		sum += u.CPUSeconds
	}
	return sum
}

// parseStat adds the user and system time in the text of /proc/PID/stat.
func parseStat(stat []byte) (cpuSeconds float64, err error) {
	// The second field is the program's name in brackets, which may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat of a process is not understood")
	}
	for _, f := range fields[11:13] { // utime and stime, the 14th and 15th
		ticks, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat of a process is not understood: %w", err)
		}
		cpuSeconds += float64(ticks) / ticksPerSecond
	}
	return cpuSeconds, nil
}

// peakBytes finds VmHWM in the text of /proc/PID/status; 0 if it is not there.
func peakBytes(status []byte) int64 {
	for line := range bytes.Lines(status) {
		if value, ok := strings.CutPrefix(string(line), "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}
