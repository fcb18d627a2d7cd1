package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// stopTimeout is how long a daemon may take to stop before it is killed, and a
// killed one to be gone.
const stopTimeout = 20 * time.Second

// Down stops what runs of the cluster, in order: rozofsmount, so that nothing
// is written any more, the storaged, exportd. It reports each to progress and
// goes on after an error. A daemon that does not stop within 20 seconds is
// killed. A mount point that is in use is unmounted all the same (lazily), and
// progress tells who uses it. What is down already is no error.
func (c *Cluster) Down(ctx context.Context, progress io.Writer) error {
	command, err := c.lockCommand(ctx, progress)
	if err != nil {
		return err
	}
	defer command.unlock()
	any := false
	for _, d := range c.Daemons() {
		_, known, _, err := c.running(d)
		any = any || known || err != nil
	}
	if !any {
		say(progress, "down", "nothing of the cluster in %s was running", c.Dir)
		return nil
	}
	if err := c.stopAll(ctx, progress); err != nil {
		return err
	}
	say(progress, "down", "%s", c.Dir)
	return nil
}

func (c *Cluster) stopAll(ctx context.Context, w io.Writer) error {
	var errs []error
	for _, role := range []string{RoleMount, RoleStoraged, RoleExportd} {
		errs = append(errs, c.stop(ctx, w, c.byRole(role)))
	}
	return errors.Join(errs...)
}

// stop stops daemons of one role together.
func (c *Cluster) stop(ctx context.Context, w io.Writer, daemons []Daemon) error {
	errs := make([]error, len(daemons))
	out := &lockedWriter{w: w}
	var joined sync.WaitGroup
	for i, d := range daemons {
		joined.Go(func() { errs[i] = c.stopOne(ctx, out, d) })
	}
	joined.Wait()
	return errors.Join(errs...)
}

// lockedWriter keeps lines of progress apart.
type lockedWriter struct {
	mu sync.Mutex // guards w; taken alone
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (c *Cluster) stopOne(ctx context.Context, w io.Writer, d Daemon) error {
	p, known, alive, err := c.running(d)
	if err != nil || !known {
		return err
	}
	if alive && d.Role == RoleMount {
		c.sayUsers(w)
	}
	if alive {
		err = errors.Join(c.signal(p, syscall.SIGTERM), c.awaitEnd(ctx, w, d, p))
	}
	if d.Role == RoleMount {
		err = errors.Join(err, c.clearMount(w))
	}
	if c.alive(p) {
		return errors.Join(err, fmt.Errorf("%s (pid %d) still runs", d.Name, p.pid))
	}
	if alive {
		say(w, "stopped", "%s (pid %d, %s)", d.Name, p.pid, orDefault(c.exit(p), "ended"))
	} else {
		say(w, "stopped", "%s had died (pid %d); see %s", d.Name, p.pid, d.Log)
	}
	return errors.Join(err, os.Remove(d.pidFile))
}

// awaitEnd waits for the end of a process that was told to stop, and kills it
// when it takes too long.
func (c *Cluster) awaitEnd(ctx context.Context, w io.Writer, d Daemon, p process) error {
	wait, cancel := context.WithTimeout(ctx, c.machine.stopTimeout)
	defer cancel()
	for c.alive(p) {
		if pause(wait) == nil {
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted while %s (pid %d) was stopping: %w", d.Name, p.pid, context.Cause(ctx))
		}
		say(w, "killing", "%s (pid %d): it did not stop within %v", d.Name, p.pid, c.machine.stopTimeout)
		return c.kill(ctx, p)
	}
	return nil
}

// kill sends SIGKILL and waits until the process is gone. One that hangs in the kernel
// stays longer than we wait.
func (c *Cluster) kill(ctx context.Context, p process) error {
	if err := c.signal(p, syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	for c.alive(p) {
		if pause(ctx) != nil {
			return fmt.Errorf("pid %d does not end even when killed: it hangs in the kernel", p.pid)
		}
	}
	return nil
}

// sayUsers names the processes that use the mount point. rozofsmount writes what
// they have written, takes the mount away (lazily) and cuts them off.
func (c *Cluster) sayUsers(w io.Writer) {
	if c.mountReady(context.Background(), Daemon{}) != nil {
		return
	}
	users := holders(inTree(c.Record.Mount))
	for _, u := range users {
		say(w, "busy", "%s is in use by %s", c.Record.Mount, u)
	}
	if len(users) > 0 {
		say(w, "unmount", "%s lazily: those who use it are cut off", c.Record.Mount)
	}
}

// clearMount takes away the mount that a rozofsmount which was killed leaves.
func (c *Cluster) clearMount(w io.Writer) error {
	if c.mountReady(context.Background(), Daemon{}) != nil || !c.machine.dead(c.Record.Mount) {
		return nil
	}
	say(w, "unmount", "%s, which rozofsmount left behind", c.Record.Mount)
	return c.machine.detach(c.machine, c.Record.Mount)
}
