package sim

import (
	"maps"
	"slices"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged"
)

// awaitRest waits until nothing is left to be done, and nobody has asked for it.
func (ep *episode) awaitRest() {
	ep.await("nothing waits to be settled or repaired", func() bool {
		settle, repair := ep.c.exportServer().Unfinished()
		return settle == 0 && repair == 0
	})
	ep.await("no task runs, and every storage is whole", func() bool {
		all, ok := ep.c.tasks(running)
		return ok && len(all) == 0 && !slices.ContainsFunc(ep.c.storages, func(n *storageNode) bool { return !ep.c.isWhole(n) })
	})
}

// readWithout compares what is read while storages are missing with what was read before.
func (ep *episode) readWithout(reader *client, all map[int][]cells, missing ...*storageNode) {
	var names []string
	for _, n := range missing {
		ep.require(n.stop())
		names = append(names, n.name)
	}
	without := strings.Join(names, " and ")
	ep.note("sim", "%s missing", without)
	for file, found := range ep.readAll(reader, missing...) {
		if !slices.Equal(found, all[file]) {
			ep.problem("file %d reads %v without %s, before it was %v", file, found, without, all[file])
			ep.note("sim", "what lies where:\n%s", ep.versions(ep.fids[file]))
		}
	}
	for _, n := range missing {
		ep.require(n.start())
	}
}

// scrubTwice has everything checked. The first scrub finds what has rotted, and what moves
// that were given up have left; the second nothing, of what lies in place by then.
func (ep *episode) scrubTwice() {
	ep.noteVersions()
	first := ep.scrubAll()
	ep.noteVersions()
	if first.Lost > 0 || ep.faults.nothingRots() && first.Lacking+first.Broken > 0 {
		ep.problem("a scrub found %+v", first)
	}
	ep.faults.forgetRot()
	if found := ep.scrubAll(); found != (wire.TaskFindings{Checked: found.Checked}) {
		ep.problem("a second scrub found %+v, after %+v", found, first)
	}
}

func (ep *episode) scrubAll() (found wire.TaskFindings) {
	ep.await("the storages are up", func() bool {
		return !slices.ContainsFunc(ep.c.storages, func(n *storageNode) bool { return !ep.c.isWhole(n) })
	})
	for _, n := range ep.c.storages {
		n.mu.Lock()
		s := n.server.(*storaged.Server)
		n.mu.Unlock()
		ep.require(s.Fold())
	}
	ep.require(ep.order(wire.OpStartTask, wire.TaskRequest{Kind: wire.TaskScrub, VID: 1}))
	ep.await("a scrub is done", func() bool {
		all, ok := ep.c.tasks(func(t *wire.Task) bool { return t.Kind == wire.TaskScrub && !running(t) })
		if ok && len(all) == 1 {
			found = all[0].Found
		}
		return ok && len(all) == 1
	})
	return found
}

// nothingRots tells whether nothing has rotted that is not gone.
func (f *faults) nothingRots() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, on := range f.rotten {
		if len(on) > 0 {
			return false
		}
	}
	return true
}

// forgetRot notes that all is repaired.
func (f *faults) forgetRot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.rotten)
}

// noteVersions describes what lies where, for who reads all.
func (ep *episode) noteVersions() {
	for _, file := range slices.Sorted(maps.Keys(ep.fids)) {
		if verbose {
			ep.note("sim", "file %d, %v:\n%s", file, ep.fids[file], ep.versions(ep.fids[file]))
		}
	}
}
