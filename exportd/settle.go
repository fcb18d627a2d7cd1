package exportd

import (
	"context"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	// settleSession is the session under which storageds settle files. Each round of
	// settling has an epoch of its own and begins by fencing those before it.
	settleSession = vocab.SessionID(math.MaxUint64)
	settleRound   = 256             // files of a round
	settleAtOnce  = 8               // of them at the same time
	settleTimeout = 2 * time.Minute // for one file
)

// settleFiles has storageds settle the files whose writers have ended without
// finishing, again and again until none is left. Until then no lease on them is granted.
func (s *Server) settleFiles() {
	tick := time.NewTicker(s.cfg.PollInterval)
	defer tick.Stop()
	var repairFailed time.Time // when a file could last not be repaired
	for {
		select {
		case <-s.settleKick:
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		if err := s.settleSome(&repairFailed); err != nil && s.ctx.Err() == nil {
			s.log.Error("files that need recovery could not be settled", "err", err)
		}
	}
}

// unsettledFile is a file that needs recovery.
type unsettledFile struct {
	exp       *export
	ino       vocab.Ino
	placement vocab.Placement
	size      uint64
	degraded  uint64 // of Server.degradedOften
}

// settleSome is one round: of files that need recovery, or if there are none, of files to
// be repaired, unless one could not be a short time ago.
func (s *Server) settleSome(repairFailed *time.Time) error {
	files, err := s.listed(s.recovery, nil)
	do, repairing := s.settleFile, false
	if err == nil && len(files) == 0 && time.Since(*repairFailed) > repairPause {
		files, err = s.listed(s.degraded, s.allUp)
		do, repairing = s.repairFile, true
	}
	if err != nil || len(files) == 0 {
		return err
	}
	var epoch vocab.Epoch
	err = s.own(nil, func(t *tx) error { epoch = t.freshEpoch(); return nil })
	if err != nil {
		return err
	}
	fenced := s.fenceSettlers(files, epoch)
	var g errgroup.Group
	g.SetLimit(settleAtOnce)
	for _, f := range files {
		g.Go(func() error {
			err := do(f, epoch, fenced)
			if err != nil && s.ctx.Err() == nil {
				s.log.Warn("a file that needs recovery or repair has to wait", "export", f.exp.Root, "ino", uint64(f.ino), "err", err)
			}
			return err
		})
	}
	if g.Wait() != nil && repairing {
		*repairFailed = time.Now()
	}
	return nil
}

// listed takes files from a set, of those that match.
func (s *Server) listed(set map[vocab.Ino]*export, match func(*export, *vocab.Placement) bool) (files []unsettledFile, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ino, exp := range set {
		n, err := (&tx{s: s, exp: exp}).inode(ino)
		if err != nil {
			return nil, err
		}
		if match != nil && !match(exp, &n.placement) {
			continue
		}
		files = append(files, unsettledFile{exp, ino, n.placement, n.attr.Size, s.degradedOften[ino]})
		if len(files) == settleRound {
			break
		}
	}
	return files, nil
}

// fenceSettlers makes all storages of the files that can be reached refuse earlier rounds.
func (s *Server) fenceSettlers(files []unsettledFile, epoch vocab.Epoch) map[place]bool {
	fenced := map[place]bool{}
	for _, f := range files {
		for _, sid := range f.placement.Distribution.SIDs {
			fenced[place{f.exp.VID, vocab.StorageID{CID: f.placement.Distribution.CID, SID: sid}}] = false
		}
	}
	accepted := make(chan place, len(fenced))
	var g errgroup.Group
	for p := range fenced {
		g.Go(func() error {
			sto := s.storages[p]
			if sto == nil {
				return nil
			}
			if err := s.sendFence(settleSession, epoch, sto); err != nil {
				s.log.Debug("a storage did not accept a fence", "storage", p.id.String(), "err", err)
				return nil
			}
			accepted <- p
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	close(accepted)
	for p := range accepted {
		fenced[p] = true
	}
	return fenced
}

// settleFile has one of the file's storages settle it.
func (s *Server) settleFile(f unsettledFile, epoch vocab.Epoch, fenced map[place]bool) error {
	reached, err := s.sendSettle(wire.OpSettle, f, epoch, fenced)
	if err != nil {
		return err
	}
	return s.own(f.exp, func(t *tx) error {
		if s.recovery[f.ino] == nil {
			return nil // deleted meanwhile
		}
		t.drop(fileKey(prefixRecovery, f.exp.EID, f.ino))
		if reached < len(f.placement.Distribution.SIDs) {
			t.degrade(f.exp, f.ino, leaseRecord{settleSession, epoch})
		}
		t.hook(func() {
			delete(s.recovery, f.ino)
			s.log.Info("a file was settled", "export", f.exp.Root, "ino", uint64(f.ino))
			if e := s.files[f.ino]; e != nil {
				e.wake()
			}
		})
		return nil
	})
}

// finalBelow is the version up to which all of a file is known to be final: whoever gives
// a write lease up cleanly has made everything durable, so below an epoch that is drawn
// while nobody has one, and nothing waits to be settled, everything is.
func (s *Server) finalBelow(ino vocab.Ino, epoch vocab.Epoch) vocab.Version {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.recovery[ino] != nil {
		return vocab.Version{}
	}
	if e := s.files[ino]; e != nil {
		for _, h := range e.holders {
			if h.lease.Kind == wire.LeaseWrite && h.lease.Epoch < epoch {
				return vocab.Version{}
			}
		}
	}
	return vocab.Version{Epoch: epoch}
}

// sendSettle asks one of the file's storages to settle or repair it, and tells how many of
// them can be reached.
func (s *Server) sendSettle(op wire.Op, f unsettledFile, epoch vocab.Epoch, fenced map[place]bool) (reached int, err error) {
	dist := f.placement.Distribution
	m := wire.SettleRequest{Placement: f.placement, Size: f.size, Final: s.finalBelow(f.ino, epoch)}
	var settler *storage
	for position, sid := range dist.SIDs {
		p := place{f.exp.VID, vocab.StorageID{CID: dist.CID, SID: sid}}
		sto := s.storages[p]
		if sto == nil {
			return 0, vocab.Errorf(vocab.Unavailable, "storage %v is not in the configuration any more", p.id)
		}
		s.storagesMu.Lock()
		m.Storages = append(m.Storages, wire.StorageAddr{StorageRoot: sto.root, Addr: sto.daemon.addr})
		s.storagesMu.Unlock()
		if fenced[p] {
			m.Fenced = append(m.Fenced, uint8(position))
			if settler == nil {
				settler = sto
			}
		}
	}
	if need := fenceQuorum(f.placement.Geometry.Layout); len(m.Fenced) < need {
		return 0, vocab.Errorf(vocab.Unavailable, "%d of its storages can be reached, %d are needed", len(m.Fenced), need)
	}
	conn, incarnation, err := s.reach(settler)
	if err != nil {
		return 0, err
	}
	m.Target = wire.Target{ID: settler.place.id, Incarnation: incarnation, Session: settleSession, Epoch: epoch}
	ctx, cancel := context.WithTimeout(s.ctx, settleTimeout)
	defer cancel()
	_, err = conn.Call(ctx, op, &m, wire.Bulk{}, &wire.BootReply{})
	return len(m.Fenced), err
}
