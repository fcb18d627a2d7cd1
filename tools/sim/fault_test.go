package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rozofs-go/rozo/storaged/disk/memdisk"
)

// fault is something that happens when the network carries its message number at.
type fault struct {
	at   int
	what string
	do   func()
}

// faults lets the planned ones happen.
type faults struct {
	ep   *episode
	plan []fault
	due  chan fault // has room for all
	run  sync.WaitGroup

	mu     sync.Mutex // guards the rest
	next   int
	busy   map[string]bool                  // nodes that something happens to
	rotten map[string]map[*storageNode]bool // slot file → storages
	lost   map[*storageNode]int             // not rebuilt yet → which loss, of losses
	losses int
	seen   map[string]int // faults by name, that happened
}

// planFaults draws what is to happen in about so many messages.
func (ep *episode) planFaults(messages int) *faults {
	f := &faults{ep: ep, busy: map[string]bool{}, rotten: map[string]map[*storageNode]bool{}, lost: map[*storageNode]int{}, seen: map[string]int{}}
	r := ep.rand("faults")
	for range r.IntN(12) {
		at := 200 + r.IntN(messages)
		f.plan = append(f.plan, f.draw(r, at))
	}
	slices.SortStableFunc(f.plan, func(a, b fault) int { return a.at - b.at })
	f.due = make(chan fault, len(f.plan))
	return f
}

// message is told of each message on the network.
func (f *faults) message(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.next < len(f.plan) && f.plan[f.next].at <= n {
		f.due <- f.plan[f.next]
		f.next++
	}
}

// loop lets faults happen until stop is closed, and waits for the end of all.
func (f *faults) loop(stop <-chan struct{}) {
	defer f.run.Wait()
	for {
		select {
		case x := <-f.due:
			f.run.Go(func() {
				f.mu.Lock()
				f.seen[strings.Fields(x.what)[0]]++
				f.mu.Unlock()
				f.ep.note("fault", "at message %d: %s", x.at, x.what)
				x.do()
			})
		case <-stop:
			return
		}
	}
}

// take reserves a node for one fault at a time.
func (f *faults) take(node string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy[node] {
		return false
	}
	f.busy[node] = true
	return true
}

func (f *faults) give(node string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy[node] = false
}

func (f *faults) draw(r *rand.Rand, at int) fault {
	c := f.ep.c
	n := c.storages[r.IntN(len(c.storages))]
	silent := r.IntN(3) == 0
	span := f.span(r)
	switch r.IntN(25) {
	case 0, 1:
		return fault{at, fmt.Sprintf("power of %s is lost for %v, silent %v", n.name, span, silent), func() { f.outage(&n.node, span, func() { n.kill(silent) }) }}
	case 2:
		return fault{at, fmt.Sprintf("restart of %s, down %v", n.name, span), func() { f.outage(&n.node, span, func() { f.ep.report(n.stop()) }) }}
	case 3:
		x := &c.export.node
		return fault{at, fmt.Sprintf("power of exportd is lost for %v, silent %v", span, silent), func() { f.outage(x, span, func() { x.kill(silent) }) }}
	case 4:
		x := &c.export.node
		return fault{at, fmt.Sprintf("restart of exportd, down %v", span), func() { f.outage(x, span, func() { f.ep.report(x.stop()) }) }}
	case 5, 6:
		slot := r.IntN(f.ep.clients)
		return fault{at, fmt.Sprintf("crash of the client in place %d, silent %v", slot, silent), func() { f.ep.replaceClient(slot, silent, span) }}
	case 7:
		a, b := f.pair(r)
		return fault{at, fmt.Sprintf("cut between %s and %s", a(), b()), func() { c.net.cut(a(), b()) }}
	case 8:
		a, b := f.pair(r)
		return fault{at, fmt.Sprintf("partition between two nodes for %v", span), func() { f.part(a(), b(), span) }}
	case 9:
		a, b := f.pair(r)
		most := time.Duration(r.Int64N(int64(2 * time.Second)))
		return fault{at, fmt.Sprintf("slow link, up to %v, for %v", most, span), func() { f.slow(a(), b(), most, span) }}
	case 10:
		nth, disk := 1+r.IntN(4), n
		if !fullDisks {
			return fault{at, "cut of all connections of " + n.name, func() { c.net.cut(n.name, "") }}
		}
		return fault{at, fmt.Sprintf("ENOSPC on %s from write %d on for %v", n.name, nth, span), func() { f.fill(disk, nth, span) }}
	case 11, 12:
		what, then := f.afterwards(r)
		return fault{at, fmt.Sprintf("loss of the disk of %s, down %v, silent %v, %s", n.name, span, silent, what), func() { f.loseRoot(n, silent, span, then) }}
	case 13:
		return fault{at, "scrub", f.scrub}
	case 14:
		what, then := f.afterwards(r)
		return fault{at, fmt.Sprintf("drain of %s for %v at most, %s", n.name, 4*span, what), func() { f.drain(n, 4*span, then) }}
	case 15:
		seed := r.Uint64()
		return fault{at, "balance", func() { f.balance(rand.New(rand.NewPCG(seed, 1))) }}
	case 16, 17:
		nth, op, lost := 1+r.IntN(6), []string{"datasync", "write", "read", "syncdir"}[r.IntN(4)], r.IntN(2) == 0
		return fault{at, fmt.Sprintf("%s number %d from now on fails on %s, repaired after %v, disk lost %v", op, nth, n.name, span, lost), func() { f.failDisk(n, op, nth, span, lost) }}
	case 18:
		nth := 1 + r.Int64N(20)
		return fault{at, fmt.Sprintf("sync number %d from now on fails for exportd, replaced after %v", nth, span), func() { f.failExport(nth, span) }}
	case 19, 20:
		slot, other := r.IntN(f.ep.clients), c.storages[r.IntN(len(c.storages))]
		return fault{at, fmt.Sprintf("loss of the disks of %s and %s in turn, after a crash of the client in place %d", n.name, other.name, slot), func() {
			f.run.Go(func() { f.ep.replaceClient(slot, silent, span) })
			f.loseRoot(n, silent, 0, func() {})
			f.loseRoot(other, silent, 0, func() {})
		}}
	case 21:
		slot := r.IntN(f.ep.clients)
		span := 20*time.Second + span
		return fault{at, fmt.Sprintf("the client in place %d is cut off for %v", slot, span), func() { f.cutOff(f.ep.clientIn(slot), span) }}
	case 22, 23:
		op := []string{"", "read", "write", "datasync"}[r.IntN(4)]
		most := []time.Duration{20 * time.Millisecond, 300 * time.Millisecond, 3 * time.Second, 20 * time.Second}[r.IntN(4)]
		seed := r.Uint64()
		return fault{at, fmt.Sprintf("slow disk of %s, up to %v for each %s, for %v", n.name, most, cmp.Or(op, "call"), span), func() {
			f.slowDisk(n, op, most, span, rand.New(rand.NewPCG(seed, 1)))
		}}
	default:
		seed := r.Uint64()
		return fault{at, fmt.Sprintf("rot of a slot file on %s", n.name), func() { f.rot(n, rand.New(rand.NewPCG(seed, 1))) }}
	}
}

// span draws how long a fault lasts: mostly shorter than a lease, sometimes longer.
func (f *faults) span(r *rand.Rand) time.Duration {
	most := []time.Duration{100 * time.Millisecond, time.Second, 8 * time.Second, time.Minute}[r.IntN(4)]
	return time.Duration(r.Int64N(int64(most)))
}

// pair draws two nodes that have to do with each other. Clients are named when it happens.
func (f *faults) pair(r *rand.Rand) (a, b func() string) {
	c := f.ep.c
	name := func(s string) func() string { return func() string { return s } }
	storage := name(c.storages[r.IntN(len(c.storages))].name)
	slot := r.IntN(f.ep.clients)
	client := func() string { return f.ep.clientIn(slot) }
	switch r.IntN(4) {
	case 0:
		return client, name("export")
	case 1:
		return name("export"), storage
	case 2:
		return storage, name(c.storages[r.IntN(len(c.storages))].name)
	default:
		return client, storage
	}
}

// outage takes a daemon down and up again.
func (f *faults) outage(n *node, span time.Duration, down func()) {
	if !f.take(n.name) {
		return
	}
	defer f.give(n.name)
	down()
	time.Sleep(span)
	f.ep.report(n.start())
}

func (f *faults) part(a, b string, span time.Duration) {
	f.ep.note("fault", "%s and %s are apart", a, b)
	f.ep.c.net.setApart(a, b, true)
	time.Sleep(span)
	f.ep.c.net.setApart(a, b, false)
}

// cutOff parts a client from all, for longer than its session lives, perhaps. What it has
// sent arrives afterwards.
func (f *faults) cutOff(client string, span time.Duration) {
	all := []string{f.ep.c.export.name}
	for _, n := range f.ep.c.storages {
		all = append(all, n.name)
	}
	var parted sync.WaitGroup
	for _, name := range all {
		parted.Go(func() { f.part(client, name, span) })
	}
	parted.Wait()
}

func (f *faults) slow(a, b string, most, span time.Duration) {
	f.ep.note("fault", "%s and %s are slow", a, b)
	f.ep.c.net.setSlow(a, b, most)
	time.Sleep(span)
	f.ep.c.net.setSlow(a, b, 0)
}

func ofContent(name string) bool {
	return strings.HasPrefix(name, "slots/") || strings.HasPrefix(name, "journal/")
}

// failDisk has the nth call of a kind from now on fail, and from then on all, until the
// machine is started anew, with the same disk or an empty one. The storaged takes the disk out
// of service by itself.
func (f *faults) failDisk(n *storageNode, op string, nth int, span time.Duration, lost bool) {
	if !f.take(n.name) {
		return
	}
	n.disk.SetFault(func(c memdisk.Call) error {
		if c.Op != op || !ofContent(c.Name) {
			return nil
		}
		if nth--; nth > 0 {
			return nil
		}
		return syscall.EIO
	})
	time.Sleep(span)
	token, replaced := 0, false
	if lost {
		token, replaced = f.replaceDisk(n, false, 0)
	}
	if !replaced {
		n.kill(false)
		f.ep.report(n.start())
	}
	f.give(n.name)
	if replaced {
		f.awaitWhole(n, token)
	}
}

// slowDisk has calls of a kind, or all, take their time.
func (f *faults) slowDisk(n *storageNode, op string, most, span time.Duration, r *rand.Rand) {
	if !f.take(n.name) {
		return
	}
	defer f.give(n.name)
	n.disk.SetDelay(func(c memdisk.Call) time.Duration {
		if op != "" && c.Op != op {
			return 0
		}
		return time.Duration(r.Int64N(int64(most)))
	})
	time.Sleep(span)
	n.disk.SetDelay(nil)
}

// failExport has the nth sync of exportd's log from now on fail, and from then on all, until
// its machine is started anew. exportd ends by itself.
func (f *faults) failExport(nth int64, span time.Duration) {
	x := f.ep.c.export
	if !f.take(x.name) {
		return
	}
	defer f.give(x.name)
	var left atomic.Int64
	left.Store(nth)
	x.fs.SetFault(func(op errorfs.Op) error {
		isSync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		if isSync && path.Ext(op.Path) == ".log" && left.Add(-1) <= 0 {
			return syscall.EIO
		}
		return nil
	})
	time.Sleep(span)
	x.kill(false)
	f.ep.report(x.start())
}

// fill has writes fail for want of space.
func (f *faults) fill(n *storageNode, nth int, span time.Duration) {
	if !f.take(n.name) {
		return
	}
	defer f.give(n.name)
	n.disk.SetFault(func(c memdisk.Call) error {
		if c.Op != "write" || !ofContent(c.Name) {
			return nil
		}
		if nth--; nth > 0 {
			return nil
		}
		return syscall.ENOSPC
	})
	time.Sleep(span)
	n.disk.SetFault(nil)
}

// rot turns a bit in a slot file, unless the file has rotted on as many storages as it may.
func (f *faults) rot(n *storageNode, r *rand.Rand) {
	if !f.take(n.name) {
		return
	}
	defer f.give(n.name)
	files := n.disk.Files("slots")
	if len(files) == 0 {
		return
	}
	name := files[r.IntN(len(files))]
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rotten[name] == nil {
		f.rotten[name] = map[*storageNode]bool{}
	}
	if !f.bearable(f.rotten[name], n) {
		return
	}
	if off, ok := n.disk.Flip(name, r); ok {
		f.rotten[name][n] = true
		f.ep.note("fault", "a bit of %s on %s turned, byte %d", path.Base(name), n.name, off)
	}
}

// rottenOn lists the storages on which a file has rotted, by the name of its slot file.
func (f *faults) rottenOn(fid string) map[*storageNode]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, on := range f.rotten {
		if path.Base(name) == fid {
			return on
		}
	}
	return nil
}
