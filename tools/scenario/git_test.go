package scenario

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A generated repository is cloned into the mount and worked with there.
func TestGit(t *testing.T) {
	need(t, "git", "git")
	s := seed(t)
	c := start(t, options{})
	home := filepath.Join(c.base, "home")
	require.NoError(t, os.Mkdir(home, 0o755))
	command := func(dir string, args ...string) *exec.Cmd {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = dir, gitEnvironment(home)
		return cmd
	}
	git := func(dir string, args ...string) string {
		t.Helper()
		out, err := command(dir, args...).CombinedOutput()
		require.NoError(t, err, "git %v: %s", args, lastBytes(string(out)))
		return strings.TrimSpace(string(out))
	}
	source, here, there := filepath.Join(c.base, "source"), filepath.Join(c.base, "here"), c.path("there")
	git(c.base, "init", "-q", "--bare", "-b", "main", source)
	objects := scaled(2000, 100_000)
	importing := command(source, "fast-import", "--quiet")
	in, err := importing.StdinPipe()
	require.NoError(t, err)
	var message strings.Builder
	importing.Stderr = &message
	require.NoError(t, importing.Start())
	require.NoError(t, generateHistory(in, rand.New(generator(s)), objects))
	require.NoError(t, importing.Wait(), message.String())

	git(c.base, "clone", "-q", "--no-local", source, here)
	git(c.base, "clone", "-q", "--no-local", source, there)
	const tree = "HEAD^{tree}"
	require.Equal(t, git(here, "rev-parse", tree), git(there, "rev-parse", tree))
	run(t, ".", "diff", "-r", "--exclude=.git", here, there)
	require.GreaterOrEqual(t, objectsIn(t, git(there, "count-objects", "-v")), objects)
	git(there, "fsck", "--full")

	git(there, "checkout", "-q", "-b", "work", "HEAD~3")
	require.NoError(t, os.WriteFile(filepath.Join(there, "mine"), bytesOf(s, 10_000), 0o644))
	git(there, "add", "mine")
	git(there, "commit", "-q", "-m", "mine")
	git(there, "merge", "-q", "-m", "merged", "main")
	git(there, "gc", "-q", "--prune=now")
	git(there, "fsck", "--full")
	c.remount()
	git(there, "fsck", "--full")
	require.Empty(t, git(there, "status", "--porcelain"))

	git(here, "fetch", "-q", there, "work")
	git(here, "checkout", "-q", "FETCH_HEAD")
	require.Equal(t, git(there, "rev-parse", tree), git(here, "rev-parse", tree))
	run(t, ".", "diff", "-r", "--exclude=.git", here, there)
	for _, clone := range []string{here, there} {
		git(clone, "checkout", "-q", "main~1")
	}
	run(t, ".", "diff", "-r", "--exclude=.git", here, there)
}

// gitEnvironment leaves nothing to the configuration of the user or the machine.
func gitEnvironment(home string) []string {
	env := append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=3")
	for i, setting := range [][2]string{{"user.name", "a"}, {"user.email", "a@example.org"}, {"safe.directory", "*"}} {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, setting[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, setting[1]))
	}
	return env
}

// objectsIn reads the loose and packed objects off git's own count.
func objectsIn(t *testing.T, counts string) int {
	t.Helper()
	total := 0
	for line := range strings.Lines(counts) {
		var n int
		if k, _ := fmt.Sscanf(line, "count: %d", &n); k == 1 {
			total += n
		}
		if k, _ := fmt.Sscanf(line, "in-pack: %d", &n); k == 1 {
			total += n
		}
	}
	return total
}

// generateHistory writes for git fast-import: commits of ten changed files each,
// in so many directories, until there are so many objects.
func generateHistory(w io.WriteCloser, choice *rand.Rand, objects int) error {
	dirsMax, filesMax := scaled(20, 100), scaled(20, 50)
	b := bufio.NewWriter(w)
	for made, commit := 0, 0; made < objects; commit++ {
		fmt.Fprintf(b, "commit refs/heads/main\ncommitter a <a@example.org> %d +0000\ndata 1\nx\n", 1_700_000_000+commit)
		dirs, files := map[int]bool{}, map[[2]int]bool{}
		for range 10 {
			dir, file := choice.IntN(dirsMax), choice.IntN(filesMax)
			dirs[dir], files[[2]int{dir, file}] = true, true // the last of a name stays
			text := fmt.Sprintf("%x\n", choice.Uint64())
			text = strings.Repeat(text, 1+choice.IntN(100))
			fmt.Fprintf(b, "M 100644 inline d%d/f%d\ndata %d\n%s\n", dir, file, len(text), text)
		}
		made += len(files) + len(dirs) + 2 // files, their directories, the root, the commit
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return w.Close()
}
