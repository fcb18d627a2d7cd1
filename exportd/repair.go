package exportd

import (
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// repairPause is how long no file is repaired after one could not be.
const repairPause = 5 * time.Second

// degrade notes that a file is to be repaired when all its storages are there.
func (t *tx) degrade(exp *export, ino vocab.Ino, who leaseRecord) {
	t.set(fileKey(prefixDegraded, exp.EID, ino), &who)
	t.hook(func() {
		t.s.degraded[ino] = exp
		t.s.degradedOften[ino]++
	})
}

// noteDegraded takes over what the holder of a lease says.
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
	s.storagesMu.Lock()
	defer s.storagesMu.Unlock()
	for _, sid := range p.Distribution.SIDs {
		sto := s.storages[place{exp.VID, vocab.StorageID{CID: p.Distribution.CID, SID: sid}}]
		if sto == nil || sto.root.Health != wire.HealthUp {
			return false
		}
	}
	return true
}

// repairFile has one of the file's storages bring all of it home.
func (s *Server) repairFile(f unsettledFile, epoch vocab.Epoch, fenced map[place]bool) error {
	if _, err := s.sendSettle(wire.OpRepair, f, epoch, fenced); err != nil {
		return err
	}
	return s.own(f.exp, func(t *tx) error {
		if s.degraded[f.ino] != nil && s.degradedOften[f.ino] == f.degraded {
			t.repaired(f.exp, f.ino)
			t.hook(func() { s.log.Info("a file was repaired", "export", f.exp.Root, "ino", uint64(f.ino)) })
		}
		return nil
	})
}

// Unfinished tells how many files wait to be settled, because their writer ended without
// finishing, and how many to be repaired.
func (s *Server) Unfinished() (recovery, degraded int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.recovery), len(s.degraded)
}
