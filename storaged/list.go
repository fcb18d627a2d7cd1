package storaged

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// listedAtLeast is how many files a FilesReply gathers, where there are so many.
const listedAtLeast = 4096

// listFiles serves OpFiles. What only the journal has of files is not listed yet, and
// names that are no fid, which are not ours, never.
func (s *Server) listFiles(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.FilesRequest
	if err := r.Decode(&req); err != nil {
		return nil, wire.Bulk{}, err
	}
	rt, err := s.target(r, &req.Target)
	if err != nil {
		return nil, wire.Bulk{}, err
	}
	reply := &wire.FilesReply{}
	for b := int(req.Bucket); b < buckets; b++ {
		if len(reply.FIDs) >= listedAtLeast {
			reply.Next = uint32(b)
			break
		}
		if err := rt.listBucket(ctx, b, &reply.FIDs); err != nil {
			return nil, wire.Bulk{}, err
		}
	}
	return reply, wire.Bulk{}, nil
}

func (r *root) listBucket(ctx context.Context, b int, all *[]vocab.FID) error {
	leave, err := r.work(ctx)
	if err != nil {
		return err
	}
	defer leave()
	names, err := r.disk.Names(bucketName(b))
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return r.failure("list "+bucketName(b), err)
	}
	for _, name := range names {
		if fid, err := vocab.ParseFID(name); err == nil && len(*all) < wire.MaxListedFiles {
			*all = append(*all, fid)
		}
	}
	return nil
}
