package exportd

import (
	"context"
	"errors"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// removeOrphans has the storages of the task's volume delete what no file needs: what a
// deletion, or a move that was given up, has left behind. Storages that cannot be reached
// are left out.
func (s *Server) removeOrphans(ctx context.Context, t *task) error {
	for p, sto := range s.storages {
		if p.vid != t.id.place.vid || !s.isUp(sto) {
			continue
		}
		n, err := s.removeOrphansAt(ctx, sto)
		s.tasksMu.Lock()
		t.rec.Found.Orphans += n
		s.tasksMu.Unlock()
		if err != nil && !errors.Is(err, vocab.Unavailable) {
			return err
		}
	}
	return ctx.Err()
}

func (s *Server) removeOrphansAt(ctx context.Context, sto *storage) (removed uint64, err error) {
	m := wire.FilesRequest{}
	for ctx.Err() == nil {
		var reply wire.FilesReply
		if err := s.request(sto, &m.Target, wire.OpFiles, &m, &reply); err != nil {
			return removed, err
		}
		n, err := s.removeThese(sto, reply.FIDs)
		removed += n
		if err != nil || reply.Next <= m.Bucket {
			return removed, err
		}
		m.Bucket = reply.Next
	}
	return removed, nil
}

// removeThese deletes those of the files that are orphans on the storage. What joins a file
// later than that was found does so under a later generation, and stays.
func (s *Server) removeThese(sto *storage, fids []vocab.FID) (removed uint64, err error) {
	orphans := map[uint32][]vocab.FID{} // by the generation below which they go
	for _, fid := range fids {
		generation, orphan, err := s.isOrphan(sto, fid)
		if err != nil {
			return removed, err
		}
		if orphan {
			orphans[generation] = append(orphans[generation], fid)
		}
	}
	for generation, all := range orphans {
		for len(all) > 0 {
			n := min(len(all), wire.MaxFIDs)
			m := wire.DeleteRequest{FIDs: all[:n], Generation: generation}
			if err := s.request(sto, &m.Target, wire.OpDelete, &m, &wire.BootReply{}); err != nil {
				return removed, err
			}
			removed += uint64(n)
			all = all[n:]
		}
	}
	return removed, nil
}

// isOrphan judges only what this exportd has made, under its present incarnation or an
// earlier one, and for exports that it knows.
func (s *Server) isOrphan(sto *storage, fid vocab.FID) (below uint32, orphan bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	x := s.exports[fid.Export()]
	if x == nil || fid.Group() != s.store.group || fid.Incarnation() > s.store.incarnation || uint64(fid.Ino()) > s.count.ino {
		return 0, false, nil
	}
	n, err := (&tx{s: s, exp: x}).inode(fid.Ino())
	switch {
	case isKind(err, vocab.Stale):
		return 0, true, nil
	case err != nil:
		return 0, false, err
	case !n.attr.IsRegular() || n.placement.FID != fid:
		return 0, true, nil
	case x.VID != sto.place.vid || position(&n.placement, sto.place.id) < 0:
		_, moving := s.moving[fid.Ino()]
		return n.lastJoined() + 1, !moving, nil
	}
	return 0, false, nil
}
