package scenario

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// refused runs a daemon on a configuration that it must refuse with status 2, and
// gives its standard error.
func refused(t *testing.T, daemon, name, text string) (file, message string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	cmd := exec.Command(program(t, daemon), "-c", file)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", out)
	require.Equal(t, 2, exit.ExitCode(), "%s", out)
	return file, string(out)
}

func TestABadExportConfigurationIsRefused(t *testing.T) {
	file, message := refused(t, "exportd", "export.conf", `layout = 0;
colour = "blue";
meta = "/nonexistent/meta";
volumes = ( { vid = 1; cids = ( { cid = 1; sids = (
  { sid = 1; host = "a"; },
  { sid = 1; host = "b"; },
  { sid = 3; host = "c"; } ); } ); } );
exports = ( { eid = 1; vid = 1; },
  { eid = 2; root = "/e/2"; vid = 9; } );
`)
	for _, problem := range []string{
		":2: ", // the unknown key
		":6: sid 1 of cluster 1",
		":8: ", // no root
		":9: vid 9 is not among the volumes",
	} {
		require.Contains(t, message, file+problem)
	}
	require.Contains(t, message, "colour")
	require.Contains(t, message, "root")
	_, err := os.Stat("/nonexistent/meta")
	require.True(t, errors.Is(err, os.ErrNotExist))
}

func TestAClusterSmallerThanSafeIsRefused(t *testing.T) {
	file, message := refused(t, "exportd", "export.conf", `layout = 0;
volumes = ( { vid = 1; cids = ( { cid = 1; sids = (
  { sid = 1; host = "a"; }, { sid = 2; host = "b"; }, { sid = 3; host = "c"; } ); } ); } );
exports = ( { eid = 1; root = "/e/1"; vid = 1; } );
`)
	require.Contains(t, message, file+":2: ")
	require.Contains(t, message, "4")
}

func TestABadStorageConfigurationIsRefused(t *testing.T) {
	there := t.TempDir()
	file, message := refused(t, "storaged", "storage.conf", fmt.Sprintf(`threads = 4;
speed = 9;
listen = ( { addr = "127.0.0.1"; port = 99999; } );
storages = ( { cid = 1; sid = 1; root = %q; },
  { cid = 1; sid = 1; root = "/nonexistent/storage"; },
  { cid = 1; sid = 2; } );
`, there))
	for _, line := range []int{2, 3, 5, 6} {
		require.Contains(t, message, fmt.Sprintf("%s:%d: ", file, line))
	}
}

func TestSyntaxErrorsNameTheLine(t *testing.T) {
	for daemon, name := range map[string]string{"exportd": "export.conf", "storaged": "storage.conf"} {
		file, message := refused(t, daemon, name, "layout = 0;\nvolumes = ( { vid = ; } );\n")
		require.Contains(t, message, file+":2:")
	}
}

// A root that is not there is found when the configuration itself is sound.
func TestAMissingRootIsRefused(t *testing.T) {
	file, message := refused(t, "storaged", "storage.conf", `listen = ( { addr = "127.0.0.1"; port = 1; } );
storages = ( { cid = 1; sid = 1; root = "/nonexistent/a"; }, { cid = 1; sid = 2; root = "/nonexistent/b"; } );
`)
	require.Contains(t, message, "/nonexistent/a")
	require.Contains(t, message, "/nonexistent/b")
	require.Contains(t, message, file)
}
