package storaged

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/wire"
)

// final serves OpFinal.
func (s *Server) final(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.FinalRequest
	if err := r.Decode(&req); err != nil {
		return nil, wire.Bulk{}, err
	}
	rt, err := s.target(r, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	for _, f := range req.Files {
		if err := rt.finalize(ctx, f); err != nil {
			return nil, wire.Bulk{}, err
		}
	}
	rt.journal.foldSoon()
	return &wire.BootReply{Boot: s.boot}, wire.Bulk{}, nil
}

func (r *root) finalize(ctx context.Context, f wire.FinalFile) error {
	leave, err := r.work(ctx)
	if err != nil {
		return err
	}
	defer leave()
	s := r.files.acquire(f.FID)
	defer r.files.release(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted {
		return nil
	}
	if err := s.open(); err != nil {
		return err
	}
	return s.finalize(f.Final)
}
