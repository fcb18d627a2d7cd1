package storaged

import (
	"container/list"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
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
	mu      sync.RWMutex
	f       file // nil: not opened, or not there
	state   fileState
	head    fileHeader // if formed
	size    int64
	newest  vocab.Version // no slot and no cut is above it
	deleted bool          // for good: no write makes it anew
	scratch [wire.SlotHeaderBytes]byte
}

// fileState is what the open file looks like.
type fileState uint8

const (
	formless fileState = iota // shorter than a header, or nothing but zeros: holds no slot
	formed                    // the header is sound
	broken                    // the header is not: what the slots are nobody knows
)

// open opens the file if it is there and not open yet. Needs mu for writing.
func (s *slotFile) open() error {
	if s.f != nil || s.deleted {
		return nil
	}
	f, err := s.root.disk.open(slotFileName(s.fid), os.O_RDWR)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return s.root.openFailure(slotFileName(s.fid), err)
	}
	if err := s.take(f); err != nil {
		_ = f.Close() // nothing was written
		return s.root.failure("open "+slotFileName(s.fid), err)
	}
	return nil
}

// take reads the header of a file that was just opened.
func (s *slotFile) take(f file) error {
	size, _, err := f.stat()
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
	case size > slotFileHeader || !allZero(b[:n]):
		s.root.log.Warn("the header of a slot file is broken", "fid", s.fid.String())
		state = broken
	}
	s.f, s.state, s.head, s.size, s.newest = f, state, head, size, head.newest()
	s.kept.Store(true)
	return nil
}

// create makes the file. Needs mu for writing, and that open found none.
func (s *slotFile) create() error {
	b := bucketOf(s.fid)
	name := slotFileName(s.fid)
	const flag = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := s.root.disk.open(name, flag)
	if isNotExist(err) {
		if err = s.root.makeBucket(b); err == nil {
			f, err = s.root.disk.open(name, flag)
		}
	}
	if err != nil {
		return s.root.openFailure(name, err)
	}
	s.root.dirs[b].changed.Add(1)
	s.f, s.state, s.size = f, formless, 0
	s.kept.Store(true)
	return nil
}

// forget closes the descriptor. Needs mu for writing, or that nobody else has
// the slotFile.
func (s *slotFile) forget() error {
	if s.f == nil {
		return nil
	}
	f := s.f
	s.f, s.state, s.head, s.size, s.newest = nil, formless, fileHeader{}, 0, vocab.Version{}
	s.kept.Store(s.deleted)
	return f.Close()
}

func (s *slotFile) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forget()
}

// lockRead locks the file for reading, open if it is there.
func (s *slotFile) lockRead() error {
	s.mu.RLock()
	if s.f != nil || s.deleted {
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
