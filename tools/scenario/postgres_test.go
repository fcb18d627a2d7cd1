package scenario

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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
	t.Cleanup(p.killAll)
	p.start()
	p.do("pgbench", p.client("-i", "-q", "-s", strconv.Itoa(scaled(1, 10)))...)

	benched := p.bench(scaled("-t100", "-T60"))
	p.reaches(10)
	c.kill("storaged-2")
	p.reaches(scaled(100, 1000)) // with a storage missing
	c.start("storaged-2")
	require.NoError(t, <-benched)
	p.balances()

	benched = p.bench("-T3600")
	before := p.reaches(p.count() + scaled(50, 2000))
	p.kill()
	require.Error(t, <-benched, "its server was killed")
	p.start()
	p.balances()
	require.GreaterOrEqual(t, p.count(), before, "what was seen committed is kept")
	p.do("pg_ctl", "-D", p.data, "-w", "stop")
	require.Contains(t, p.do("pg_checksums", "--check", "-D", p.data), "Bad checksums:  0")
	c.down()
	c.up()
	p.start()
	p.balances()
	p.do("pg_ctl", "-D", p.data, "-w", "stop")
}

// command is a program of PostgreSQL, which ends with the test.
func (p *postgres) command(name string, args ...string) *exec.Cmd {
	as := []string{"--reuid", postgresUser, "--regid", postgresUser, "--clear-groups", filepath.Join(p.bin, name)}
	cmd := exec.CommandContext(p.t.Context(), "setpriv", append(as, args...)...)
	cmd.Dir = p.run
	return cmd
}

func (p *postgres) do(name string, args ...string) string {
	p.t.Helper()
	out, err := p.command(name, args...).CombinedOutput()
	log, _ := os.ReadFile(p.log)
	require.NoError(p.t, err, "%s: %s\n%s", name, out, lastBytes(string(log)))
	return string(out)
}

func (p *postgres) start() {
	p.t.Helper()
	// Its output must not be taken: the server would keep the pipe open.
	cmd := p.command("pg_ctl", "-D", p.data, "-w", "-t", "300", "-l", p.log,
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
func (p *postgres) bench(length string) <-chan error {
	ended := make(chan error, 1)
	go func() {
		out, err := p.command("pgbench", p.client("-n", "-c4", "-j2", length)...).CombinedOutput()
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

// reaches waits until n transactions are committed and gives how many there are.
func (p *postgres) reaches(n int) int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), await)
	defer cancel()
	for {
		if now := p.count(); now >= n {
			return now
		}
		select {
		case <-ctx.Done():
			require.FailNow(p.t, "no progress", "there are not %d transactions after %v", n, await)
		case <-time.After(tick):
		}
	}
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
	all := p.processes()
	require.NotEmpty(p.t, all)
	killAll(all)
	require.Eventually(p.t, func() bool {
		for _, q := range all {
			if syscall.Kill(q.pid, 0) == nil && !isZombie(q.pid) {
				return false
			}
		}
		return true
	}, await, tick)
	if syscall.Kill(all[0].pid, 0) != nil {
		return // the lock files are left for PostgreSQL to judge
	}
	// On a machine whose process 1 does not bury the dead PostgreSQL would take its
	// predecessor for running.
	locks, err := filepath.Glob(filepath.Join(p.run, ".s.PGSQL.*"))
	require.NoError(p.t, err)
	for _, lock := range append(locks, filepath.Join(p.data, "postmaster.pid")) {
		require.NoError(p.t, os.Remove(lock))
	}
}

// processes are the server and its children, none when it does not run. The server
// is first, since it would recover from the death of a child.
func (p *postgres) processes() []process {
	text, err := os.ReadFile(filepath.Join(p.data, "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(p.t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(p.t, err)
	if isZombie(pid) {
		return nil
	}
	return append([]process{{pid: pid}}, children(p.t, pid)...)
}

// killAll is for the end of a test that has failed.
func (p *postgres) killAll() { killAll(p.processes()) }

func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}
