package rozofsmount

import (
	"context"
	"errors"
	"syscall"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// errnoByKind is the one table from a kind of error to what a program sees.
// Whatever a program can do nothing about is EIO, and then the log says more.
var errnoByKind = map[vocab.Kind]syscall.Errno{
	vocab.Internal:         syscall.EIO,
	vocab.Invalid:          syscall.EINVAL,
	vocab.NotFound:         syscall.ENOENT,
	vocab.Exists:           syscall.EEXIST,
	vocab.NotDir:           syscall.ENOTDIR,
	vocab.IsDir:            syscall.EISDIR,
	vocab.NotEmpty:         syscall.ENOTEMPTY,
	vocab.NotPermitted:     syscall.EPERM,
	vocab.AccessDenied:     syscall.EACCES,
	vocab.NameTooLong:      syscall.ENAMETOOLONG,
	vocab.TooManyLinks:     syscall.EMLINK,
	vocab.TooLarge:         syscall.EFBIG,
	vocab.NoSpace:          syscall.ENOSPC,
	vocab.OverQuota:        syscall.EDQUOT,
	vocab.ReadOnly:         syscall.EROFS,
	vocab.CrossExport:      syscall.EXDEV,
	vocab.Stale:            syscall.ESTALE,
	vocab.NotSupported:     syscall.EOPNOTSUPP,
	vocab.NoSession:        syscall.EIO,
	vocab.Fenced:           syscall.EIO,
	vocab.WrongIncarnation: syscall.EIO,
	vocab.OldGeneration:    syscall.EIO,
	vocab.Unavailable:      syscall.EIO,
	vocab.Corrupt:          syscall.EIO,
	vocab.DiskFailed:       syscall.EIO,
	vocab.Busy:             syscall.EBUSY,
	vocab.Protocol:         syscall.EIO,
	vocab.Canceled:         syscall.EINTR,
	vocab.NoData:           syscall.ENODATA,
	vocab.TooManyOpen:      syscall.ENFILE,
	vocab.Overloaded:       syscall.EBUSY,
	vocab.Locked:           syscall.EAGAIN,
	vocab.Deadlock:         syscall.EDEADLK,
	vocab.NoLocks:          syscall.ENOLCK,
}

// errno finds the kind in err's chain. An error without a kind is EIO, but for
// a canceled context: EINTR.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if kind, ok := errors.AsType[vocab.Kind](err); ok {
		if e, known := errnoByKind[kind]; known {
			return e
		}
		return syscall.EIO // of a newer exportd
	}
	if errors.Is(err, context.Canceled) {
		return syscall.EINTR
	}
	return syscall.EIO
}
