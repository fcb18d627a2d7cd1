package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Start starts one daemon of the cluster and waits until it is ready.
func (c *Cluster) Start(ctx context.Context, name string, progress io.Writer) error {
	return c.command(ctx, name, progress, func(d Daemon) error {
		p, _, alive, err := c.running(d)
		if err != nil {
			return err
		}
		if alive {
			return fmt.Errorf("%s runs already (pid %d)", d.Name, p.pid)
		}
		if err := c.checkOne(d); err != nil {
			return err
		}
		ready := map[string]readiness{RoleExportd: c.exportAnswers, RoleStoraged: c.storageReady, RoleMount: c.mountReady}[d.Role]
		if _, err = c.start(ctx, progress, nil, []Daemon{d}, ready); err != nil {
			return errors.Join(err, c.stopOne(context.WithoutCancel(ctx), progress, d))
		}
		say(progress, "ready", "%s", d.Name)
		return nil
	})
}

// checkOne is check for a single daemon.
func (c *Cluster) checkOne(d Daemon) error {
	err := errors.Join(c.checkPrograms(d.Role), c.checkPorts([]Daemon{d}), c.lostMeta())
	if d.Role != RoleMount {
		return err
	}
	if err := errors.Join(err, c.checkFUSE(), c.checkMountPoint()); err != nil {
		return err
	}
	return c.prepareMountPoint()
}

// Stop stops one daemon of the cluster as Down does.
func (c *Cluster) Stop(ctx context.Context, name string, progress io.Writer) error {
	return c.command(ctx, name, progress, func(d Daemon) error {
		if _, known, _, err := c.running(d); err != nil || !known {
			say(progress, "stopped", "%s was not running", d.Name)
			return err
		}
		return c.stopOne(ctx, progress, d)
	})
}

// Kill ends one daemon at once with SIGKILL, as a crash would.
func (c *Cluster) Kill(ctx context.Context, name string, progress io.Writer) error {
	return c.command(ctx, name, progress, func(d Daemon) error {
		p, _, alive, err := c.running(d)
		if err != nil {
			return err
		}
		if !alive {
			return fmt.Errorf("%s does not run", d.Name)
		}
		if err := c.kill(ctx, p); err != nil {
			return err
		}
		say(progress, "killed", "%s (pid %d); start it again: rozo start %s --dir %s", d.Name, p.pid, d.Name, c.Dir)
		return nil
	})
}

// command finds a daemon and does something to it under run/command.lock.
func (c *Cluster) command(ctx context.Context, name string, w io.Writer, do func(Daemon) error) error {
	d, err := c.named(name)
	if err != nil {
		return err
	}
	l, err := c.lockCommand(ctx, w)
	if err != nil {
		return err
	}
	defer l.unlock()
	return do(d)
}
