package scenario

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// pjdAtOnce is how many scripts run at the same time: most of them sleep, for times to differ.
const pjdAtOnce = 6

// pjdfstest, which PJDFSTEST names, passes on the mount, but for what docs/posix.md lists.
func TestPjdfstest(t *testing.T) {
	suite := os.Getenv("PJDFSTEST")
	if suite == "" {
		t.Skip("PJDFSTEST names no directory of pjdfstest")
	}
	suite, err := filepath.Abs(suite)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(suite, "pjdfstest"), "it is not built")
	scripts, err := filepath.Glob(filepath.Join(suite, "tests", "*", "*.t"))
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	excepted := exceptions(t)
	c := start(t, options{})

	todo := make(chan string)
	var mu sync.Mutex // guards all below
	passed, allowed, wrong := 0, 0, []string{}
	var workers sync.WaitGroup
	for i := range pjdAtOnce {
		dir := c.path(strconv.Itoa(i))
		require.NoError(t, os.Mkdir(dir, 0o755))
		workers.Go(func() {
			for script := range todo {
				name := filepath.Base(filepath.Dir(script)) + "/" + filepath.Base(script)
				r := runTAP(dir, script)
				mu.Lock()
				passed += r.passed
				for _, f := range r.failed {
					if slices.Contains(excepted[name], f.number) {
						allowed++
					} else {
						wrong = append(wrong, name+": "+f.line)
					}
				}
				for _, complaint := range r.complaints {
					wrong = append(wrong, name+": "+complaint)
				}
				mu.Unlock()
			}
		})
	}
	for _, script := range scripts {
		todo <- script
	}
	close(todo)
	workers.Wait()
	t.Logf("%d assertions passed, %d failed that docs/posix.md excepts, %d others", passed, allowed, len(wrong))
	require.Empty(t, wrong, "see docs/posix.md for what the kernel denies to any FUSE file system")
}

// tapResult is what a script has said, by the Test Anything Protocol.
type tapResult struct {
	passed     int // also those that are marked as to be done, which may fail
	failed     []tapFailure
	complaints []string
}

type tapFailure struct {
	number int
	line   string
}

var (
	tapLine = regexp.MustCompile(`^(not )?ok (\d+)(.*)$`)
	tapPlan = regexp.MustCompile(`^1\.\.(\d+)`)
)

func runTAP(dir, script string) (r tapResult) {
	ctx, cancel := context.WithTimeout(context.Background(), limit())
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.complaints = append(r.complaints, err.Error())
	}
	plan, seen := -1, 0
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if m := tapPlan.FindStringSubmatch(line); m != nil {
			plan, _ = strconv.Atoi(m[1])
			continue
		}
		m := tapLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		seen++
		if m[1] == "" || strings.Contains(m[3], "# TODO") {
			r.passed++
			continue
		}
		number, _ := strconv.Atoi(m[2])
		r.failed = append(r.failed, tapFailure{number, line})
	}
	if plan != seen {
		r.complaints = append(r.complaints, fmt.Sprintf("%d assertions of %d planned", seen, plan))
	}
	return r
}

// exceptions are the assertions that docs/posix.md excepts, by script: rows of a table,
// `dir/NN.t` | numbers | reason.
func exceptions(t *testing.T) map[string][]int {
	t.Helper()
	text, err := os.ReadFile("../../docs/posix.md")
	require.NoError(t, err)
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+/[0-9]+\\.t)` \\| ([0-9, ]+) \\| [^|]{20,} \\|$")
	all := map[string][]int{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		for number := range strings.SplitSeq(m[2], ",") {
			n, err := strconv.Atoi(strings.TrimSpace(number))
			require.NoError(t, err)
			all[m[1]] = append(all[m[1]], n)
		}
	}
	return all
}
