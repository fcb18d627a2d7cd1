package rozofs

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// truncate sets the size, and whatever else the change says, under the write
// lease. What lies beyond a smaller size is discarded on the storages first, so
// that later growth uncovers zeros.
func (f *file) truncate(ctx context.Context, who Caller, ch Change) (vocab.Attr, error) {
	if ch.Size > vocab.MaxFileBytes {
		return vocab.Attr{}, vocab.Errorf(vocab.TooLarge, "size %d: files are at most %d bytes", ch.Size, uint64(vocab.MaxFileBytes))
	}
	if err := f.hold(ctx, who, wire.LeaseWrite); err != nil {
		return vocab.Attr{}, err
	}
	defer f.letGo()
	if err := f.content.Acquire(ctx, 1); err != nil {
		return vocab.Attr{}, err
	}
	defer f.content.Release(1)
	if err := f.finishDiscards(ctx); err != nil {
		return vocab.Attr{}, err
	}
	f.mu.Lock()
	regular, old := f.attr.IsRegular(), f.attr.Size
	f.mu.Unlock()
	if regular && ch.Size < old {
		if err := f.cut(ctx, ch.Size, old); err != nil {
			return vocab.Attr{}, err
		}
	}
	return f.setSize(ctx, who, ch)
}

// setSize tells exportd the size, to which the content was cut or is to grow; content is
// held.
func (f *file) setSize(ctx context.Context, who Caller, ch Change) (vocab.Attr, error) {
	if err := f.beginSizing(ctx); err != nil {
		return vocab.Attr{}, err
	}
	defer f.endSizing()
	f.mu.Lock()
	epoch, old := f.lease.Epoch, f.attr.Size
	f.attr.Size = ch.Size
	f.mu.Unlock()
	if ch.Mask&(wire.SetMtime|wire.SetMtimeNow) == 0 {
		ch.Mask |= wire.SetMtimeNow
	}
	a, err := f.c.setAttr(ctx, who, f.ino, ch, epoch)
	if err != nil {
		f.mu.Lock()
		if old < ch.Size {
			f.attr.Size = old
		} else {
			f.uncommitted = true // the content is cut: the size follows with the next commit
		}
		f.mu.Unlock()
	}
	return a, err
}

// cut drops the content from size on: blocks that lie beyond it on all storages,
// and the tail of the block that it falls into.
func (f *file) cut(ctx context.Context, size, old uint64) error {
	bytes := uint64(f.coder.BlockBytes())
	if tail := size % bytes; tail != 0 {
		err := f.modify(ctx, size/bytes, tail, 0, func(data []byte) { clear(data[tail:]) })
		if err != nil {
			return err
		}
	}
	if err := f.waitFor(ctx, func() bool { return f.inFlight == 0 }); err != nil {
		return err
	}
	keep := f.blocks(size) // that stay
	for b := range f.pages {
		if b >= keep {
			f.dropPage(b)
		}
	}
	f.attr.Size = size
	f.uncommitted = true
	f.cuts++
	beyond := f.blocks(old) > keep
	if beyond {
		f.beginDiscard(wire.Range{First: keep})
	}
	f.mu.Unlock()
	if !beyond {
		return nil
	}
	if err := f.finishDiscards(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fresh = min(f.fresh, keep)
	return nil
}

// blocks is how many a size needs.
func (f *file) blocks(size uint64) uint64 {
	bytes := uint64(f.coder.BlockBytes())
	return (size + bytes - 1) / bytes
}

// discarding is a discard of ranges of blocks, of which a count of 0 means all to the end.
type discarding struct {
	version vocab.Version
	ranges  []wire.Range
	by      *attempts // that bring it to storages
}

func (d *discarding) covers(block uint64) bool {
	return slices.ContainsFunc(d.ranges, func(r wire.Range) bool {
		return block >= r.First && (r.Count == 0 || block-r.First < r.Count)
	})
}

// discard drops ranges of blocks durably, under a version of its own. As long as that
// fails it is undone, and everything that needs the content tries it again first.
func (f *file) discard(ctx context.Context, ranges ...wire.Range) error {
	f.mu.Lock()
	f.beginDiscard(ranges...)
	f.mu.Unlock()
	return f.finishDiscards(ctx)
}

// beginDiscard is called with mu held, which is not given up since pages of the blocks were
// dropped: a run that fails later would be taken for replaced.
func (f *file) beginDiscard(ranges ...wire.Range) {
	f.counter++
	d := &discarding{version: vocab.Version{Epoch: f.lease.Epoch, Counter: f.counter}, ranges: ranges, by: f.attempts}
	f.finality.begun(f.counter)
	f.undone = append(f.undone, d)
}

// finishDiscards completes the discards that are undone, under the versions that they have:
// so what was written since stays. It may run more than once at a time.
func (f *file) finishDiscards(ctx context.Context) error {
	for {
		f.mu.Lock()
		if len(f.undone) == 0 {
			f.mu.Unlock()
			return nil
		}
		d := f.undone[0]
		f.mu.Unlock()
		if err := f.bringDiscard(ctx, d); err != nil {
			return err
		}
		f.mu.Lock()
		if i := slices.Index(f.undone, d); i >= 0 {
			f.undone = slices.Delete(f.undone, i, i+1)
			f.finality.discarded(d)
		}
		f.mu.Unlock()
	}
}

// bringDiscard drops blocks on at least forward storages, and gives the others no longer
// than a late write. One that misses it is outvoted when it returns: it alone has
// something.
func (f *file) bringDiscard(ctx context.Context, todo *discarding) error {
	ctx, cancel := context.WithTimeout(ctx, f.c.cfg.StorageTimeout)
	defer cancel()
	dist := f.place.Distribution
	s := len(dist.SIDs)
	d := discarder{
		discarding: todo, f: f, fid: f.place.FID, dist: &dist,
		results: make(chan discarded, s),
		state:   make([]discardState, s), errs: make([]error, s), calls: make([]*overdue, s),
	}
	need := int(f.coder.Geometry.Layout.Forward)
	late := time.NewTimer(f.c.cfg.delays.lateWriteMin)
	defer late.Stop()
	patient := true
	for {
		changed := f.c.pool.watch()
		d.sendAll()
		for done, pending := d.count(); done < need && pending > 0 || patient && d.isAnyWell(); done, pending = d.count() {
			select {
			case r := <-d.results:
				if d.take(r); isRefusal(r.err) {
					return r.err
				}
			case <-late.C:
				patient = false
				d.markLate()
			case <-ctx.Done():
				return d.tooFew(need)
			}
		}
		done, _ := d.count()
		if done >= need {
			f.mu.Lock()
			f.degraded = f.degraded || done < s
			f.mu.Unlock()
			return nil
		}
		select {
		case <-changed:
		case <-d.by.ctx.Done():
			return context.Cause(d.by.ctx)
		case <-ctx.Done():
			return d.tooFew(need)
		}
	}
}

// discarder brings one discard to the storages of a distribution.
type discarder struct {
	*discarding
	f       *file
	fid     vocab.FID
	dist    *vocab.Distribution
	results chan discarded // has room for all, so that late ones need nobody to take them
	state   []discardState // by position
	errs    []error        // by position: the last error
	calls   []*overdue     // by position: what is under way there
}

type discarded struct {
	position int
	err      error
}

type discardState int

const (
	discardDue discardState = iota
	discardSent
	discardDone
)

// sendAll sends the discard where it is due. What is under way when the caller
// returns ends by itself: versions order it before whatever is written later.
func (d *discarder) sendAll() {
	for p := range d.state {
		if d.state[p] != discardDue {
			continue
		}
		d.state[p] = discardSent
		room := d.roomAt(p)
		call := &overdue{}
		call.st, _ = d.f.c.pool.at(d.dist, p) // if there is none the call fails
		d.calls[p] = call
		started := d.f.attempt(d.by, func(ctx context.Context) {
			err := d.at(ctx, p, room)
			call.end()
			d.results <- discarded{p, err}
		})
		if !started {
			d.take(discarded{p, errClosed})
		}
	}
}

func (d *discarder) take(r discarded) {
	d.errs[r.position] = r.err
	d.state[r.position] = discardDone
	if r.err != nil {
		d.state[r.position] = discardDue
	}
}

// isAnyWell tells whether a storage that has not answered yet may do so soon.
func (d *discarder) isAnyWell() bool {
	for p, s := range d.state {
		if s == discardSent && d.f.c.pool.state(d.dist, p) == nodeUp {
			return true
		}
	}
	return false
}

// markLate marks the storages that have not answered, though others have.
func (d *discarder) markLate() {
	done, _ := d.count()
	for p, s := range d.state {
		if call := d.calls[p]; s == discardSent && call.st != nil && done > 0 {
			call.st.node.setLate(true)
			call.mark()
		}
	}
}

func (d *discarder) tooFew(need int) error {
	done, _ := d.count()
	return vocab.Errorf(vocab.Unavailable, "discard in %v: %d of %d storages took it (%s)%s",
		d.f.place.FID, done, need, d.f.c.pool.missing(d.dist), reasons(d.errs))
}

func (d *discarder) count() (done, pending int) {
	for _, s := range d.state {
		switch s {
		case discardDone:
			done++
		case discardSent:
			pending++
		}
	}
	return done, pending
}

// roomAt says how large the slots of a storage are that has nothing of the file, so that it
// keeps the discard. A spare is spared that, unless it may be needed in place of a home.
func (d *discarder) roomAt(position int) uint32 {
	home := position < int(d.f.coder.Geometry.Layout.Forward)
	for p := 0; !home && p < int(d.f.coder.Geometry.Layout.Forward); p++ {
		home = d.f.c.pool.state(d.dist, p) != nodeUp || d.errs[p] != nil
	}
	if !home {
		return 0
	}
	return uint32(d.f.coder.RoomAt(position))
}

// at discards on one storage, durably.
func (d *discarder) at(ctx context.Context, position int, room uint32) error {
	st, err := d.f.c.pool.at(d.dist, position)
	if err != nil {
		return err
	}
	target := st.target(d.f.c.session.id(), d.version.Epoch)
	call := func(op wire.Op, req wire.Message) (vocab.Boot, error) {
		ctx, cancel := context.WithTimeout(ctx, d.f.c.cfg.StorageTimeout)
		defer cancel()
		var reply wire.BootReply
		buf, err := st.call(ctx, syncing, op, req, wire.Bulk{}, &reply)
		buf.Release()
		return reply.Boot, err
	}
	var boot vocab.Boot // of the first: if it restarts in between, it refuses the sync
	for run := range d.runs() {
		now, err := call(wire.OpDiscard, &wire.DiscardRequest{Target: target, Run: run, Version: d.version, PayloadBytes: room})
		if err != nil {
			return err
		}
		if boot == 0 {
			boot = now
		}
	}
	_, err = call(wire.OpSync, &wire.SyncRequest{Target: target, Boot: boot, FIDs: []vocab.FID{d.fid}})
	return err
}

// runs gives the ranges in pieces that fit a request.
func (d *discarder) runs() iter.Seq[wire.Run] {
	run := wire.Run{FID: d.fid, Generation: d.dist.Generation}
	return func(yield func(wire.Run) bool) {
		for _, r := range d.ranges {
			for first, left := r.First, r.Count; ; {
				n := min(left, wire.MaxRunBlocks)
				run.First, run.Count = first, uint32(n)
				if !yield(run) {
					return
				}
				first, left = first+n, left-n
				if left == 0 {
					break
				}
			}
		}
	}
}
