package rozofs

import (
	"context"
	"errors"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// ReadAt reads up to len(p) bytes at offset off. It returns fewer only at the end
// of the file, with a nil error.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if !h.readable {
		return 0, vocab.Errorf(vocab.Invalid, "the handle is not open for reading")
	}
	if off < 0 {
		return 0, vocab.Errorf(vocab.Invalid, "read at offset %d", off)
	}
	f := h.f
	if err := f.hold(ctx, h.who, wire.LeaseRead); err != nil {
		return 0, err
	}
	defer f.letGo()
	if err := h.LockLost(); err != nil {
		return 0, err
	}
	if err := f.finishDiscards(ctx); err != nil {
		return 0, err
	}
	for {
		f.mu.Lock()
		size, cuts := f.attr.Size, f.cuts
		f.mu.Unlock()
		if uint64(off) >= size {
			return 0, nil
		}
		part := p[:min(uint64(len(p)), size-uint64(off))]
		err := f.read(ctx, part, uint64(off))
		f.mu.Lock()
		cut := f.cuts != cuts
		f.mu.Unlock()
		if !cut {
			return len(part), err
		}
		// What was in memory is gone since, and the storages may have older content yet.
	}
}

// read fills p, which lies within the file, from pages in memory and from the
// storages.
func (f *file) read(ctx context.Context, p []byte, off uint64) error {
	size := uint64(f.coder.BlockBytes())
	most := f.runBlocks()
	for len(p) > 0 {
		first, from := off/size, off%size
		blocks := min(int((from+uint64(len(p))+size-1)/size), most)
		n := min(uint64(len(p)), uint64(blocks)*size-from)
		if err := f.readRun(ctx, p[:n], first, from); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readRun reads the blocks from first on that p, which starts at byte from of the
// first, takes part in. What this mount writes beside it may be on its way to the storages,
// which then show no version whole; by the next look it is in memory, or on all of them.
func (f *file) readRun(ctx context.Context, p []byte, first, from uint64) error {
	for {
		f.mu.Lock()
		counter := f.counter
		f.mu.Unlock()
		err := f.readRunOnce(ctx, p, first, from)
		if !errors.Is(err, vocab.Corrupt) {
			return err
		}
		f.mu.Lock()
		wrote := f.counter != counter
		f.mu.Unlock()
		if !wrote {
			return err
		}
	}
}

func (f *file) readRunOnce(ctx context.Context, p []byte, first, from uint64) error {
	size := uint64(f.coder.BlockBytes())
	blocks := int((from + uint64(len(p)) + size - 1) / size)
	// part returns what of p is block first+i, and at which byte of it that starts.
	part := func(i int) (dst []byte, at uint64) {
		if i == 0 {
			return p[:min(uint64(len(p)), size-from)], from
		}
		start := uint64(i)*size - from
		return p[start:min(uint64(len(p)), start+size)], 0
	}
	inMemory := make([]bool, blocks)
	f.mu.Lock()
	for i := range blocks {
		if pg := f.pages[first+uint64(i)]; pg != nil {
			dst, at := part(i)
			copy(dst, pg.buf.B[at:])
			inMemory[i] = true
		}
	}
	f.mu.Unlock()
	for i := 0; i < blocks; {
		if inMemory[i] {
			i++
			continue
		}
		n := 1
		for i+n < blocks && !inMemory[i+n] {
			n++
		}
		if err := f.fetchInto(ctx, first+uint64(i), n, func(j int) ([]byte, uint64) { return part(i + j) }); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// fetch reads n whole blocks into dst.
func (f *file) fetch(ctx context.Context, first uint64, n int, dst []byte) error {
	size := f.coder.BlockBytes()
	return f.fetchInto(ctx, first, n, func(j int) ([]byte, uint64) { return dst[j*size:][:size], 0 })
}
