package rozofsmount

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Caller is the process on whose behalf something is done.
type Caller struct {
	UID, GID uint32
	Umask    uint32 // of what is made where no default ACL says more
}

// Change is what SetAttr sets: the fields that Mask names.
type Change struct {
	Mask         wire.SetMask
	Mode         uint32
	UID, GID     uint32
	Size         uint64
	Atime, Mtime vocab.Time
}

// FileSystem is what is mounted. Errors carry a vocab.Kind; a canceled ctx ends
// a call soon. All methods are safe for concurrent use.
type FileSystem interface {
	// Root returns the attributes of the export's root, known since the connection was made.
	Root() vocab.Attr
	Lookup(ctx context.Context, who Caller, parent vocab.Ino, name string) (vocab.Attr, error)
	GetAttr(ctx context.Context, ino vocab.Ino) (vocab.Attr, error)
	// SetAttr changes attributes, the size among them.
	SetAttr(ctx context.Context, who Caller, ino vocab.Ino, ch Change) (vocab.Attr, error)
	// Mknod makes a file of any type but a symbolic link; the type is in mode.
	Mknod(ctx context.Context, who Caller, parent vocab.Ino, name string, mode, rdev uint32) (vocab.Attr, error)
	Symlink(ctx context.Context, who Caller, parent vocab.Ino, name, target string) (vocab.Attr, error)
	Readlink(ctx context.Context, ino vocab.Ino) (string, error)
	Link(ctx context.Context, who Caller, ino, parent vocab.Ino, name string) (vocab.Attr, error)
	Unlink(ctx context.Context, who Caller, parent vocab.Ino, name string) error
	Rmdir(ctx context.Context, who Caller, parent vocab.Ino, name string) error
	Rename(ctx context.Context, who Caller, parent vocab.Ino, name string, newParent vocab.Ino, newName string, flags wire.RenameFlags) error
	// ReadDir returns at most max entries after cookie; 0 is the start.
	ReadDir(ctx context.Context, ino vocab.Ino, cookie uint64, max int, plus bool) (wire.ReaddirReply, error)
	StatFS(ctx context.Context) (wire.StatFSReply, error)
	// OpenFile opens a regular file; flags are those of open(2), O_TRUNC among them.
	OpenFile(ctx context.Context, who Caller, ino vocab.Ino, flags int) (Handle, error)
	// CreateFile makes and opens a regular file; with O_EXCL in flags it must not be there.
	CreateFile(ctx context.Context, who Caller, parent vocab.Ino, name string, mode uint32, flags int) (Handle, vocab.Attr, error)
	// CreateUnnamed makes and opens a regular file without a name; with O_EXCL it gets none later.
	CreateUnnamed(ctx context.Context, who Caller, parent vocab.Ino, mode uint32, flags int) (Handle, vocab.Attr, error)
	GetXattr(ctx context.Context, ino vocab.Ino, name string) ([]byte, error)
	ListXattr(ctx context.Context, ino vocab.Ino) ([]string, error)
	// SetXattr sets the permission bits too if it sets an access ACL.
	SetXattr(ctx context.Context, who Caller, ino vocab.Ino, name string, value []byte, flags wire.XattrFlags) error
	RemoveXattr(ctx context.Context, who Caller, ino vocab.Ino, name string) error
	// Close ends the session; what was written is on the storages when it returns nil.
	Close() error
}

// Handle is an open regular file.
type Handle interface {
	// ReadAt is short only at the end of the file, and then with a nil error.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// WriteAt has copied p when it returns. A handle opened with O_APPEND ignores off.
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)
	// Punch makes a range zeros, as far as the file goes; Zero also makes the file as long, if
	// the size is not to be kept; Allocate does only that.
	Punch(ctx context.Context, off, n int64) error
	Zero(ctx context.Context, off, n int64, keepSize bool) error
	Allocate(ctx context.Context, off, n int64) error
	// SeekData and SeekHole find the next byte that may be data, or that is in a hole or the
	// end of the file.
	SeekData(ctx context.Context, off int64) (at int64, found bool, err error)
	SeekHole(ctx context.Context, off int64) (at int64, found bool, err error)
	// Mode is that of the file, as it was when the handle was opened or has changed the content, or newer.
	Mode() uint32
	// Flush is called at each close(2): it sends what is buffered and reports
	// write errors not yet reported.
	Flush(ctx context.Context) error
	// Sync makes what was written durable.
	Sync(ctx context.Context) error
	// Lock sets a lock or takes it off; with wait it waits until ctx ends. Closing the handle
	// takes off what was set through it.
	Lock(ctx context.Context, l wire.Lock, wait bool) error
	// TestLock returns a lock that is in the way, or one of type LockNone.
	TestLock(ctx context.Context, l wire.Lock) (wire.Lock, error)
	// ReleaseLocks takes off all locks of the owner on the file, but those of flock(2).
	ReleaseLocks(ctx context.Context, owner uint64) error
	// Close gives the file up, after the last close(2).
	Close(ctx context.Context) error
	// KeepCache tells that pages of the file that the kernel has cached are still right.
	KeepCache() bool
}
