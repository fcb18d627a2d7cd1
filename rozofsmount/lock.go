package rozofsmount

import (
	"context"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/rozofs-go/rozo/rozofs/wire"
)

// The kernel names owners by numbers: a process's table of open files for fcntl, the open file
// for OFD locks and flock. It says FLUSH with the former when a process closes a file, and
// nothing of the latter but RELEASE. By then each process that has used the open file has
// flushed it, so what was set through it and is still there belongs to the open file: closing
// the handle takes off just that.

// lockOf reads a request; ok is false for a type that does not exist.
func lockOf(in *fuse.LkIn) (l wire.Lock, ok bool) {
	l = wire.Lock{Owner: in.Owner, PID: in.Lk.Pid, Start: in.Lk.Start, End: in.Lk.End}
	if in.LkFlags&fuse.LK_FLOCK != 0 {
		l.Kind = wire.LockFlock
	}
	switch in.Lk.Typ {
	case syscall.F_RDLCK:
		l.Type = wire.LockRead
	case syscall.F_WRLCK:
		l.Type = wire.LockWrite
	case syscall.F_UNLCK:
	default:
		return l, false
	}
	return l, true
}

// GetLk answers F_GETLK.
func (f *face) GetLk(cancel <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	open, ok := f.files.get(in.Fh)
	if !ok {
		return statusBadHandle
	}
	l, ok := lockOf(in)
	if !ok {
		return fuse.EINVAL
	}
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	held, err := open.TestLock(ctx, l)
	if err != nil {
		return f.failInode("getlk", open.ino, err)
	}
	out.Lk = fuse.FileLock{Typ: syscall.F_UNLCK}
	if held.Type != wire.LockNone {
		out.Lk = fuse.FileLock{Start: held.Start, End: min(held.End, math.MaxInt64), Typ: syscall.F_RDLCK, Pid: held.PID}
	}
	if held.Type == wire.LockWrite {
		out.Lk.Typ = syscall.F_WRLCK
	}
	return fuse.OK
}

// SetLk answers F_SETLK, and flock(2) with LOCK_NB or LOCK_UN.
func (f *face) SetLk(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	return f.setLk(ctx, in, false)
}

// SetLkw answers F_SETLKW and flock(2). Unlike all else it ends with EINTR at any signal, as
// these calls do on a local disk: that is how programs put an end to their waiting. The kernel
// repeats it where the handler was installed with SA_RESTART.
func (f *face) SetLkw(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	ctx, end := f.beginWait(cancel)
	defer end()
	return f.setLk(ctx, in, true)
}

func (f *face) setLk(ctx context.Context, in *fuse.LkIn, wait bool) fuse.Status {
	open, ok := f.files.get(in.Fh)
	if !ok {
		return statusBadHandle
	}
	l, ok := lockOf(in)
	if !ok {
		return fuse.EINVAL
	}
	if wait && l.Kind == wire.LockFcntl {
		// Most locks are free, so that whose they are need not be found out.
		err := open.Lock(ctx, l, false)
		if errno(err) != syscall.EAGAIN {
			return f.failInode("setlk", open.ino, err)
		}
		if waitsForOFD(ctx, in.Pid) {
			l.Kind = wire.LockOFD
		}
	}
	return f.failInode("setlk", open.ino, open.Lock(ctx, l, wait))
}

// beginWait returns the context of a request that any signal to its caller ends, and what ends
// it.
func (f *face) beginWait(interrupted <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(f.base)
	go func() { // ends with ctx
		select {
		case <-interrupted:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// waitsForOFD tells whether the thread waits in fcntl(F_OFD_SETLKW), not F_SETLKW: only the
// latter is to be refused when owners wait for each other in a circle, and the request does not
// tell them apart. When the thread cannot be seen it is taken for the latter: to wait for ever
// is worse.
func waitsForOFD(ctx context.Context, tid uint32) bool {
	if tid == 0 {
		return false
	}
	for ctx.Err() == nil {
		line, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(tid), 10) + "/syscall")
		if err != nil {
			return false
		}
		call := string(line)
		if strings.HasPrefix(call, "running") { // it has not gone to sleep yet
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
			continue
		}
		return isOFDWait(call)
	}
	return false
}

// isOFDWait reads a line of /proc/PID/syscall: the number of the call and its arguments.
func isOFDWait(line string) bool {
	fields := strings.Fields(line)
	if len(fields) < 3 || fields[0] != strconv.Itoa(unix.SYS_FCNTL) {
		return false
	}
	command, err := strconv.ParseUint(fields[2], 0, 64)
	return err == nil && command == unix.F_OFD_SETLKW
}
