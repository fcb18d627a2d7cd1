package storaged

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// delete serves OpDelete. The removals are durable when it returns.
func (s *Server) delete(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.DeleteRequest
	rt, leave, err := s.begin(ctx, r, &req, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	defer leave()
	touched := map[int]bool{}
	for _, fid := range req.FIDs {
		if ctx.Err() != nil {
			return nil, wire.Bulk{}, context.Cause(ctx)
		}
		if err := rt.remove(fid, req.Generation, touched); err != nil {
			return nil, wire.Bulk{}, err
		}
	}
	if err := rt.syncJournal(); err != nil {
		return nil, wire.Bulk{}, err
	}
	if err := rt.syncBuckets(touched); err != nil {
		return nil, wire.Bulk{}, err
	}
	return &wire.BootReply{Boot: s.boot}, wire.Bulk{}, nil
}

// remove unlinks one file and notes its bucket. As long as the file stays in the
// cache writes that come late are refused. The bucket of a file that is not there
// is noted too: an earlier request may have removed it and not come to the sync. A
// generation that is not 0 spares the file if it has seen that or a later one.
func (r *root) remove(fid vocab.FID, generation uint32, touched map[int]bool) error {
	s := r.files.acquire(fid)
	defer r.files.release(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation != 0 {
		if err := s.open(); err != nil {
			return err
		}
		if s.state == formed && s.head.Generation >= generation {
			return nil
		}
	}
	return s.remove(touched)
}

// remove needs mu for writing.
func (s *slotFile) remove(touched map[int]bool) error {
	r, fid := s.root, s.fid
	b := bucketOf(fid)
	name := slotFileName(fid)
	switch err := r.disk.Remove(name); {
	case err == nil:
		r.dirs[b].changed.Add(1)
	case !isNotExist(err):
		return r.failure("remove "+name, err)
	}
	touched[b] = true
	if r.journal.pendingOf(fid) != nil {
		if err := r.journal.append(&record{kind: recordGone, fid: fid}); err != nil {
			return r.failure("write the journal", err)
		}
	}
	s.deleted = true
	s.dirty.Store(false)
	s.kept.Store(true)
	_ = s.forget() // what it held is gone
	return nil
}
