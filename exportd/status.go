package exportd

import (
	"context"
	"slices"

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

// room tells how much user data the storages that can be reached hold, and could still take:
// per cluster, since a file lies in one.
func (s *Server) room(v *Volume) (total, free uint64) {
	k, n := uint64(v.Layout.Inverse), int(v.Layout.Forward)
	for _, c := range s.view(v.VID).clusters {
		var totals, frees []uint64
		for i := range c.members {
			if c.members[i].up {
				totals, frees = append(totals, c.members[i].total), append(frees, c.members[i].free)
			}
		}
		total += usable(totals, n) * k
		free += usable(frees, n) * k
	}
	return total, free
}

// usable is how large projections can be of which n lie on n different storages. That many
// fit if, for each j below n, the storages without the j largest have room for n − j of them.
func usable(rooms []uint64, n int) uint64 {
	if len(rooms) < n {
		return 0
	}
	slices.Sort(rooms)
	least := ^uint64(0)
	var sum uint64
	for i, room := range rooms {
		sum += room
		if j := len(rooms) - 1 - i; j < n {
			least = min(least, sum/uint64(n-j))
		}
	}
	return least
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
