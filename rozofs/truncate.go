package rozofs

import (
	"context"
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
	f.content.Lock()
	defer f.content.Unlock()
	f.mu.Lock()
	regular, old, epoch := f.attr.IsRegular(), f.attr.Size, f.lease.Epoch
	f.mu.Unlock()
	if regular && ch.Size < old {
		if err := f.cut(ctx, ch.Size, old); err != nil {
			return vocab.Attr{}, err
		}
	}
	f.mu.Lock()
	f.attr.Size = ch.Size
	f.mu.Unlock()
	if ch.Mask&(wire.SetMtime|wire.SetMtimeNow) == 0 {
		ch.Mask |= wire.SetMtimeNow
	}
	a, err := f.c.setAttr(ctx, who, f.ino, ch, epoch)
	if err != nil {
		f.mu.Lock()
		f.uncommitted = true // the content is cut: the size follows with the next commit
		f.mu.Unlock()
	}
	return a, err
}

// cut drops the content from size on: blocks that lie beyond it on all storages,
// and the tail of the block that it falls into.
func (f *file) cut(ctx context.Context, size, old uint64) error {
	if err := f.waitFor(ctx, func() bool { return f.inFlight == 0 }); err != nil {
		return err
	}
	bytes := uint64(f.coder.BlockBytes())
	keep := (size + bytes - 1) / bytes // blocks that stay
	for b := range f.pages {
		if b >= keep {
			f.dropPage(b)
		}
	}
	f.mu.Unlock()
	if tail := size % bytes; tail != 0 {
		err := f.modify(ctx, size/bytes, tail, 0, func(data []byte) { clear(data[tail:]) })
		if err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.attr.Size = size
	f.uncommitted = true
	f.counter++
	version := vocab.Version{Epoch: f.lease.Epoch, Counter: f.counter}
	f.finality.begun(f.counter)
	f.finality.cutting, f.finality.cutFrom = true, keep
	f.mu.Unlock()
	var err error
	if (old+bytes-1)/bytes > keep {
		err = f.discard(ctx, keep, version)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.finality.lost = true
		return err
	}
	f.finality.cut(keep, version.Counter)
	return nil
}

// discard drops the blocks from first on, on at least forward storages, and gives
// the others no longer than a late write. One that misses it is outvoted when it
// returns: it alone has something.
func (f *file) discard(ctx context.Context, first uint64, version vocab.Version) error {
	ctx, cancel := context.WithTimeout(ctx, f.c.cfg.StorageTimeout)
	defer cancel()
	dist := f.place.Distribution
	s := len(dist.SIDs)
	d := discarder{
		f: f, dist: &dist, first: first, version: version,
		results: make(chan discarded, s),
		state:   make([]discardState, s), errs: make([]error, s), calls: make([]*overdue, s),
	}
	need := int(f.coder.Geometry.Layout.Forward)
	late := time.NewTimer(lateWriteMin)
	defer late.Stop()
	patient := true
	for {
		changed := f.c.pool.watch()
		d.sendAll()
		for done, pending := d.count(); done < need && pending > 0 || patient && d.isAnyWell(); done, pending = d.count() {
			select {
			case r := <-d.results:
				d.take(r)
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
		case <-ctx.Done():
			return d.tooFew(need)
		}
	}
}

// discarder brings one discard to the storages of a distribution.
type discarder struct {
	f       *file
	dist    *vocab.Distribution
	first   uint64
	version vocab.Version
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
		call := &overdue{}
		call.st, _ = d.f.c.pool.at(d.dist, p) // if there is none the call fails
		d.calls[p] = call
		started := d.f.c.goes(func(ctx context.Context) {
			err := d.f.discardAt(ctx, d.dist, p, d.first, d.version)
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
	return vocab.Errorf(vocab.Unavailable, "truncation of %v: %d of %d storages took it (%s)%s",
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

// discardAt discards on one storage, durably.
func (f *file) discardAt(ctx context.Context, dist *vocab.Distribution, position int, first uint64, version vocab.Version) error {
	st, err := f.c.pool.at(dist, position)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.c.cfg.StorageTimeout)
	defer cancel()
	req := wire.DiscardRequest{
		Target:  st.target(f.c.session.id(), version.Epoch),
		Run:     wire.Run{FID: f.place.FID, Generation: dist.Generation, First: first},
		Version: version,
	}
	var reply wire.BootReply
	buf, err := st.call(ctx, syncing, wire.OpDiscard, &req, wire.Bulk{}, &reply)
	buf.Release()
	if err != nil {
		return err
	}
	sync := wire.SyncRequest{Target: req.Target, Boot: reply.Boot, FIDs: []vocab.FID{f.place.FID}}
	buf, err = st.call(ctx, syncing, wire.OpSync, &sync, wire.Bulk{}, &wire.BootReply{})
	buf.Release()
	return err
}
