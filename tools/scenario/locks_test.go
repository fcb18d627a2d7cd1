package scenario

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// lockCommands of fcntl, by name.
var lockCommands = map[string]int{
	"set": unix.F_SETLK, "wait": unix.F_SETLKW, "get": unix.F_GETLK,
	"ofd": unix.F_OFD_SETLK, "ofdwait": unix.F_OFD_SETLKW,
}

// lockErrand opens files and does to them what its input says, a line each: the number of
// the file and
//
//	set|wait|ofd|ofdwait|get r|w|u START LENGTH
//	flock [s|x|u][n]
//	close
//	add          to the counter in the file, under a lock
//
// It answers each with "ok", or the error, or what get has found.
func lockErrand(args []string) error {
	var fds []int
	for _, path := range args {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT, 0o644)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
	}
	fmt.Println("open")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		file, err := strconv.Atoi(words[0])
		if err != nil {
			return err
		}
		fmt.Println(lockAnswer(fds[file], words[1:]))
	}
	return lines.Err()
}

func lockAnswer(fd int, words []string) string {
	var err error
	switch words[0] {
	case "close":
		err = unix.Close(fd)
	case "add":
		err = addOne(fd)
	case "flock":
		how := map[byte]int{'s': unix.LOCK_SH, 'x': unix.LOCK_EX, 'u': unix.LOCK_UN}[words[1][0]]
		if strings.HasSuffix(words[1], "n") {
			how |= unix.LOCK_NB
		}
		err = again(func() error { return unix.Flock(fd, how) })
	default:
		start, _ := strconv.ParseInt(words[2], 10, 64)
		length, _ := strconv.ParseInt(words[3], 10, 64)
		l := unix.Flock_t{Type: map[string]int16{"r": unix.F_RDLCK, "w": unix.F_WRLCK, "u": unix.F_UNLCK}[words[1]], Start: start, Len: length}
		err = again(func() error { return unix.FcntlFlock(uintptr(fd), lockCommands[words[0]], &l) })
		if err == nil && words[0] == "get" && l.Type != unix.F_UNLCK {
			return fmt.Sprint("held ", l.Type == unix.F_WRLCK, " ", l.Start, " ", l.Len)
		}
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return unix.ErrnoName(errno)
	}
	return "ok"
}

// again repeats what a signal of Go's own has interrupted.
func again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// addOne adds to the number that the file holds, under a lock.
func addOne(fd int) error {
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := again(func() error { return unix.FcntlFlock(uintptr(fd), unix.F_SETLKW, &l) }); err != nil {
		return err
	}
	b := make([]byte, 100)
	n, err := unix.Pread(fd, b, 0)
	if err != nil {
		return err
	}
	count, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if _, err := unix.Pwrite(fd, fmt.Appendf(nil, "%10d", count+1), 0); err != nil {
		return err
	}
	l = unix.Flock_t{Type: unix.F_UNLCK}
	return unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &l)
}

// locker is a process that runs the errand.
type locker struct {
	*started
	t *testing.T
}

func newLocker(t *testing.T, dir string, files ...string) *locker {
	t.Helper()
	for i := range files {
		files[i] = filepath.Join(dir, files[i])
	}
	l := &locker{launch(t, errand(t, "lock", files...)), t}
	l.requireLine(t, "open")
	return l
}

// ask has it do something, whose answer answers tells.
func (l *locker) ask(command string) {
	l.t.Helper()
	_, err := io.WriteString(l.stdin, command+"\n")
	require.NoError(l.t, err)
}

func (l *locker) answers(want string) { l.t.Helper(); l.requireLine(l.t, want) }

func (l *locker) does(command, want string) {
	l.t.Helper()
	l.ask(command)
	l.answers(want)
}

// blocked waits until the process sleeps in a call for a lock.
func (l *locker) blocked() {
	l.t.Helper()
	require.Eventually(l.t, func() bool {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", l.cmd.Process.Pid))
		for _, task := range tasks {
			line, _ := os.ReadFile(task)
			number, _, _ := strings.Cut(string(line), " ")
			if number == strconv.Itoa(unix.SYS_FCNTL) || number == strconv.Itoa(unix.SYS_FLOCK) {
				return true
			}
		}
		return false
	}, await, 10*time.Millisecond, "it does not wait for a lock")
}

func TestLocksExcludeProcessesOfTwoMounts(t *testing.T) {
	c := start(t, options{})
	a, b := newLocker(t, c.mnt, "f", "g"), newLocker(t, c.secondMount().point, "f", "g")
	a.does("0 set w 10 10", "ok")
	b.does("0 set r 19 1", "EAGAIN")
	b.does("0 get r 0 0", "held true 10 10")
	a.does("0 set r 12 3", "ok")
	b.does("0 set r 12 3", "ok")
	a.does("0 set w 12 1", "EAGAIN")
	b.does("0 set w 20 0", "ok")
	a.does("0 get w 30 1", "held true 20 0")

	b.does("1 flock s", "ok") // another file
	a.does("1 flock sn", "ok")
	a.does("1 flock xn", "EAGAIN")
	b.ask("1 flock x")
	b.answers("ok") // a has lost its own
	a.does("1 set w 0 0", "ok")
	b.does("1 flock u", "ok")
	a.does("1 flock xn", "ok")

	a.does("0 set u 0 0", "ok")
	a.does("0 ofd w 100 1", "EAGAIN")
	b.does("0 set u 20 0", "ok")
	a.does("0 ofd w 100 1", "ok")
	b.does("0 set w 100 1", "EAGAIN")
	a.does("0 close", "ok") // the last close of the open file
	b.does("0 wait w 100 1", "ok")
}

func TestALockIsHandedOver(t *testing.T) {
	c := start(t, options{})
	side := []string{c.mnt, c.secondMount().point}
	for _, kind := range []string{"wait %s 5 1", "ofdwait %s 5 1", "flock %s"} {
		take, leave := fmt.Sprintf("0 "+kind, "w"), fmt.Sprintf("0 "+kind, "u")
		if strings.HasPrefix(kind, "flock") {
			take = "0 flock x"
		}
		var all []*locker
		for i := range 4 {
			l := newLocker(t, side[i%2], "f")
			l.ask(take)
			if i > 0 {
				l.blocked()
			} else {
				l.answers("ok")
			}
			all = append(all, l)
		}
		all[0].does(leave, "ok")
		all[1].answers("ok")
		require.NoError(t, all[2].cmd.Process.Kill()) // waiting
		require.Error(t, all[2].wait())
		require.NoError(t, all[1].cmd.Process.Kill()) // holding
		require.Error(t, all[1].wait())
		all[3].answers("ok")
		all[3].does(leave, "ok")
		all[0].does(take, "ok")
		require.NoError(t, all[0].stdin.Close())
		require.NoError(t, all[3].stdin.Close())
		require.NoError(t, all[0].wait())
		require.NoError(t, all[3].wait())
	}
}

func TestDeadlocksAcrossMounts(t *testing.T) {
	c := start(t, options{})
	other := c.secondMount().point
	a, b, d := newLocker(t, c.mnt, "f", "g"), newLocker(t, other, "f", "g"), newLocker(t, c.mnt, "f", "g")
	a.does("0 set w 0 1", "ok")
	b.does("0 set w 1 1", "ok")
	d.does("1 set w 0 1", "ok")
	a.ask("0 wait w 1 1")
	b.ask("1 wait w 0 1")
	d.ask("0 wait w 0 1")
	all := []*locker{a, b, d}
	answers := make(chan [2]any, len(all))
	for _, l := range all {
		go func() {
			line, _ := l.stdout.ReadString('\n')
			answers <- [2]any{l, line}
		}()
	}
	for i := range all { // one is refused, and lets the next one go on by ending
		got := <-answers
		require.Equal(t, map[bool]string{true: "EDEADLK\n", false: "ok\n"}[i == 0], got[1])
		require.NoError(t, got[0].(*locker).stdin.Close())
		require.NoError(t, got[0].(*locker).wait())
	}

	// Locks of open files: another thread might take one off, so Linux lets them wait.
	a, b = newLocker(t, c.mnt, "f"), newLocker(t, other, "f")
	a.does("0 ofd w 0 1", "ok")
	b.does("0 ofd w 1 1", "ok")
	a.ask("0 ofdwait w 1 1")
	a.blocked()
	b.ask("0 ofdwait w 0 1")
	b.blocked()
	require.NoError(t, a.cmd.Process.Kill())
	b.answers("ok")
}

// What one has written under a lock the next one reads, from its mount's caches too.
func TestACounterUnderLocks(t *testing.T) {
	c := start(t, options{})
	side := []string{c.mnt, c.secondMount().point}
	n := scaled(40, 1000)
	var all []*locker
	for i := range 4 {
		all = append(all, newLocker(t, side[i%2], "counter"))
	}
	for _, l := range all {
		l.ask(strings.TrimSuffix(strings.Repeat("0 add\n", n), "\n"))
	}
	for _, l := range all {
		for range n {
			l.answers("ok")
		}
	}
	got, err := os.ReadFile(filepath.Join(side[0], "counter"))
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%10d", 4*n), string(got))
}

// A mount dies while one of its programs holds a lock: the other gets it when the session
// has ended, and reads what was synced.
func TestTheLocksOfAKilledMountAreFreed(t *testing.T) {
	c := start(t, options{})
	c.shortenLeases()
	other := c.secondMount()
	a, b := newLocker(t, other.point, "f", "g"), newLocker(t, c.mnt, "f", "g")
	a.does("0 set w 0 0", "ok")
	a.does("1 flock x", "ok")
	b.ask("0 wait w 0 0")
	b.blocked()
	other.kill(t)
	b.answers("ok")
	b.does("1 flock x", "ok")
	b.does("0 add", "ok")
}

func TestLocksOutliveExportd(t *testing.T) {
	c := start(t, options{})
	other := c.secondMount()
	a, b, d := newLocker(t, c.mnt, "f"), newLocker(t, other.point, "f"), newLocker(t, other.point, "f")
	a.does("0 set w 0 10", "ok")
	a.does("0 flock x", "ok")
	b.ask("0 wait r 5 1")
	b.blocked()
	d.ask("0 flock x")
	d.blocked()
	for range 2 {
		c.kill("exportd")
		c.start("exportd")
		a.does("0 set u 0 2", "ok")
	}
	fresh := newLocker(t, other.point, "f")
	fresh.does("0 set w 5 1", "EAGAIN")
	fresh.does("0 set w 1 1", "ok")
	fresh.does("0 flock xn", "EAGAIN")
	a.does("0 set u 0 0", "ok")
	b.answers("ok")
	a.does("0 flock u", "ok")
	d.answers("ok")
}

// A program ends its waiting by a signal, and has no lock then.
func TestASignalEndsAWaitForALock(t *testing.T) {
	python := need(t, "python3", "python3")
	c := start(t, options{})
	a := newLocker(t, c.mnt, "f")
	a.does("0 set w 0 0", "ok")
	a.does("0 flock x", "ok")
	const script = `
import fcntl, os, signal, sys
class Alarm(Exception): pass
def ring(*_): raise Alarm()
signal.signal(signal.SIGALRM, ring)
f = open(sys.argv[1], "r+")
for wait in fcntl.lockf, fcntl.flock:
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        wait(f, fcntl.LOCK_EX)
        print("locked")
    except Alarm:
        print("interrupted")
`
	other := c.secondMount()
	out := run(t, c.base, python, "-c", script, filepath.Join(other.point, "f"))
	require.Equal(t, "interrupted\ninterrupted\n", out)
	a.does("0 set u 0 0", "ok")
	a.does("0 flock u", "ok")
	b := newLocker(t, other.point, "f")
	b.does("0 set w 0 0", "ok")
	b.does("0 flock xn", "ok")
}

// Transactions from two mounts on one database, with locks as its only protection.
func TestSQLiteOnTwoMounts(t *testing.T) {
	sqlite := need(t, "sqlite3", "sqlite3")
	c := start(t, options{})
	sides := []string{c.path("shared.db"), filepath.Join(c.secondMount().point, "shared.db")}
	n := scaled(25, 500)
	addUp(t, sqlite, n, sides...)
	for _, db := range sides {
		require.Equal(t, strconv.Itoa(2*n)+"|ok", query(t, sqlite, db, "select n, (select * from pragma_integrity_check) from t"))
	}
}
