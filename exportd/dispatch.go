package exportd

import (
	"context"
	"errors"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// isKind asks an error for its kind.
func isKind(err error, k vocab.Kind) bool { return err != nil && errors.Is(err, k) }

type server func(*Server, context.Context, *wire.Request) (wire.Message, error)

// ops is what exportd serves.
var ops = map[wire.Op]server{
	wire.OpOpenSession:  (*Server).openSession,
	wire.OpReclaim:      (*Server).reclaim,
	wire.OpRenew:        (*Server).renew,
	wire.OpCloseSession: (*Server).closeSession,
	wire.OpStorages:     (*Server).listStorages,
	wire.OpLookup:       (*Server).lookup,
	wire.OpGetAttr:      (*Server).getAttr,
	wire.OpSetAttr:      (*Server).setAttr,
	wire.OpMknod:        (*Server).mknod,
	wire.OpCreate:       (*Server).create,
	wire.OpSymlink:      (*Server).symlink,
	wire.OpReadlink:     (*Server).readlink,
	wire.OpLink:         (*Server).link,
	wire.OpUnlink:       (*Server).unlink,
	wire.OpRmdir:        (*Server).rmdir,
	wire.OpRename:       (*Server).rename,
	wire.OpReaddir:      (*Server).readdir,
	wire.OpStatFS:       (*Server).statFS,
	wire.OpGetXattr:     (*Server).getXattr,
	wire.OpListXattr:    (*Server).listXattr,
	wire.OpSetXattr:     (*Server).setXattr,
	wire.OpRemoveXattr:  (*Server).removeXattr,
	wire.OpTmpfile:      (*Server).tmpfile,
	wire.OpOpen:         (*Server).open,
	wire.OpCommit:       (*Server).commit,
	wire.OpRelease:      (*Server).release,
	wire.OpLock:         (*Server).lock,
	wire.OpTestLock:     (*Server).testLock,
	wire.OpReclaimLocks: (*Server).reclaimLocks,
	wire.OpExportStatus: (*Server).exportStatus,
	wire.OpStartTask:    (*Server).startTask,
	wire.OpTasks:        (*Server).listTasks,
	wire.OpCancelTask:   (*Server).cancelTask,
}

// handle serves one request of a client. What Close, or a failure of the store, overtakes
// is not answered: its connection is about to end, and the client repeats the request with
// the next run.
func (s *Server) handle(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	m, err := s.serve(ctx, r)
	if errors.Is(err, errClosing) || err != nil && s.failure() != nil {
		<-ctx.Done()
	}
	return m, wire.Bulk{}, err
}

func (s *Server) serve(ctx context.Context, r *wire.Request) (wire.Message, error) {
	serve := ops[r.Op]
	if serve == nil {
		return nil, vocab.Errorf(vocab.NotSupported, "exportd does not serve %v", r.Op)
	}
	if err := s.failure(); err != nil {
		return nil, err
	}
	if s.ctx.Err() != nil {
		return nil, errClosing
	}
	return serve(s, ctx, r)
}
