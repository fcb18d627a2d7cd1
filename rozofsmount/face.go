package rozofsmount

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// face answers the kernel's requests with calls of a FileSystem. What it does
// not answer is ENOSYS, which the kernel takes well: COPY_FILE_RANGE and IOCTL fall
// back to the kernel's own, ACCESS is never asked for since the kernel checks permissions.
type face struct {
	fuse.RawFileSystem

	fs   FileSystem
	root vocab.Ino
	log  *slog.Logger

	attrTimeout  time.Duration
	entryTimeout time.Duration

	base     context.Context // of all requests
	cancel   context.CancelFunc
	requests requests
	watcher  sync.WaitGroup // of callers; waited for by close

	bare  bareFiles
	files table[*file]
	dirs  table[*dir]
}

var _ fuse.RawFileSystem = (*face)(nil)

func newFace(fs FileSystem, log *slog.Logger, attrTimeout, entryTimeout time.Duration) *face {
	f := &face{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		fs:            fs, root: fs.Root().Ino, log: log,
		attrTimeout: attrTimeout, entryTimeout: entryTimeout, bare: bareFiles{term: bareTerm},
	}
	f.base, f.cancel = context.WithCancel(context.Background())
	f.requests.under = map[uint64]*requestUnderWay{}
	f.watcher.Go(func() { f.requests.watchCallers(f.base) })
	return f
}

// close gives up the files that the kernel had no time to release before it
// was unmounted, and ends all requests. No request may come after it.
func (f *face) close() {
	for _, open := range f.files.drain() {
		f.closeFile(open)
	}
	f.cancel()
	f.watcher.Wait()
}

// String names the file system for the FUSE library.
func (f *face) String() string { return "rozofs" }

// ino translates a FUSE node id.
func (f *face) ino(node uint64) vocab.Ino {
	if node == fuse.FUSE_ROOT_ID {
		return f.root
	}
	return vocab.Ino(node)
}

// node translates an inode number. Number 1 can belong to an export's root only:
// it is the first that an exportd hands out.
func (f *face) node(ino vocab.Ino) uint64 {
	if ino == f.root {
		return fuse.FUSE_ROOT_ID
	}
	return uint64(ino)
}

func callerOf(h *fuse.InHeader) Caller { return Caller{UID: h.Uid, GID: h.Gid} }

// makerOf is who makes something: the umask is left to exportd, which knows the default ACLs.
func makerOf(h *fuse.InHeader, umask uint32) Caller {
	return Caller{UID: h.Uid, GID: h.Gid, Umask: umask}
}

// entry fills the reply to whatever yields a name's file.
func (f *face) entry(out *fuse.EntryOut, a *vocab.Attr) fuse.Status {
	return f.entryAged(out, a, 0)
}

// entryAged does so for attributes that were true age ago.
func (f *face) entryAged(out *fuse.EntryOut, a *vocab.Attr, age time.Duration) fuse.Status {
	node := f.node(a.Ino)
	if a.Ino == 0 || a.Ino == ^vocab.Ino(0) || node == fuse.FUSE_ROOT_ID && a.Ino != f.root {
		return f.fail("entry", a.Ino, vocab.Errorf(vocab.Protocol, "exportd answered with inode number %d, which no file has", a.Ino))
	}
	*out = fuse.EntryOut{NodeId: node, Generation: uint64(a.Generation)}
	if node == fuse.FUSE_ROOT_ID {
		out.Generation = 0 // as the kernel has it
	}
	out.SetEntryTimeout(max(f.entryTimeout-age, 0))
	out.SetAttrTimeout(max(f.attrTimeout-age, 0))
	fillAttr(&out.Attr, a)
	return fuse.OK
}

// fail turns an error into the status that the kernel gets, and logs it when
// the program that asked will not learn what happened.
func (f *face) fail(op string, ino vocab.Ino, err error) fuse.Status {
	e := errno(err)
	if e == syscall.EIO {
		f.log.Error("request failed", "op", op, "ino", uint64(ino), "err", err)
	}
	return fuse.Status(e)
}

// failInode is fail for what was asked of an inode, not of a name. There
// NotFound means that the file went away since the kernel looked its name up,
// on another machine perhaps. ESTALE makes the kernel look once more, so that
// open(2) of a file that is being replaced finds the old one or the new.
func (f *face) failInode(op string, ino vocab.Ino, err error) fuse.Status {
	if errors.Is(err, vocab.NotFound) {
		return fuse.Status(syscall.ESTALE)
	}
	return f.fail(op, ino, err)
}

// tooLong refuses a name early; the kernel lets up to 1024 bytes pass.
func tooLong(name string) bool { return len(name) > vocab.MaxNameBytes }

const statusNameTooLong = fuse.Status(syscall.ENAMETOOLONG)
