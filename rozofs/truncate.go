package rozofs

import (
	"context"
	"sync"

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
	f.mu.Unlock()
	if (old+bytes-1)/bytes <= keep {
		return nil
	}
	return f.discard(ctx, keep, version)
}

// discard drops the blocks from first on, on at least forward storages. One that
// misses it is outvoted when it returns: it alone has something.
func (f *file) discard(ctx context.Context, first uint64, version vocab.Version) error {
	ctx, cancel := context.WithTimeout(ctx, f.c.cfg.StorageTimeout)
	defer cancel()
	dist := f.place.Distribution
	need := int(f.coder.Geometry.Layout.Forward)
	done := make([]bool, len(dist.SIDs))
	for {
		changed := f.c.pool.watch()
		var (
			errs []error
			mu   sync.Mutex // guards errs
			all  sync.WaitGroup
		)
		for p := range dist.SIDs {
			if done[p] {
				continue
			}
			all.Go(func() {
				err := f.discardAt(ctx, &dist, p, first, version)
				if done[p] = err == nil; err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		n := 0
		for _, d := range done {
			if d {
				n++
			}
		}
		if n >= need {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return vocab.Errorf(vocab.Unavailable, "truncation of %v: %d of %d storages took it (%s): %v",
				f.place.FID, n, need, f.c.pool.missing(&dist), joinErrors(errs))
		}
	}
}

func (f *file) discardAt(ctx context.Context, dist *vocab.Distribution, position int, first uint64, version vocab.Version) error {
	st, err := f.c.pool.at(dist, position)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, st.node.patience())
	defer cancel()
	req := wire.DiscardRequest{
		Target:  st.target(f.c.session.id(), version.Epoch),
		Run:     wire.Run{FID: f.place.FID, Generation: dist.Generation, First: first},
		Version: version,
	}
	buf, err := st.call(ctx, writing, wire.OpDiscard, &req, wire.Bulk{}, &wire.BootReply{})
	buf.Release()
	return err
}
