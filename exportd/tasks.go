package exportd

import (
	"cmp"
	"context"
	"slices"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// taskID names a task: of a kind there is one for each storage, or volume.
type taskID struct {
	kind  wire.TaskKind
	place place // of a volume: with id zero
}

// task is something that is done to all files of a volume in order of inode (walk.go).
// Fields are guarded by Server.tasksMu.
type task struct {
	id          taskID
	rec         taskRecord
	incarnation vocab.Incarnation  // of the root that a rebuild fills
	cancel      context.CancelFunc // nil: it does not run
	why         string             // why files wait
	left        []inodeID          // files that wait
}

// exportsOf gives the exports of a volume by their numbers.
func (s *Server) exportsOf(vid vocab.VID) (all []*export) {
	for _, x := range s.exports {
		if x.VID == vid {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b *export) int { return cmp.Compare(a.EID, b.EID) })
	return all
}

func (s *Server) loadTasks() error {
	return each(s, prefixTask, storageKeyBytes+1, func(k []byte, r taskRecord) error {
		p, _ := parseStorageKey(k[1:])
		id := taskID{r.Kind, p}
		if s.volumes[p.vid] == nil || p.id != (vocab.StorageID{}) && s.storages[p] == nil {
			return nil // not in the configuration; kept until it is
		}
		t := &task{id: id, rec: r}
		if sto := s.storages[p]; sto != nil {
			t.incarnation = sto.incarnation // recorded with the task
		}
		s.tasks[id] = t
		return nil
	})
}

// startTasks goes on with the tasks of an earlier run, and looks after those that begin by
// themselves.
func (s *Server) startTasks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasksMu.Lock()
	defer s.tasksMu.Unlock()
	for _, t := range s.tasks {
		if t.rec.State == wire.TaskRunning {
			s.runTask(t)
		}
	}
	s.background.Go(s.watchTasks)
}

// runTask is called with mu and tasksMu held.
func (s *Server) runTask(t *task) {
	ctx, cancel := context.WithCancel(s.ctx)
	t.cancel = cancel
	s.background.Go(func() {
		defer cancel()
		s.walk(ctx, t)
	})
}

// watchTasks begins the tasks that nobody has to ask for: a rebuild when a storage has an
// empty root in place of the one that is known, also when that one was being rebuilt, and
// scrubs.
func (s *Server) watchTasks() {
	s.every(s.cfg.PollInterval, nil, func() {
		for _, sto := range s.lackingStorages() {
			req := wire.TaskRequest{Kind: wire.TaskRebuild, VID: sto.place.vid, ID: sto.place.id}
			if t := s.running(taskID{wire.TaskRebuild, sto.place}); t != nil {
				req.Rate = s.report(t).Rate
			}
			if _, err := s.beginTask(req); err != nil && s.ctx.Err() == nil {
				s.log.Warn("a storage with an empty root waits to be rebuilt", "storage", sto.place.id.String(), "err", err)
			}
		}
		s.scrubWhenDue()
	})
}

// lackingStorages are those that need a rebuild which does not run.
func (s *Server) lackingStorages() (all []*storage) {
	for _, sto := range s.storages {
		runs := s.running(taskID{wire.TaskRebuild, sto.place}) != nil
		s.storagesMu.Lock()
		if !sto.draining && (sto.found != 0 && sto.empty || sto.root.Health == wire.HealthUp && sto.partial && !runs) {
			all = append(all, sto)
		}
		s.storagesMu.Unlock()
	}
	return all
}

// running gives a task if it runs, else nil.
func (s *Server) running(id taskID) *task {
	s.tasksMu.Lock()
	defer s.tasksMu.Unlock()
	if t := s.tasks[id]; t != nil && t.rec.State == wire.TaskRunning {
		return t
	}
	return nil
}

// scrubWhenDue starts the scrubs that the configuration asks for. Of a volume that was never
// scrubbed the time counts from now.
func (s *Server) scrubWhenDue() {
	if s.cfg.ScrubInterval <= 0 {
		return
	}
	now := vocab.Time(s.cfg.Clock().UnixNano())
	for vid := range s.volumes {
		id := taskID{wire.TaskScrub, place{vid: vid}}
		s.tasksMu.Lock()
		t := s.tasks[id]
		due := t != nil && t.rec.State != wire.TaskRunning && now-t.rec.Ended >= vocab.Time(s.cfg.ScrubInterval)
		s.tasksMu.Unlock()
		switch {
		case due:
			if _, err := s.beginTask(wire.TaskRequest{Kind: wire.TaskScrub, VID: vid, Rate: s.cfg.ScrubRate}); err != nil {
				s.log.Warn("a scrub that is due could not begin", "vid", uint16(vid), "err", err)
			}
		case t == nil:
			t := &task{id: id}
			t.rec.Kind, t.rec.VID, t.rec.State, t.rec.Started, t.rec.Ended = wire.TaskScrub, vid, wire.TaskDone, now, now
			if err := s.saveTask(t); err != nil {
				s.log.Warn("the time of the next scrub could not be recorded", "err", err)
			}
		}
	}
}

// saveTask stores a task as it is, and enters it into the table, unless another has taken
// its place there.
func (s *Server) saveTask(t *task) error {
	return s.own(nil, func(x *tx) error {
		s.tasksMu.Lock()
		defer s.tasksMu.Unlock()
		if o := s.tasks[t.id]; o != nil && o != t {
			return nil
		}
		x.set(taskKey(t.id.kind, t.id.place), &t.rec)
		s.tasks[t.id] = t
		return nil
	})
}

func (s *Server) startTask(_ context.Context, r *wire.Request) (wire.Message, error) {
	m, err := taskRequest(r)
	if err != nil {
		return nil, err
	}
	t, err := s.beginTask(m)
	if err != nil {
		return nil, err
	}
	report := s.report(t)
	return &report, nil
}

// taskRequest decodes what only administration may ask.
func taskRequest(r *wire.Request) (m wire.TaskRequest, err error) {
	if r.Conn.Peer().Role != wire.RoleAdmin {
		return m, vocab.Errorf(vocab.NotPermitted, "%v is for administration alone", r.Op)
	}
	return m, r.Decode(&m)
}

// idOf checks what a request names.
func (s *Server) idOf(m *wire.TaskRequest) (taskID, error) {
	id := taskID{m.Kind, place{m.VID, m.ID}}
	switch m.Kind {
	case wire.TaskScrub, wire.TaskBalance:
		if s.volumes[m.VID] == nil || m.ID != (vocab.StorageID{}) {
			return id, vocab.Errorf(vocab.NotFound, "no volume %d in the configuration", m.VID)
		}
	case wire.TaskRebuild, wire.TaskDrain:
		if s.storages[id.place] == nil {
			return id, vocab.Errorf(vocab.NotFound, "no storage %v in volume %d of the configuration", m.ID, m.VID)
		}
	default:
		return id, vocab.Errorf(vocab.Invalid, "task kind %d", m.Kind)
	}
	return id, nil
}

// beginTask starts a task. One that runs gets the rate, but a rebuild of a root that was
// replaced meanwhile begins anew.
func (s *Server) beginTask(m wire.TaskRequest) (*task, error) {
	id, err := s.idOf(&m)
	if err != nil {
		return nil, err
	}
	sto := s.storages[id.place]
	if sto != nil {
		_ = s.hear(sto.daemon) // it may just have been started, or prepare says what is wrong
	}
	old := s.running(id)
	if old != nil && !(m.Kind == wire.TaskRebuild && s.wasReplaced(sto)) {
		s.tasksMu.Lock()
		old.rec.Rate = m.Rate
		s.tasksMu.Unlock()
		return old, s.saveTask(old)
	}
	t := &task{id: id}
	t.rec.TaskRequest, t.rec.State = m, wire.TaskRunning
	storage := storageRecord{}
	if sto != nil {
		if storage, err = s.prepare(m.Kind, sto); err != nil {
			return nil, err
		}
		t.incarnation = storage.incarnation
	}
	err = s.own(nil, func(x *tx) error {
		s.tasksMu.Lock()
		defer s.tasksMu.Unlock()
		if o := s.tasks[id]; o != nil && o.rec.State == wire.TaskRunning {
			if o != old {
				t = o // another was faster
				return nil
			}
			s.cancelRunning(x, o)
		}
		t.rec.Started, t.rec.bound = x.now, vocab.Ino(x.count.ino)
		for _, e := range s.exportsOf(m.VID) {
			t.rec.TotalFiles += e.files
			t.rec.TotalBytes += e.bytes
		}
		if sto != nil {
			x.setStorage(sto, storage)
		}
		if o := s.tasks[taskID{wire.TaskRebuild, id.place}]; o != nil && m.Kind == wire.TaskDrain && o.rec.State == wire.TaskRunning {
			s.cancelRunning(x, o) // whoever drains it has given it up
		}
		x.set(taskKey(id.kind, id.place), &t.rec)
		s.tasks[id] = t
		x.hook(func() {
			s.log.Info("a task begins", "task", m.Kind.String(), "vid", uint16(m.VID), "storage", m.ID.String())
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.refreshViews()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasksMu.Lock()
	defer s.tasksMu.Unlock()
	if t.cancel == nil && t.rec.State == wire.TaskRunning && s.ctx.Err() == nil {
		s.runTask(t)
	}
	return t, nil
}

// wasReplaced tells whether a storage has another root than that which is known.
func (s *Server) wasReplaced(sto *storage) bool {
	s.storagesMu.Lock()
	defer s.storagesMu.Unlock()
	return sto.found != 0
}

// prepare checks that a task about a storage can begin and gives what is then stored of it.
func (s *Server) prepare(kind wire.TaskKind, sto *storage) (storageRecord, error) {
	s.storagesMu.Lock()
	rec, found, health := sto.storageRecord, sto.found, sto.root.Health
	s.storagesMu.Unlock()
	if kind == wire.TaskDrain {
		rec.draining = true
		return rec, s.othersThan(sto)
	}
	if found == 0 {
		found = rec.incarnation
		if health != wire.HealthUp {
			return rec, vocab.Errorf(vocab.Unavailable, "storage %v is %v: start its storaged on a root that serves, or drain the storage", sto.place.id, health)
		}
	}
	// The root must say that it cannot tell what it lacks before a client hears of it.
	rec.incarnation = found
	return rec, s.markRoot(sto, found, true)
}

// markRoot tells a storage whether its root lacks anything.
func (s *Server) markRoot(sto *storage, incarnation vocab.Incarnation, partial bool) error {
	sto.daemon.mu.Lock()
	conn := sto.daemon.conn
	sto.daemon.mu.Unlock()
	if conn == nil {
		return vocab.Errorf(vocab.Unavailable, "storaged at %s cannot be reached", sto.daemon.addr)
	}
	epoch, err := s.drawEpoch()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	m := wire.MarkRequest{Partial: partial, Target: wire.Target{ID: sto.place.id, Incarnation: incarnation, Session: repairSession, Epoch: epoch}}
	_, err = conn.Call(ctx, wire.OpMark, &m, wire.Bulk{}, &wire.BootReply{})
	s.storagesMu.Lock()
	defer s.storagesMu.Unlock()
	s.marks++
	return err
}

// othersThan tells whether a cluster has storages enough without one.
func (s *Server) othersThan(sto *storage) error {
	v := s.volumes[sto.place.vid]
	s.storagesMu.Lock()
	defer s.storagesMu.Unlock()
	others := 0
	for p, o := range s.storages {
		if p.vid == sto.place.vid && p.id.CID == sto.place.id.CID && o != sto && !o.draining {
			others++
		}
	}
	if others < int(v.Layout.Safe) {
		return vocab.Errorf(vocab.Unavailable, "cluster %d would have %d storages without storage %v, files of layout %v need %d: add a storage first",
			sto.place.id.CID, others, sto.place.id, v.Layout, v.Layout.Safe)
	}
	return nil
}

// cancelTask ends a task; a storage that was being drained, or has been, gets files again.
func (s *Server) cancelTask(_ context.Context, r *wire.Request) (wire.Message, error) {
	m, err := taskRequest(r)
	if err != nil {
		return nil, err
	}
	id, err := s.idOf(&m)
	if err != nil {
		return nil, err
	}
	s.tasksMu.Lock()
	t := s.tasks[id]
	s.tasksMu.Unlock()
	switch {
	case t == nil:
		return nil, vocab.Errorf(vocab.NotFound, "no %v was started", m.Kind)
	case m.Kind == wire.TaskRebuild && s.running(id) != nil:
		return nil, vocab.Errorf(vocab.Invalid, "storage %v lacks what it had until it is rebuilt: drain it if it is not to be used any more", m.ID)
	}
	err = s.own(nil, func(x *tx) error {
		s.tasksMu.Lock()
		defer s.tasksMu.Unlock()
		s.cancelRunning(x, t)
		if sto := s.storages[id.place]; sto != nil && m.Kind == wire.TaskDrain {
			s.storagesMu.Lock()
			rec := sto.storageRecord
			s.storagesMu.Unlock()
			rec.draining = false
			x.setStorage(sto, rec)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.refreshViews()
	report := s.report(t)
	return &report, nil
}

// cancelRunning is called with tasksMu held.
func (s *Server) cancelRunning(x *tx, t *task) {
	t.rec.State, t.rec.Ended = wire.TaskCancelled, x.now
	x.set(taskKey(t.id.kind, t.id.place), &t.rec)
	if t.cancel != nil {
		x.hook(t.cancel)
	}
}

func (s *Server) report(t *task) wire.Task {
	s.tasksMu.Lock()
	defer s.tasksMu.Unlock()
	report := t.rec.Task
	report.Waiting, report.Why = uint64(len(t.left)), t.why
	return report
}

// Start starts a task, or gives one that runs its rate.
func (s *Server) Start(m wire.TaskRequest) error {
	_, err := s.beginTask(m)
	return err
}

func (s *Server) listTasks(context.Context, *wire.Request) (wire.Message, error) {
	return &wire.TasksReply{Tasks: s.Tasks()}, nil
}

// Tasks tells of the tasks that run, and the last of each kind and storage that has ended,
// in order of their beginning.
func (s *Server) Tasks() (reports []wire.Task) {
	s.tasksMu.Lock()
	var all []*task
	for _, t := range s.tasks {
		all = append(all, t)
	}
	s.tasksMu.Unlock()
	for _, t := range all {
		if len(reports) < wire.MaxTasks {
			reports = append(reports, s.report(t))
		}
	}
	slices.SortFunc(reports, func(a, b wire.Task) int { return cmp.Compare(a.Started, b.Started) })
	return reports
}
