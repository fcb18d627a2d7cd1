package admin

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/conf"
)

// makeRun makes the directories that hold the locks.
func (c *Cluster) makeRun() error {
	for _, d := range []string{c.path("run"), c.path("log")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("--dir: %w", err)
		}
	}
	return nil
}

// make brings the directory to what the record says: a new cluster whole, an
// interrupted one on from where it stopped, a moved one with new configuration
// files. It does nothing to one that is complete.
func (c *Cluster) make(ctx context.Context, w io.Writer) error {
	rewrite := c.moved()
	if c.Record.ExportdPort == 0 {
		if err := c.Record.choosePorts(); err != nil {
			return err
		}
		c.Record.Cluster = newClusterID()
		if err := c.Record.save(c.Dir); err != nil { // first of all: with it an interrupted Up can be taken up
			return err
		}
		say(w, "made", "%s: cluster %s", c.Dir, c.Record.Cluster)
	}
	if rewrite {
		say(w, "moved", "from %s: the configuration files are written anew", c.Record.Dir)
	}
	if err := c.writeConfs(rewrite); err != nil {
		return err
	}
	c.Record.Dir = c.Dir // after the files: a crash in between writes them again
	if err := c.Record.save(c.Dir); err != nil {
		return err
	}
	for i := range c.Record.Storages {
		if err := c.makeStorage(ctx, &c.Record.Storages[i]); err != nil {
			return err
		}
	}
	return nil
}

// writeConfs writes the configuration files that are not there, or all.
func (c *Cluster) writeConfs(all bool) error {
	write := func(name string, content []byte) error {
		if !all && exists(name) {
			return nil
		}
		return conf.WriteFile(name, content)
	}
	e := c.exportConf()
	if _, err := e.Validate(); err != nil {
		return err
	}
	if err := write(c.path("export.conf"), e.Format()); err != nil {
		return err
	}
	for _, s := range c.Record.Storages {
		sc := c.storageConf(s)
		if err := sc.Validate(); err != nil {
			return err
		}
		if err := write(c.daemon(RoleStoraged, s.SID, s.Port).Conf, sc.Format()); err != nil {
			return err
		}
	}
	return nil
}

// makeStorage makes the root and gives it its identity, once: a root that was
// lost must be missed, not made again.
func (c *Cluster) makeStorage(ctx context.Context, s *Storage) error {
	if s.Made {
		return nil
	}
	for _, dir := range []string{c.path("meta"), c.storageRoot(s.SID)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make storage %d: %w", s.SID, err)
		}
	}
	d := c.daemon(RoleStoraged, s.SID, s.Port)
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, RoleStoraged), "-init", "-cluster", c.Record.Cluster, "-c", d.Conf)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make storage %d: %s: %w\n%s", s.SID, strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	s.Made = true
	return c.Record.save(c.Dir)
}

// lostMeta tells that exportd would begin with nothing although storages hold data.
func (c *Cluster) lostMeta() error {
	for _, s := range c.Record.Storages {
		if s.Made && !exists(c.path("meta")) {
			return fmt.Errorf("%s, exportd's metadata, is missing: restore it from a backup, or make a new cluster in another --dir", c.path("meta"))
		}
	}
	return nil
}
