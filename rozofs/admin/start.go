package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Bounds of starting a daemon.
const (
	startTimeout = 60 * time.Second // to become ready; exportd may have a log to replay
	maxLogBytes  = 64 << 20         // a larger log is moved aside when its daemon starts
	tailLines    = 15               // of the log, shown when a daemon ends while it starts
	tailBytes    = 8 << 10          // of the log, read for them
)

// StartError tells that a daemon ended before it was ready.
type StartError struct {
	Daemon string // its name
	Exit   string // "exit status 1"
	Log    string // file
	Tail   string // the last lines that it printed
}

func (e *StartError) Error() string {
	return fmt.Sprintf("%s ended while it was starting (%s); the last lines of %s:\n%s", e.Daemon, e.Exit, e.Log, e.Tail)
}

// started is a daemon that this program has started.
type started struct {
	Daemon
	process
	logFrom int64 // where in the log its output begins
}

// spawn starts the daemon's process in a session of its own.
func (c *Cluster) spawn(d Daemon) (started, error) {
	if info, err := os.Stat(d.Log); err == nil && info.Size() > maxLogBytes {
		if err := os.Rename(d.Log, d.Log+".1"); err != nil {
			return started{}, fmt.Errorf("start %s: %w", d.Name, err)
		}
	}
	log, err := os.OpenFile(d.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return started{}, fmt.Errorf("start %s: %w", d.Name, err)
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return started{}, fmt.Errorf("start %s: %w", d.Name, err)
	}
	defer null.Close()
	info, err := log.Stat()
	if err != nil {
		return started{}, fmt.Errorf("start %s: %w", d.Name, err)
	}
	program := filepath.Join(c.bin, d.Role)
	h, err := os.StartProcess(program, append([]string{program}, d.Args...), &os.ProcAttr{
		Dir: c.Dir, Files: []*os.File{null, log, log}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return started{}, fmt.Errorf("start %s: %w", d.Name, err)
	}
	p, err := processOf(h.Pid)
	if err == nil {
		err = writePid(d.pidFile, p)
	}
	if err != nil {
		_ = h.Kill() // nobody would find it again
		_, _ = h.Wait()
		return started{}, fmt.Errorf("start %s: %w", d.Name, err)
	}
	_ = h.Release() // alive waits for it
	return started{Daemon: d, process: p, logFrom: info.Size()}, nil
}

// readiness tells whether a daemon is ready: nil, or what is lacking.
type readiness func(context.Context, Daemon) error

// start starts daemons together and waits until each is ready and none of them,
// nor of those started before, has ended. It returns all that were started, also
// with an error.
func (c *Cluster) start(ctx context.Context, w io.Writer, before []started, daemons []Daemon, ready readiness) ([]started, error) {
	all := before
	for _, d := range daemons {
		s, err := c.spawn(d)
		if err != nil {
			return all, err
		}
		all = append(all, s)
		addr := d.Addr
		if d.Role == RoleMount {
			addr = c.Record.Mount
		}
		say(w, "started", "%-12s pid %-7d %-16s log %s", d.Name, s.pid, addr, d.Log)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errStartTimeout)
	defer cancel()
	for _, s := range all[len(before):] {
		if err := c.await(ctx, s, all, ready); err != nil {
			return all, err
		}
	}
	return all, nil
}

var errStartTimeout = fmt.Errorf("not ready within %v", startTimeout)

// await waits until s is ready, as long as all run.
func (c *Cluster) await(ctx context.Context, s started, all []started, ready readiness) error {
	for {
		for _, other := range all {
			if !c.alive(other.process) {
				return c.startError(other)
			}
		}
		notYet := ready(ctx, s.Daemon)
		err := context.Cause(ctx)
		if notYet != nil {
			err = pause(ctx)
		}
		switch {
		case err != nil && !errors.Is(err, errStartTimeout):
			return fmt.Errorf("interrupted while %s was starting: %w", s.Name, err)
		case notYet == nil:
			return nil
		case err != nil:
			return fmt.Errorf("%s is %w: %w; see %s", s.Name, err, notYet, s.Log)
		}
	}
}

func (c *Cluster) startError(s started) error {
	return &StartError{Daemon: s.Name, Exit: orDefault(c.exit(s.process), "its exit status is not known"), Log: s.Log, Tail: tail(s.Log, s.logFrom)}
}

// tail gives the last lines of a log, none from before an offset.
func tail(name string, from int64) string {
	f, err := os.Open(name)
	if err != nil {
		return "  " + err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size()-from > tailBytes {
		from = info.Size() - tailBytes
	}
	b, _ := io.ReadAll(io.LimitReader(io.NewSectionReader(f, from, tailBytes), tailBytes))
	text := strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
	if text == "" {
		return "  (it printed nothing)"
	}
	lines := strings.Split(text, "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-tailLines):], "\n  ")
}
