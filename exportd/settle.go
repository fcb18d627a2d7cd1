package exportd

import (
	"context"
	"maps"
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
	// repairSession is that under which they repair and move files. Repair orders nothing
	// anew, so no round of it need be fenced.
	repairSession = settleSession - 1
	settleRound   = 256             // files of a round
	settleAtOnce  = 8               // of them at the same time
	settleTimeout = 2 * time.Minute // for one request
	failurePause  = 5 * time.Second // at most, between attempts at a file that could not be settled or repaired
)

// settleFiles has storageds settle the files whose writers have ended without
// finishing, again and again until none is left. Until then no lease on them is granted.
func (s *Server) settleFiles() {
	s.every(s.cfg.PollInterval, s.settleKick, func() {
		if err := s.settleSome(); err != nil && s.ctx.Err() == nil {
			s.log.Error("files that need recovery could not be settled", "err", err)
		}
	})
}

// someFile is a file that a storaged is to do something about.
type someFile struct {
	exp       *export
	ino       vocab.Ino
	placement vocab.Placement
	size      uint64
	degraded  uint64 // of Server.degradedOften
}

// settleSome is one round, of the files that enough storages are up for.
func (s *Server) settleSome() error {
	files, err := s.listed(s.recovery, s.unsettled, s.enoughUp)
	if err != nil || len(files) == 0 {
		return err
	}
	epoch, err := s.drawEpoch()
	if err != nil {
		return err
	}
	fenced, err := s.fenceSettlers(files, epoch)
	if err != nil {
		return err
	}
	s.forEach(files, s.unsettled, func(f someFile) error { return s.settleFile(f, epoch, fenced) })
	return nil
}

// failures is of which files something could not be done. It is guarded by Server.mu.
type failures map[vocab.Ino]failure

type failure struct {
	why   string
	pause time.Duration // for which the file is left alone
	until time.Time
}

// add puts a file off, for longer each time, and tells whether the reason is a new one.
func (all failures) add(ino vocab.Ino, err error, pause time.Duration) (news bool) {
	last := all[ino]
	pause = min(max(2*last.pause, pause), failurePause)
	all[ino] = failure{err.Error(), pause, time.Now().Add(pause)}
	return last.why != err.Error()
}

// forEach does something about files, several at once.
func (s *Server) forEach(files []someFile, failed failures, do func(someFile) error) {
	errs := make([]error, len(files))
	var g errgroup.Group
	g.SetLimit(settleAtOnce)
	for i, f := range files {
		g.Go(func() error {
			errs[i] = do(f)
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, err := range errs {
		ino := files[i].ino
		switch {
		case err == nil:
			delete(failed, ino)
		case s.ctx.Err() == nil && failed.add(ino, err, s.cfg.PollInterval):
			s.log.Warn("a file that needs recovery or repair has to wait", "export", files[i].exp.Root, "ino", uint64(ino), "err", err)
		}
	}
}

func (s *Server) drawEpoch() (epoch vocab.Epoch, err error) {
	err = s.own(nil, func(t *tx) error { epoch = t.freshEpoch(); return nil })
	return epoch, err
}

// listed takes files from a set, of those that match and are not put off.
func (s *Server) listed(set map[vocab.Ino]*export, failed failures, match func(*export, *vocab.Placement) bool) (files []someFile, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(failed, func(ino vocab.Ino, _ failure) bool { return set[ino] == nil })
	now := time.Now()
	for ino, exp := range set {
		if now.Before(failed[ino].until) {
			continue
		}
		n, err := (&tx{s: s, exp: exp}).inode(ino)
		if err != nil {
			return nil, err
		}
		if !match(exp, &n.placement) {
			continue
		}
		files = append(files, someFile{exp, ino, n.placement, n.attr.Size, s.degradedOften[ino]})
		if len(files) == settleRound {
			break
		}
	}
	return files, nil
}

// enoughUp tells whether a file can be settled: enough of its storages can be fenced, and
// enough are there to write to.
func (s *Server) enoughUp(exp *export, p *vocab.Placement) bool {
	l := p.Geometry.Layout
	return s.up(exp, p) >= max(fenceQuorum(l), int(l.Forward))
}

// up counts the storages of a file that are up.
func (s *Server) up(exp *export, p *vocab.Placement) (n int) {
	s.storagesMu.Lock()
	defer s.storagesMu.Unlock()
	for _, where := range exp.places(p) {
		sto := s.storages[where]
		if sto != nil && sto.root.Health == wire.HealthUp {
			n++
		}
	}
	return n
}

// fenceSettlers makes all storages of the files that can be reached refuse earlier rounds,
// and the leases that have ended: a session that lives on may have left something behind.
func (s *Server) fenceSettlers(files []someFile, epoch vocab.Epoch) (map[place]bool, error) {
	fences := map[place]*wire.FenceRequest{}
	for _, f := range files {
		lease, err := s.endedLease(&f)
		if err != nil {
			return nil, err
		}
		for _, where := range f.exp.places(&f.placement) {
			m := fences[where]
			if m == nil {
				m = &wire.FenceRequest{Target: wire.Target{Session: settleSession, Epoch: epoch}}
				fences[where] = m
			}
			m.Leases = append(m.Leases, lease)
		}
	}
	accepted := make(chan place, len(fences))
	var g errgroup.Group
	for p, m := range fences {
		g.Go(func() error {
			sto := s.storages[p]
			if sto == nil {
				return nil
			}
			if err := s.sendFence(sto, m); err != nil {
				s.log.Debug("a storage did not accept a fence", "storage", p.id.String(), "err", err)
				return nil
			}
			accepted <- p
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	close(accepted)
	fenced := map[place]bool{}
	for p := range accepted {
		fenced[p] = true
	}
	return fenced, nil
}

// endedLease is the write lease on a file that was the last to end uncleanly.
func (s *Server) endedLease(f *someFile) (wire.LeaseID, error) {
	var r leaseRecord
	_, err := value(s.db, fileKey(prefixRecovery, f.exp.EID, f.ino), &r) // none: it was deleted meanwhile
	return wire.LeaseID{Session: r.session, Epoch: r.epoch}, err
}

// settleFile has one of the file's storages settle it.
func (s *Server) settleFile(f someFile, epoch vocab.Epoch, fenced map[place]bool) error {
	m, all, err := s.settleRequest(&f, settleSession, epoch)
	if err != nil {
		return err
	}
	s.mu.RLock()
	m.Torn = s.torn[f.ino]
	s.mu.RUnlock()
	var settler *storage
	for position, sto := range all {
		if fenced[sto.place] {
			m.Fenced = append(m.Fenced, uint8(position))
			if settler == nil {
				settler = sto
			}
		}
	}
	if need := fenceQuorum(f.placement.Geometry.Layout); len(m.Fenced) < need {
		return vocab.Errorf(vocab.Unavailable, "%d of its storages can be reached, %d are needed", len(m.Fenced), need)
	}
	if err := s.request(settler, &m.Target, wire.OpSettle, &m, &wire.BootReply{}); err != nil {
		return err
	}
	return s.own(f.exp, func(t *tx) error {
		if s.recovery[f.ino] == nil {
			return nil // deleted meanwhile
		}
		t.drop(fileKey(prefixRecovery, f.exp.EID, f.ino))
		// The writer may have put something on a spare, and has not said so.
		t.degrade(f.exp, f.ino, leaseRecord{settleSession, epoch})
		t.hook(func() {
			delete(s.recovery, f.ino)
			delete(s.torn, f.ino)
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

// settleRequest makes what storageds are told of a file, and gives its storages by position.
func (s *Server) settleRequest(f *someFile, session vocab.SessionID, epoch vocab.Epoch) (wire.SettleRequest, []*storage, error) {
	m := wire.SettleRequest{Placement: f.placement, Size: f.size, Final: s.finalBelow(f.ino, epoch)}
	m.Session, m.Epoch = session, epoch
	var all []*storage
	s.storagesMu.Lock()
	defer s.storagesMu.Unlock()
	for _, p := range f.exp.places(&f.placement) {
		sto := s.storages[p]
		if sto == nil {
			return m, nil, vocab.Errorf(vocab.Unavailable, "storage %v is not in the configuration any more", p.id)
		}
		m.Storages = append(m.Storages, wire.StorageAddr{StorageRoot: sto.root, Addr: sto.daemon.addr})
		all = append(all, sto)
	}
	return m, all, nil
}

// request sends a storage one request that may take long; target is a part of it.
func (s *Server) request(sto *storage, target *wire.Target, op wire.Op, m, reply wire.Message) error {
	conn, incarnation, err := s.reach(sto)
	if err != nil {
		return err
	}
	target.ID, target.Incarnation = sto.place.id, incarnation
	ctx, cancel := context.WithTimeout(s.ctx, settleTimeout)
	defer cancel()
	_, err = conn.Call(ctx, op, m, wire.Bulk{}, reply)
	return err
}
