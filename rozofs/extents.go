package rozofs

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// SeekData finds the first byte from off on that may be other than zero for want of
// knowledge to the contrary; found is false if there is none before the end of the file.
// What the storages cannot tell counts as data.
func (h *Handle) SeekData(ctx context.Context, off int64) (at int64, found bool, err error) {
	return h.seek(ctx, off, true)
}

// SeekHole finds the first byte from off on that is in a hole, or the end of the file;
// found is false if off is not before that.
func (h *Handle) SeekHole(ctx context.Context, off int64) (at int64, found bool, err error) {
	return h.seek(ctx, off, false)
}

func (h *Handle) seek(ctx context.Context, off int64, data bool) (int64, bool, error) {
	f := h.f
	if err := f.hold(ctx, h.who, wire.LeaseRead); err != nil {
		return 0, false, err
	}
	defer f.letGo()
	if err := f.finishDiscards(ctx); err != nil {
		return 0, false, err
	}
	f.mu.Lock()
	size := f.attr.Size
	f.mu.Unlock()
	if off < 0 || uint64(off) >= size {
		return 0, false, nil
	}
	bytes := uint64(f.coder.BlockBytes())
	b, err := f.nextBlock(ctx, uint64(off)/bytes, f.blocks(size), data)
	if err != nil {
		return 0, false, err
	}
	at := max(uint64(off), b*bytes)
	if data {
		return int64(at), at < size, nil
	}
	return int64(min(at, size)), true, nil
}

// nextBlock finds the first block from b on that may hold data, or that is a hole, or end.
func (f *file) nextBlock(ctx context.Context, b, end uint64, data bool) (uint64, error) {
	// First what is in memory: a page that goes meanwhile lies on the storages then.
	full, empty := f.pagesFrom(b)
	for b < end {
		ranges, upTo, err := f.extents(ctx, b)
		if err != nil {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			f.c.log.Debug("the storages do not tell where there are holes", "ino", uint64(f.ino), "err", err)
			ranges, upTo = []wire.Range{{First: b, Count: end - b}}, end
		}
		m := blockMap{ranges, full, empty}
		next := m.nextData
		if !data {
			next = m.nextHole
		}
		if b = next(b); b < upTo {
			break
		}
		b = upTo
	}
	return min(b, end), nil
}

// pagesFrom lists the blocks from b on that are in memory, in order: those with data and
// those that are zeros.
func (f *file) pagesFrom(b uint64) (full, empty []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for block := range f.pages {
		switch {
		case block < b:
		case f.isZeroPage(block):
			empty = append(empty, block)
		default:
			full = append(full, block)
		}
	}
	slices.Sort(full)
	slices.Sort(empty)
	return full, empty
}

// blockMap is where data may be: in the ranges and in the full blocks, but not in the empty
// ones. All are in order.
type blockMap struct {
	ranges      []wire.Range
	full, empty []uint64
}

const noBlock = math.MaxUint64

// atOrAfter gives the first of some sorted blocks that is not below b.
func atOrAfter(blocks []uint64, b uint64) uint64 {
	if i, _ := slices.BinarySearch(blocks, b); i < len(blocks) {
		return blocks[i]
	}
	return noBlock
}

// rangeFrom gives the first range that does not end before or at b, from b on.
func (m *blockMap) rangeFrom(b uint64) (from, to uint64) {
	i, _ := slices.BinarySearchFunc(m.ranges, b, func(r wire.Range, b uint64) int {
		if r.First+r.Count <= b {
			return -1
		}
		return 1
	})
	if i == len(m.ranges) {
		return noBlock, noBlock
	}
	r := m.ranges[i]
	return max(b, r.First), r.First + r.Count
}

func (m *blockMap) nextData(b uint64) uint64 {
	page := atOrAfter(m.full, b)
	for {
		from, to := m.rangeFrom(b)
		if from >= page {
			return page
		}
		for from < to && atOrAfter(m.empty, from) == from {
			from++
		}
		if from < to {
			return min(from, page)
		}
		b = to
	}
}

func (m *blockMap) nextHole(b uint64) uint64 {
	page := atOrAfter(m.empty, b)
	for b < page {
		if from, to := m.rangeFrom(b); from == b {
			b = to
		} else if atOrAfter(m.full, b) == b {
			b++
		} else {
			break
		}
	}
	return min(b, page)
}

// told is what one storage said of where it has something.
type told struct {
	reply wire.ExtentsReply
	err   error
}

// extents tells where from a block on there may be data: up to a block, which is beyond
// all if that is so to the end, in ranges that are in order. It asks k homes, for a
// block that was acknowledged and not discarded since lies on one of any k, and does not
// leave a home.
func (f *file) extents(ctx context.Context, from uint64) (ranges []wire.Range, upTo uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.c.cfg.StorageTimeout)
	defer cancel()
	layout := f.coder.Geometry.Layout
	f.mu.Lock()
	fid, epoch, dist := f.place.FID, f.lease.Epoch, f.place.Distribution
	f.mu.Unlock()
	order := slices.DeleteFunc(f.c.readOrder(&dist, int(layout.Forward), from, false), func(p int) bool { return p >= int(layout.Forward) })
	answers := make(chan told, len(order)) // has room for all: late ones need nobody to take them
	asked, waiting := 0, 0
	var all []told
	var errs []error
	ask := func() {
		for asked < len(order) {
			p := order[asked]
			asked++
			st, err := f.c.pool.at(&dist, p)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			req := wire.BlocksRequest{Target: st.target(f.c.session.id(), epoch), FID: fid, From: from}
			if f.c.goes(func(ctx context.Context) { answers <- f.c.extentsAt(ctx, st, &req) }) {
				waiting++
				return
			}
		}
	}
	for range layout.Inverse {
		ask()
	}
	late := time.NewTicker(lateReadMax)
	defer late.Stop()
	for len(all) < int(layout.Inverse) {
		if waiting == 0 {
			return nil, 0, vocab.Errorf(vocab.Unavailable, "extents of %v: %d of %d storages answered%s", f.place.FID, len(all), layout.Inverse, reasons(errs))
		}
		select {
		case a := <-answers:
			waiting--
			if a.err == nil {
				all = append(all, a)
				continue
			}
			errs = append(errs, a.err)
			ask()
		case <-late.C:
			ask()
		case <-ctx.Done():
			return nil, 0, errors.Join(append(errs, context.Cause(ctx))...)
		}
	}
	ranges, upTo = mergeExtents(all)
	return ranges, upTo, nil
}

func (c *Client) extentsAt(ctx context.Context, st *storage, req *wire.BlocksRequest) (a told) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StorageTimeout)
	defer cancel()
	buf, err := st.call(ctx, reading, wire.OpExtents, req, wire.Bulk{}, &a.reply)
	buf.Release()
	a.err = err
	return a
}

// mergeExtents joins the ranges of all up to where all have looked.
func mergeExtents(all []told) (ranges []wire.Range, upTo uint64) {
	upTo = noBlock
	var each []wire.Range
	for _, a := range all {
		each = append(each, a.reply.Ranges...)
		if a.reply.Next != 0 {
			upTo = min(upTo, a.reply.Next)
		}
	}
	slices.SortFunc(each, func(a, b wire.Range) int { return cmp.Compare(a.First, b.First) })
	for _, r := range each {
		if r.First >= upTo {
			break
		}
		end := min(r.First+r.Count, upTo)
		if k := len(ranges) - 1; k >= 0 && r.First <= ranges[k].First+ranges[k].Count {
			ranges[k].Count = max(ranges[k].Count, end-ranges[k].First)
			continue
		}
		ranges = append(ranges, wire.Range{First: r.First, Count: end - r.First})
	}
	return ranges, upTo
}
