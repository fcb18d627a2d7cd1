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
	doc, err := os.ReadFile("../../docs/posix.md")
	require.NoError(t, err)
	excepted := exceptions(t, string(doc))
	c := start(t, options{})
	path := asExt4(t) + ":" + os.Getenv("PATH")

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
				r := runTAP(dir, script, path)
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

// asExt4 makes a directory with a df that tells of ext4: pjdfstest asks df, and would leave out
// what it asks of ext4 and not of every file system.
func asExt4(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "df"), []byte("#!/bin/sh\necho rozofs ext4\n"), 0o755))
	return dir
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

func runTAP(dir, script, path string) (r tapResult) {
	ctx, cancel := context.WithTimeout(context.Background(), limit())
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+path)
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
// `dir/NN.t` | numbers | a reason.
func exceptions(t *testing.T, doc string) map[string][]int {
	t.Helper()
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+/[0-9]+\\.t)` \\| ([0-9, ]+) \\| [^|]{20,} \\|$")
	all := map[string][]int{}
	for _, m := range row.FindAllStringSubmatch(doc, -1) {
		for number := range strings.SplitSeq(m[2], ",") {
			n, err := strconv.Atoi(strings.TrimSpace(number))
			require.NoError(t, err)
			all[m[1]] = append(all[m[1]], n)
		}
	}
	return all
}

// What a script says is counted as the protocol means it.
func TestAnythingProtocol(t *testing.T) {
	script := filepath.Join(t.TempDir(), "x.t")
	run := func(text string) tapResult {
		require.NoError(t, os.WriteFile(script, []byte(text), 0o644))
		return runTAP(t.TempDir(), script, os.Getenv("PATH"))
	}
	r := run("echo 1..4; echo ok 1; echo not ok 2 - what it was; echo 'not ok 3 # TODO some day'; echo ok 4 - yes")
	require.Equal(t, tapResult{passed: 3, failed: []tapFailure{{2, "not ok 2 - what it was"}}}, r)
	require.Equal(t, []string{"1 assertions of 2 planned"}, run("echo 1..2; echo ok 1").complaints)
	require.Equal(t, []string{"1 assertions of -1 planned"}, run("echo ok 1").complaints)
	require.Equal(t, []string{"exit status 3"}, run("echo 1..1; echo ok 1; exit 3").complaints)

	doc := "| `rename/22.t` | 1, 30 | what the kernel denies to any of us |\n| `x/1.t` | 2 | too short |\n| `y/1.t` | | what has no number is no exception |\n"
	require.Equal(t, map[string][]int{"rename/22.t": {1, 30}}, exceptions(t, doc))
}
