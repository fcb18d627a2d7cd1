package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Cluster is a handle on the cluster of one directory. Its methods may be used
// by one goroutine at a time; other programs may have handles on the same
// cluster.
type Cluster struct {
	Dir    string  // absolute
	Record *Record // not to be changed by the caller

	bin     string // directory of the daemons' programs
	machine *machine
	attends *fileLock // run/up.lock, nil if this handle does not come from Up

	mu    sync.Mutex         // guards ended; taken last, held for map operations only
	ended map[process]string // children of this program that have ended, and how
}

func newCluster(dir, bin string, m *machine) *Cluster {
	return &Cluster{Dir: dir, bin: bin, machine: m, ended: map[process]string{}}
}

// Open gives a handle on the cluster in dir, whether it is up or not.
func Open(dir string) (*Cluster, error) {
	bin, err := ownDirectory()
	if err != nil {
		return nil, err
	}
	return open(dir, bin, thisMachine())
}

func open(dir, bin string, m *machine) (*Cluster, error) {
	dir = canonical(orDefault(dir, DefaultDir))
	r, err := loadRecord(dir)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, usagef("--dir %s holds no cluster: name the directory of one, or make one with `rozo up --dir %s`", dir, dir)
	}
	c := newCluster(dir, bin, m)
	c.Record = r
	if c.moved() {
		return nil, fmt.Errorf("the cluster in %s was last up in %s: bring it up here once with `rozo up --dir %s`", dir, r.Dir, dir)
	}
	return c, nil
}

// Close lets go of the cluster; its daemons go on as they are.
func (c *Cluster) Close() error {
	c.attends.unlock()
	return nil
}

// moved tells that the directory was elsewhere when the cluster was last up.
func (c *Cluster) moved() bool { return c.Record.Dir != c.Dir }

func ownDirectory() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's directory: %w", err)
	}
	return filepath.Dir(exe), nil
}

// canonical makes a path absolute and resolves the symbolic links in it, as far
// as it exists: the kernel names mount points so.
func canonical(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path // no working directory: what uses the path will say so
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real
	}
	if parent := filepath.Dir(abs); parent != abs {
		return filepath.Join(canonical(parent), filepath.Base(abs))
	}
	return abs
}

// lockCommand takes run/command.lock, waiting for another command to end.
func (c *Cluster) lockCommand(ctx context.Context, w io.Writer) (*fileLock, error) {
	said := false
	for {
		l, err := lockFile(c.path("run", "command.lock"))
		locked, busy := errors.AsType[*errLocked](err)
		if !busy {
			return l, err
		}
		if !said {
			say(w, "waiting", "another rozo command is at work on %s: %s", c.Dir, locked.holder)
			said = true
		}
		if err := pause(ctx); err != nil {
			return nil, fmt.Errorf("another rozo command is at work on %s: %s", c.Dir, locked.holder)
		}
	}
}

// pollInterval is how often a condition is looked at: that of a process that
// is no child of ours can only be asked for.
const pollInterval = 50 * time.Millisecond

func pause(ctx context.Context) error {
	t := time.NewTimer(pollInterval)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// say writes a line of progress: what happened, in a column of its own, to whom.
// That nobody reads it is no reason to stop.
func say(w io.Writer, what, format string, args ...any) {
	fmt.Fprintf(w, "%-9s %s\n", what, fmt.Sprintf(format, args...))
}
