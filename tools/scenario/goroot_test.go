package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Go installation is copied into the mount, survives a restart of everything,
// and works there. The quick scale takes part of it.
func TestAGoInstallationIsCopiedAndUsed(t *testing.T) {
	goroot := strings.TrimSpace(run(t, ".", "go", "env", "GOROOT"))
	c := start(t, options{})
	require.NoError(t, os.Mkdir(c.path("go"), 0o755))
	parts := scaled([]string{"VERSION", "go.env", "bin", "lib", "src/net", "src/os", "src/runtime", "src/internal"}, []string{"."})
	for _, part := range parts {
		into := c.path("go", filepath.Dir(part))
		require.NoError(t, os.MkdirAll(into, 0o755))
		from := filepath.Join(goroot, part)
		if part == "." {
			from += "/."
		}
		run(t, ".", "cp", "-a", from, into)
	}
	same := func(when string) {
		for _, part := range parts {
			here, there := filepath.Join(goroot, part), c.path("go", part)
			run(t, ".", "diff", "-r", "--no-dereference", here, there)
			if info, err := os.Stat(here); err == nil && info.IsDir() {
				require.Equal(t, attributes(t, here), attributes(t, there), when)
			}
		}
	}
	c.down()
	c.up()
	same("after a restart")
	if !full() {
		return
	}
	cache, made := t.TempDir(), filepath.Join(t.TempDir(), "gofmt")
	build := `cd "$1/src" && env -u GOFLAGS GOROOT="$1" GOCACHE="$2" GOTOOLCHAIN=local ../bin/go build -o "$3" ./cmd/gofmt`
	run(t, ".", "sh", "-c", build, "sh", c.path("go"), cache, made)
	require.Empty(t, run(t, ".", made, "-l", "harness_test.go"))
	same("after it has built gofmt")
}

// attributes are those that cp -a keeps.
func attributes(t *testing.T, dir string) string {
	t.Helper()
	return run(t, dir, "sh", "-c", `find . -printf '%P %y %m %U:%G %T@ %l\n' | sort`)
}
