package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rozofs-go/rozo/rozofs/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testCluster = "00112233445566778899aabbccddeeff"

// output collects what a running command prints.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// freePort is one that nobody listens on just now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// storageConf writes a configuration of two storages under dir.
func storageConf(t *testing.T, dir string, port int) string {
	t.Helper()
	text := fmt.Sprintf(`threads = 2;
listen = ( { addr = "*"; port = %d; } );
storages = ( { cid = 1; sid = 1; root = "%s/1"; }, { cid = 1; sid = 2; root = "%s/2"; } );
`, port, dir, dir)
	name := filepath.Join(dir, "storage.conf")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	return name
}

// command runs to its end.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestInitServeStop(t *testing.T) {
	dir := t.TempDir()
	port := freePort(t)
	file := storageConf(t, dir, port)

	code, out, errs := command(t, "-c", file, "-init", "-cluster", testCluster)
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, 2, strings.Count(out, " made\n"), out)
	code, out, _ = command(t, "-c", file, "-init", "-cluster", testCluster)
	require.Equal(t, exitOK, code)
	require.Equal(t, 2, strings.Count(out, "is a root already"), out)

	ctx, stop := context.WithCancel(t.Context())
	var stdout, stderr output
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"-c", file, "-H", "127.0.0.1"}, &stdout, &stderr) }()
	ready := fmt.Sprintf("storaged ready on 127.0.0.1:%d: 2 storages\n", port)
	require.Eventually(t, func() bool { return stdout.String() == ready }, 30*time.Second, time.Millisecond, "%s", &stderr)

	addr := fmt.Sprintf("127.0.0.1:%d", port)
	c, err := wire.Dial(t.Context(), addr, wire.Hello{Role: wire.RoleAdmin}, nil)
	require.NoError(t, err)
	var status wire.StorageStatusReply
	_, err = c.Call(t.Context(), wire.OpStorageStatus, &wire.StorageStatusRequest{}, wire.Bulk{}, &status)
	require.NoError(t, err)
	require.Len(t, status.Roots, 2)
	require.NoError(t, c.Close())

	// A second one on the same roots, and another on the same port.
	code, _, errs = command(t, "-c", file, "-H", "127.0.0.1")
	require.Equal(t, exitFailed, code)
	require.Equal(t, 2, strings.Count(errs, "another storaged serves this root"), errs)
	other := t.TempDir()
	file2 := storageConf(t, other, port)
	code, _, errs = command(t, "-c", file2, "-init", "-cluster", testCluster)
	require.Equal(t, exitOK, code, errs)
	code, _, errs = command(t, "-c", file2, "-H", "127.0.0.1")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "listen on "+addr+": address already in use")

	stop()
	require.Equal(t, exitOK, <-ended, "%s", &stderr)
}

func TestInitRefusesWhatIsNotEmptyAndMakesTheRest(t *testing.T) {
	dir := t.TempDir()
	file := storageConf(t, dir, 41001)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "1", "photos"), 0o755))
	code, out, errs := command(t, "-c", file, "-init", "-cluster", testCluster)
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "photos")
	require.Contains(t, out, dir+"/2 made")
}

func TestRootWithoutIdentityIsRefused(t *testing.T) {
	dir := t.TempDir()
	file := storageConf(t, dir, 41001)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "1"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "2"), 0o755))
	code, out, errs := command(t, "-c", file)
	require.Equal(t, exitFailed, code)
	require.Empty(t, out)
	require.Equal(t, 2, strings.Count(errs, "may not be mounted"), errs)
	require.Contains(t, errs, dir+"/1")
	require.Contains(t, errs, "-init -cluster HEX")
}

func TestBadConfigurationListsEveryProblem(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "storage.conf")
	require.NoError(t, os.WriteFile(file, []byte(`threds = 4;
listen = ( { addr = "*"; port = 99999; } );
storages = ( { cid = 1; sid = 1; root = "/a"; },
             { cid = 1; sid = 1; root = "b"; } );
`), 0o644))
	code, _, errs := command(t, "-c", file)
	require.Equal(t, exitUsage, code)
	for _, problem := range []string{":1: unknown key", ":2: port", `:3: root "/a" does not exist`, ":4: cid 1, sid 1 is used twice", `:4: root is "b"`} {
		require.Contains(t, errs, "storage.conf"+problem)
	}
	require.Equal(t, 5, strings.Count(errs, "\n"), errs)

	code, _, errs = command(t, "-c", storageConf(t, dir, 41001)) // the roots are not there
	require.Equal(t, exitUsage, code)
	require.Equal(t, 2, strings.Count(errs, "does not exist"), errs)
}

func TestBadCommandLine(t *testing.T) {
	file := storageConf(t, t.TempDir(), 41001)
	for _, tc := range []struct {
		args []string
		text string
	}{
		{[]string{"-c", file, "-init"}, "-init needs -cluster HEX"},
		{[]string{"-c", file, "-cluster", testCluster}, "-cluster goes with -init only"},
		{[]string{"-c", file, "-init", "-cluster", "xyz"}, "want 32 hexadecimal digits"},
		{[]string{"-c", file, "-log-level", "loud"}, `-log-level "loud"`},
		{[]string{"-c", file, "more"}, `unexpected argument "more"`},
		{[]string{"-nonsense"}, "-nonsense"},
		{[]string{"-c", "/no/such/file"}, "/no/such/file"},
	} {
		code, _, errs := command(t, tc.args...)
		require.Equal(t, exitUsage, code, tc.args)
		require.Contains(t, errs, tc.text)
	}
	require.Equal(t, exitOK, run(t.Context(), []string{"-help"}, io.Discard, io.Discard))
}
