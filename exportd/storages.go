package exportd

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// callTimeout bounds one request to a storaged.
const callTimeout = 10 * time.Second

// storage is a configured storage and what was last heard of it. Fields below
// storagesMu are guarded by Server.storagesMu.
type storage struct {
	place  place
	domain string
	daemon *daemon
	kick   chan struct{} // capacity 1: there is something to delete

	// storagesMu:
	storageRecord                   // zero: never seen
	root          wire.StorageRoot  // as last heard; Health is what exportd makes of it
	found         vocab.Incarnation // of a root that replaces the known one; 0: there is none
	partial       bool              // the storaged says that the root is not whole
	empty         bool              // the root that was found never had anything, or lacks what it should have
}

// daemon is a storaged: one connection, however many storages it serves.
type daemon struct {
	addr     string
	storages []*storage

	mu   sync.Mutex // guards conn
	conn *wire.Conn
}

// views holds one volumeView per volume.
type views map[vocab.VID]*atomic.Pointer[volumeView]

func (s *Server) view(vid vocab.VID) *volumeView { return s.volumeViews[vid].Load() }

// loadStorages makes the storages of the configuration with the incarnations
// that were recorded.
func (s *Server) loadStorages() error {
	byAddr := map[string]*daemon{}
	s.volumeViews = views{}
	for i := range s.cfg.Volumes {
		v := &s.cfg.Volumes[i]
		s.volumeViews[v.VID] = new(atomic.Pointer[volumeView])
		for _, c := range v.Clusters {
			for _, m := range c.Storages {
				d := byAddr[m.Addr]
				if d == nil {
					d = &daemon{addr: m.Addr}
					byAddr[m.Addr] = d
					s.daemons = append(s.daemons, d)
				}
				domain := m.Domain
				if domain == "" {
					domain = domainOf(m.Addr)
				}
				p := place{v.VID, vocab.StorageID{CID: c.CID, SID: m.SID}}
				sto := &storage{place: p, domain: domain, daemon: d, kick: make(chan struct{}, 1)}
				sto.kick <- struct{}{} // what an earlier run left
				sto.root.ID = p.id
				d.storages = append(d.storages, sto)
				s.storages[p] = sto
			}
		}
	}
	err := each(s, prefixStorage, storageKeyBytes, func(k []byte, r storageRecord) error {
		if p, ok := parseStorageKey(k); ok && s.storages[p] != nil {
			s.storages[p].storageRecord = r
			s.storages[p].root.Incarnation = r.incarnation
		}
		return nil
	})
	s.refreshViews()
	return err
}

func (s *Server) startPolling() {
	s.unpolled.Store(int64(len(s.daemons)))
	if len(s.daemons) == 0 {
		close(s.polled)
	}
	for _, d := range s.daemons {
		s.background.Go(func() { s.poll(d) })
	}
	for _, sto := range s.storages {
		s.background.Go(func() { s.deleteFrom(sto) })
	}
}

// poll asks one daemon again and again.
func (s *Server) poll(d *daemon) {
	tick := time.NewTicker(s.cfg.PollInterval)
	defer tick.Stop()
	defer d.hangUp()
	for first := true; ; first = false {
		err := s.hear(d)
		if s.ctx.Err() != nil {
			return
		}
		if err != nil {
			d.hangUp()
		}
		if first && s.unpolled.Add(-1) == 0 {
			close(s.polled)
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// hear asks a daemon for its roots and takes over what it says.
func (s *Server) hear(d *daemon) error {
	s.storagesMu.Lock()
	marks := s.marks
	s.storagesMu.Unlock()
	roots, err := s.ask(d)
	s.heardFrom(d, roots, err, marks)
	return err
}

// ask connects when it must, and asks for the daemon's roots.
func (s *Server) ask(d *daemon) ([]wire.StorageRoot, error) {
	ctx, cancel := context.WithTimeout(s.ctx, max(3*s.cfg.PollInterval, 2*time.Second))
	defer cancel()
	d.mu.Lock()
	conn := d.conn
	d.mu.Unlock()
	if conn == nil || conn.Err() != nil {
		d.hangUp()
		var err error
		if conn, err = s.cfg.Dial(ctx, d.addr, s.hello, nil); err != nil {
			return nil, err
		}
		d.mu.Lock()
		d.conn = conn
		d.mu.Unlock()
	}
	var reply wire.StorageStatusReply
	_, err := conn.Call(ctx, wire.OpStorageStatus, &wire.StorageStatusRequest{}, wire.Bulk{}, &reply)
	return reply.Roots, err
}

func (d *daemon) hangUp() {
	d.mu.Lock()
	conn := d.conn
	d.conn = nil
	d.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// heardFrom takes over what a daemon said, or that it said nothing. marks is Server.marks from
// before it was asked.
func (s *Server) heardFrom(d *daemon, roots []wire.StorageRoot, err error, marks uint64) {
	said := map[vocab.StorageID]*wire.StorageRoot{}
	for i := range roots {
		said[roots[i].ID] = &roots[i]
	}
	changed := false
	for _, sto := range d.storages {
		r := said[sto.place.id]
		if r != nil && r.Incarnation != 0 {
			if !s.recordStorage(sto, r.Incarnation) {
				continue
			}
		}
		changed = s.judge(sto, r, err, marks) || changed
	}
	if changed {
		s.refreshViews()
	}
}

// recordStorage makes the first incarnation that is seen the storage's, durably.
func (s *Server) recordStorage(sto *storage, inc vocab.Incarnation) bool {
	s.storagesMu.Lock()
	known := sto.incarnation
	s.storagesMu.Unlock()
	if known != 0 {
		return true
	}
	err := s.own(nil, func(t *tx) error {
		t.setStorage(sto, storageRecord{incarnation: inc})
		return nil
	})
	if err != nil {
		s.log.Error("the incarnation of a storage could not be recorded", "storage", sto.place.id.String(), "err", err)
	}
	return err == nil
}

// setStorage changes what is stored of a storage.
func (t *tx) setStorage(sto *storage, r storageRecord) {
	t.set(storageKey(sto.place), &r)
	t.hook(func() {
		t.s.storagesMu.Lock()
		defer t.s.storagesMu.Unlock()
		sto.storageRecord = r
		sto.root.Incarnation = r.incarnation
		sto.found, sto.empty = 0, false // until it is heard of again
	})
}

// judge sets the storage's state and tells whether placement must know.
func (s *Server) judge(sto *storage, r *wire.StorageRoot, err error, marks uint64) bool {
	s.storagesMu.Lock()
	defer s.storagesMu.Unlock()
	if r != nil && marks != s.marks {
		return false // it may have answered before: the next answer counts
	}
	before := sto.root
	now := before
	switch {
	case r == nil:
		now.Health = wire.HealthDown
	case r.Incarnation != sto.incarnation:
		now = *r
		now.Health, now.Incarnation = wire.HealthReplaced, sto.incarnation
	default:
		now = *r
		if r.Health.Serves() {
			now.Health = wire.HealthUp
		}
	}
	sto.found, sto.partial, sto.empty = 0, false, false
	if r != nil {
		sto.partial = r.Health == wire.HealthPartial
		sto.empty = r.Health == wire.HealthNew || sto.partial // marked by us, and then we ended
		if now.Health == wire.HealthReplaced && r.Health.Serves() {
			sto.found = r.Incarnation
		}
	}
	now.Root = "" // the clients need not know
	sto.root = now
	if now.Health != before.Health {
		s.logHealth(sto, now, r, err)
	}
	if now.Health == wire.HealthUp && before.Health != wire.HealthUp {
		sto.wake()
		s.kickFence()
	}
	return now != before
}

func (s *Server) logHealth(sto *storage, now wire.StorageRoot, r *wire.StorageRoot, err error) {
	log := s.log.With("vid", uint16(sto.place.vid), "storage", sto.place.id.String(), "addr", sto.daemon.addr)
	switch now.Health {
	case wire.HealthUp:
		log.Info("storage is up", "free_bytes", now.FreeBytes, "total_bytes", now.TotalBytes)
	case wire.HealthReplaced:
		log.Error("the root of the storage was replaced: it gets no new files and clients do not use it until it is rebuilt, which begins by itself if the new root is empty; else mount the right disk, or start rozo storage rebuild",
			"known_incarnation", uint64(sto.incarnation), "found_incarnation", uint64(r.Incarnation))
	case wire.HealthFailed:
		log.Error("the storage's disk has failed: replace it and have it rebuilt")
	default:
		if err == nil {
			log.Error("the daemon at the address does not serve this storage: compare its storage.conf with export.conf")
			return
		}
		log.Warn("storage is down", "err", err)
	}
}

func (sto *storage) wake() { kick(sto.kick) }

// refreshViews makes the views of placement anew.
func (s *Server) refreshViews() {
	s.storagesMu.Lock()
	defer s.storagesMu.Unlock()
	for i := range s.cfg.Volumes {
		v := &s.cfg.Volumes[i]
		view := &volumeView{}
		for _, c := range v.Clusters {
			cv := clusterView{cid: c.CID}
			for _, m := range c.Storages {
				sto := s.storages[place{v.VID, vocab.StorageID{CID: c.CID, SID: m.SID}}]
				if sto.draining {
					continue
				}
				cv.members = append(cv.members, member{
					sid: m.SID, domain: sto.domain, up: sto.root.Health == wire.HealthUp,
					total: sto.root.TotalBytes, free: sto.root.FreeBytes,
				})
			}
			view.clusters = append(view.clusters, cv)
		}
		s.volumeViews[v.VID].Store(view)
	}
}

// addresses lists a volume's storages for clients.
func (s *Server) addresses(v *Volume) (all []wire.StorageAddr) {
	s.storagesMu.Lock()
	defer s.storagesMu.Unlock()
	for _, c := range v.Clusters {
		for _, m := range c.Storages {
			sto := s.storages[place{v.VID, vocab.StorageID{CID: c.CID, SID: m.SID}}]
			all = append(all, wire.StorageAddr{StorageRoot: sto.root, Addr: m.Addr})
		}
	}
	return all
}

// reach returns the connection to a storage that is up, and its incarnation.
func (s *Server) reach(sto *storage) (*wire.Conn, vocab.Incarnation, error) {
	s.storagesMu.Lock()
	health, known := sto.root.Health, sto.incarnation
	s.storagesMu.Unlock()
	sto.daemon.mu.Lock()
	conn := sto.daemon.conn
	sto.daemon.mu.Unlock()
	if conn == nil || health != wire.HealthUp {
		return nil, 0, vocab.Errorf(vocab.Unavailable, "storage %v is %v", sto.place.id, health)
	}
	return conn, known, nil
}
