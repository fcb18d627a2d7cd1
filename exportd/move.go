package exportd

import (
	"context"
	"slices"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// moveTimeout is how long a file's leases may take to be given up before the move is left
// for later.
const moveTimeout = 30 * time.Second

// moveFile moves what the storage at a position of a file's distribution has of it to
// another, which takes its place. Everything is copied while the file is used; then its
// leases are recalled and none is granted until the rest is copied and the distribution,
// with its next generation, is durable. The storage that is left keeps its part to then, so
// there is never less than before.
func (s *Server) moveFile(f *someFile, from int, epoch vocab.Epoch, o repairOptions) (sum wire.RepairReply, err error) {
	if from < 0 {
		return sum, nil // it has moved
	}
	old := &f.placement.Distribution
	sid := replacement(s.view(f.exp.VID), old, from, uint64(f.ino))
	if sid == 0 {
		return sum, vocab.Errorf(vocab.NoSpace, "cluster %d has no other storage with free space that can be reached", old.CID)
	}
	joined, err := s.beginMove(f)
	if err != nil {
		return sum, err
	}
	defer s.endMove(f)
	to := *f
	to.placement.Distribution.SIDs = slices.Clone(old.SIDs)
	to.placement.Distribution.SIDs[from] = sid
	o.joining, o.joined = []uint8{uint8(from)}, joined
	if sum, err = s.repair(&to, epoch, o); err == nil {
		err = reachedAt(&sum, from)
	}
	if err == nil {
		err = s.repairFirst(f, sum.Lost+sum.Torn)
	}
	if err != nil {
		return sum, err
	}
	if err := s.stopUse(f); err != nil {
		return sum, err
	}
	if epoch, err = s.drawEpoch(); err != nil {
		return sum, err
	}
	rest, err := s.repair(&to, epoch, repairOptions{joining: o.joining, joined: joined})
	if homes := uint32(1)<<f.placement.Geometry.Layout.Forward - 1; err == nil && rest.Missing&homes != 0 {
		err = unreached(&rest) // the storage that is left may have what one of them missed
	}
	if err == nil && rest.Busy > 0 {
		err = underWay(&rest)
	}
	if err == nil {
		err = s.repairFirst(f, rest.Lost+rest.Torn)
	}
	if err != nil {
		return sum, err
	}
	sum.Marked = rest.Marked
	to.placement.Distribution.Generation = joined
	return sum, s.commitMove(f, &to, from)
}

// repairFirst has a file repaired, as those are whose storages have missed something, among the
// storages that it lies on, if blocks of it need that before a task can go on.
func (s *Server) repairFirst(f *someFile, blocks uint64) error {
	if blocks == 0 {
		return nil
	}
	if err := s.repairLater(f); err != nil {
		return err
	}
	return vocab.Errorf(vocab.Busy, "%d blocks are repaired first", blocks)
}

// repairLater has a file repaired when all its storages are there.
func (s *Server) repairLater(f *someFile) error {
	return s.ownFile(f, func(t *tx) { t.degrade(f.exp, f.ino, leaseRecord{session: repairSession}) })
}

// beginMove gives the generation under which a storage may join, which no earlier attempt
// had: what one that was given up has left may be other projections.
func (s *Server) beginMove(f *someFile) (joined uint32, err error) {
	if !s.beginStop(f.ino) {
		return 0, vocab.Errorf(vocab.Busy, "it is being moved already")
	}
	err = s.own(f.exp, func(t *tx) error {
		n, err := t.edit(f.ino)
		if err == nil {
			joined = n.lastJoined() + 1
			n.joined = joined
		}
		return err
	})
	if err != nil {
		s.endMove(f)
	}
	return joined, err
}

// beginStop lets nobody else stop the use of a file until endMove; false: somebody else does.
func (s *Server) beginStop(ino vocab.Ino) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, moving := s.moving[ino]; moving {
		return false
	}
	s.moving[ino] = false
	return true
}

// lastJoined is the highest generation of the distribution that any storage knows.
func (r *inode) lastJoined() uint32 { return max(r.joined, r.placement.Distribution.Generation) }

func (s *Server) endMove(f *someFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.moving, f.ino)
	if e := s.files[f.ino]; e != nil {
		e.wake()
	}
}

// stopUse keeps leases on the file from being granted and returns when nobody has one.
func (s *Server) stopUse(f *someFile) error {
	ctx, cancel := context.WithTimeout(s.ctx, moveTimeout)
	defer cancel()
	for {
		changed, err := s.tryStopUse(f)
		if changed == nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return vocab.Errorf(vocab.Busy, "its lease was not given up within %v", moveTimeout)
		}
	}
}

// tryStopUse recalls the file's leases. The channel, if any, is closed when one has changed.
func (s *Server) tryStopUse(f *someFile) (changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recovery[f.ino] != nil || f.ino <= s.graceIno && s.inGrace(f.exp, nil) {
		return nil, vocab.Errorf(vocab.Busy, "it needs recovery, or exportd has just started")
	}
	s.moving[f.ino] = true
	e := s.files[f.ino]
	if e == nil || !slices.ContainsFunc(e.holders, func(h *holder) bool { return h.lease.Kind > wire.LeaseNone }) {
		return nil, nil
	}
	s.recallFor(nil, e, wire.LeaseNone)
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.changed, nil
}

// commitMove makes the new distribution that of the file, and has the storage that is left
// delete its part.
func (s *Server) commitMove(f, to *someFile, from int) error {
	left, joined := f.exp.places(&f.placement)[from], f.exp.places(&to.placement)[from]
	return s.own(f.exp, func(t *tx) error {
		n, err := t.edit(f.ino)
		if isKind(err, vocab.Stale) { // deleted meanwhile
			t.deleteAt(joined, deletionRecord{fid: f.placement.FID})
			return nil
		}
		if err != nil {
			return err
		}
		if n.placement.Distribution.Generation != f.placement.Distribution.Generation {
			return vocab.Errorf(vocab.Busy, "its distribution has changed meanwhile")
		}
		n.placement.Distribution = to.placement.Distribution
		t.deleteAt(left, deletionRecord{f.placement.FID, to.placement.Distribution.Generation})
		return nil
	})
}

// tooFull tells from which position a file should move to balance its cluster, or -1.
func (s *Server) tooFull(f *someFile) int {
	if f.size == 0 {
		return -1
	}
	return tooFull(s.view(f.exp.VID), f.placement.Geometry.Layout, &f.placement.Distribution, uint64(f.ino))
}
