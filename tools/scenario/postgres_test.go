package scenario

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// postgresUser is who runs the server, which refuses to be root.
const postgresUser = "65534"

// postgres is a server whose data lie in the mount.
type postgres struct {
	t                   *testing.T
	bin, data, run, log string
}

// A PostgreSQL server works on the mount, also while a storage is killed; then it is
// killed itself, recovers, and its books balance.
func TestPostgreSQL(t *testing.T) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	require.NoError(t, err)
	if len(dirs) == 0 {
		missing(t, "PostgreSQL is not installed: apt-get install postgresql")
	}
	c := start(t, options{})
	p := &postgres{t: t, bin: dirs[len(dirs)-1], data: c.path("pg"), run: filepath.Join(c.base, "run"), log: filepath.Join(c.base, "run", "postgres.log")}
	for _, dir := range []string{p.data, p.run} {
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chown(dir, 65534, 65534))
	}
	p.do("initdb", "-D", p.data, "-U", "bench", "--data-checksums", "-A", "trust")
	p.start()
	p.do("pgbench", p.client("-i", "-q", "-s", strconv.Itoa(scaled(1, 10)))...)

	benched := p.bench(context.Background(), scaled("-t100", "-T60"))
	c.kill("storaged-2")
	c.start("storaged-2")
	require.NoError(t, <-benched)
	p.balances()

	ctx, stop := context.WithCancel(context.Background())
	benched = p.bench(ctx, "-T3600")
	before := p.count()
	require.Eventually(t, func() bool { return p.count() > before+scaled(50, 2000) }, await, tick)
	p.kill()
	require.Error(t, <-benched, "its server was killed")
	stop()
	p.start()
	p.balances()
	require.Greater(t, p.count(), before)
	p.do("pg_ctl", "-D", p.data, "-w", "stop")
	require.Contains(t, p.do("pg_checksums", "--check", "-D", p.data), "Bad checksums:  0")
	c.down()
	c.up()
	p.start()
	p.balances()
	p.do("pg_ctl", "-D", p.data, "-w", "stop")
}

func (p *postgres) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	as := []string{"--reuid", postgresUser, "--regid", postgresUser, "--clear-groups", filepath.Join(p.bin, name)}
	cmd := exec.CommandContext(ctx, "setpriv", append(as, args...)...)
	cmd.Dir = p.run
	return cmd
}

func (p *postgres) do(name string, args ...string) string {
	p.t.Helper()
	out, err := p.command(p.t.Context(), name, args...).CombinedOutput()
	log, _ := os.ReadFile(p.log)
	require.NoError(p.t, err, "%s: %s\n%s", name, out, lastBytes(string(log)))
	return string(out)
}

func (p *postgres) start() {
	p.t.Helper()
	// Its output must not be taken: the server would keep the pipe open.
	cmd := p.command(p.t.Context(), "pg_ctl", "-D", p.data, "-w", "-t", "300", "-l", p.log,
		"-o", fmt.Sprintf("-c listen_addresses='' -c unix_socket_directories=%s", p.run), "start")
	err := cmd.Run()
	log, _ := os.ReadFile(p.log)
	require.NoError(p.t, err, "%s", lastBytes(string(log)))
}

// client are the arguments of a client program.
func (p *postgres) client(args ...string) []string {
	return append([]string{"-h", p.run, "-U", "bench"}, append(args, "postgres")...)
}

// bench runs pgbench beside the test.
func (p *postgres) bench(ctx context.Context, length string) <-chan error {
	ended := make(chan error, 1)
	go func() {
		out, err := p.command(ctx, "pgbench", p.client("-n", "-c4", "-j2", length)...).CombinedOutput()
		if err == nil && !strings.Contains(string(out), "number of failed transactions: 0 ") {
			err = fmt.Errorf("transactions have failed")
		}
		if err != nil {
			err = fmt.Errorf("pgbench: %w: %s", err, out)
		}
		ended <- err
	}()
	return ended
}

func (p *postgres) ask(statement string) string {
	p.t.Helper()
	return strings.TrimSpace(p.do("psql", p.client("-At", "-c", statement, "-d")...))
}

func (p *postgres) count() int {
	p.t.Helper()
	n, err := strconv.Atoi(p.ask("select count(*) from pgbench_history"))
	require.NoError(p.t, err)
	return n
}

// balances compares the four places where each transaction leaves its amount.
func (p *postgres) balances() {
	p.t.Helper()
	sums := strings.Split(p.ask("select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), "+
		"(select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history)"), "|")
	require.Len(p.t, sums, 4)
	for _, sum := range sums {
		require.Equal(p.t, sums[0], sum)
	}
}

// kill ends the server and all its children at once.
func (p *postgres) kill() {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.data, "postmaster.pid"))
	require.NoError(p.t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(p.t, err)
	all := append([]process{{pid: pid}}, children(p.t, pid)...) // the parent first, which would recover from the death of a child
	killAll(all)
	require.Eventually(p.t, func() bool {
		for _, q := range all {
			if syscall.Kill(q.pid, 0) == nil && !isZombie(q.pid) {
				return false
			}
		}
		return true
	}, await, tick)
	// A machine whose process 1 does not bury the dead has its number still, and
	// PostgreSQL would take it for running.
	locks, err := filepath.Glob(filepath.Join(p.run, ".s.PGSQL.*"))
	require.NoError(p.t, err)
	for _, lock := range append(locks, filepath.Join(p.data, "postmaster.pid")) {
		require.NoError(p.t, os.Remove(lock))
	}
}

func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}
