package scenario

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Transactions, each of its own, in both journal modes; the numbers must add up
// and the database be sound, also after a restart of everything.
func TestSQLite(t *testing.T) {
	sqlite := need(t, "sqlite3", "sqlite3")
	c := start(t, options{})
	for _, mode := range []string{"delete", "wal"} {
		t.Run(mode, func(t *testing.T) {
			db := c.path(mode + ".db")
			n := scaled(300, 10_000)
			require.Equal(t, mode, query(t, sqlite, db, "pragma journal_mode="+mode))
			query(t, sqlite, db, "create table t(n integer primary key, text text)")
			var script strings.Builder
			for i := 1; i <= n; i++ {
				fmt.Fprintf(&script, "begin; insert into t values(%d, hex(randomblob(50))); commit;\n", i)
			}
			cmd := exec.Command(sqlite, "-bail", db)
			cmd.Stdin = strings.NewReader(script.String())
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			want := fmt.Sprintf("%d|%d|ok", n, n*(n+1)/2)
			const judge = "select count(*), sum(n), (select * from pragma_integrity_check) from t"
			require.Equal(t, want, query(t, sqlite, db, judge))
			c.down()
			c.up()
			require.Equal(t, want, query(t, sqlite, db, judge))
		})
	}
}

// What sqlite3 has reported as committed is there after it was killed, twice.
func TestSQLiteIsKilled(t *testing.T) {
	sqlite := need(t, "sqlite3", "sqlite3")
	c := start(t, options{})
	for _, mode := range []string{"delete", "wal"} {
		t.Run(mode, func(t *testing.T) {
			db := c.path("killed-" + mode + ".db")
			require.Equal(t, mode, query(t, sqlite, db, "pragma journal_mode="+mode))
			query(t, sqlite, db, "create table t(n integer primary key, text text)")
			reported := 0
			for range 2 {
				reported = killSQLite(t, sqlite, db, reported+1, scaled(60, 2_000))
				require.Equal(t, "ok", query(t, sqlite, db, "pragma integrity_check"))
				kept, err := strconv.Atoi(query(t, sqlite, db, "select count(*) from t"))
				require.NoError(t, err)
				require.GreaterOrEqual(t, kept, reported)
				require.Equal(t, strconv.Itoa(kept), query(t, sqlite, db, "select max(n) from t"), "a transaction is missing between others")
				reported = kept
			}
		})
	}
}

// killSQLite has sqlite3 insert first, first+1, … and kills it after so many. It
// gives the last that was reported as committed.
func killSQLite(t *testing.T, sqlite, db string, first, many int) (reported int) {
	t.Helper()
	// WAL syncs at each commit only when asked to.
	cmd := exec.Command(sqlite, "-bail", "-cmd", "pragma synchronous=full", db)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	fed := make(chan struct{})
	go func() { // until the pipe breaks
		defer close(fed)
		for i := first; ; i++ {
			if _, err := fmt.Fprintf(in, "begin; insert into t values(%d, hex(randomblob(50))); commit; select %d;\n", i, i); err != nil {
				return
			}
		}
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() { // what it says before it dies counts too
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			reported = max(reported, n)
		}
		if reported == first+many {
			_ = cmd.Process.Kill()
		}
	}
	require.Error(t, cmd.Wait(), "it was killed")
	<-fed
	require.GreaterOrEqual(t, reported, first+many)
	return reported
}

// Two processes that add to one counter: their locks exclude each other.
func TestSQLiteInTwoProcesses(t *testing.T) {
	sqlite := need(t, "sqlite3", "sqlite3")
	c := start(t, options{})
	db := c.path("shared.db")
	n := scaled(50, 1000)
	addUp(t, sqlite, n, db, db)
	require.Equal(t, strconv.Itoa(2*n), query(t, sqlite, db, "select n from t"))
}

// addUp makes a counter in a database and has a process for each of its names add one to it n
// times, all at once.
func addUp(t *testing.T, sqlite string, n int, names ...string) {
	t.Helper()
	query(t, sqlite, names[0], "create table t(n); insert into t values(0)")
	script := strings.Repeat("begin immediate; update t set n = n + 1; commit;\n", n)
	ended := make(chan error, len(names))
	for _, db := range names {
		go func() {
			cmd := exec.Command(sqlite, "-bail", "-cmd", ".timeout 60000", db)
			cmd.Stdin = strings.NewReader(script)
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			ended <- err
		}()
	}
	for range names {
		require.NoError(t, <-ended)
	}
}

// query gives what one statement prints, without its last newline.
func query(t *testing.T, sqlite, db, statement string) string {
	t.Helper()
	cmd := exec.Command(sqlite, "-bail", db, statement)
	var message strings.Builder
	cmd.Stderr = io.Writer(&message)
	out, err := cmd.Output()
	require.NoError(t, err, "%s: %s", statement, message.String())
	return strings.TrimSpace(string(out))
}
