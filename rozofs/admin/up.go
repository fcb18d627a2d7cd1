package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Up brings up the cluster of o.Dir, making it first if there is none, and
// returns when it is mounted. It writes a line to progress for each step, the
// last of them "ready" and the mount point. When ctx ends it stops what it has
// started.
//
// The returned handle attends to the cluster: a second Up fails until it is
// closed. Wait reports what happens to the daemons, Down stops them.
//
// Errors: what check finds, joined; UsageError; StartError; those of the
// operating system.
func Up(ctx context.Context, o Options, progress io.Writer) (*Cluster, error) {
	if o.Bin == "" {
		var err error
		if o.Bin, err = ownDirectory(); err != nil {
			return nil, err
		}
	}
	return up(ctx, o, progress, thisMachine())
}

func up(ctx context.Context, o Options, w io.Writer, m *machine) (*Cluster, error) {
	c, err := o.cluster(m)
	if c == nil {
		return nil, err
	}
	made := c.Record.Cluster != ""
	if !made { // nothing is written before the checks
		if err := errors.Join(err, c.check()); err != nil {
			return nil, err
		}
	}
	if made || err == nil {
		if e := c.attend(); e != nil {
			return nil, e
		}
	}
	if err = errors.Join(err, c.upAttended(ctx, w, made)); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// cluster gives a handle on the cluster that o means, with what in o is wrong.
// The handle is nil when the directory's record cannot be read.
func (o *Options) cluster(m *machine) (*Cluster, error) {
	dir := canonical(orDefault(o.Dir, DefaultDir))
	c := newCluster(dir, o.Bin, m)
	r, err := loadRecord(dir)
	if err != nil {
		return nil, err
	}
	if r == nil {
		c.Record, err = o.newRecord()
		c.Record.Dir = dir
		c.Record.Mount = canonical(orDefault(o.Mount, DefaultMount))
		return c, err
	}
	c.Record = r
	if o.Mount != "" {
		r.Mount = canonical(o.Mount)
	}
	return c, o.agree(r)
}

// attend takes run/up.lock.
func (c *Cluster) attend() error {
	if err := c.makeRun(); err != nil {
		return err
	}
	l, err := lockFile(c.path("run", "up.lock"))
	if locked, busy := errors.AsType[*errLocked](err); busy {
		return fmt.Errorf("the cluster in %s is up already: `rozo up` (%s) attends to it; `rozo status --dir %s` shows it, `rozo down --dir %s` stops it",
			c.Dir, locked.holder, c.Dir, c.Dir)
	}
	c.attends = l
	return err
}

// upAttended does the rest of up under run/up.lock.
func (c *Cluster) upAttended(ctx context.Context, w io.Writer, made bool) error {
	command, err := c.lockCommand(ctx, w)
	if err != nil {
		return err
	}
	defer command.unlock()
	if !made && exists(c.path(recordName)) {
		return fmt.Errorf("another `rozo up` has just made a cluster in %s: run the command again", c.Dir)
	}
	if made {
		if err := c.checkDown(); err != nil {
			return err
		}
		if err := errors.Join(c.check(), c.lostMeta()); err != nil {
			return err
		}
	}
	if warning := c.Record.layout().Warning(); warning != "" {
		say(w, "warning", "%s", warning)
	}
	if err := c.make(ctx, w); err != nil {
		return err
	}
	return c.bringUp(ctx, w)
}

// checkDown wants that no daemon of the cluster runs.
func (c *Cluster) checkDown() error {
	var alive []string
	for _, d := range c.Daemons() {
		p, _, isAlive, err := c.running(d)
		if err != nil {
			return err
		}
		if isAlive {
			alive = append(alive, fmt.Sprintf("%s (pid %d)", d.Name, p.pid))
		}
	}
	if len(alive) == 0 {
		return nil
	}
	return fmt.Errorf("the cluster in %s is up already: %s; `rozo status --dir %s` shows it, `rozo start DAEMON --dir %s` starts one daemon, `rozo down --dir %s` stops all",
		c.Dir, strings.Join(alive, ", "), c.Dir, c.Dir, c.Dir)
}

// bringUp starts the daemons in order: exportd looks for the storages, the
// mount needs exportd. When one fails, all are stopped.
func (c *Cluster) bringUp(ctx context.Context, w io.Writer) error {
	say(w, "starting", "layout %s, %d storages, export %s, blocks of %s%s", c.Record.Layout, len(c.Record.Storages), c.Record.Export,
		formatBytes(uint64(c.Record.BlockBytes)), map[bool]string{true: ", systematic"}[c.Record.Systematic])
	all, err := c.start(ctx, w, nil, c.byRole(RoleStoraged), c.storageReady)
	if err == nil {
		all, err = c.start(ctx, w, all, c.byRole(RoleExportd), c.exportReady)
	}
	if err == nil {
		err = c.prepareMountPoint()
	}
	if err == nil {
		_, err = c.start(ctx, w, all, c.byRole(RoleMount), c.mountReady)
	}
	if err != nil {
		say(w, "failed", "stopping what was started")
		return errors.Join(err, c.stopAll(context.WithoutCancel(ctx), w))
	}
	say(w, "ready", "%s", c.Record.Mount)
	return nil
}

// watchInterval is how often Wait looks at the daemons.
const watchInterval = 250 * time.Millisecond

// Wait reports to progress which daemons end and which come back, until ctx
// ends, which it returns as nil with down false, or until all were stopped by another
// command (down true).
func (c *Cluster) Wait(ctx context.Context, progress io.Writer) (down bool, err error) {
	seen := map[string]watched{}
	for _, d := range c.Daemons() {
		seen[d.Name] = watched{known: true, alive: true}
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		anyKnown := false
		for _, d := range c.Daemons() {
			p, known, alive, err := c.running(d)
			if err != nil {
				return false, err
			}
			if seen[d.Name].alive && !alive && known {
				if c.commanded() { // it is being stopped: its pid file goes when that is done
					anyKnown = true
					continue
				}
				if p, known, alive, err = c.running(d); err != nil { // now that no command is under way
					return false, err
				}
			}
			anyKnown = anyKnown || known
			now := watched{p, known, alive}
			c.report(progress, d, seen[d.Name], now)
			seen[d.Name] = now
		}
		if !anyKnown {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-tick.C:
		}
	}
}

// watched is what Wait saw of a daemon.
type watched struct {
	process
	known, alive bool
}

func (c *Cluster) report(w io.Writer, d Daemon, before, now watched) {
	switch {
	case before.alive && !now.alive && now.known:
		say(w, "died", "%s (pid %d, %s); see %s; start it again: rozo start %s --dir %s",
			d.Name, now.pid, orDefault(c.exit(now.process), "its end was not seen"), d.Log, d.Name, c.Dir)
	case before.known && !now.known:
		say(w, "stopped", "%s by another command", d.Name)
	case now.alive && (!before.alive || before.pid != 0 && before.process != now.process):
		say(w, "started", "%s pid %d by another command", d.Name, now.pid)
	}
}
