package exportd

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	walkRound    = 1024            // files of a round, after which it is noted how far the task is
	walkBytes    = 16 << 30        // and their content, if that is reached first
	walkScan     = 16384           // inodes looked at for one
	walkAtOnce   = 64              // files at the same time, of which a large one counts for up to walkLarge
	walkLarge    = 8               // and so large is one with as many MiB
	walkPaced    = 2               // files at the same time of a task with a rate, which they share
	walkRetry    = 2 * time.Second // between two attempts at files that wait, at most
	scrubRetries = 5               // after which a scrub leaves files to the next
	maxLeft      = 4096            // files that may wait
)

// walk does a task: to all files in order, then again to those that could not be done. How
// far it is is stored, so that another run of exportd goes on there.
func (s *Server) walk(ctx context.Context, t *task) {
	for _, x := range s.exportsOf(t.id.place.vid) {
		if x.EID < t.rec.eid {
			continue
		}
		from := vocab.Ino(0)
		if x.EID == t.rec.eid {
			from = t.rec.ino
		}
		for more := true; more && ctx.Err() == nil; {
			var files []someFile
			var err error
			if files, from, more, err = s.nextFiles(x, from, t); err != nil {
				s.log.Error("a task cannot go on", "task", t.id.kind.String(), "err", err)
				pause(ctx, walkRetry)
				continue
			}
			s.walkFiles(ctx, t, files)
			for len(t.left) > maxLeft && ctx.Err() == nil {
				pause(ctx, walkRetry)
				s.walkLeft(ctx, t)
			}
			s.noteWalk(ctx, t, x.EID, from)
		}
	}
	retry := s.cfg.PollInterval
	for round := 0; len(t.left) > 0 && ctx.Err() == nil && (t.id.kind != wire.TaskScrub || round < scrubRetries); round++ {
		pause(ctx, retry)
		s.walkLeft(ctx, t)
		retry = min(2*retry, walkRetry)
	}
	if ctx.Err() == nil {
		s.leave(t)
	}
	for ctx.Err() == nil {
		err := s.endTask(ctx, t)
		if err == nil {
			return
		}
		s.setWhy(t, err)
		pause(ctx, walkRetry)
	}
}

// leave has the files that a scrub could not do repaired when that can be: what it has met on
// some storages it may have told them.
func (s *Server) leave(t *task) {
	for _, id := range t.left {
		f := someFile{exp: s.exports[id.eid], ino: id.ino}
		if err := s.repairLater(&f); err != nil && !errors.Is(err, vocab.Stale) && s.ctx.Err() == nil {
			s.log.Error("a file that a scrub could not do will not be repaired", "ino", uint64(id.ino), "err", err)
		}
	}
}

func (s *Server) setWhy(t *task, err error) {
	s.tasksMu.Lock()
	defer s.tasksMu.Unlock()
	t.why = err.Error()
	if len(t.why) > 1000 {
		t.why = t.why[:1000]
	}
}

// nextFiles gives the files behind an inode that the task is about, and the inode up to
// which it has looked.
func (s *Server) nextFiles(x *export, from vocab.Ino, t *task) (files []someFile, last vocab.Ino, more bool, err error) {
	last = from
	seen, bytes := 0, uint64(0)
	prefix := fileKey(prefixInode, x.EID, 0)[:3]
	err = scan(s.db, prefix, fileKey(prefixInode, x.EID, from+1), func(k, v []byte) (bool, error) {
		_, ino, ok := parseFileKey(k)
		if !ok {
			return false, errKey(k)
		}
		if ino > t.rec.bound {
			return false, nil
		}
		var n inode
		if err := decode(k, v, &n); err != nil {
			return false, err
		}
		last = ino
		seen++
		if n.attr.IsRegular() && t.concerns(x, &n.placement) {
			files = append(files, someFile{exp: x, ino: ino, placement: n.placement, size: n.attr.Size})
			bytes += n.attr.Size
		}
		more = len(files) == walkRound || bytes >= walkBytes || seen == walkScan
		return !more, nil
	})
	return files, last, more, err
}

// concerns tells whether the task is about a file.
func (t *task) concerns(x *export, p *vocab.Placement) bool {
	return t.id.place.id.SID == 0 || position(p, t.id.place.id) >= 0
}

// position is where a storage is in a distribution, or -1.
func position(p *vocab.Placement, id vocab.StorageID) int {
	if p.Distribution.CID == id.CID {
		for i, sid := range p.Distribution.SIDs {
			if sid == id.SID {
				return i
			}
		}
	}
	return -1
}

// walkFiles does the task to files, several at once.
func (s *Server) walkFiles(ctx context.Context, t *task, files []someFile) {
	epoch, err := s.drawEpoch()
	s.tasksMu.Lock()
	rate := t.rec.Rate
	s.tasksMu.Unlock()
	places := semaphore.NewWeighted(walkAtOnce)
	var g errgroup.Group
	if rate > 0 {
		g.SetLimit(walkPaced)
		rate = max(rate/walkPaced, 1)
	}
	var mu sync.Mutex // guards left
	var left []inodeID
	for _, f := range files {
		weight := int64(min(1+f.size>>20, walkLarge))
		if t.id.kind == wire.TaskBalance {
			weight = walkLarge // how full the storages are is known of some seconds ago
		}
		_ = places.Acquire(context.Background(), weight) // the files under way end in their time
		g.Go(func() error {
			defer places.Release(weight)
			why := err
			if why == nil && ctx.Err() == nil {
				why = s.walkFile(t, &f, epoch, rate)
			}
			if why != nil || ctx.Err() != nil {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, inodeID{f.exp.EID, f.ino})
			}
			if why != nil {
				s.setWhy(t, why)
				s.log.Debug("a task has to leave a file for later", "task", t.id.kind.String(), "ino", uint64(f.ino), "err", why)
			}
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	s.tasksMu.Lock()
	defer s.tasksMu.Unlock()
	t.left = append(t.left, left...)
	if len(t.left) == 0 {
		t.why = ""
	}
}

// walkLeft tries again what was left.
func (s *Server) walkLeft(ctx context.Context, t *task) {
	s.tasksMu.Lock()
	again := t.left
	t.left = nil
	s.tasksMu.Unlock()
	var files []someFile
	var unread []inodeID
	var why error // the last of them could not be read
	s.mu.Lock()
	for _, id := range again {
		x := s.exports[id.eid]
		n, err := (&tx{s: s, exp: x}).inode(id.ino)
		if errors.Is(err, vocab.Stale) {
			continue // deleted
		}
		if err != nil {
			unread, why = append(unread, id), err
			continue
		}
		files = append(files, someFile{exp: x, ino: id.ino, placement: n.placement, size: n.attr.Size})
	}
	s.mu.Unlock()
	if why != nil {
		s.setWhy(t, why)
		s.tasksMu.Lock()
		t.left = unread
		s.tasksMu.Unlock()
	}
	for len(files) > 0 {
		n := min(len(files), walkRound)
		s.walkFiles(ctx, t, files[:n])
		files = files[n:]
	}
}

// walkFile does the task to one file, and counts.
func (s *Server) walkFile(t *task, f *someFile, epoch vocab.Epoch, rate uint64) error {
	counted := uint64(0)
	o := repairOptions{rate: rate, some: func(bytes uint64) {
		counted += bytes
		s.tasksMu.Lock()
		defer s.tasksMu.Unlock()
		t.rec.Bytes += bytes
	}}
	var err error
	var got wire.RepairReply
	moved := uint64(0)
	switch t.id.kind {
	case wire.TaskRebuild:
		got, err = s.rebuildFile(t.id.place.id, f, epoch, o)
	case wire.TaskScrub:
		o.verify = true
		got, err = s.repair(f, epoch, o)
	case wire.TaskDrain:
		got, err = s.moveFile(f, position(&f.placement, t.id.place.id), epoch, o)
		moved = 1
	case wire.TaskBalance:
		if p := s.tooFull(f); p >= 0 {
			got, err = s.moveFile(f, p, epoch, o)
			moved = 1
		} else {
			o.some(f.size)
		}
	}
	if err == nil {
		err = s.repairFirst(f, got.Torn)
	}
	if err == nil && isPartial(&got) {
		err = s.repairLater(f)
	}
	s.tasksMu.Lock()
	defer s.tasksMu.Unlock()
	found := &t.rec.Found
	found.Checked += got.Checked
	found.Written += got.Written
	found.Lacking += got.Lacking
	found.Broken += got.Broken
	if err != nil && !errors.Is(err, vocab.Stale) {
		t.rec.Bytes -= counted // it will be done again
		return err
	}
	found.Lost += got.Lost
	if got.Lost > 0 {
		s.log.Error("blocks of a file are lost: too few projections are left; what can be read of it can be copied, the rest comes from a backup",
			"export", f.exp.Root, "ino", uint64(f.ino), "fid", f.placement.FID.String(), "blocks", got.Lost)
	}
	found.Moved += moved
	t.rec.Files++
	t.rec.Bytes += f.size - min(counted, f.size)
	return nil
}

// rebuildFile brings back what a storage lacks. A version that is not known to be final may
// be durable all the same, and the lost root one of those that its writer relies on: the
// file waits until that is known, or the version lies there.
func (s *Server) rebuildFile(id vocab.StorageID, f *someFile, epoch vocab.Epoch, o repairOptions) (wire.RepairReply, error) {
	got, err := s.repair(f, epoch, o)
	if p := position(&f.placement, id); err == nil && p >= 0 {
		err = reachedAt(&got, p)
	}
	if err == nil && got.Busy > 0 {
		err = underWay(&got)
		s.recallWriter(f)
	}
	return got, err
}

// recallWriter has a file's write lease given up, with which all of the file is final.
func (s *Server) recallWriter(f *someFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.files[f.ino]; e != nil {
		s.recallFor(nil, e, wire.LeaseRead)
	}
}

// noteWalk stores how far the task is: before the first file that waits.
func (s *Server) noteWalk(ctx context.Context, t *task, eid vocab.EID, ino vocab.Ino) {
	s.tasksMu.Lock()
	for _, id := range t.left {
		if id.eid < eid || id.eid == eid && id.ino <= ino {
			eid, ino = id.eid, id.ino-1
		}
	}
	t.rec.eid, t.rec.ino = eid, ino
	s.tasksMu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if err := s.saveTask(t); err != nil && s.ctx.Err() == nil {
		s.log.Error("the progress of a task could not be stored", "err", err)
	}
}

// endTask does what is left when all files are done.
func (s *Server) endTask(ctx context.Context, t *task) error {
	sto := s.storages[t.id.place]
	switch t.id.kind {
	case wire.TaskRebuild:
		if err := s.markRoot(sto, t.incarnation, false); err != nil {
			return err // also of a root that was replaced meanwhile
		}
		s.storagesMu.Lock()
		if sto.incarnation == t.incarnation {
			sto.partial = false
		}
		s.storagesMu.Unlock()
	case wire.TaskScrub:
		if err := s.removeOrphans(ctx, t); err != nil {
			return err
		}
	}
	return s.own(nil, func(x *tx) error {
		s.tasksMu.Lock()
		defer s.tasksMu.Unlock()
		if t.rec.State != wire.TaskRunning {
			return nil // cancelled
		}
		t.rec.State, t.rec.Ended = wire.TaskDone, x.now
		x.set(taskKey(t.id.kind, t.id.place), &t.rec)
		found := t.rec.Found
		x.hook(func() {
			s.log.Info("a task is done", "task", t.id.kind.String(), "vid", uint16(t.id.place.vid), "storage", t.id.place.id.String(),
				"files", t.rec.Files, "written_bytes", found.Written, "lacking", found.Lacking, "broken", found.Broken, "lost", found.Lost,
				"orphans", found.Orphans, "moved", found.Moved)
		})
		return nil
	})
}
