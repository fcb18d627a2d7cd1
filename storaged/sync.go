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
	return r.syncBuckets(touched)
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

// sync makes the file's content durable. Of a file that is not there, or that is
// closed meanwhile, nothing is owed: it was deleted, or its first write failed.
func (s *slotFile) sync() error {
	return s.group.do(func() error {
		if err := s.lockRead(); err != nil {
			return err
		}
		f := s.f
		s.mu.RUnlock() // writers need not wait for the disk
		if f == nil {
			return nil
		}
		defer s.root.syncer()()
		if err := s.root.serving(); err != nil {
			return err
		}
		s.dirty.Store(false) // before the sync: a write during it owes another
		if err := f.datasync(); err != nil && !errors.Is(err, os.ErrClosed) {
			return s.root.fail("sync "+s.fid.String(), err)
		}
		return nil
	})
}
