package scenario

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// process is one of the machine's.
type process struct {
	pid     int
	command string
}

func (p process) String() string { return fmt.Sprintf("%d (%s)", p.pid, p.command) }

// processesUnder lists processes whose command line names something under dir.
func processesUnder(dir string) []process {
	var found []process
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && bytes.Contains(line, []byte(dir)) {
			found = append(found, process{pid, strings.TrimSpace(string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))})
		}
	}
	return found
}

func killAll(all []process) {
	for _, p := range all {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

// children lists the processes that pid has started.
func children(t *testing.T, pid int) []process {
	t.Helper()
	var found []process
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		rest := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(rest) > 1 && rest[1] == strconv.Itoa(pid) {
			found = append(found, process{pid: child})
		}
	}
	return found
}

// mountsUnder lists what is mounted on dir and under it, the innermost first.
func mountsUnder(dir string) []string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			found = append([]string{f[4]}, found...)
		}
	}
	return found
}

// peakMemory is the most that a process has held in memory, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			require.NoError(t, err)
			return kib << 10
		}
	}
	require.FailNow(t, "no VmHWM")
	return 0
}

// run runs a program of others that must succeed, in dir, and gives its output.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := try(dir, name, args...)
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), lastBytes(out))
	return out
}

// try is run for what may fail, and for other goroutines.
func try(dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit())
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func lastBytes(s string) string { return s[max(0, len(s)-tailBytes):] }

// errands are what a test has other processes do: this program again, with
// childVariable set. Each returns an error to tell the test.
var errands = map[string]func(args []string) error{
	"append": appendErrand,
	"lock":   lockErrand,
	"mmap":   mmapErrand,
}

func runErrand(name string, args []string) int {
	if err := errands[name](args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// errand prepares a child process.
func errand(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	return cmd
}
