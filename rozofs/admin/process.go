package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rozofs-go/rozo/rozofs/conf"
)

// process names a process for good: ids are used again, an id with its start
// time and the boot of the machine is not.
type process struct {
	pid   int
	start uint64 // clock ticks from the boot of the machine to the start of the process
	boot  string // of the machine
}

// stat reads the state letter and the start time of a process from /proc.
func stat(pid int) (state byte, start uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The second field is the program's name in brackets, which may hold anything.
	_, rest, ok := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	f := strings.Fields(rest)
	if !ok || len(f) < 20 {
		return 0, 0, fmt.Errorf("/proc/%d/stat is not understood", pid)
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return f[0][0], start, err
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it boots look alike
	return strings.TrimSpace(string(b))
}

// processOf describes a process that runs or has not been waited for.
func processOf(pid int) (process, error) {
	_, start, err := stat(pid)
	return process{pid: pid, start: start, boot: bootID()}, err
}

// alive tells whether the process still runs. A child of ours that has ended
// is waited for, and how it ended is kept.
func (c *Cluster) alive(p process) bool {
	if p.pid == 0 || p.boot != bootID() {
		return false
	}
	var ws syscall.WaitStatus
	n, waitErr := syscall.Wait4(p.pid, &ws, syscall.WNOHANG, nil)
	if waitErr == nil && n == p.pid {
		c.mu.Lock()
		c.ended[p] = describeExit(ws)
		c.mu.Unlock()
		return false
	}
	state, start, err := stat(p.pid)
	if err != nil || start != p.start {
		return false
	}
	// A child of ours has ended when it can be waited for, not when it is seen dying.
	return waitErr == nil || state != 'Z' && state != 'X' || isDying(p.pid)
}

// isDying tells whether threads of a process are left when its first one has ended: they
// keep its files and ports until they have ended too.
func isDying(pid int) bool {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return len(tasks) > 1
}

// exit tells how a process ended, as far as this program can know: only its
// children's end is told to it.
func (c *Cluster) exit(p process) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended[p]
}

func describeExit(ws syscall.WaitStatus) string {
	if ws.Signaled() {
		return "killed by signal: " + ws.Signal().String()
	}
	return fmt.Sprintf("exit status %d", ws.ExitStatus())
}

// signal sends sig to this very process. os.FindProcess holds the process by a
// descriptor, so that it stays the one whose start time is then compared.
func (c *Cluster) signal(p process, sig syscall.Signal) error {
	h, err := os.FindProcess(p.pid)
	if err != nil {
		return nil // it is gone
	}
	defer func() { _ = h.Release() }()
	if !c.alive(p) {
		return nil
	}
	if err := h.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal pid %d: %w", p.pid, err)
	}
	return nil
}

// writePid records a process. The first line is the bare id, for scripts.
func writePid(name string, p process) error {
	return conf.WriteFile(name, fmt.Appendf(nil, "%d\n%d\n%s\n", p.pid, p.start, p.boot))
}

// readPid gives the recorded process; known is false when there is no record,
// which means that the daemon was never started or was stopped.
func readPid(name string) (p process, known bool, err error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return process{}, false, nil
	}
	if err != nil {
		return process{}, false, fmt.Errorf("read pid file: %w", err)
	}
	if _, err := fmt.Sscanf(string(b), "%d\n%d\n%s", &p.pid, &p.start, &p.boot); err != nil || p.pid <= 0 {
		return process{}, false, fmt.Errorf("pid file %s is damaged: see with ps whether the daemon runs, end it, and delete the file", name)
	}
	return p, true, nil
}

// running gives the process of a daemon: known as of readPid, alive if it runs.
func (c *Cluster) running(d Daemon) (p process, known, alive bool, err error) {
	p, known, err = readPid(d.pidFile)
	if err == nil && !known {
		if p, known = unrecorded(d); known {
			err = writePid(d.pidFile, p)
		}
	}
	return p, known, err == nil && c.alive(p), err
}

// unrecorded finds a daemon whose starter was killed before it could record it:
// nothing but the daemon prints to its log.
func unrecorded(d Daemon) (process, bool) {
	outputs, _ := filepath.Glob("/proc/[0-9]*/fd/1")
	for _, output := range outputs {
		if to, err := os.Readlink(output); err != nil || to != d.Log {
			continue
		}
		dir := filepath.Dir(filepath.Dir(output))
		pid, _ := strconv.Atoi(filepath.Base(dir))
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		program, _, _ := strings.Cut(string(line), "\x00")
		if p, err := processOf(pid); err == nil && filepath.Base(program) == d.Role {
			return p, true
		}
	}
	return process{}, false
}
