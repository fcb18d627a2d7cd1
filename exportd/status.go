package exportd

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/wire"
)

// statFS tells the room of the export's volume, as user data.
func (s *Server) statFS(_ context.Context, r *wire.Request) (wire.Message, error) {
	sess, err := s.headOf(r)
	if err != nil {
		return nil, err
	}
	x := sess.exp
	total, free := s.room(x.vol)
	s.mu.RLock()
	used, files := x.bytes, x.files
	s.mu.RUnlock()
	if q := x.HardQuota; q > 0 {
		total = min(total, q)
		free = min(free, q-min(used, q))
	}
	return &wire.StatFSReply{TotalBytes: total, FreeBytes: free, Files: files, BlockBytes: x.BlockBytes}, nil
}

// room sums up the storages that can be reached: raw bytes times inverse/forward.
func (s *Server) room(v *Volume) (total, free uint64) {
	for _, c := range s.view(v.VID).clusters {
		for i := range c.members {
			if c.members[i].up {
				total += c.members[i].total
				free += c.members[i].free
			}
		}
	}
	k, n := uint64(v.Layout.Inverse), uint64(v.Layout.Forward)
	return total / n * k, free / n * k
}

// exportStatus is for administration: it needs no session.
func (s *Server) exportStatus(context.Context, *wire.Request) (wire.Message, error) {
	reply := &wire.ExportStatusReply{Cluster: s.store.cluster}
	for i := range s.cfg.Volumes {
		reply.Storages = append(reply.Storages, s.addresses(&s.cfg.Volumes[i])...)
	}
	recovery, degraded := s.Unfinished()
	reply.Unsettled, reply.Degraded = uint32(recovery), uint32(degraded)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, sess := range s.sessions {
		if sess.fence == 0 {
			reply.Sessions++
		}
	}
	for _, e := range s.cfg.Exports {
		x := s.exports[e.EID]
		reply.Exports = append(reply.Exports, wire.ExportStatus{EID: e.EID, Name: e.Name, Root: e.Root, VID: e.VID, Files: x.files, Bytes: x.bytes})
	}
	return reply, nil
}
