package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rozofs-go/rozo/rozofs/admin"
)

// options are the flags of rozo up; zero values leave them out.
type options struct {
	layout     string
	systematic bool
	storages   int
	export     string
	blockSize  string
	smallRoots int64 // bytes of a disk in memory for each storage; 0: all lie on one disk
}

func (o options) flags() []string {
	var f []string
	if o.layout != "" {
		f = append(f, "--layout", o.layout)
	}
	if o.systematic {
		f = append(f, "--systematic")
	}
	if o.storages != 0 {
		f = append(f, "--storages", strconv.Itoa(o.storages))
	}
	if o.export != "" {
		f = append(f, "--export", o.export)
	}
	if o.blockSize != "" {
		f = append(f, "--block-size", o.blockSize)
	}
	return f
}

// cluster is one that rozo up has made. All that belongs to it, processes and
// mounts too, is found by base, which is part of their command lines and paths.
type cluster struct {
	t    *testing.T
	opts options
	base string // directory of the test
	dir  string // of the cluster
	mnt  string // where it is mounted

	mounts []*mount // more of them
}

// start makes a cluster and brings it up. The end of the test takes it down and
// fails when something is left.
func start(t *testing.T, o options) *cluster {
	t.Helper()
	needMounts(t)
	base := diskDir(t)
	c := &cluster{t: t, opts: o, base: base, dir: filepath.Join(base, "cluster"), mnt: filepath.Join(base, "mnt")}
	c.guard()
	c.up()
	if o.smallRoots > 0 {
		c.down()
		for sid := range o.storages {
			c.smallRoot(sid + 1)
		}
		c.up()
	}
	return c
}

// smallRoot gives a storage a disk of its own.
func (c *cluster) smallRoot(sid int) {
	root := filepath.Join(c.dir, fmt.Sprint("storage_", sid))
	require.NoError(c.t, os.Rename(root, root+".made"))
	require.NoError(c.t, os.Mkdir(root, 0o700))
	defer run(c.t, c.base, "cp", "-a", root+".made/.", root)
	require.NoError(c.t, unix.Mount("rozo", root, "tmpfs", 0, fmt.Sprint("size=", c.opts.smallRoots)))
	c.t.Cleanup(func() { require.NoError(c.t, unix.Unmount(root, unix.MNT_DETACH)) }) // finish, which comes later, stops who uses it
}

// diskDir is a temporary directory on a disk, which other users may pass.
func diskDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	if st.Type == unix.TMPFS_MAGIC {
		var err error
		dir, err = os.MkdirTemp("/var/tmp", "rozo-scenario-")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	} else {
		require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	}
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// guard sees to it that nothing outlives the test, also one that hangs.
func (c *cluster) guard() {
	began := time.Now()
	hung := time.AfterFunc(limit(), func() {
		fmt.Fprintf(os.Stderr, "%s: killing all daemons, since it has not ended within %v\n", c.t.Name(), limit())
		killAll(processesUnder(c.base))
	})
	c.t.Cleanup(func() {
		c.finish()
		if !hung.Stop() {
			c.t.Errorf("the scenario did not end within %v: its daemons were killed", limit())
		}
		c.judgeLogs()
		c.t.Logf("took %v", time.Since(began).Round(10*time.Millisecond))
	})
}

// finish takes everything down and reports what does not go.
func (c *cluster) finish() {
	for _, m := range c.mounts {
		if err := m.end(); err != nil {
			c.t.Errorf("the mount at %s: %v", m.point, err)
		}
	}
	if _, err := os.Stat(filepath.Join(c.dir, "cluster.json")); err == nil {
		if out, err := c.command(context.Background(), "down", "--dir", c.dir); err != nil {
			c.t.Errorf("rozo down: %v\n%s", err, out)
		}
	}
	if left := mountsUnder(c.base); len(left) > 0 {
		c.t.Errorf("mounts are left: %v", left)
		for _, point := range left {
			if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
				c.t.Errorf("unmount %s: %v", point, err)
			}
		}
	}
	if left := processesUnder(c.base); len(left) > 0 {
		c.t.Errorf("processes are left: %v", left)
		killAll(left)
	}
}

// command runs rozo with its output taken together.
func (c *cluster) command(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*await)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(c.t, "rozo"), args...)
	cmd.Dir = c.base
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// rozo runs a command of rozo that must succeed, on the cluster.
func (c *cluster) rozo(args ...string) string {
	c.t.Helper()
	out, err := c.command(context.Background(), append(args, "--dir", c.dir)...)
	require.NoError(c.t, err, "rozo %v: %s", args, out)
	return out
}

func (c *cluster) up() {
	c.t.Helper()
	args := append([]string{"up", "--mount", c.mnt, "--detach"}, c.opts.flags()...)
	require.Contains(c.t, c.rozo(args...), "ready     "+c.mnt+"\n")
}

// shortenLeases lets exportd end the sessions of mounts that have died after three seconds.
func (c *cluster) shortenLeases() {
	c.t.Helper()
	c.down()
	conf := filepath.Join(c.dir, "export.conf")
	text, err := os.ReadFile(conf)
	require.NoError(c.t, err)
	require.NoError(c.t, os.WriteFile(conf, append([]byte("lease_term = 3;\n"), text...), 0o644))
	c.up()
}

func (c *cluster) down() {
	c.t.Helper()
	c.rozo("down")
	require.Empty(c.t, mountsUnder(c.base))
	require.Empty(c.t, processesUnder(c.base))
}

// kill ends a daemon with SIGKILL.
func (c *cluster) kill(daemon string) { c.t.Helper(); c.rozo("kill", daemon) }

// start starts a daemon that was killed or stopped, and waits until it is ready.
func (c *cluster) start(daemon string) { c.t.Helper(); c.rozo("start", daemon) }

// stop stops a daemon in order.
func (c *cluster) stop(daemon string) { c.t.Helper(); c.rozo("stop", daemon) }

// remount unmounts and mounts again, so that no cache is left.
func (c *cluster) remount() {
	c.t.Helper()
	c.stop("rozofsmount")
	c.start("rozofsmount")
}

// status is what rozo status tells.
func (c *cluster) status() *admin.Status {
	c.t.Helper()
	cmd := exec.Command(program(c.t, "rozo"), "status", "--json", "--dir", c.dir)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 { // 1: something does not run
		require.NoError(c.t, err)
	}
	s := &admin.Status{}
	require.NoError(c.t, json.Unmarshal(out, s), "%s", out)
	return s
}

// pids gives the process of each running daemon.
func (c *cluster) pids() map[string]int {
	c.t.Helper()
	s := c.status()
	all := map[string]int{}
	for _, d := range s.Daemons {
		all[d.Name] = d.PID
	}
	all[s.Mount.Name] = s.Mount.PID
	return all
}

// path is a place in the mount.
func (c *cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.mnt}, elem...)...)
}

// mount is another rozofsmount of the same export.
type mount struct {
	point string
	cmd   *exec.Cmd
	log   string
	ended chan error // what Wait has returned; capacity 1
}

// secondMount mounts the export once more.
func (c *cluster) secondMount() *mount {
	c.t.Helper()
	n := len(c.mounts) + 2
	m := &mount{point: filepath.Join(c.base, fmt.Sprintf("mnt%d", n)), ended: make(chan error, 1)}
	m.log = filepath.Join(c.base, fmt.Sprintf("mnt%d.log", n))
	require.NoError(c.t, os.Mkdir(m.point, 0o755))
	log, err := os.Create(m.log)
	require.NoError(c.t, err)
	defer log.Close()
	s := c.status()
	m.cmd = exec.Command(program(c.t, "rozofsmount"), "-f", "-H", s.Daemons[0].Address, "-E", "/srv/rozofs/exports/"+s.Export, m.point)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	require.NoError(c.t, m.cmd.Start())
	c.mounts = append(c.mounts, m)
	go func() { m.ended <- m.cmd.Wait() }() // end waits for it
	require.Eventually(c.t, func() bool { return len(mountsUnder(m.point)) == 1 }, await, 10*time.Millisecond, "see %s", m.log)
	return m
}

// kill ends it by SIGKILL and takes the mount point out of the tree.
func (m *mount) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, m.cmd.Process.Kill())
	require.Error(t, <-m.ended)
	m.cmd = nil
	require.NoError(t, unix.Unmount(m.point, unix.MNT_DETACH))
}

// end stops it by SIGTERM; the second call does nothing.
func (m *mount) end() error {
	if m.cmd == nil {
		return nil
	}
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	cmd := m.cmd
	m.cmd = nil
	select {
	case err := <-m.ended:
		return err
	case <-time.After(await):
		_ = cmd.Process.Kill()
		<-m.ended
		return fmt.Errorf("rozofsmount did not end within %v of SIGTERM", await)
	}
}

// judgeLogs fails the test for what no daemon may ever log, and shows the ends
// of all logs when it has failed.
func (c *cluster) judgeLogs() {
	logs, _ := filepath.Glob(filepath.Join(c.dir, "log", "*"))
	for _, m := range c.mounts {
		logs = append(logs, m.log)
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for _, never := range []string{"panic", "fatal error:", "DATA RACE"} {
			if at := bytes.Index(text, []byte(never)); at >= 0 {
				c.t.Errorf("%s says %q:\n%s", name, never, text[at:min(len(text), at+4000)])
			}
		}
	}
	if !c.t.Failed() {
		return
	}
	for _, name := range logs {
		c.t.Logf("the end of %s:\n%s", filepath.Base(name), tail(name))
	}
}

const tailBytes = 4000

func tail(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	if len(text) > tailBytes {
		text = text[len(text)-tailBytes:]
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return string(text)
}
