package rozofsmount

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// roleVariable makes the test binary play another program: one that uses a
// mount (what would lock up, or die, in the process that serves it), or the
// command rozofsmount itself, over a file system in memory.
const roleVariable = "ROZOFSMOUNT_TEST_ROLE"

var roles = map[string]func(args []string) error{
	"mmap":  mmapRole,
	"read":  readRole,
	"hold":  holdRole,
	"check": checkRole,
}

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); {
	case role == "command":
		os.Exit(mainWith(os.Args, os.Stdout, os.Stderr, connectMem))
	case role != "":
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// connectMem is the client of the command under test.
func connectMem(_ context.Context, o *Options, _ func(vocab.Ino)) (FileSystem, error) {
	if o.Export == "/refused" {
		return nil, vocab.Errorf(vocab.NotFound, "there is no export %s", o.Export)
	}
	m := newMemFS()
	m.put("hello", "hello, world\n")
	return m, nil
}

// play returns the test binary in a role; name is its argv[0].
func play(t *testing.T, role, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return &exec.Cmd{
		Path: self, Args: append([]string{name}, args...),
		Env: append(os.Environ(), roleVariable+"="+role), Dir: t.TempDir(),
	}
}

func needFUSE(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	if err := checkDevice(fuseDevice); err != nil {
		t.Skipf("needs FUSE: %v", err)
	}
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// stage is a file system in memory, mounted.
type stage struct {
	*Mounted
	mem *memFS
	dir string
	log *logBuffer
}

// mountMem mounts; change, when not nil, changes the options first.
func mountMem(t *testing.T, change func(*Options)) *stage {
	t.Helper()
	needFUSE(t)
	s := &stage{mem: newMemFS(), log: &logBuffer{}}
	o := Options{
		Mountpoint: t.TempDir(), Hosts: []string{"node1:53000"}, Export: "/srv/export",
		Log: slog.New(slog.NewTextHandler(s.log, nil)), LocalLocks: true,
		Connect: func(context.Context, *Options, func(vocab.Ino)) (FileSystem, error) {
			return s.mem, nil
		},
	}
	if change != nil {
		change(&o)
	}
	var err error
	s.Mounted, err = Mount(t.Context(), o)
	require.NoError(t, err)
	s.dir = s.Mountpoint()
	t.Cleanup(func() {
		if err := s.Unmount(); err != nil {
			t.Errorf("unmounting: %v", err)
		}
		unmountLeftover(t, s.dir)
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	return s
}

func unmountLeftover(t *testing.T, dir string) {
	t.Helper()
	if _, left, _ := mountAt(dir); left {
		t.Errorf("%s is still mounted", dir)
		unix.Unmount(dir, unix.MNT_DETACH|unix.MNT_FORCE)
	}
}

func (s *stage) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func stat(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	var st syscall.Stat_t
	require.NoError(t, syscall.Lstat(path, &st))
	return &st
}

var discardLog = slog.New(slog.DiscardHandler)

func testLogger(log *logBuffer) *slog.Logger { return slog.New(slog.NewTextHandler(log, nil)) }

// Conditions are awaited, for as long as a loaded machine may need.
const (
	awaitBound = 30 * time.Second
	awaitTick  = 10 * time.Millisecond
)
