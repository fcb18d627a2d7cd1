package storaged

import (
	"context"
	"fmt"
	"slices"

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
	if req.PayloadBytes > maxPayloadBytes {
		return nil, wire.Bulk{}, vocab.Errorf(vocab.Invalid, "discard in a file of payloads of %d bytes", req.PayloadBytes)
	}
	rt.relieve()
	leave, err := rt.enterUnder(ctx, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	defer leave()
	f := rt.files.acquire(req.FID)
	defer rt.files.release(f)
	if err := f.discard(&req, r.Conn.Peer().Role == wire.RoleClient); err != nil {
		return nil, wire.Bulk{}, err
	}
	rt.journal.foldSoon()
	return &wire.BootReply{Boot: s.boot}, wire.Bulk{}, nil
}

// discard records that what the run has up to the version reads as absent. It is durable
// after the next sync, and what it discards is taken away once the version is final. A file
// that has nothing on this storage keeps it if PayloadBytes is given.
func (s *slotFile) discard(req *wire.DiscardRequest, client bool) error {
	run, v := &req.Run, req.Version
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted {
		return nil
	}
	if err := s.open(); err != nil {
		return err
	}
	switch {
	case s.state == formless && req.PayloadBytes == 0:
		return nil
	case s.state == broken:
		return s.brokenHeader()
	}
	if err := s.checkLease(client, v.Epoch); err != nil {
		return err
	}
	if err := s.checkGeneration(run.Generation); err != nil {
		return err
	}
	if err := s.clearFormless(); err != nil {
		return err
	}
	h, changed := s.headFor(run.Generation, v.Epoch, req.PayloadBytes)
	var records []*record
	if run.Count == 0 {
		changed = true
		if !h.addCut(cut{run.First, v}) {
			return vocab.Errorf(vocab.Overloaded, "file %v: %d truncations are not final: sync them first", s.fid, maxCuts)
		}
		var err error
		if records, err = s.forgetCuts(h.Cuts); err != nil {
			return err
		}
	}
	if changed {
		records = append(records, headRecord(h)) // if it is there what it forgets is, too
	}
	if run.Count > 0 {
		records = append(records, voidRecord(run, h.PayloadBytes, v))
	}
	if err := s.record(records...); err != nil {
		return err
	}
	s.raiseNewest(v)
	return s.cutInPlace()
}

// forgetCuts makes discards of ranges of the cuts that are not among those kept, of the
// blocks of which the journal still has what they hide: it is read again at the next start.
// In place it is durably taken away first.
func (s *slotFile) forgetCuts(kept []cut) (records []*record, err error) {
	for _, c := range s.head.Cuts {
		if slices.ContainsFunc(kept, func(k cut) bool { return k.First <= c.First && k.Version.Compare(c.Version) >= 0 }) {
			continue
		}
		if s.f != nil {
			leave := s.root.syncer()
			err := s.f.Datasync()
			leave()
			if err != nil {
				return nil, s.root.fail("sync "+s.fid.String(), err)
			}
		}
		if s.log != nil {
			records = append(records, s.voidsBelow(c)...)
		}
	}
	return records, nil
}

// voidsBelow discards the blocks of which the journal has what a cut hides.
func (s *slotFile) voidsBelow(c cut) (records []*record) {
	run := wire.Run{FID: s.fid}
	add := func() {
		if run.Count > 0 {
			records = append(records, voidRecord(&run, s.head.PayloadBytes, c.Version))
		}
	}
	for _, b := range s.log.within(c.First, s.log.end) {
		if s.log.blocks[b][0].version.Compare(c.Version) >= 0 {
			continue
		}
		if b != run.First+uint64(run.Count) || run.Count == wire.MaxRunBlocks {
			add()
			run.First, run.Count = b, 0
		}
		run.Count++
	}
	add()
	return records
}

// finalize takes note that all versions up to v are durable on forward storages, or
// replaced by such.
func (s *slotFile) finalize(v vocab.Version) error {
	if s.state != formed || v.Compare(s.head.Final) <= 0 {
		return nil
	}
	s.root.finals.Add(1)
	s.head.Final = v // the journal learns it with the next change of the header
	s.settleInPlace()
	if s.log != nil {
		s.log.final = v
	}
	return s.cutInPlace()
}

// settleInPlace raises the settled end if all that lies in place is final.
func (s *slotFile) settleInPlace() {
	if s.f != nil && s.highest.Compare(s.head.Final) <= 0 {
		s.head.Settled = s.head.slotsIn(s.size)
	}
}

// cutInPlace takes away what final truncations have discarded.
func (s *slotFile) cutInPlace() error {
	for _, c := range s.head.Cuts {
		if c.Version.Compare(s.head.Final) > 0 || c.Version.Compare(s.cutDone) <= 0 {
			continue
		}
		if s.f == nil {
			continue
		}
		end := s.head.slotsIn(s.size)
		s.owes = s.owes || c.First < end // so that it is durable before the cut is forgotten
		drop := s.drop
		if c.Version.Compare(s.newest) < 0 {
			drop = func(first, end uint64) error { return s.dropOlder(first, end, c.Version) }
		}
		if err := drop(min(c.First, end), end); err != nil {
			return err
		}
	}
	for _, c := range s.head.Cuts {
		if c.Version.Compare(s.head.Final) <= 0 && c.Version.Compare(s.cutDone) > 0 {
			s.cutDone = c.Version
		}
	}
	end := s.head.slotsIn(s.size)
	if end >= s.head.Covered {
		return nil
	}
	h := s.head.clone()
	h.Settled = min(h.Settled, end)
	h.Covered = end // writes there go in place again when this is durable
	return s.setHead(h)
}

// drop drops the entries of a block that match.
func (p *pending) drop(block uint64, match func(entry) bool) {
	all := slices.DeleteFunc(p.blocks[block], match)
	if len(all) == 0 {
		delete(p.blocks, block)
		return
	}
	p.blocks[block] = all
}

// dropOlder drops the slots in place from first to end that are not above v. Broken ones
// stay, since nobody knows their version.
func (s *slotFile) dropOlder(first, end uint64, v vocab.Version) error {
	extents, err := s.dataExtents(first, end)
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
		if err = s.f.Truncate(at); err == nil {
			s.size = at
			s.shrunk++
		}
	} else {
		err = s.f.Punch(at, s.head.offset(end)-at)
	}
	if err != nil {
		return s.root.failure(fmt.Sprintf("discard blocks of %v", s.fid), err)
	}
	return nil
}
