package rozofsmount

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// dyingPoll is how often requests under way are looked at.
const dyingPoll = 50 * time.Millisecond

// requests are those under way. One goroutine looks at them now and then: most
// have ended before it looks, and so cost a map entry and nothing more.
type requests struct {
	mu    sync.Mutex // guards all below
	next  uint64
	under map[uint64]*requestUnderWay
}

// requestUnderWay is a request that a signal to its caller may end.
type requestUnderWay struct {
	interrupted <-chan struct{}
	tid         uint32
	cancel      context.CancelFunc
}

// begin returns the context of one request and what ends it.
//
// The kernel says "interrupt" at any signal that the caller does not ignore,
// once per request. Answering EINTR then would be wrong for most: programs do
// not expect it from stat, rename or fsync on a file, and many live under a
// shower of signals (Go's preemption, git's progress timer, PostgreSQL's
// latches; the latter panics when fsync fails). As with other network file
// systems only a signal that will end the caller cancels the request. Since the
// kernel tells of the first signal only, the caller is watched from then on.
func (f *face) begin(interrupted <-chan struct{}, tid uint32) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(f.base)
	r := &f.requests
	r.mu.Lock()
	id := r.next
	r.next++
	r.under[id] = &requestUnderWay{interrupted, tid, cancel}
	r.mu.Unlock()
	return ctx, func() {
		r.mu.Lock()
		delete(r.under, id)
		r.mu.Unlock()
		cancel()
	}
}

// watchCallers cancels requests of interrupted callers that are dying, until ctx
// ends.
func (r *requests) watchCallers(ctx context.Context) {
	tick := time.NewTicker(dyingPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, u := range r.interruptedOnes() {
			if dying(u.tid) {
				u.cancel()
			}
		}
	}
}

func (r *requests) interruptedOnes() []*requestUnderWay {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*requestUnderWay
	for _, u := range r.under {
		select {
		case <-u.interrupted:
			all = append(all, u)
		default:
		}
	}
	return all
}

// dying tells whether the thread is gone or has a signal pending that will end
// it. When that cannot be told (a process of a PID namespace that is not ours,
// no /proc) it is taken to live on.
func dying(tid uint32) bool {
	if tid == 0 {
		return false
	}
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(tid), 10) + "/status")
	if err != nil {
		// ESRCH: it ended while being read.
		return errors.Is(err, syscall.ESRCH) || errors.Is(err, fs.ErrNotExist) && procMounted()
	}
	return fatalSignalPending(status)
}

func procMounted() bool {
	_, err := os.Lstat("/proc/self")
	return err == nil
}

// harmless are the signals whose default is not to end the process.
var harmless = sigBits(syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
	syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)

func sigBits(signals ...syscall.Signal) (bits uint64) {
	for _, s := range signals {
		bits |= 1 << (uint(s) - 1)
	}
	return bits
}

// fatalSignalPending reads /proc/PID/status: is there a signal pending that is
// neither blocked nor ignored nor caught and ends the process?
func fatalSignalPending(status []byte) bool {
	var pending, spared uint64
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch string(name) {
		case "State":
			if len(value) > 0 && (value[0] == 'Z' || value[0] == 'X') {
				return true
			}
		case "SigPnd", "ShdPnd":
			pending |= parseHex(value)
		case "SigBlk", "SigIgn", "SigCgt":
			spared |= parseHex(value)
		}
	}
	spared &^= sigBits(syscall.SIGKILL)
	return pending&^spared&^harmless != 0
}

func parseHex(b []byte) uint64 {
	n, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil {
		return 0
	}
	return n
}
