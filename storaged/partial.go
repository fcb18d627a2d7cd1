package storaged

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// partialFile is there, empty, as long as a root lacks what its predecessor had. Blocks of
// which such a root has nothing read as unknown: it cannot tell whether they are absent.
const partialFile = "rozofs.partial"

// openCondition finds out in which condition the root is.
func (r *root) openCondition() error {
	f, err := r.disk.Open(partialFile, os.O_RDONLY)
	switch {
	case err == nil:
		r.partial.Store(true)
		return f.Close()
	case !isNotExist(err):
		return err
	}
	used, err := r.disk.Names(slotsDir)
	if err == nil && len(used) == 0 && len(r.journal.files) == 0 && len(r.fences.epochs) == 0 {
		r.unused.Store(true)
	}
	return err
}

// markRoot makes the root partial, or whole, durably.
func (r *root) markRoot(partial bool) error {
	if r.partial.Load() == partial {
		return nil
	}
	if partial {
		f, err := r.disk.Open(partialFile, os.O_WRONLY|os.O_CREATE)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return r.failure("create "+partialFile, err)
		}
		r.partial.Store(true) // before it is durable: unknown is never wrong
	} else if err := r.disk.Remove(partialFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r.failure("remove "+partialFile, err)
	}
	if err := r.disk.SyncDir("."); err != nil {
		return r.fail("sync the root directory", err)
	}
	r.partial.Store(partial)
	return nil
}

// mark serves OpMark.
func (s *Server) mark(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.MarkRequest
	rt, leave, err := s.begin(ctx, r, &req, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	defer leave()
	if req.FID == (vocab.FID{}) {
		err = rt.markRoot(req.Partial)
	} else {
		err = rt.markFile(&req)
	}
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	return &wire.BootReply{Boot: s.boot}, wire.Bulk{}, nil
}

func (r *root) markFile(req *wire.MarkRequest) error {
	if req.PayloadBytes == 0 || req.PayloadBytes > maxPayloadBytes {
		return vocab.Errorf(vocab.Invalid, "mark of file %v with payloads of %d bytes", req.FID, req.PayloadBytes)
	}
	f := r.files.acquire(req.FID)
	defer r.files.release(f)
	touched := map[int]bool{}
	if err := f.mark(req, touched); err != nil {
		return err
	}
	if err := r.syncJournal(); err != nil {
		return err
	}
	return r.syncBuckets(touched)
}

func (s *slotFile) mark(req *wire.MarkRequest, touched map[int]bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted && !req.Join {
		return vocab.Errorf(vocab.Stale, "file %v was deleted", s.fid)
	}
	if err := s.open(); err != nil {
		return err
	}
	if req.Join && (s.deleted || s.state == broken || s.state == formed && s.head.Generation < req.Generation) {
		if err := s.remove(touched); err != nil {
			return err
		}
		s.deleted = false
		s.kept.Store(false)
		if err := s.open(); err != nil {
			return err
		}
	}
	if s.state == formed {
		if err := s.checkGeneration(req.Generation); err != nil {
			return err
		}
		h := s.head.clone()
		if h.Partial && !req.Partial {
			h.forget(h.Final) // it has not seen all discards
		}
		h.Partial, h.Generation = req.Partial, max(h.Generation, req.Generation)
		if h.Partial == s.head.Partial && h.Generation == s.head.Generation {
			return nil // a rebuild of the root marks every file
		}
		return s.setHead(h)
	}
	if !req.Partial {
		return nil // nothing to be known of what is not there
	}
	if s.state == formless {
		if err := s.clearFormless(); err != nil {
			return err
		}
	}
	return s.form(req)
}

// form gives a file a header that has none, or a broken one. Slots that check are kept:
// what they say is sound, whoever wrote them under which header.
func (s *slotFile) form(req *wire.MarkRequest) error {
	h := fileHeader{FID: s.fid, PayloadBytes: req.PayloadBytes, Generation: req.Generation, MaxEpoch: req.Epoch, Partial: true}
	if err := s.setHead(h); err != nil {
		return err
	}
	s.newest = h.newest()
	s.direct, s.owes, s.highest = 0, s.f != nil, s.newest
	if s.f == nil {
		return nil
	}
	return s.trim()
}

// isPartial tells whether what is absent here is unknown.
func (s *slotFile) isPartial() bool { return s.head.Partial || s.root.partial.Load() }

// allUnknown is the answer to a read of blocks of which nobody here can tell.
func allUnknown(count uint32) []wire.Piece {
	if count == 0 {
		return nil
	}
	return []wire.Piece{{Count: count, State: wire.SlotBroken}}
}

// noneAbsent makes unknown what a reply says to be absent, and what it does not mention.
func noneAbsent(reply *wire.ReadReply, count uint32) {
	var all []wire.Piece
	told := uint32(0)
	for _, p := range reply.Pieces {
		if told += p.Count; p.State == wire.SlotAbsent {
			p.State = wire.SlotBroken
		}
		all = appendPiece(all, uint64(p.Count), p.State)
	}
	reply.Pieces = appendPiece(all, uint64(count-told), wire.SlotBroken)
}
