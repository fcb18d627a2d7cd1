package storaged

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// fence serves OpFence. When it returns the fence is durable and no change of a
// lower epoch of the session, or of one of the leases, is under way.
func (s *Server) fence(_ context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.FenceRequest
	if err := r.Decode(&req); err != nil {
		return nil, wire.Bulk{}, err
	}
	rt, err := s.target(r, &req.Target)
	if err != nil && !isFenced(err) { // a fence that is there already does no harm
		return nil, wire.Bulk{}, err
	}
	rt.leases.add(req.Leases)
	if err := rt.raiseFence(req.Session, req.Epoch); err != nil {
		return nil, wire.Bulk{}, err
	}
	return &wire.BootReply{Boot: s.boot}, wire.Bulk{}, nil
}

func (r *root) raiseFence(session vocab.SessionID, epoch vocab.Epoch) error {
	if session == 0 {
		return vocab.Errorf(vocab.Invalid, "fence for session 0")
	}
	if err := r.fences.raise(session, epoch); err != nil {
		return r.failure("record a fence", err)
	}
	r.gate.Lock() // those admitted under the old fence are through
	defer r.gate.Unlock()
	return nil
}

// status serves OpStorageStatus.
func (s *Server) status(context.Context, *wire.Request) (wire.Message, wire.Bulk, error) {
	reply := &wire.StorageStatusReply{}
	for _, r := range s.order {
		st := wire.StorageRoot{
			ID: r.identity.ID, Incarnation: r.identity.Incarnation, Boot: s.boot, Health: r.health(), Root: r.path,
		}
		if total, free, err := r.disk.Space(); err == nil {
			st.TotalBytes, st.FreeBytes = r.room.usable(total), r.room.usable(free)
		} else if st.Health != wire.HealthFailed {
			_ = r.failure("ask for free space", err)
			st.Health = r.health()
		}
		reply.Roots = append(reply.Roots, st)
	}
	return reply, wire.Bulk{}, nil
}
