package storaged

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// syncsAtOnce bounds the files of one request that are synced side by side.
const syncsAtOnce = 16

// sync serves OpSync. One fdatasync for each file, shared with the requests that
// arrive while another one runs, then one fsync for each directory that got an
// entry.
func (s *Server) sync(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.SyncRequest
	if err := r.Decode(&req); err != nil {
		return nil, wire.Bulk{}, err
	}
	rt, err := s.target(r, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	if req.Boot != s.boot {
		return nil, wire.Bulk{}, vocab.Errorf(vocab.Unavailable,
			"storage %v has restarted: it runs under boot %x, not %x; write again what was not synced", req.ID, uint64(s.boot), uint64(req.Boot))
	}
	if err := rt.syncFiles(ctx, req.FIDs); err != nil {
		return nil, wire.Bulk{}, err
	}
	return &wire.BootReply{Boot: s.boot}, wire.Bulk{}, nil
}

// syncFiles makes durable what was written to the files before: what is in place by
// syncs of their own, then, since that is noted there too, the journal by one.
func (r *root) syncFiles(ctx context.Context, fids []vocab.FID) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(syncsAtOnce)
	touched := map[int]bool{}
	for _, fid := range fids {
		touched[bucketOf(fid)] = true
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			f := r.files.acquire(fid)
			defer r.files.release(f)
			return f.sync()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := r.syncJournal(); err != nil {
		return err
	}
	for _, fid := range fids {
		f := r.files.acquire(fid)
		f.directAgain()
		r.files.release(f)
	}
	return r.syncBuckets(touched)
}

func (r *root) syncJournal() error {
	defer r.syncer()()
	if err := r.serving(); err != nil {
		return err
	}
	if err := r.journal.sync(); err != nil {
		return r.fail("sync the journal", err)
	}
	return nil
}

// syncBuckets makes the entries of the buckets durable.
func (r *root) syncBuckets(touched map[int]bool) error {
	var g errgroup.Group
	g.SetLimit(syncsAtOnce)
	for b := range touched {
		g.Go(func() error { return r.syncBucket(b) })
	}
	return g.Wait()
}

// sync makes what is in place durable, and notes in the journal how far. Of a file that
// is not there, or that is closed meanwhile, nothing is owed: it was deleted.
func (s *slotFile) sync() error {
	return s.group.do(func() error {
		for {
			again, err := s.syncInPlace()
			if err != nil || !again {
				return err
			}
		}
	})
}

// directAgain lets writes go in place where a truncation has taken slots away, now that
// the header which says so is durable.
func (s *slotFile) directAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened && s.lowered == s.head.Covered {
		s.direct = s.lowered
		if s.log != nil {
			s.log.direct = s.direct
		}
	}
}

// syncInPlace is one round of sync; again tells that the file was shortened meanwhile.
func (s *slotFile) syncInPlace() (again bool, err error) {
	s.mu.Lock()
	err = s.open()
	f, owes, shrunk := s.f, s.owes, s.shrunk
	end := s.head.slotsIn(s.size)
	s.lowered = s.head.Covered
	s.dirty.Store(false) // before the sync: a write during it owes another
	s.owes = false
	s.mu.Unlock() // writers need not wait for the disk
	if err != nil || f == nil || !owes {
		return false, err
	}
	leave := s.root.syncer()
	err = s.root.serving()
	if err == nil {
		err = f.Datasync()
		if errors.Is(err, os.ErrClosed) {
			err = nil
		} else if err != nil {
			err = s.root.fail("sync "+s.fid.String(), err)
		}
	}
	leave()
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shrunk != shrunk {
		s.owes = true
		return true, nil
	}
	if s.f != f || end <= s.head.Covered {
		return false, nil
	}
	h := s.head.clone()
	h.Covered = end
	s.direct = max(s.direct, end)
	return false, s.setHead(h)
}
