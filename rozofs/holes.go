package rozofs

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Punch makes n bytes from off on zeros, as far as the file goes, and frees the blocks that
// lie within. For whole blocks that is durable when it returns.
func (h *Handle) Punch(ctx context.Context, off, n int64) error {
	return h.change(ctx, off, n, func(f *file, from, to uint64) error { return f.punch(ctx, from, to) })
}

// Zero is Punch that also makes the file as long as the range says, unless its size is to
// be kept.
func (h *Handle) Zero(ctx context.Context, off, n int64, keepSize bool) error {
	return h.change(ctx, off, n, func(f *file, from, to uint64) error {
		if err := f.punch(ctx, from, to); err != nil || keepSize {
			return err
		}
		return f.grow(ctx, h.who, to)
	})
}

// Allocate makes the file as long as the range says, with zeros. It reserves no space: a
// write may still find the storages full.
func (h *Handle) Allocate(ctx context.Context, off, n int64) error {
	return h.change(ctx, off, n, func(f *file, _, to uint64) error { return f.grow(ctx, h.who, to) })
}

// change holds what a change of the content needs.
func (h *Handle) change(ctx context.Context, off, n int64, do func(f *file, from, to uint64) error) error {
	f := h.f
	switch {
	case !h.writable:
		return vocab.Errorf(vocab.Invalid, "the handle is not open for writing")
	case off < 0 || n <= 0:
		return vocab.Errorf(vocab.Invalid, "range of %d bytes at %d", n, off)
	case uint64(off)+uint64(n) > vocab.MaxFileBytes:
		return vocab.Errorf(vocab.TooLarge, "range of %d bytes at %d: files are at most %d bytes", n, off, uint64(vocab.MaxFileBytes))
	}
	if err := f.takeFailure(); err != nil {
		return err
	}
	if err := f.hold(ctx, h.who, wire.LeaseWrite); err != nil {
		return err
	}
	defer f.letGo()
	if err := f.content.Acquire(ctx, 1); err != nil {
		return err
	}
	defer f.content.Release(1)
	if err := f.finishDiscards(ctx); err != nil {
		return err
	}
	if err := do(f, uint64(off), uint64(off)+uint64(n)); err != nil {
		return err
	}
	if h.syncEach {
		return f.sync(ctx)
	}
	return nil
}

// grow makes the file longer, if it is not that long; content is held.
func (f *file) grow(ctx context.Context, who Caller, size uint64) error {
	f.mu.Lock()
	old := f.attr.Size
	f.mu.Unlock()
	if size <= old {
		return nil
	}
	_, err := f.setSize(ctx, who, Change{Mask: wire.SetSize | wire.SetMtimeNow, Size: size})
	return err
}

// punch zeroes the bytes from from to to, as far as the file goes; content is held. What
// of it is in memory, and parts of blocks, are zeros in memory then, as if they were
// written; the other blocks are discarded where there may be something.
func (f *file) punch(ctx context.Context, from, to uint64) error {
	now := f.c.session.now()
	f.mu.Lock()
	end := f.attr.Size
	f.mu.Unlock()
	if to = min(to, end); from >= to {
		return nil
	}
	size := uint64(f.coder.BlockBytes())
	first, last := f.blocks(from), to/size // whole blocks
	if to == end {
		last = f.blocks(to)
	}
	if from%size != 0 {
		if err := f.zeroPart(ctx, from, min(to, first*size)); err != nil {
			return err
		}
	}
	if first <= last && last*size < to {
		if err := f.zeroPart(ctx, last*size, to); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.attr.Mtime, f.attr.Ctime = now, max(f.attr.Ctime, now)
	f.uncommitted = true
	f.zeroPages(first, last)
	last = min(last, f.fresh)
	f.mu.Unlock()
	return f.discardData(ctx, first, last)
}

// zeroPart zeroes bytes within one block.
func (f *file) zeroPart(ctx context.Context, from, to uint64) error {
	if err := f.c.makeRoom(ctx, f); err != nil {
		return err
	}
	size := uint64(f.coder.BlockBytes())
	b := from / size
	return f.modify(ctx, b, from%size, to-from, func(data []byte) { clear(data[from-b*size : to-b*size]) })
}

// zeroPages zeroes the blocks from first to last that are in memory; mu is held.
func (f *file) zeroPages(first, last uint64) {
	for b, pg := range f.pages {
		if b < first || b >= last {
			continue
		}
		clear(pg.buf.B)
		if !pg.dirty {
			pg.dirty, pg.run = true, nil
			f.dirty++
		}
	}
}

// punchBlocks bounds what is discarded at once, under one version: that the storages have
// it takes less than a write may, and they may free it before more comes.
const punchBlocks = 16 * wire.MaxRunBlocks

// discardData discards what the storages may have of the blocks from first to last.
func (f *file) discardData(ctx context.Context, first, last uint64) error {
	var batch []wire.Range
	room := uint64(punchBlocks)
	discard := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := f.discard(ctx, batch...)
		batch, room = nil, punchBlocks
		f.c.tellFinal([]*file{f})
		return err
	}
	for first < last {
		ranges, upTo, err := f.extents(ctx, first)
		if err != nil {
			return err
		}
		for _, r := range ranges {
			end := min(r.First+r.Count, last)
			for r.First < end {
				n := min(end-r.First, room)
				batch = append(batch, wire.Range{First: r.First, Count: n})
				r.First += n
				if room -= n; room == 0 || len(batch) == maxPunchRanges {
					if err := discard(); err != nil {
						return err
					}
				}
			}
		}
		first = upTo
	}
	return discard()
}

// maxPunchRanges bounds the requests of one discard to a storage.
const maxPunchRanges = 256
