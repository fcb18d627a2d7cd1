package rozofsmount

import (
	"context"
	"fmt"
	"math"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// What locks do is tested in tools/scenario, with two mounts. Here: what is asked for.

func lockingStage(t *testing.T) (*stage, int) {
	s := mountMem(t, func(o *Options) { o.LocalLocks = false })
	s.mem.put("f", "x")
	fd, err := unix.Open(s.path("f"), unix.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return s, fd
}

func (m *memFS) lastLock(t *testing.T) memLock {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	require.NotEmpty(t, m.locks)
	return m.locks[len(m.locks)-1]
}

func TestLocksAreAskedForAsTheProgramMeansThem(t *testing.T) {
	s, fd := lockingStage(t)
	fcntl := func(command int, l *unix.Flock_t) memLock {
		t.Helper()
		require.NoError(t, unix.FcntlFlock(uintptr(fd), command, l))
		return s.mem.lastLock(t)
	}
	set := fcntl(unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 5})
	require.Equal(t, memLock{wire.Lock{Owner: set.Owner, PID: uint32(os.Getpid()), Type: wire.LockWrite, Start: 10, End: 14}, false}, set)
	found := unix.Flock_t{Type: unix.F_RDLCK}
	fcntl(unix.F_GETLK, &found)
	require.Equal(t, unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 5, Pid: int32(os.Getpid())}, found)

	open := fcntl(unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 10})
	require.NotEqual(t, set.Owner, open.Owner)
	require.Equal(t, wire.LockRead, open.Type)
	require.EqualValues(t, math.MaxInt64, open.End)
	off := fcntl(unix.F_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	require.Equal(t, set.Owner, off.Owner)
	require.Equal(t, wire.LockNone, off.Type)

	require.NoError(t, unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB))
	flock := s.mem.lastLock(t)
	require.Equal(t, open.Owner, flock.Owner)
	require.Equal(t, wire.LockFlock, flock.Kind)
	require.Equal(t, wire.LockRead, flock.Type)
	require.False(t, flock.wait)
	require.NoError(t, unix.Flock(fd, unix.LOCK_EX))
	require.True(t, s.mem.lastLock(t).wait)

	again, err := unix.Dup(fd)
	require.NoError(t, err)
	require.NoError(t, unix.Close(again))
	s.mem.mu.Lock()
	defer s.mem.mu.Unlock()
	require.Equal(t, []uint64{set.Owner}, s.mem.released, "closing any descriptor takes the process's locks off")
}

func TestAWaitTellsWhetherItMayBeADeadlock(t *testing.T) {
	s, fd := lockingStage(t)
	s.mem.on("lock:f", func(context.Context) error {
		if s.mem.lastLock(t).wait {
			return nil
		}
		return vocab.Locked
	})
	for command, want := range map[int]wire.LockKind{unix.F_SETLKW: wire.LockFcntl, unix.F_OFD_SETLKW: wire.LockOFD} {
		require.NoError(t, unix.FcntlFlock(uintptr(fd), command, &unix.Flock_t{Type: unix.F_WRLCK}))
		require.Equal(t, want, s.mem.lastLock(t).Kind)
	}
	s.mem.on("lock:f", nil)
}

func TestErrorsOfLocks(t *testing.T) {
	s, fd := lockingStage(t)
	for kind, want := range map[vocab.Kind]syscall.Errno{vocab.Locked: syscall.EAGAIN, vocab.Deadlock: syscall.EDEADLK, vocab.NoLocks: syscall.ENOLCK} {
		s.mem.on("lock:f", failWith(kind))
		require.ErrorIs(t, unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}), want)
	}
	s.mem.on("lock:f", nil)
}

func TestOFDWaitsAreRecognized(t *testing.T) {
	for line, want := range map[string]bool{
		fmt.Sprintf("%d 0x3 0x26 0xc000012345 0x0", unix.SYS_FCNTL): true,
		fmt.Sprintf("%d 0x3 0x7 0xc000012345 0x0", unix.SYS_FCNTL):  false,
		fmt.Sprintf("%d 0x3 0x26 0x0", unix.SYS_FLOCK):              false,
		"-1 0x7ffd 0x7f": false,
		"":               false,
	} {
		require.Equal(t, want, isOFDWait(line), line)
	}
}
