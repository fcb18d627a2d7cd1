package scenario

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// childVariable names the errand of a child process: see errands.
const childVariable = "ROZO_SCENARIO_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		os.Exit(runErrand(name, os.Args[1:]))
	}
	code := m.Run()
	if builtPrograms != "" {
		os.RemoveAll(builtPrograms)
	}
	os.Exit(code)
}

var builtPrograms string // to be removed at the end

// programs builds the daemons and rozo, once, and gives their directory.
var programs = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("ROZO_SCENARIO_BIN"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.MkdirTemp("", "rozo-scenario-bin-")
	if err != nil {
		return "", err
	}
	builtPrograms = dir
	build := exec.Command("go", "build", "-trimpath", "-o", dir, "./cmd/exportd", "./cmd/storaged", "./cmd/rozofsmount", "./cmd/rozo")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return dir, nil
})

// program is the path of one of ours.
func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := programs()
	require.NoError(t, err)
	return filepath.Join(dir, name)
}

// full tells which scale the tests run at.
func full() bool { return os.Getenv("ROZO_SCENARIO_SCALE") == "full" }

// scaled gives the size of the scale.
func scaled[T any](quick, promised T) T {
	if full() {
		return promised
	}
	return quick
}

// limit is how long a scenario may take before its daemons are killed: only to
// tell a hang from work.
func limit() time.Duration { return scaled(15*time.Minute, 90*time.Minute) }

// await is how long a condition may take to come true.
const await = 60 * time.Second

// tick is how often it is looked at.
const tick = 10 * time.Millisecond

// seed is that of the test, logged so that it can be given again.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	if given := os.Getenv("ROZO_SCENARIO_SEED"); given != "" {
		var err error
		s, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err, "ROZO_SCENARIO_SEED")
	}
	t.Logf("ROZO_SCENARIO_SEED=%d", s)
	return s
}

// needMounts skips a test that the machine, or -short, does not allow.
func needMounts(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("end-to-end scenarios take minutes: run without -short")
	}
	if os.Geteuid() != 0 {
		missing(t, "not root: mounting for other users and killing their processes needs root")
	}
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		missing(t, "no /dev/fuse: load the module (modprobe fuse), or start the container with --device /dev/fuse --cap-add SYS_ADMIN: %v", err)
	} else {
		f.Close()
	}
}

// need finds a program of others, which a Debian package provides.
func need(t *testing.T, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, "%s is not installed: apt-get install %s", name, debianPackage)
	}
	return path
}

func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("ROZO_REQUIRE_ALL") == "1" {
		require.FailNow(t, "ROZO_REQUIRE_ALL is set, and "+fmt.Sprintf(format, args...))
	}
	t.Skipf(format, args...)
}
