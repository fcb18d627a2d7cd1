package admin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// fileLock is a flock held on a file, which ends with the process.
type fileLock struct {
	f *os.File
}

// errLocked tells that another process holds the lock, and which.
type errLocked struct {
	holder string // what it wrote into the file: "pid 123"
}

func (e *errLocked) Error() string { return "held by " + e.holder }

// lockFile takes the lock at once or gives errLocked.
func lockFile(name string) (*fileLock, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		b, _ := io.ReadAll(io.LimitReader(f, 64))
		f.Close()
		return nil, &errLocked{holder: orDefault(strings.TrimSpace(string(b)), "another process")}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "pid %d\n", os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return &fileLock{f: f}, nil
}

// commanded tells whether a command changes which daemons run.
func (c *Cluster) commanded() bool {
	f, err := os.Open(c.path("run", "command.lock"))
	if err != nil {
		return false // there was none yet
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// unlock may be called on nil and more than once.
func (l *fileLock) unlock() {
	if l != nil {
		l.f.Close()
	}
}
