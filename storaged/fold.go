package storaged

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// folder brings what is final from the journal into place when the journal has grown, and
// lets go of the segments that it has emptied, until the root is closed.
func (r *root) folder() {
	defer close(r.folded)
	moved := uint64(math.MaxUint64) // finals when all was moved last: until there are more it is of no use
	for {
		select {
		case <-r.closing.Done():
			return
		case <-r.journal.wake:
		}
		r.journal.idle.Store(false)
		seen := r.finals.Load()
		for r.journal.long() && r.closing.Err() == nil && r.serving() == nil {
			n, err := r.fold(false)
			if err == nil && n == 0 && (r.journal.full() || r.journal.heavy()) && r.finals.Load() == seen && seen != moved {
				moved = seen
				n, err = r.fold(true)
			}
			if err != nil {
				r.log.Error("the journal cannot be folded", "err", err)
			}
			if n == 0 {
				break // nothing was final: the next change wakes us
			}
		}
		r.journal.idle.Store(true)
	}
}

// Fold brings what is final from the journals into place and empties them of it.
func (s *Server) Fold() error {
	var errs []error
	for _, r := range s.order {
		for range 2 { // what is discarded by the first changes headers
			_, err := r.fold(true)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// relieve folds what is final when discards have piled up, so that who sends them waits for
// the disk. It does not wait for what is not final, which may be for more of them.
func (r *root) relieve() {
	if seen := r.finals.Load(); !r.journal.heavy() || r.relieved.Swap(seen) == seen {
		return
	}
	if _, err := r.fold(false); err != nil {
		r.log.Error("the journal cannot be folded", "err", err)
	}
}

// fold empties segments from the oldest on, the current one among them, and tells how
// many. With all unset it stops at one that has something which is not final: moving that
// to the end of the journal is worth it only when the journal is full.
func (r *root) fold(all bool) (n int, err error) {
	r.folding.Lock()
	defer r.folding.Unlock()
	if err := r.journal.seal(); err != nil {
		return 0, r.failure("begin a segment of the journal", err)
	}
	for _, seg := range r.journal.sealed() {
		if r.closing.Err() != nil || !all && !r.isFinal(seg) {
			return n, nil
		}
		if err := r.foldSegment(seg); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// isFinal tells whether all of a segment can leave the journal.
func (r *root) isFinal(seg *segment) bool {
	for _, fid := range r.journal.fidsOf(seg) {
		f := r.files.acquire(fid)
		final := f.isFinal(seg)
		r.files.release(f)
		if !final {
			return false
		}
	}
	return true
}

func (s *slotFile) isFinal(seg *segment) bool {
	ok, err := s.lockFold()
	defer s.mu.Unlock()
	if !ok || err != nil {
		return true // foldSegment meets the error too
	}
	for _, all := range s.log.blocks {
		for _, e := range all {
			if e.seg == seg && e.version.Compare(s.head.Final) > 0 {
				return false
			}
		}
	}
	return true
}

// foldBatch bounds the files that are open to be folded.
const foldBatch = 512

// foldSegment empties one.
func (r *root) foldSegment(seg *segment) error {
	for fids := range slices.Chunk(r.journal.fidsOf(seg), foldBatch) {
		if err := r.foldFiles(seg, fids); err != nil {
			return err
		}
	}
	if err := r.syncJournal(); err != nil {
		return err
	}
	if err := r.journal.remove(seg); err != nil {
		return r.failure("remove "+segmentName(seg.seq), err)
	}
	return nil
}

// foldFiles takes files out of a segment. Nothing leaves the journal before it is durable
// in place: slots are written and synced; then the headers go through the journal, which is
// synced, and are written and synced in place; what is not final goes to the end of the
// journal.
func (r *root) foldFiles(seg *segment, fids []vocab.FID) error {
	files, touched := make([]*slotFile, len(fids)), map[int]bool{}
	for i, fid := range fids {
		files[i] = r.files.acquire(fid) // they stay open between the steps
		defer r.files.release(files[i])
		touched[bucketOf(fid)] = true
	}
	each := func(do func(*slotFile) error) error {
		var g errgroup.Group
		g.SetLimit(syncsAtOnce)
		for _, f := range files {
			g.Go(func() error { return do(f) })
		}
		return g.Wait()
	}
	for _, step := range []func() error{
		func() error { return each(func(f *slotFile) error { return f.foldSlots(seg) }) },
		func() error { return each((*slotFile).sync) },
		r.syncJournal,
		func() error { return r.syncBuckets(touched) },
		func() error { return each(func(f *slotFile) error { return f.foldHead(seg) }) },
		func() error { return each(func(f *slotFile) error { return f.leave(seg) }) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// lockFold opens the file to fold it; ok is false if the journal has nothing of it.
func (s *slotFile) lockFold() (ok bool, err error) {
	s.mu.Lock()
	if s.deleted {
		return false, nil
	}
	err = s.open()
	return err == nil && s.log != nil, err
}

// foldSlots writes the newest final versions that lie in a segment in place, and notes
// which they are.
func (s *slotFile) foldSlots(seg *segment) error {
	ok, err := s.lockFold()
	defer s.mu.Unlock()
	if !ok || err != nil {
		return err
	}
	var blocks []uint64
	s.folded = map[uint64]vocab.Version{}
	for block, all := range s.log.blocks {
		if e, ok := s.finalEntry(all); ok && e.seg == seg {
			s.folded[block] = e.version
			if !s.isCutOff(block, e.version) {
				blocks = append(blocks, block)
			}
		}
	}
	if len(blocks) == 0 && (s.f != nil || s.log.headAt != seg) {
		return nil // else the header needs a place
	}
	slices.Sort(blocks)
	if err := s.create(); err != nil {
		return err
	}
	h := s.head.clone()
	for _, block := range blocks {
		e, _ := s.finalEntry(s.log.blocks[block])
		if e.bytes == 0 {
			h.forget(e.version)
		}
	}
	if h.Forgotten != s.head.Forgotten { // durable before the discard leaves the journal
		if err := s.setHead(h); err != nil {
			return err
		}
	}
	buf := wire.NewBuffer(max(int(s.head.stride()), foldBytes))
	defer buf.Release()
	for len(blocks) > 0 {
		n, err := s.foldRun(blocks, buf.B)
		if err != nil {
			return err
		}
		blocks = blocks[n:]
	}
	return nil
}

// isCutOff tells whether a version of a block was discarded by a truncation that is final.
func (s *slotFile) isCutOff(block uint64, v vocab.Version) bool {
	return slices.ContainsFunc(s.head.Cuts, func(c cut) bool {
		return block >= c.First && v.Compare(c.Version) <= 0 && c.Version.Compare(s.head.Final) <= 0
	})
}

// foldBytes is what is written in place at a time.
const foldBytes = 1 << 20

// finalEntry is the newest final one.
func (s *slotFile) finalEntry(all []entry) (entry, bool) {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].version.Compare(s.head.Final) <= 0 {
			return all[i], true
		}
	}
	return entry{}, false
}

// foldRun folds the first of the blocks and those that follow it, and tells how many. A
// newer version that is in place already stays.
func (s *slotFile) foldRun(blocks []uint64, b []byte) (n int, err error) {
	stride := int(s.head.stride())
	length := 0
	for n < len(blocks) && blocks[n] == blocks[0]+uint64(n) && (n+1)*stride <= len(b) {
		e, _ := s.finalEntry(s.log.blocks[blocks[n]])
		h, state := s.headerInPlace(blocks[n])
		if newer := state == wire.SlotPresent && h.Version.Compare(e.version) > 0; newer || e.bytes == 0 {
			switch {
			case n > 0:
			case newer:
				return 1, nil
			default:
				return s.foldVoids(blocks)
			}
			break
		}
		slot := b[n*stride : (n+1)*stride]
		got, err := e.read(slot)
		if err != nil {
			return 0, s.root.failure("read the journal", err)
		}
		clear(slot[got:])
		length = n*stride + got
		n++
	}
	off := s.head.offset(blocks[0])
	if _, err := s.f.WriteAt(b[:length], off); err != nil {
		return 0, s.root.failure(fmt.Sprintf("write %v", s.fid), err)
	}
	s.owes = true
	s.size = max(s.size, off+int64(length))
	return n, nil
}

// foldVoids takes away the slots of the first of the blocks and of those that follow it, as
// far as they were discarded, and tells how many.
func (s *slotFile) foldVoids(blocks []uint64) (n int, err error) {
	there := 0 // of the first ones, up to the last that has something in place
	for n < len(blocks) && blocks[n] == blocks[0]+uint64(n) {
		e, _ := s.finalEntry(s.log.blocks[blocks[n]])
		h, state := s.headerInPlace(blocks[n])
		if e.bytes > 0 || state == wire.SlotPresent && h.Version.Compare(e.version) > 0 {
			break
		}
		n++
		if state != wire.SlotAbsent {
			there = n
		}
	}
	if there > 0 {
		s.owes = true
		err = s.drop(blocks[0], blocks[0]+uint64(there))
	}
	return n, err
}

// headerInPlace reads the header of a slot in place.
func (s *slotFile) headerInPlace(block uint64) (wire.SlotHeader, wire.SlotState) {
	if s.f == nil || block >= s.head.slotsIn(s.size) {
		return wire.SlotHeader{}, wire.SlotAbsent
	}
	return s.slotHeader(block)
}

// foldHead writes the header in place and syncs it. The journal has the same one, durably,
// or one that does not know yet what has become final since, until it is forgotten here.
func (s *slotFile) foldHead(seg *segment) error {
	ok, err := s.lockFold()
	if !ok || err != nil || s.log.head == nil || s.log.headAt != seg || s.f == nil {
		s.mu.Unlock()
		return err
	}
	logged, h, f := s.log.head, s.head.clone(), s.f
	s.mu.Unlock()
	if _, err := f.WriteAt(h.marshal(), 0); err != nil {
		return s.root.failure(fmt.Sprintf("write header of %v", s.fid), err)
	}
	leave := s.root.syncer()
	err = f.Datasync()
	leave()
	if err != nil {
		return s.root.fail("sync "+s.fid.String(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log != nil && s.log.head == logged { // else a newer one came
		s.log.head, s.log.headAt = nil, nil
		s.size = max(s.size, slotFileHeader)
	}
	return nil
}

// leave drops from the index what was folded, and writes what the segment has besides to
// the end of the journal.
func (s *slotFile) leave(seg *segment) error {
	ok, err := s.lockFold()
	defer s.mu.Unlock()
	folded := s.folded
	s.folded = nil
	if !ok || err != nil {
		return err
	}
	for block, v := range folded {
		// A discard stays as long as what it hides lies in a later segment, and would be
		// found there at the next start.
		hides := slices.ContainsFunc(s.log.blocks[block], func(e entry) bool { return e.version.Compare(v) < 0 && e.seg.seq > seg.seq })
		s.log.drop(block, func(e entry) bool {
			c := e.version.Compare(v)
			return c == 0 && !(hides && e.bytes == 0) || c < 0 && e.seg.seq <= seg.seq
		})
	}
	if s.log.head != nil && s.log.headAt == seg {
		if err := s.record(headRecord(s.head.clone())); err != nil {
			return err
		}
	}
	var voids []uint64
	for block, all := range s.log.blocks {
		// What a newer final version has replaced must not come behind it: at the next
		// start it would be taken for what is to be folded.
		final, _ := s.finalEntry(all)
		s.log.drop(block, func(e entry) bool { return e.seg == seg && e.version.Compare(final.version) < 0 })
		for _, e := range s.log.blocks[block] {
			if e.seg == seg && e.bytes == 0 {
				voids = append(voids, block)
			} else if e.seg == seg {
				if err := s.moveUp(block, e); err != nil {
					return err
				}
			}
		}
	}
	if err := s.moveVoids(seg, voids); err != nil {
		return err
	}
	if s.log.empty() {
		s.root.journal.forget(s.fid)
		s.log = nil
	}
	return nil
}

// moveVoids writes the discards of blocks that lie in a segment to the end of the journal,
// those of consecutive blocks by one version together.
func (s *slotFile) moveVoids(seg *segment, blocks []uint64) error {
	type void struct {
		block   uint64
		version vocab.Version
	}
	var all []void
	slices.Sort(blocks)
	for _, b := range slices.Compact(blocks) {
		for _, e := range s.log.blocks[b] {
			if e.seg == seg && e.bytes == 0 {
				all = append(all, void{b, e.version})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b void) int { return a.version.Compare(b.version) })
	for len(all) > 0 {
		n := 1
		for n < len(all) && n < wire.MaxRunBlocks && all[n] == (void{all[0].block + uint64(n), all[0].version}) {
			n++
		}
		run := wire.Run{FID: s.fid, First: all[0].block, Count: uint32(n)}
		if err := s.record(voidRecord(&run, s.head.PayloadBytes, all[0].version)); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// moveUp writes the slot of an entry to the end of the journal.
func (s *slotFile) moveUp(block uint64, e entry) error {
	b := make([]byte, e.bytes)
	if got, err := e.read(b); err != nil || got < len(b) {
		return s.root.failure("read the journal", err)
	}
	return s.record(slotsRecord(s.fid, block, s.head.PayloadBytes, []vocab.Version{e.version}, b))
}
