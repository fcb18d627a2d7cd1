package exportd

import (
	"math/bits"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// degrade notes that a file is to be repaired when all its storages are there.
func (t *tx) degrade(exp *export, ino vocab.Ino, who leaseRecord) {
	t.set(fileKey(prefixDegraded, exp.EID, ino), &who)
	t.hook(func() {
		t.s.degraded[ino] = exp
		t.s.degradedOften[ino]++
	})
}

// noteDegraded takes over what the holder of a lease says of a file that is there still.
func (t *tx) noteDegraded(m *wire.Commit) {
	if m.Degraded {
		t.degrade(t.exp, m.Ino, leaseRecord{t.sess.id, m.Epoch})
	}
}

// repaired forgets that.
func (t *tx) repaired(exp *export, ino vocab.Ino) {
	t.drop(fileKey(prefixDegraded, exp.EID, ino))
	t.hook(func() {
		delete(t.s.degraded, ino)
		delete(t.s.degradedOften, ino)
	})
}

// allUp tells whether all storages of a file are up.
func (s *Server) allUp(exp *export, p *vocab.Placement) bool {
	return s.up(exp, p) == len(p.Distribution.SIDs)
}

// repairFiles has storageds repair what clients or settlers could not bring home, when all
// storages of a file are up, again and again.
func (s *Server) repairFiles() {
	s.every(s.cfg.PollInterval, nil, func() {
		if err := s.repairSome(); err != nil && s.ctx.Err() == nil {
			s.log.Error("files could not be repaired", "err", err)
		}
	})
}

func (s *Server) repairSome() error {
	files, err := s.listed(s.degraded, s.unrepaired, s.allUp)
	if err != nil || len(files) == 0 {
		return err
	}
	epoch, err := s.drawEpoch()
	if err != nil {
		return err
	}
	s.forEach(files, s.unrepaired, func(f someFile) error { return s.repairDegraded(f, epoch) })
	return nil
}

// repairDegraded has one of the file's storages bring all of it home.
func (s *Server) repairDegraded(f someFile, epoch vocab.Epoch) error {
	got, err := s.repair(&f, epoch, repairOptions{})
	switch {
	case err != nil:
		return err
	case got.Missing != 0:
		return unreached(&got)
	case got.Torn > 0:
		return s.settleTorn(&f, got.Torn, epoch)
	case got.Busy > 0:
		return underWay(&got)
	case isPartial(&got):
		return vocab.Errorf(vocab.Busy, "it is not known yet what its storages lack of it")
	}
	return s.own(f.exp, func(t *tx) error {
		if s.degraded[f.ino] != nil && s.degradedOften[f.ino] == f.degraded {
			t.repaired(f.exp, f.ino)
			t.hook(func() { s.log.Info("a file was repaired", "export", f.exp.Root, "ino", uint64(f.ino)) })
		}
		return nil
	})
}

// settleTorn has a file settled again: a storage has remains of a write that was never
// complete, where only a newer version can replace them. Nobody may have a lease meanwhile.
func (s *Server) settleTorn(f *someFile, blocks uint64, epoch vocab.Epoch) error {
	if !s.beginStop(f.ino) {
		return vocab.Errorf(vocab.Busy, "it is being moved")
	}
	defer s.endMove(f)
	if err := s.stopUse(f); err != nil {
		return err
	}
	err := s.ownFile(f, func(t *tx) {
		t.recover(f.ino, leaseRecord{settleSession, epoch})
		t.hook(func() { s.torn[f.ino] = true })
	})
	if err != nil {
		return err
	}
	return vocab.Errorf(vocab.Busy, "%d blocks have remains of a write that was never complete: the file is settled first", blocks)
}

// ownFile is own for what concerns a file, unless that was deleted meanwhile.
func (s *Server) ownFile(f *someFile, do func(*tx)) error {
	return s.own(f.exp, func(t *tx) error {
		_, err := t.inode(f.ino)
		if err == nil {
			do(t)
		}
		return err
	})
}

// repairOptions are those of a wire.RepairRequest.
type repairOptions struct {
	rate    uint64
	verify  bool
	joining []uint8            // positions
	joined  uint32             // under which generation they join
	some    func(bytes uint64) // called as bytes of the file are done; nil: not
}

// repair has one of the file's storages repair it, in as many requests as it takes.
func (s *Server) repair(f *someFile, epoch vocab.Epoch, o repairOptions) (sum wire.RepairReply, err error) {
	m, all, err := s.settleRequest(f, repairSession, epoch)
	if err != nil {
		return sum, err
	}
	var by *storage
	for i := range all { // files take turns
		if sto := all[(uint64(f.ino)+uint64(i))%uint64(len(all))]; s.isUp(sto) {
			by = sto
			break
		}
	}
	if by == nil {
		return sum, vocab.Errorf(vocab.Unavailable, "none of its storages can be reached")
	}
	req := wire.RepairRequest{SettleRequest: m, Rate: o.rate, Verify: o.verify, Joining: o.joining, Generation: o.joined}
	for {
		var reply wire.RepairReply
		if err := s.request(by, &req.Target, wire.OpRepair, &req, &reply); err != nil {
			return sum, err
		}
		sum, req.SoFar = reply, reply
		if o.some != nil {
			from, to := req.From*uint64(f.placement.Geometry.BlockBytes), reply.Next*uint64(f.placement.Geometry.BlockBytes)
			if reply.Next == 0 {
				to = f.size
			}
			o.some(min(to, f.size) - min(from, f.size, to))
		}
		if reply.Next <= req.From {
			return sum, nil
		}
		req.From = reply.Next
	}
}

func unreached(got *wire.RepairReply) error {
	return vocab.Errorf(vocab.Unavailable, "%d of its storages cannot be reached", bits.OnesCount32(got.Missing))
}

// isPartial tells whether a storage cannot tell yet what it lacks of the file, and some day will.
func isPartial(got *wire.RepairReply) bool { return got.Marked != 0 && got.Lost == 0 }

func underWay(got *wire.RepairReply) error {
	return vocab.Errorf(vocab.Busy, "%d blocks are being written", got.Busy)
}

// reachedAt tells by an error if the storage at a position was not reached, or so few that
// not all could be repaired.
func reachedAt(got *wire.RepairReply, position int) error {
	if got.Missing>>position&1 == 1 || got.Missing != 0 && got.Lost > 0 {
		return unreached(got)
	}
	return nil
}

func (s *Server) isUp(sto *storage) bool {
	s.storagesMu.Lock()
	defer s.storagesMu.Unlock()
	return sto.root.Health == wire.HealthUp
}

// Unfinished tells how many files wait to be settled, because their writer ended without
// finishing, and how many to be repaired.
func (s *Server) Unfinished() (recovery, degraded int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.recovery), len(s.degraded)
}
