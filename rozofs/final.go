package rozofs

import (
	"context"
	"slices"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// finality is what a file knows of which of its versions are durable on forward storages,
// so that the storages may let go of older content. It is guarded by the file's mu, and
// begins anew with each write lease: one is granted when everything older is final.
type finality struct {
	open    map[uint64]bool   // counters of changes that may become durable yet
	torn    map[uint64]uint64 // by block: the lowest counter of one that will not, until a newer one is
	tears   map[uint64]int    // by counter: how many blocks of torn have it
	lost    bool              // what was written was given up: nothing is final any more
	told    uint64            // the bound that the storages were told, and one more
	reached uint64            // of pool.reached when it was told
}

// begun takes note of a change.
func (n *finality) begun(counter uint64) {
	if n.open == nil {
		n.open, n.torn, n.tears = map[uint64]bool{}, map[uint64]uint64{}, map[uint64]int{}
	}
	n.open[counter] = true
}

// failed takes note that a run lies on some storages and will not be durable. Blocks of
// which something newer is durable already are replaced.
func (n *finality) failed(r *run, replaced func(block uint64) bool) {
	c := r.version.Counter
	delete(n.open, c)
	for i := range r.pages {
		b := r.first + uint64(i)
		old, is := n.torn[b]
		if is && old <= c || replaced(b) {
			continue
		}
		if is {
			n.mend(b, old)
		}
		n.torn[b] = c
		n.tears[c]++
	}
}

// ended takes note that a run is durable, or will not be; mu is held. One of an earlier lease,
// whose syncing was slow, says nothing of the versions under this one.
func (f *file) ended(r *run, durable bool) {
	switch {
	case r.version.Epoch != f.lease.Epoch:
	case durable:
		f.finality.durable(r)
	default:
		f.finality.failed(r, f.isReplaced)
	}
}

// durable takes note that a run is: what was torn below it is replaced.
func (n *finality) durable(r *run) {
	delete(n.open, r.version.Counter)
	if len(n.torn) == 0 {
		return
	}
	for i := range r.pages {
		n.mend(r.first+uint64(i), r.version.Counter)
	}
}

// discarded takes note that a discard is durable.
func (n *finality) discarded(d *discarding) {
	delete(n.open, d.version.Counter)
	for b := range n.torn {
		if d.covers(b) {
			n.mend(b, d.version.Counter)
		}
	}
}

func (n *finality) mend(block, counter uint64) {
	c, is := n.torn[block]
	if !is || c > counter {
		return
	}
	delete(n.torn, block)
	if n.tears[c]--; n.tears[c] == 0 {
		delete(n.tears, c)
	}
}

// final is the version up to which all of the file is final; mu is held.
func (f *file) final() vocab.Version {
	if f.finality.lost {
		return vocab.Version{}
	}
	bound := f.counter
	for c := range f.finality.open {
		bound = min(bound, c-1)
	}
	for c := range f.finality.tears {
		bound = min(bound, c-1)
	}
	return vocab.Version{Epoch: f.lease.Epoch, Counter: bound}
}

// tellPatience is how long a storage may take to hear what is final.
const tellPatience = 5 * time.Second

// tellFinal tells the storages of the files what is final. One that is not told, or
// forgets it, keeps older content a little longer.
func (c *Client) tellFinal(files []*file) {
	type telling struct {
		st    *storage
		epoch vocab.Epoch
		files []wire.FinalFile
	}
	all := map[vocab.StorageID]*telling{}
	reached := c.pool.reached.Load()
	for _, f := range files {
		f.mu.Lock()
		v, told := f.final(), f.finality.told
		if f.finality.reached != reached {
			told = 0 // a storage may have forgotten it, or was not told
		}
		if f.lease.Kind != wire.LeaseWrite || f.counter == 0 || v.Absent() || v.Counter < told {
			f.mu.Unlock()
			continue
		}
		f.finality.told, f.finality.reached = v.Counter+1, reached
		f.mu.Unlock()
		dist := f.distribution()
		for p := range dist.SIDs {
			st, err := c.pool.at(dist, p)
			if err != nil || st.state() != nodeUp {
				continue
			}
			t := all[st.id]
			if t == nil {
				t = &telling{st: st}
				all[st.id] = t
			}
			t.epoch = max(t.epoch, v.Epoch)
			t.files = append(t.files, wire.FinalFile{FID: f.place.FID, Final: v})
		}
	}
	for _, t := range all {
		for part := range slices.Chunk(t.files, wire.MaxFIDs) {
			c.goes(func(ctx context.Context) {
				ctx, cancel := context.WithTimeout(ctx, tellPatience)
				defer cancel()
				req := wire.FinalRequest{Target: t.st.target(c.session.id(), t.epoch), Files: part}
				buf, err := t.st.call(ctx, writing, wire.OpFinal, &req, wire.Bulk{}, &wire.BootReply{})
				buf.Release()
				if err != nil {
					c.log.Debug("a storage could not be told what is final", "storage", t.st.id.String(), "err", err)
				}
			})
		}
	}
}
