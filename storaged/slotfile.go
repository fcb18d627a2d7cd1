package storaged

import (
	"container/list"
	"errors"
	"io"
	"os"
	"sync/atomic"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged/disk"
)

// slotFile is the file of one fid on a root. There is at most one with
// references at a time, so its locks serialize all that happens to the file.
type slotFile struct {
	root *root
	fid  vocab.FID

	refs int           // guarded by fileCache.mu
	idle *list.Element // guarded by fileCache.mu; nil while there are references

	kept  atomic.Bool // there is a descriptor, or the knowledge of a deletion, to keep
	dirty atomic.Bool // written since the last sync began
	group syncGroup   // of its fdatasyncs; takes no other lock

	// mu keeps readers from torn slots and writers from one another. It guards
	// the rest. Held during I/O, but not during syncs.
	mu      diskLock
	opened  bool
	f       disk.File // in place; nil: there is none
	log     *pending  // in the journal; nil: nothing
	state   fileState
	head    fileHeader               // if formed
	size    int64                    // in place
	newest  vocab.Version            // no slot and no cut is above it
	direct  uint64                   // slots are written in place only at or above it: none below may be torn
	lowered uint64                   // covered when the last sync began
	highest vocab.Version            // written in place and perhaps not final; absent: none since Settled
	owes    bool                     // written in place since the last sync began
	shrunk  uint64                   // counts shortenings
	folded  map[uint64]vocab.Version // what the folder has put in place and not yet forgotten
	cutDone vocab.Version            // cuts up to it are done in place
	deleted bool                     // for good: no write makes it anew
	scratch [wire.SlotHeaderBytes]byte
}

// fileState is what the file looks like.
type fileState uint8

const (
	formless fileState = iota // has no header: holds no slot
	formed                    // the header is sound
	broken                    // the header is not: what the slots are nobody knows
)

// open finds out what there is, once. Needs mu for writing.
func (s *slotFile) open() error {
	if s.opened || s.deleted {
		return nil
	}
	f, err := s.root.disk.Open(slotFileName(s.fid), os.O_RDWR)
	switch {
	case isNotExist(err):
	case err != nil:
		return s.root.openFailure(slotFileName(s.fid), err)
	default:
		if err := s.take(f); err != nil {
			_ = f.Close() // nothing was written
			return s.root.failure("open "+slotFileName(s.fid), err)
		}
	}
	s.log = s.root.journal.pendingOf(s.fid)
	if s.log != nil && s.log.head != nil {
		s.head, s.state = s.log.head.clone(), formed
	}
	if s.log != nil && s.state == formless {
		s.state = broken
	}
	if s.log != nil && s.log.final.Compare(s.head.Final) > 0 {
		s.head.Final = s.log.final
	}
	s.direct, s.newest = s.head.Covered, s.head.newest()
	if s.log != nil {
		s.direct = max(s.direct, s.log.direct)
		s.kept.Store(true)
	}
	s.owes = s.head.slotsIn(s.size) > s.head.Covered
	// A crash may have taken away what was settled and not synced.
	if s.head.Settled = min(s.head.Settled, s.head.slotsIn(s.size)); s.head.slotsIn(s.size) > s.head.Settled {
		s.highest = s.newest
	}
	if err := s.trim(); err != nil {
		_ = s.forget()
		return s.root.failure("open "+slotFileName(s.fid), err)
	}
	s.opened = true
	return nil
}

// take reads the header in place of a file that was just opened. It was written and
// synced after the slots that it covers, and before the journal let go of it: when it is
// all zeros there never was one.
func (s *slotFile) take(f disk.File) error {
	size, _, err := f.Stat()
	if err != nil {
		return err
	}
	b := make([]byte, slotFileHeader)
	n, err := f.ReadAt(b, 0)
	state := formless
	var head fileHeader
	switch h, ok := parseFileHeader(b[:n], s.fid); {
	case ok:
		state, head = formed, h
	case err != nil && !errors.Is(err, io.EOF):
		s.root.log.Warn("the header of a slot file cannot be read", "fid", s.fid.String(), "err", err)
		state = broken
	case !allZero(b[:n]):
		s.root.log.Warn("the header of a slot file is broken", "fid", s.fid.String())
		state = broken
	}
	s.f, s.state, s.head, s.size = f, state, head, size
	s.kept.Store(true)
	return nil
}

// trim takes away slots in place that no sync has covered and that a crash has torn.
func (s *slotFile) trim() error {
	if s.f == nil || s.state != formed {
		return nil
	}
	end := s.head.slotsIn(s.size)
	extents, err := s.dataExtents(s.head.Covered, end)
	if err != nil {
		return err
	}
	b := make([]byte, s.head.stride())
	for _, e := range extents {
		for block := e.from; block < e.to; block++ {
			n, err := s.f.ReadAt(b, s.head.offset(block))
			if err != nil && err != io.EOF {
				return err
			}
			if _, _, state := wire.ParseSlot(b[:n], s.fid, block); state == wire.SlotPresent || allZero(b[:n]) {
				continue
			}
			if err := s.drop(block, block+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// create makes the file in place, empty. Needs mu for writing.
func (s *slotFile) create() error {
	if s.f != nil {
		return nil
	}
	b := bucketOf(s.fid)
	name := slotFileName(s.fid)
	const flag = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := s.root.disk.Open(name, flag)
	if isNotExist(err) {
		if err = s.root.makeBucket(b); err == nil {
			f, err = s.root.disk.Open(name, flag)
		}
	}
	if err != nil {
		return s.root.openFailure(name, err)
	}
	s.root.dirs[b].changed.Add(1)
	s.f, s.size = f, 0
	s.kept.Store(true)
	return nil
}

// forget closes the descriptor. Needs mu for writing, or that nobody else has
// the slotFile.
func (s *slotFile) forget() error {
	f := s.f
	s.opened, s.f, s.log, s.state, s.head, s.size, s.newest = false, nil, nil, formless, fileHeader{}, 0, vocab.Version{}
	s.direct, s.owes, s.cutDone, s.highest = 0, false, vocab.Version{}, vocab.Version{}
	s.kept.Store(s.deleted)
	if f == nil {
		return nil
	}
	return f.Close()
}

func (s *slotFile) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forget()
}

// setHead changes the header, by way of the journal, together with what is to be
// recorded beside it. Needs mu for writing.
func (s *slotFile) setHead(h fileHeader, beside ...*record) error {
	return s.record(append([]*record{headRecord(h)}, beside...)...)
}

// record appends to the journal.
func (s *slotFile) record(records ...*record) error {
	if err := s.root.journal.append(records...); err != nil {
		return s.root.failure("write the journal", err)
	}
	s.dirty.Store(true)
	s.log = s.root.journal.pendingOf(s.fid)
	for _, r := range records {
		if r.head != nil {
			s.head, s.state = r.head.clone(), formed
		}
	}
	s.log.final, s.log.direct = s.head.Final, s.direct
	s.kept.Store(true)
	return nil
}

// lockRead locks the file for reading, open if it is there.
func (s *slotFile) lockRead() error {
	s.mu.RLock()
	if s.opened || s.deleted {
		return nil
	}
	s.mu.RUnlock()
	s.mu.Lock()
	err := s.open()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.mu.RLock()
	return nil
}

// checkGeneration refuses a distribution that has changed since.
func (s *slotFile) checkGeneration(g uint32) error {
	if s.state == formed && g < s.head.Generation {
		return vocab.Errorf(vocab.OldGeneration, "file %v: generation %d of the distribution, the storage has seen %d", s.fid, g, s.head.Generation)
	}
	return nil
}

// checkLease refuses what a client sends so late that something of a newer lease is final:
// on a storage that has older content of the block, or none, it would count as the newest.
func (s *slotFile) checkLease(client bool, e vocab.Epoch) error {
	if client && s.state == formed && e < s.head.Final.Epoch {
		return vocab.Errorf(vocab.Fenced, "file %v: the lease with epoch %d has ended, %d was granted since", s.fid, uint64(e), uint64(s.head.Final.Epoch))
	}
	return nil
}

func (s *slotFile) brokenHeader() error {
	return vocab.Errorf(vocab.Corrupt, "file %v: the header of its slot file is broken", s.fid)
}

// slotHeader reads the header of a slot. What cannot be read is broken. Needs mu
// for writing.
func (s *slotFile) slotHeader(block uint64) (h wire.SlotHeader, state wire.SlotState) {
	b := s.scratch[:]
	n, err := s.f.ReadAt(b, s.head.offset(block))
	if err != nil && err != io.EOF {
		s.root.log.Warn("a slot cannot be read", "fid", s.fid.String(), "block", block, "err", err)
		return h, wire.SlotBroken
	}
	state = s.check(&h, b[:n], block)
	return h, state
}

// check parses a slot's header and compares it with where it lies.
func (s *slotFile) check(h *wire.SlotHeader, b []byte, block uint64) wire.SlotState {
	state := h.Parse(b)
	if state == wire.SlotPresent && (h.FID != s.fid || h.Block != block || h.PayloadBytes > s.head.PayloadBytes) {
		return wire.SlotBroken
	}
	return state
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
