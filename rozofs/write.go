package rozofs

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rozofs-go/rozo/rozofs/block"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// runBytes is the user data of a full run, sent as one request per storage.
const runBytes = 1 << 20

// page is one block of a file in memory: all its bytes, zeros where nothing was
// written. buf has room for the padded block.
type page struct {
	buf   *wire.Buffer
	dirty bool // to be sent
	run   *run // the run that sent the present content, nil while dirty
}

// run is consecutive pages that were sent under one version.
type run struct {
	first   uint64
	pages   []*page
	version vocab.Version
	final   vocab.Version // up to which all of the file was final when it was encoded
	used    int           // user bytes in the last block; the others are full
	zeros   bool          // all pages are: the blocks are discarded
	at      []place       // by projection
	by      *attempts     // that bring it to storages

	// What became of it since it is complete; guarded by the file's mu, at too.
	spares []int  // by position: the projection that a spare was given, -1 none
	safe   []bool // by projection: it is durable
	end    runEnd
}

// place is where a projection lies and under which boot it was taken.
type place struct {
	position int // in the distribution; -1: nowhere
	boot     vocab.Boot
}

// WriteAt writes p at offset off, or at the end of the file if the handle was
// opened with O_APPEND. It returns once the data are in memory, and waits while
// the write buffer is full. p is not kept.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if !h.writable {
		return 0, vocab.Errorf(vocab.Invalid, "the handle is not open for writing")
	}
	f := h.f
	if err := f.takeFailure(); err != nil {
		return 0, err
	}
	if err := f.hold(ctx, h.who, wire.LeaseWrite); err != nil {
		return 0, err
	}
	defer f.letGo()
	if err := h.LockLost(); err != nil {
		return 0, err
	}
	if err := f.content.Acquire(ctx, 1); err != nil {
		return 0, err
	}
	defer f.content.Release(1)
	if err := f.finishDiscards(ctx); err != nil {
		return 0, err
	}
	if h.append {
		f.mu.Lock()
		off = int64(f.attr.Size)
		f.mu.Unlock()
	}
	if off < 0 || uint64(off)+uint64(len(p)) > vocab.MaxFileBytes {
		return 0, vocab.Errorf(vocab.TooLarge, "write of %d bytes at %d: files are at most %d bytes", len(p), off, uint64(vocab.MaxFileBytes))
	}
	written := 0
	for written < len(p) {
		if err := f.c.makeRoom(ctx, f); err != nil {
			return written, err
		}
		n, err := f.writeBlock(ctx, p[written:], uint64(off)+uint64(written))
		written += n
		if err != nil {
			return written, err
		}
		if err := f.sendFullRuns(ctx); err != nil {
			return written, err
		}
	}
	if h.syncEach {
		if err := f.sync(ctx); err != nil {
			return 0, err // nobody may count on any of it
		}
	}
	return written, nil
}

// writeBlock copies what falls into one block; content is held.
func (f *file) writeBlock(ctx context.Context, p []byte, off uint64) (int, error) {
	size := uint64(f.coder.BlockBytes())
	b, from := off/size, off%size
	p = p[:min(uint64(len(p)), size-from)]
	now := f.c.session.now()
	err := f.modify(ctx, b, from, uint64(len(p)), func(data []byte) { copy(data[from:], p) })
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attr.Size = max(f.attr.Size, off+uint64(len(p)))
	f.attr.Mtime, f.attr.Ctime = now, max(f.attr.Ctime, now)
	f.uncommitted = true
	return len(p), nil
}

// modify changes a block in memory: n bytes from byte from on.
func (f *file) modify(ctx context.Context, b, from, n uint64, change func(data []byte)) error {
	for {
		pg, err := f.pageForWrite(ctx, b, from, n)
		if err != nil {
			return err
		}
		f.mu.Lock()
		switch {
		case f.pages[b] == pg:
		case pg.buf == nil: // it became durable and was dropped meanwhile
			f.mu.Unlock()
			continue
		default:
			f.pages[b] = pg
			f.c.buffered.take(len(pg.buf.B))
		}
		change(pg.buf.B)
		if !pg.dirty {
			pg.dirty, pg.run = true, nil
			f.dirty++
		}
		f.mu.Unlock()
		return nil
	}
}

// pageForWrite returns the page of a block, with the block's present content
// unless the write covers all that counts of it. The page is not yet in f.pages
// if it is new.
func (f *file) pageForWrite(ctx context.Context, b, from, n uint64) (*page, error) {
	size := uint64(f.coder.BlockBytes())
	f.mu.Lock()
	pg, end := f.pages[b], f.attr.Size
	f.mu.Unlock()
	if pg != nil {
		return pg, nil
	}
	pg = &page{buf: wire.NewBuffer(f.coder.PaddedBytes(int(size)))}
	start := b * size
	if start >= end || from == 0 && start+n >= min(end, start+size) {
		clear(pg.buf.B)
		return pg, nil
	}
	clear(pg.buf.B[size:])
	if err := f.fetch(ctx, b, 1, pg.buf.B[:size]); err != nil {
		pg.buf.Release()
		return nil, err
	}
	return pg, nil
}

// dropPage forgets a page; mu is held.
func (f *file) dropPage(b uint64) {
	pg := f.pages[b]
	if pg == nil {
		return
	}
	delete(f.pages, b)
	if pg.dirty {
		f.dirty--
	}
	n := len(pg.buf.B)
	pg.buf.Release()
	pg.buf = nil
	f.c.buffered.give(n)
}

// makeRoom waits until the write buffer has room, saving what fills it.
func (c *Client) makeRoom(ctx context.Context, f *file) error {
	if !c.buffered.over() {
		if c.buffered.half() {
			c.tidySoon()
		}
		return nil
	}
	for c.buffered.over() {
		room := c.buffered.watch()
		if err := f.save(ctx); err != nil {
			return err
		}
		if !c.buffered.over() {
			return nil
		}
		c.tidySoon()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// runBlocks is the number of blocks in a full run.
func (f *file) runBlocks() int { return max(1, runBytes/f.coder.BlockBytes()) }

// sendFullRuns sends dirty pages once there is a run of them.
func (f *file) sendFullRuns(ctx context.Context) error {
	f.mu.Lock()
	enough := f.dirty >= f.runBlocks()
	f.mu.Unlock()
	if !enough {
		return nil
	}
	return f.sendDirty(ctx)
}

// flush sends what is dirty and waits until all that was sent is complete. It reports,
// once, what a write could not do.
func (f *file) flush(ctx context.Context) error {
	err := f.drain(ctx)
	if failure := f.takeFailure(); failure != nil {
		return failure
	}
	return err
}

// drain is flush for those who have not written: of failures it returns only those that
// it meets, and leaves them for who has.
func (f *file) drain(ctx context.Context) error {
	for began := time.Now(); ; {
		if err := f.finishDiscards(ctx); err != nil {
			return err
		}
		f.mu.Lock()
		crowded, failures, lost := f.crowded, f.failures, f.lost
		f.mu.Unlock()
		if lost != nil {
			return lost
		}
		if err := f.sendDirty(ctx); err != nil {
			return err
		}
		if err := f.waitFor(ctx, func() bool { return f.inFlight == 0 }); err != nil {
			return err
		}
		again := f.crowded != crowded // what was sent is dirty again
		var err error
		if f.failures != failures {
			err = f.failed // who has written may have been told meanwhile; it is not saved all the same
		}
		f.mu.Unlock()
		if !again || err != nil {
			return err
		}
		if took := time.Since(began); took > f.c.cfg.StorageTimeout {
			return vocab.Errorf(vocab.Unavailable, "write of %v: fewer than %d storages took it within %v (%s)",
				f.place.FID, f.coder.Geometry.Layout.Forward, took.Round(time.Second), f.c.pool.missing(f.distribution()))
		}
	}
}

// sendDirty starts sending all dirty pages, run by run.
func (f *file) sendDirty(ctx context.Context) error {
	f.mu.Lock()
	blocks := make([]uint64, 0, f.dirty)
	if f.dirty > 0 {
		for b, pg := range f.pages {
			if pg.dirty {
				blocks = append(blocks, b)
			}
		}
	}
	f.mu.Unlock()
	slices.Sort(blocks)
	for len(blocks) > 0 {
		n := 1
		for n < len(blocks) && n < f.runBlocks() && blocks[n] == blocks[0]+uint64(n) {
			n++
		}
		for _, s := range f.stretches(blocks[0], n) {
			if err := f.startRun(ctx, s); err != nil {
				return err
			}
		}
		blocks = blocks[n:]
	}
	return nil
}

// startRun encodes the pages of a stretch and sends them on a goroutine of its
// own. A sending slot bounds how many runs are under way.
func (f *file) startRun(ctx context.Context, s stretch) error {
	select {
	case f.c.sending <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r, slots, err := f.encode(s)
	if r == nil {
		<-f.c.sending
		return err
	}
	started := f.attempt(r.by, func(ctx context.Context) {
		err := f.send(ctx, r, slots)
		<-f.c.sending
		f.sent(r, err)
	})
	if !started {
		slots.release()
		<-f.c.sending
		f.sent(r, errClosed)
	}
	return nil
}

// encode takes the dirty pages of a stretch, as long as they are consecutive, and makes a
// run of them and its slots, by projection, which are nil for zeros. It returns no run if
// nothing is dirty any more, or nothing need be sent.
func (f *file) encode(s stretch) (*run, slotSet, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first, n := s.first, s.count
	for n > 0 && !f.isDirty(first) {
		first, n = first+1, n-1
	}
	r := &run{first: first, by: f.attempts}
	for i := 0; i < n && f.isDirty(first+uint64(i)); i++ {
		r.pages = append(r.pages, f.pages[first+uint64(i)])
	}
	if len(r.pages) == 0 {
		return nil, nil, nil
	}
	r.zeros = s.zeros && f.allZeros(r)
	if r.zeros && first >= f.fresh {
		f.forgetZeros(r)
		return nil, nil, nil
	}
	f.fresh = max(f.fresh, first+uint64(len(r.pages)))
	r.final = f.final()
	f.counter++
	r.version = vocab.Version{Epoch: f.lease.Epoch, Counter: f.counter}
	f.finality.begun(f.counter)
	size := uint64(f.coder.BlockBytes())
	last := first + uint64(len(r.pages)-1)
	r.used = int(min(size, f.attr.Size-last*size))
	slots := make(slotSet, f.coder.Geometry.Layout.Forward)
	if !r.zeros {
		var err error
		if slots, err = f.encodeSlots(r); err != nil {
			return nil, nil, err
		}
	}
	for _, pg := range r.pages {
		pg.dirty, pg.run = false, r
		f.dirty--
	}
	f.inFlight++
	return r, slots, nil
}

func (f *file) isDirty(b uint64) bool {
	pg := f.pages[b]
	return pg != nil && pg.dirty
}

// slotSet holds the slots of a run, one buffer per projection.
type slotSet []*wire.Buffer

func (s slotSet) release() {
	for _, b := range s {
		b.Release()
	}
}

// encodeSlots is called with mu held.
func (f *file) encodeSlots(r *run) (slotSet, error) {
	n := int(f.coder.Geometry.Layout.Forward)
	slots := make(slotSet, n)
	for i := range slots {
		stride := wire.SlotHeaderBytes + f.coder.RoomAt(i)
		slots[i] = wire.NewBuffer((len(r.pages)-1)*stride + f.coder.SlotBytes(i, r.used))
	}
	dst, views := make([][]byte, n), make([][]byte, n)
	for j, pg := range r.pages {
		used := f.coder.BlockBytes()
		if j == len(r.pages)-1 {
			used = r.used
		}
		for i := range slots {
			stride := wire.SlotHeaderBytes + f.coder.RoomAt(i)
			dst[i] = slots[i].B[j*stride:][:f.coder.SlotBytes(i, used)]
		}
		id := block.Identity{FID: f.place.FID, Block: r.first + uint64(j), Version: r.version}
		if err := f.coder.PutSlots(dst, views, id, pg.buf.B, used); err != nil {
			slots.release()
			return nil, vocab.Errorf(vocab.Internal, "encode block %d of %v: %v", id.Block, f.place.FID, err)
		}
	}
	return slots, nil
}

// sent takes note of how a run ended. What failed is dirty again, so that a later
// flush tries once more; the error is kept for the caller.
func (f *file) sent(r *run, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight--
	if err == nil {
		f.runs = append(f.runs, r)
		for i, at := range r.at {
			f.degraded = f.degraded || at.position != i
		}
	} else {
		switch {
		case errors.Is(err, errCrowded):
			f.crowded++
		case r.by.stopped(): // the caller has been told already
		default:
			f.failure, f.failed = err, err
			f.failures++
		}
		r.end = runLost
		f.ended(r, false)
		for _, pg := range r.pages {
			if pg.run == r && pg.buf != nil {
				pg.dirty, pg.run = true, nil
				f.dirty++
			}
		}
	}
	f.broadcast()
}
