package rozofs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// syncPatience is how long a storage may take to sync before what it holds is
// written to another. It is far above what a busy disk needs.
const syncPatience = 5 * time.Second

// sync is fsync: it returns when all that was written is durable on forward
// storages, and size and time of writing on exportd.
func (f *file) sync(ctx context.Context) error {
	committed := make(chan error, 1)
	go func() { committed <- f.commit(ctx) }()
	err := f.save(ctx)
	return errors.Join(err, <-committed)
}

// persist is sync for a lease that is about to be given up: the size goes with
// the release.
func (f *file) persist(ctx context.Context) error { return f.save(ctx) }

// save makes the content durable on forward storages.
func (f *file) save(ctx context.Context) error {
	if err := f.flush(ctx); err != nil {
		return err
	}
	if err := f.c.saveRuns(ctx, []*file{f}); err != nil {
		return err
	}
	return f.takeFailure()
}

// unsaved is the runs of one file that a saving round is about. They stay in the
// file's list until they are durable.
type unsaved struct {
	f    *file
	runs []*run
}

// saveRuns syncs the complete runs of the files on all storages that hold them,
// one request per storage, and drops their pages. What a storage took before it
// restarted, or cannot sync, is written again under a new version, to spares
// where need be.
func (c *Client) saveRuns(ctx context.Context, files []*file) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StorageTimeout)
	defer cancel()
	for len(files) > 0 {
		var todo []unsaved
		for _, f := range files {
			f.mu.Lock()
			if len(f.runs) > 0 {
				todo = append(todo, unsaved{f, append([]*run(nil), f.runs...)})
			}
			f.mu.Unlock()
		}
		done := c.syncStorages(ctx, todo)
		files = files[:0:0]
		for _, u := range todo {
			if !u.f.durable(u.runs, done) {
				files = append(files, u.f)
			}
		}
		for _, f := range files {
			if err := f.flush(ctx); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil && len(files) > 0 {
			return vocab.Errorf(vocab.Unavailable, "%d files are not durable on enough storages after %v", len(files), c.cfg.StorageTimeout)
		}
	}
	return nil
}

// synced tells under which boot each storage synced each file: what it took under
// that boot is durable.
type synced map[syncKey]vocab.Boot

type syncKey struct {
	id  vocab.StorageID
	fid vocab.FID
}

// syncStorages sends each storage one request for all files that it holds
// projections of.
func (c *Client) syncStorages(ctx context.Context, todo []unsaved) synced {
	type job struct {
		st    *storage
		boot  vocab.Boot
		epoch vocab.Epoch
		fids  map[vocab.FID]struct{}
	}
	jobs := map[string]*job{}
	for _, u := range todo {
		dist := u.f.distribution()
		for _, r := range u.runs {
			for _, at := range r.at {
				st, err := c.pool.at(dist, at.position)
				if err != nil {
					continue
				}
				key := fmt.Sprint(st.id, at.boot)
				j := jobs[key]
				if j == nil {
					j = &job{st: st, boot: at.boot, fids: map[vocab.FID]struct{}{}}
					jobs[key] = j
				}
				j.epoch = max(j.epoch, r.version.Epoch)
				j.fids[u.f.place.FID] = struct{}{}
			}
		}
	}
	var (
		done = synced{}
		mu   sync.Mutex // guards done
		all  sync.WaitGroup
	)
	for _, j := range jobs {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, syncPatience)
			defer cancel()
			req := wire.SyncRequest{Target: j.st.target(c.session.id(), j.epoch), Boot: j.boot}
			for fid := range j.fids {
				req.FIDs = append(req.FIDs, fid)
				if len(req.FIDs) == wire.MaxFIDs {
					break // the rest in the next round
				}
			}
			var reply wire.BootReply
			buf, err := j.st.call(ctx, writing, wire.OpSync, &req, wire.Bulk{}, &reply)
			buf.Release()
			if err != nil {
				c.log.Warn("a storage did not sync; what it holds unsynced is written again", "storage", j.st.id.String(), "err", err)
				if errors.Is(err, context.DeadlineExceeded) {
					j.st.node.setLate(true)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, fid := range req.FIDs {
				done[syncKey{j.st.id, fid}] = reply.Boot
			}
		})
	}
	all.Wait()
	return done
}

// durable drops the runs whose every projection is synced, and their pages. The
// pages of other runs are dirty again; false tells that there are some.
func (f *file) durable(runs []*run, done synced) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := true
	gone := map[*run]bool{}
	for _, r := range runs {
		gone[r] = true
		safe := f.isSynced(r, done)
		if safe {
			f.finality.durable(r)
		} else {
			f.finality.failed(r)
		}
		for j, pg := range r.pages {
			b := r.first + uint64(j)
			if f.pages[b] != pg || pg.run != r {
				continue // overwritten or cut off since
			}
			if safe {
				f.dropPage(b)
				continue
			}
			pg.dirty, pg.run = true, nil
			f.dirty++
			all = false
		}
	}
	f.runs = deleteRuns(f.runs, gone)
	f.broadcast()
	return all
}

// isSynced tells whether every projection of a run is durable; mu is held.
func (f *file) isSynced(r *run, done synced) bool {
	dist := &f.place.Distribution
	for _, at := range r.at {
		id := vocab.StorageID{CID: dist.CID, SID: dist.SIDs[at.position]}
		if boot, ok := done[syncKey{id, f.place.FID}]; !ok || boot != at.boot {
			return false
		}
	}
	return true
}

func deleteRuns(runs []*run, gone map[*run]bool) []*run {
	kept := runs[:0]
	for _, r := range runs {
		if !gone[r] {
			kept = append(kept, r)
		}
	}
	clear(runs[len(kept):])
	return kept
}
