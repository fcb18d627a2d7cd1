package storaged

import (
	"context"
	"fmt"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// discard serves OpDiscard.
func (s *Server) discard(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.DiscardRequest
	if err := r.Decode(&req); err != nil {
		return nil, wire.Bulk{}, err
	}
	rt, err := s.target(r, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	if req.Version.Absent() || req.Version.Epoch > req.Epoch {
		return nil, wire.Bulk{}, vocab.Errorf(vocab.Invalid, "discard by version %v under epoch %d", req.Version, uint64(req.Epoch))
	}
	leave, err := rt.enter(ctx, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	defer leave()
	f := rt.files.acquire(req.FID)
	defer rt.files.release(f)
	if err := f.discard(&req.Run, req.Version); err != nil {
		return nil, wire.Bulk{}, err
	}
	return &wire.BootReply{Boot: s.boot}, wire.Bulk{}, nil
}

// discard drops slots of the run up to the version. What it changes is durable
// after the next sync.
//
// BUG: only discards to the end of a file that is there leave a tombstone, the
// three latest that matter. A write that is older than another discard and
// arrives after it brings its blocks back on this storage.
func (s *slotFile) discard(run *wire.Run, v vocab.Version) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	if s.f == nil || s.state == formless {
		return nil
	}
	if s.state == broken {
		return vocab.Errorf(vocab.Corrupt, "file %v: the header of its slot file is broken", s.fid)
	}
	if err := s.checkGeneration(run.Generation); err != nil {
		return err
	}
	s.dirty.Store(true)
	toEnd := run.Count == 0
	if err := s.noteDiscard(run, v, toEnd); err != nil {
		return err
	}
	n := s.head.slotsIn(s.size)
	first, end := min(run.First, n), n
	if !toEnd {
		end = min(run.First+uint64(run.Count), n)
	}
	if v.Compare(s.newest) >= 0 {
		return s.drop(first, end)
	}
	return s.dropOlder(first, end, v)
}

// noteDiscard brings the header up to the discard.
func (s *slotFile) noteDiscard(run *wire.Run, v vocab.Version, toEnd bool) error {
	h := s.head
	h.Generation = max(h.Generation, run.Generation)
	if toEnd {
		h.MaxEpoch = max(h.MaxEpoch, v.Epoch)
		h.addCut(cut{run.First, v})
		return s.writeHead(h, v)
	}
	if h.Generation == s.head.Generation {
		return nil
	}
	return s.writeHead(h, s.newest)
}

// dropOlder drops the slots from first to end that are not above v. Broken ones
// stay, since nobody knows their version.
func (s *slotFile) dropOlder(first, end uint64, v vocab.Version) error {
	extents, _, err := s.dataExtents(first, end)
	if err != nil {
		return err
	}
	from := first // of the range to drop
	for _, e := range extents {
		for b := e.from; b < e.to; b++ {
			h, state := s.slotHeader(b)
			if state == wire.SlotAbsent || state == wire.SlotPresent && h.Version.Compare(v) <= 0 {
				continue
			}
			if err := s.drop(from, b); err != nil {
				return err
			}
			from = b + 1
		}
	}
	return s.drop(from, end)
}

// drop removes the slots from first to end, whatever they are.
func (s *slotFile) drop(first, end uint64) error {
	if first >= end {
		return nil
	}
	at := s.head.offset(first)
	var err error
	if end >= s.head.slotsIn(s.size) {
		if err = s.f.truncate(at); err == nil {
			s.size = at
		}
	} else {
		err = s.f.punch(at, s.head.offset(end)-at)
	}
	if err != nil {
		return s.root.failure(fmt.Sprintf("discard blocks of %v", s.fid), err)
	}
	return nil
}
