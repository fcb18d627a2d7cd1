package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writeConf writes an export.conf and returns its path.
func writeConf(t *testing.T, listen, rest string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "export.conf")
	text := fmt.Sprintf(`layout = 0;
listen = %q;
meta = %q;
volumes = ( { vid = 1; cids = ( { cid = 1; sids = (
  { sid = 1; host = "127.0.0.1"; port = 1; }, { sid = 2; host = "127.0.0.1"; port = 2; },
  { sid = 3; host = "127.0.0.1"; port = 3; }, { sid = 4; host = "127.0.0.1"; port = 4; } ); } ); } );
exports = ( { eid = 1; root = "/srv/rozofs/exports/one"; vid = 1; %s } );
`, listen, filepath.Join(dir, "meta"), rest)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// freeAddr finds a port that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// runToEnd is for command lines that do not start a server.
func runToEnd(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestServesUntilStopped(t *testing.T) {
	file := writeConf(t, freeAddr(t), "")
	for range 2 { // the metadata are there at the second start
		ctx, stop := context.WithCancel(t.Context())
		r, w := io.Pipe()
		ended := make(chan int, 1)
		var log bytes.Buffer
		go func() {
			status := run(ctx, []string{"-c", file, "-d"}, w, &log)
			w.Close()
			ended <- status
		}()
		line, err := bufio.NewReader(r).ReadString('\n')
		if err != nil {
			<-ended
			require.NoError(t, err, log.String())
		}
		require.True(t, strings.HasPrefix(line, "exportd: ready on "), line)
		addr := strings.TrimSuffix(strings.Fields(line)[3], ",")
		conn, err := wire.Dial(ctx, addr, wire.Hello{Role: wire.RoleAdmin}, nil)
		require.NoError(t, err)
		var status wire.ExportStatusReply
		_, err = conn.Call(ctx, wire.OpExportStatus, &wire.Empty{}, wire.Bulk{}, &status)
		require.NoError(t, err)
		require.Equal(t, "one", status.Exports[0].Name)
		require.NoError(t, conn.Close())
		stop()
		require.Zero(t, <-ended, log.String())
	}
}

func TestBadConfigurationIsListed(t *testing.T) {
	file := writeConf(t, freeAddr(t), "colour = 3; bsize = 5;")
	status, out, errs := runToEnd(t, "-c", file)
	require.Equal(t, exitUsage, status)
	require.Empty(t, out)
	lines := strings.Split(strings.TrimSpace(errs), "\n")
	require.Len(t, lines, 2, errs)
	for _, l := range lines {
		require.True(t, strings.HasPrefix(l, file+":7: "), l)
	}
	status, _, errs = runToEnd(t, "-c", file+".none")
	require.Equal(t, exitUsage, status)
	require.Contains(t, errs, ".none")
	status, _, _ = runToEnd(t, "-x")
	require.Equal(t, exitUsage, status)
	status, _, errs = runToEnd(t, "-c", file, "more")
	require.Equal(t, exitUsage, status)
	require.Contains(t, errs, `"more"`)
}

func TestPortTakenSaysWhichAndWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	file := writeConf(t, l.Addr().String(), "")
	status, _, errs := runToEnd(t, "-c", file)
	require.Equal(t, exitFailed, status)
	require.Contains(t, errs, l.Addr().String())
	require.Contains(t, errs, "listen in "+file)
}

func TestForeignMetadataDirectoryIsRefused(t *testing.T) {
	file := writeConf(t, freeAddr(t), "")
	meta := filepath.Join(filepath.Dir(file), "meta")
	require.NoError(t, os.MkdirAll(meta, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(meta, "photo.jpg"), nil, 0o600))
	status, _, errs := runToEnd(t, "-c", file)
	require.Equal(t, exitFailed, status)
	require.Contains(t, errs, "photo.jpg")
}
