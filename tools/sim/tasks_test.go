package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// admin asks exportd something, as rozo does.
func (c *cluster) admin(op wire.Op, m, reply wire.Message) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := c.net.dialer("admin")(ctx, c.export.addr(), wire.Hello{Role: wire.RoleAdmin, Cluster: clusterID, Name: "sim"}, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Call(ctx, op, m, wire.Bulk{}, reply)
	return err
}

// order has exportd begin or cancel a task, again and again while exportd is away.
func (ep *episode) order(op wire.Op, m wire.TaskRequest) (err error) {
	for began := time.Now(); time.Since(began) < patience; time.Sleep(200 * time.Millisecond) {
		var e *vocab.Error
		if err = ep.c.admin(op, &m, &wire.Task{}); err == nil || errors.As(err, &e) && !errors.Is(err, vocab.Unavailable) {
			return err
		}
	}
	return err
}

// tasks gives what exportd tells of the tasks of a kind; not ok: nothing.
func (c *cluster) tasks(match func(*wire.Task) bool) (all []wire.Task, ok bool) {
	var reply wire.TasksReply
	if err := c.admin(wire.OpTasks, &wire.Empty{}, &reply); err != nil {
		return nil, false
	}
	return slices.DeleteFunc(reply.Tasks, func(t wire.Task) bool { return !match(&t) }), true
}

func running(t *wire.Task) bool { return t.State == wire.TaskRunning }

// isWhole tells whether a storage has on its disk all that it should, as exportd and the
// storage see it: the root is marked before exportd takes it in.
func (c *cluster) isWhole(n *storageNode) bool {
	var reply wire.ExportStatusReply
	if err := c.admin(wire.OpExportStatus, &wire.Empty{}, &reply); err != nil {
		return false
	}
	for _, s := range reply.Storages {
		if s.ID == n.id() {
			return s.Health == wire.HealthUp && s.Incarnation == n.incarnation && !slices.Contains(n.disk.Files("."), "rozofs.partial")
		}
	}
	return false
}

// mayLose reserves a storage's content for being lost. As many are lost at a time as the
// layout bears, those on which a file has rotted among them.
func (f *faults) mayLose(n *storageNode) (token int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.bearable(nil, n) {
		return 0, false
	}
	for _, on := range f.rotten {
		if !f.bearable(on, n) {
			return 0, false
		}
	}
	for _, on := range f.rotten {
		delete(on, n) // gone with the disk
	}
	f.losses++
	f.lost[n] = f.losses
	return f.losses, true
}

// bearable tells whether a file that has rotted on some storages can be read without those
// that are lost, and without one more; f.mu is held.
func (f *faults) bearable(rotten map[*storageNode]bool, more *storageNode) bool {
	gone := map[*storageNode]bool{more: true}
	for n := range f.lost {
		gone[n] = true
	}
	for n := range rotten {
		gone[n] = true
	}
	return len(gone) <= f.ep.c.most()
}

// loseRoot takes a storage's power and its disk for good. The machine comes back with an
// empty one, which has to be rebuilt by itself; meanwhile something else happens, perhaps.
func (f *faults) loseRoot(n *storageNode, silent bool, span time.Duration, then func()) {
	if !f.take(n.name) {
		return
	}
	token, ok := f.replaceDisk(n, silent, span)
	f.give(n.name)
	if ok {
		then()
		f.awaitWhole(n, token)
	}
}

// replaceDisk is the loss itself, if the layout bears it; the caller has taken the node.
func (f *faults) replaceDisk(n *storageNode, silent bool, span time.Duration) (token int, ok bool) {
	if token, ok = f.mayLose(n); !ok {
		return 0, false
	}
	f.ep.note("fault", "the disk of %s is lost", n.name)
	n.kill(silent)
	f.ep.report(n.replaceDisk())
	time.Sleep(span)
	f.ep.report(n.start())
	return token, true
}

// awaitWhole waits until a storage has all again that it had lost, unless it has been lost
// once more.
func (f *faults) awaitWhole(n *storageNode, token int) {
	isLost := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.lost[n] == token
	}
	for began := time.Now(); isLost(); time.Sleep(100 * time.Millisecond) {
		if time.Since(began) > patience {
			f.ep.problem("%s has not been rebuilt within %v", n.name, patience)
			return
		}
		if !f.take(n.name) { // so that the disk stays the same
			continue
		}
		whole := n.up() && f.ep.c.isWhole(n)
		if whole {
			f.mu.Lock()
			if f.lost[n] == token {
				delete(f.lost, n)
			}
			f.mu.Unlock()
			f.ep.note("sim", "%s is whole again", n.name)
		}
		f.give(n.name)
	}
}

func (f *faults) scrub() {
	f.ep.report(f.ep.order(wire.OpStartTask, wire.TaskRequest{Kind: wire.TaskScrub, VID: 1}))
}

// drain has a storage emptied, for a while or until it is, and takes it back.
func (f *faults) drain(n *storageNode, span time.Duration, then func()) {
	if len(f.ep.c.storages) == int(f.ep.c.layout.Safe) || !f.take("drain") {
		return
	}
	defer f.give("drain")
	m := wire.TaskRequest{Kind: wire.TaskDrain, VID: 1, ID: n.id()}
	f.ep.report(f.ep.order(wire.OpStartTask, m))
	then()
	isOf := func(t *wire.Task) bool { return t.Kind == wire.TaskDrain && t.ID == n.id() && running(t) }
	for began := time.Now(); time.Since(began) < span; time.Sleep(100 * time.Millisecond) {
		if all, ok := f.ep.c.tasks(isOf); ok && len(all) == 0 {
			f.ep.note("sim", "%s is drained", n.name)
			break
		}
	}
	f.ep.report(f.ep.order(wire.OpCancelTask, m))
}

// balance has disks differ in what is free, and files move from the fuller to the emptier.
func (f *faults) balance(r *rand.Rand) {
	for _, n := range f.ep.c.storages {
		n.free.Store(1 << 39 / 100 * uint64(r.IntN(100)+1))
	}
	time.Sleep(2 * time.Second) // exportd asks every second
	f.ep.report(f.ep.order(wire.OpStartTask, wire.TaskRequest{Kind: wire.TaskBalance, VID: 1}))
}

// afterwards draws what happens after another fault has begun.
func (f *faults) afterwards(r *rand.Rand) (what string, do func()) {
	in := time.Duration(r.Int64N(int64(3 * time.Second)))
	if r.IntN(3) == 0 {
		in /= 10
	}
	span := f.span(r) / 4
	c := f.ep.c
	n := c.storages[r.IntN(len(c.storages))]
	silent := r.IntN(3) == 0
	switch r.IntN(5) {
	case 0, 1:
		x := &c.export.node
		return fmt.Sprintf("then power of exportd is lost after %v for %v", in, span), func() {
			time.Sleep(in)
			f.outage(x, span, func() { x.kill(silent) })
		}
	case 2:
		return fmt.Sprintf("then power of %s is lost after %v for %v", n.name, in, span), func() {
			time.Sleep(in)
			f.outage(&n.node, span, func() { n.kill(silent) })
		}
	}
	return "then nothing", func() {}
}
