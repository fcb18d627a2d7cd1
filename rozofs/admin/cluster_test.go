package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUpStartsAndDownStopsInOrder(t *testing.T) {
	s := newSite(t)
	c := s.mustUp()
	started := s.events()
	require.Len(t, started, 6)
	require.ElementsMatch(t, []string{"start storaged-1", "start storaged-2", "start storaged-3", "start storaged-4"}, started[:4])
	require.Equal(t, []string{"start exportd", "start rozofsmount"}, started[4:])
	lines := strings.Split(strings.TrimSpace(s.out.String()), "\n")
	require.Equal(t, "ready     "+s.options.Mount, lines[len(lines)-1])
	for _, d := range c.Daemons() {
		p, known, alive, err := c.running(d)
		require.NoError(t, err)
		require.True(t, known && alive)
		sid, err := getsid(p.pid)
		require.NoError(t, err)
		require.Equal(t, p.pid, sid, "%s leads no session", d.Name)
		s.requireOutput(fmt.Sprintf("%-12s pid %-7d", d.Name, p.pid))
		s.requireOutput("log " + d.Log)
	}

	require.NoError(t, s.open().Down(s.ctx(), &s.out))
	stopped := s.events()
	require.Equal(t, "stop rozofsmount", stopped[0])
	require.ElementsMatch(t, []string{"stop storaged-1", "stop storaged-2", "stop storaged-3", "stop storaged-4"}, stopped[1:5])
	require.Equal(t, []string{"stop exportd"}, stopped[5:])
	s.out.Reset()
	require.NoError(t, c.Down(s.ctx(), &s.out))
	require.Equal(t, "down      nothing of the cluster in "+c.Dir+" was running\n", s.out.String())

	before := *c.Record
	c.Close()
	c = s.mustUp()
	require.Equal(t, before, *c.Record, "a cluster keeps its identity and ports")
	require.NoError(t, c.Down(s.ctx(), &s.out))
}

func getsid(pid int) (int, error) {
	sid, _, errno := syscall.RawSyscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(sid), nil
}

func TestADaemonThatFailsToStartIsReportedAndTheOthersStopped(t *testing.T) {
	for name, started := range map[string][]string{
		"storaged-2":  {"storaged-1", "storaged-2", "storaged-3", "storaged-4"},
		"exportd":     {"storaged-1", "storaged-2", "storaged-3", "storaged-4", "exportd"},
		"rozofsmount": {"storaged-1", "storaged-2", "storaged-3", "storaged-4", "exportd", "rozofsmount"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.write(s.bin("fail-"+name), "line one\nno banana on the disk")
			_, err := s.up()
			c := s.open()
			d, nameErr := c.named(name)
			require.NoError(t, nameErr)
			require.EqualError(t, err, name+" ended while it was starting (exit status 3); the last lines of "+d.Log+":\n  line one\n  no banana on the disk")
			_, ok := errors.AsType[*StartError](err)
			require.True(t, ok)
			require.NotContains(t, s.out.String(), "ready")
			for _, d := range c.Daemons() {
				_, known, alive, err := c.running(d)
				require.NoError(t, err)
				require.False(t, known || alive, d.Name)
			}
			events := s.events()
			for _, d := range started {
				if d != name && !slices.Contains(events, "start "+d) {
					continue // it was stopped before it began
				}
				if d != name {
					require.Contains(t, events, "stop "+d)
				}
			}
			// Put right, it comes up, and the old lines are not shown again.
			require.NoError(t, os.Remove(s.bin("fail-"+name)))
			require.NoError(t, s.mustUp().Down(s.ctx(), &s.out))
		})
	}
}

func TestInterruptedUpStopsWhatItStarted(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancelCause(s.ctx())
	_, err := up(ctx, s.options, onText("rozofsmount", func() { cancel(errors.New("enough")) }), s.machine)
	require.ErrorContains(t, err, "interrupted while ")
	require.ErrorContains(t, err, "enough")
	require.ErrorContains(t, s.open().Stop(s.ctx(), "nothing", &s.out), `"nothing" is no daemon of the cluster in `+s.options.Dir+
		": want one of exportd, storaged-1, storaged-2, storaged-3, storaged-4, rozofsmount")
	require.NoError(t, s.open().checkDown())
}

// An Up that was killed while it made the cluster is taken up by the next,
// wherever it was.
func TestAnUpThatWasKilledIsTakenUp(t *testing.T) {
	for name, leave := range map[string]func(*testing.T, *Cluster){
		"before the record": func(t *testing.T, c *Cluster) {
			for _, e := range []string{recordName, "export.conf", "meta", "storage-*", "storage_*"} {
				all, err := filepath.Glob(c.path(e))
				require.NoError(t, err)
				for _, name := range all {
					require.NoError(t, os.RemoveAll(name))
				}
			}
			require.NoError(t, os.WriteFile(c.path("."+recordName+".123.tmp"), []byte("{"), 0o600))
		},
		"after the record": func(t *testing.T, c *Cluster) {
			for i := range c.Record.Storages {
				c.Record.Storages[i].Made = false
			}
			require.NoError(t, c.Record.save(c.Dir))
			for _, e := range []string{"export.conf", "storage-2.conf", "meta", "storage_1", "storage_2"} {
				require.NoError(t, os.RemoveAll(c.path(e)))
			}
		},
		"between two storages": func(t *testing.T, c *Cluster) {
			c.Record.Storages[3].Made = false
			require.NoError(t, c.Record.save(c.Dir))
			require.NoError(t, os.RemoveAll(c.storageRoot(4)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			c := s.mustUp()
			require.NoError(t, c.Down(s.ctx(), &s.out))
			c.Close()
			leave(t, c)
			require.NoError(t, s.mustUp().Down(s.ctx(), &s.out))
		})
	}
}

// The record is the first file of a cluster: without it the next Up would not
// know what the others are.
func TestTheRecordIsWrittenFirst(t *testing.T) {
	s := newSite(t)
	looked := false
	c, err := up(s.ctx(), s.options, onText("made", func() {
		looked = true
		require.FileExists(t, s.options.Dir+"/"+recordName)
		require.NoFileExists(t, s.options.Dir+"/export.conf")
	}), s.machine)
	require.NoError(t, err)
	require.True(t, looked)
	defer c.Close()
	require.NoError(t, c.Down(s.ctx(), &s.out))
}

// onText calls f when it is written a text.
func onText(text string, f func()) io.Writer {
	return writerFunc(func(b []byte) (int, error) {
		if strings.Contains(string(b), text) {
			f()
		}
		return len(b), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestASecondUpIsRefused(t *testing.T) {
	s := newSite(t)
	c := s.mustUp()
	dir := s.options.Dir
	_, err := s.up()
	require.EqualError(t, err, fmt.Sprintf("the cluster in %s is up already: `rozo up` (pid %d) attends to it; `rozo status --dir %s` shows it, `rozo down --dir %s` stops it", dir, os.Getpid(), dir, dir))

	c.Close() // as --detach does
	_, err = s.up()
	p, _, _ := readPid(c.Daemons()[0].pidFile)
	require.ErrorContains(t, err, fmt.Sprintf("the cluster in %s is up already: exportd (pid %d), storaged-1 (pid ", dir, p.pid))
	require.NoError(t, s.open().Down(s.ctx(), &s.out))
	require.Len(t, s.events(), 12)
}

func TestKilledDaemonsAreReportedAndCanBeStartedAgain(t *testing.T) {
	s := newSite(t)
	c := s.mustUp()
	lines := make(chan string, 16)
	ctx, cancel := context.WithCancel(s.ctx())
	var joined sync.WaitGroup
	joined.Go(func() {
		down, err := c.Wait(ctx, writerFunc(func(b []byte) (int, error) { lines <- string(b); return len(b), nil }))
		lines <- fmt.Sprint(down, err)
	})
	defer joined.Wait()
	defer cancel()
	next := func() string {
		select {
		case l := <-lines:
			return l
		case <-s.ctx().Done():
			require.FailNow(t, "Wait says nothing")
			return ""
		}
	}
	other := s.open()
	d, err := other.named("storaged-3")
	require.NoError(t, err)
	p, _, _ := readPid(d.pidFile)

	require.NoError(t, other.Kill(s.ctx(), "storaged-3", &s.out))
	require.Contains(t, next(), fmt.Sprintf("died      storaged-3 (pid %d, ", p.pid))
	st := s.status(other)
	require.False(t, st.Healthy)
	require.Equal(t, Died, st.Daemons[3].State)
	require.EqualError(t, other.Kill(s.ctx(), "storaged-3", &s.out), "storaged-3 does not run")

	require.NoError(t, other.Start(s.ctx(), "storaged-3", &s.out))
	now, _, _ := readPid(d.pidFile)
	require.Equal(t, fmt.Sprintf("started   storaged-3 pid %d by another command\n", now.pid), next())
	require.True(t, s.status(other).Healthy)
	require.EqualError(t, other.Start(s.ctx(), "storaged-3", &s.out), fmt.Sprintf("storaged-3 runs already (pid %d)", now.pid))

	require.NoError(t, other.Stop(s.ctx(), "exportd", &s.out))
	require.Equal(t, "stopped   exportd by another command\n", next())
	require.Equal(t, Stopped, s.status(other).Daemons[0].State)
	require.NoError(t, other.Stop(s.ctx(), "exportd", &s.out), "stopping twice is no error")

	require.NoError(t, other.Down(s.ctx(), &s.out))
	last := next()
	for strings.HasPrefix(last, "stopped") {
		last = next()
	}
	require.Equal(t, "true <nil>", last, "Wait ends when another command stopped all")
}

func (s *site) status(c *Cluster) *Status {
	st, err := c.Status(s.ctx())
	require.NoError(s.t, err)
	return st
}

func TestAMountLeftByAKilledRozofsmountIsCleared(t *testing.T) {
	s := newSite(t)
	c := s.mustUp()
	require.NoError(t, c.Kill(s.ctx(), RoleMount, &s.out))
	require.Equal(t, Died, s.status(c).Mount.State)
	require.NoError(t, c.Start(s.ctx(), RoleMount, &s.out))
	require.True(t, s.status(c).Healthy)
	require.NoError(t, c.Kill(s.ctx(), RoleMount, &s.out))
	require.NoError(t, c.Down(s.ctx(), &s.out))
	s.requireOutput("unmount   " + s.options.Mount + ", which rozofsmount left behind")
	fsType, err := s.machine.mounted(s.options.Mount)
	require.NoError(t, err)
	require.Empty(t, fsType)
}

func TestABusyMountPointIsUnmountedLazilyAndItsUsersNamed(t *testing.T) {
	s := newSite(t)
	c := s.mustUp()
	user := exec.Command(s.bin("user"))
	user.Dir = s.options.Mount
	require.NoError(t, user.Start())
	require.Eventually(t, func() bool { return exists(s.bin("events")) && slices.Contains(s.events(), "start user") }, time.Minute, pollInterval)
	require.NoError(t, c.Down(s.ctx(), &s.out))
	s.requireOutput(fmt.Sprintf("busy      %s is in use by user (pid %d: cwd %s)", s.options.Mount, user.Process.Pid, s.options.Mount))
	s.requireOutput("unmount   " + s.options.Mount + " lazily: those who use it are cut off")
	require.NoError(t, user.Process.Signal(syscall.SIGTERM))
	require.NoError(t, user.Wait())
}

func TestADaemonThatDoesNotStopIsKilled(t *testing.T) {
	s := newSite(t)
	s.machine.stopTimeout = 10 * pollInterval
	s.write(s.bin("stubborn-storaged-1"), "")
	c := s.mustUp()
	p, _, _ := readPid(c.byRole(RoleStoraged)[0].pidFile)
	require.NoError(t, c.Down(s.ctx(), &s.out))
	s.requireOutput(fmt.Sprintf("killing   storaged-1 (pid %d): it did not stop within 500ms", p.pid))
	s.requireOutput(fmt.Sprintf("stopped   storaged-1 (pid %d, killed by signal: killed)", p.pid))
}

func TestAProcessThatOnlyHasTheSameIDIsNeverSignalled(t *testing.T) {
	s := newSite(t)
	c := s.mustUp()
	d := c.byRole(RoleExportd)[0]
	require.NoError(t, c.Kill(s.ctx(), d.Name, &s.out))
	self, err := processOf(os.Getpid())
	require.NoError(t, err)
	require.True(t, c.alive(self))
	for _, p := range []process{{self.pid, self.start + 1, self.boot}, {self.pid, self.start, "another"}} {
		require.NoError(t, writePid(d.pidFile, p))
		require.Equal(t, Died, s.status(c).Daemons[0].State)
		require.EqualError(t, c.Kill(s.ctx(), d.Name, &s.out), "exportd does not run")
		require.NoError(t, c.signal(p, syscall.SIGKILL))
	}
	s.write(d.pidFile, "banana")
	_, err = c.Status(s.ctx())
	require.EqualError(t, err, "pid file "+d.pidFile+" is damaged: see with ps whether the daemon runs, end it, and delete the file")
	require.NoError(t, os.Remove(d.pidFile))
	require.NoError(t, c.Down(s.ctx(), &s.out))
}

// A daemon whose starter was killed before it could record it is found all the same.
func TestADaemonThatWasNotRecordedIsFound(t *testing.T) {
	s := newSite(t)
	c := s.mustUp()
	s.events()
	var pids []int
	for _, d := range c.Daemons() {
		p, _, err := readPid(d.pidFile)
		require.NoError(t, err)
		pids = append(pids, p.pid)
		require.NoError(t, os.Remove(d.pidFile))
	}
	c.Close()
	_, err := s.up()
	require.ErrorContains(t, err, fmt.Sprintf("is up already: exportd (pid %d)", pids[0]))
	for i, d := range s.status(c).Daemons {
		require.Equal(t, pids[i], d.PID)
	}
	require.NoError(t, c.Down(s.ctx(), &s.out))
	require.Len(t, s.events(), len(pids), "each has stopped")
	_, known := unrecorded(c.Daemons()[0])
	require.False(t, known)
}

func TestStatusJSONHasStableNames(t *testing.T) {
	s := newSite(t)
	s.options.Layout = "1,2,2"
	c := s.mustUp()
	s.requireOutput("starting  layout 1,2,2, 2 storages, export export_1, blocks of 8 KiB\n")
	st := s.status(c)
	require.True(t, st.Healthy)
	for i := range st.Daemons {
		require.NotZero(t, st.Daemons[i].PID)
		st.Daemons[i].PID, st.Daemons[i].Address = 7, "127.0.0.1:1"
	}
	require.NotZero(t, st.Daemons[0].TotalBytes)
	st.Daemons[0].FreeBytes, st.Daemons[0].TotalBytes = 1, 2
	require.NotZero(t, st.Mount.TotalBytes)
	st.Mount.PID, st.Mount.FreeBytes, st.Mount.TotalBytes = 8, 3, 4
	st.Cluster = "c"
	b, err := json.Marshal(st)
	require.NoError(t, err)
	dir := s.options.Dir
	require.JSONEq(t, `{"dir":"`+dir+`","cluster":"c","layout":"1,2,2","systematic":false,"block_size_bytes":8192,"export":"export_1","healthy":true,
		"daemons":[
		{"name":"exportd","role":"exportd","sid":0,"pid":7,"address":"127.0.0.1:1","state":"running","detail":"","free_bytes":1,"total_bytes":2,"log":"`+dir+`/log/exportd.log"},
		{"name":"storaged-1","role":"storaged","sid":1,"pid":7,"address":"127.0.0.1:1","state":"running","detail":"","free_bytes":1073741824,"total_bytes":3221225472,"log":"`+dir+`/log/storaged-1.log"},
		{"name":"storaged-2","role":"storaged","sid":2,"pid":7,"address":"127.0.0.1:1","state":"running","detail":"","free_bytes":1073741824,"total_bytes":3221225472,"log":"`+dir+`/log/storaged-2.log"}],
		"mount":{"name":"rozofsmount","role":"rozofsmount","pid":8,"mount_point":"`+s.options.Mount+`","state":"running","detail":"","free_bytes":3,"total_bytes":4,"log":"`+dir+`/log/rozofsmount.log"},
		"files_to_settle":0,"files_to_repair":0,"tasks":[]}`, string(b))

	st.Daemons[1].State, st.Daemons[1].Detail = Died, "pid 7 has ended"
	st.Unsettled, st.Degraded = 2, 3
	st.Mount.State, st.Mount.Detail, st.Healthy = Unmounted, s.options.Mount+" is not mounted", false
	var table strings.Builder
	require.NoError(t, st.WriteTable(&table))
	require.Contains(t, table.String(), "storaged     1    7    127.0.0.1:1")
	require.Contains(t, table.String(), "1 GiB of 3 GiB")
	require.Contains(t, table.String(), "\n2 files wait to be settled: their writers ended without finishing\n")
	require.Contains(t, table.String(), "\n3 files wait to be repaired: a storage was missing when they were written\n")
	require.Contains(t, table.String(), "\nstoraged-1: died, pid 7 has ended; to start it: rozo start storaged-1 --dir "+dir+"\n")
	require.Contains(t, table.String(), "\nrozofsmount: unmounted, "+s.options.Mount+" is not mounted; to start it: rozo stop rozofsmount --dir "+dir+"; rozo start rozofsmount --dir "+dir+"\n")
	require.NoError(t, c.Down(s.ctx(), &s.out))
}

func TestStatusTellsAMissingMount(t *testing.T) {
	s := newSite(t)
	c := s.mustUp()
	require.NoError(t, removeMount(s.machine.mountinfo, s.options.Mount))
	st := s.status(c)
	require.Equal(t, Unmounted, st.Mount.State)
	require.False(t, st.Healthy)
	require.NoError(t, c.Down(s.ctx(), &s.out))
	st = s.status(c)
	require.Equal(t, Stopped, st.Mount.State)
	var table strings.Builder
	require.NoError(t, st.WriteTable(&table))
	require.True(t, strings.HasSuffix(table.String(), "\nThe cluster is down; bring it up: rozo up --dir "+c.Dir+"\n"))
}

func TestOpenWantsACluster(t *testing.T) {
	dir := canonical(t.TempDir())
	_, err := Open(dir)
	require.EqualError(t, err, "--dir "+dir+" holds no cluster: name the directory of one, or make one with `rozo up --dir "+dir+"`")
}
