package storaged

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged/disk"
)

// root is one storage being served.
type root struct {
	path     string
	identity Identity
	disk     disk.Disk
	lock     disk.File // the identity file, locked
	log      *slog.Logger
	fences   *fenceLog
	leases   leaseFences
	journal  *journal
	room     *room
	files    *fileCache
	dirs     [buckets + 1]directory // the buckets, then slotsDir itself
	threads  chan struct{}          // semaphore of Config.Threads
	syncers  chan struct{}          // semaphore of maxSyncers

	// gate lets a fence wait for the changes that were admitted before it: they
	// hold it for reading from the check of their epoch to their end.
	gate diskLock

	closing  context.Context // ends when the root is being closed
	stop     context.CancelFunc
	partial  atomic.Bool   // there is a partialFile
	unused   atomic.Bool   // nothing was ever written
	finals   atomic.Uint64 // counts what became final
	relieved atomic.Uint64 // finals when discards were folded out of turn
	folding  diskLock      // held by fold, before any other lock
	folded   chan struct{} // closed when the folder has ended; nil: it was not started

	failed atomic.Pointer[string] // why the disk is out of service; nil: it serves
}

// openRoot locks and checks a root and makes what is not there yet. It takes
// charge of d.
func openRoot(cfg RootConfig, c Config, d disk.Disk) (*root, error) {
	r := &root{
		path: cfg.Path, disk: d, log: c.Log.With("storage", cfg.ID().String()),
		threads: make(chan struct{}, c.Threads), syncers: make(chan struct{}, maxSyncers),
		gate: newDiskLock(), folding: newDiskLock(),
	}
	r.closing, r.stop = context.WithCancel(context.Background())
	err := r.identify(cfg)
	if err == nil {
		r.fences, err = openFences(d)
	}
	if err == nil {
		err = r.openSlots()
	}
	var journal int64
	if err == nil {
		r.room, journal, err = roomOf(d, c.JournalBytes)
	}
	if err == nil {
		r.journal, err = openJournal(d, journal)
	}
	if err == nil {
		err = r.openCondition()
	}
	if err != nil {
		_ = r.close() // nothing was changed: the first error is the one to tell
		return nil, err
	}
	r.files = newFileCache(r, c.MaxOpenFiles)
	for i := range r.dirs {
		r.dirs[i].changed.Store(1) // an earlier run may have left entries that are not durable
	}
	r.folded = make(chan struct{})
	go r.folder() // close waits for it
	return r, nil
}

func (r *root) identify(cfg RootConfig) error {
	f, err := r.disk.Open(IdentityFile, os.O_RDONLY)
	if isNotExist(err) {
		return noIdentity()
	}
	if err != nil {
		return err
	}
	r.lock = f
	if err := f.Lock(); err != nil {
		if errors.Is(err, disk.ErrLocked) {
			return vocab.Errorf(vocab.Busy, "another storaged serves this root: stop it first")
		}
		return fmt.Errorf("lock %s: %w", IdentityFile, err)
	}
	if r.identity, err = readIdentity(f); err != nil {
		return err
	}
	if r.identity.ID != cfg.ID() {
		return vocab.Errorf(vocab.WrongIncarnation, "it is the root of storage %v: correct cid, sid or root in the configuration, or mount the right disk", r.identity.ID)
	}
	return nil
}

func noIdentity() error {
	return vocab.Errorf(vocab.NotFound, "there is no %s: its volume may not be mounted; to make it the root of a new storage, run storaged -c FILE -init -cluster HEX", IdentityFile)
}

func (r *root) openSlots() error {
	err := r.disk.Mkdir(slotsDir)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = r.disk.SyncDir(".")
	}
	return err
}

// close lets go of everything, also of a root that was opened halfway.
func (r *root) close() error {
	var errs []error
	r.stop()
	if r.folded != nil {
		<-r.folded
	}
	if r.journal != nil {
		errs = append(errs, r.journal.close())
	}
	if r.files != nil {
		errs = append(errs, r.files.close())
	}
	if r.fences != nil {
		errs = append(errs, r.fences.close())
	}
	if r.lock != nil {
		errs = append(errs, r.lock.Close())
	}
	return errors.Join(append(errs, r.disk.Close())...)
}

// maxSyncers bounds the syncs of files and directories under way on a root.
const maxSyncers = 32

// syncer takes one of the places for syncs and returns how to give it back.
// Whoever has one waits for the disk and nothing else.
func (r *root) syncer() (leave func()) {
	r.syncers <- struct{}{}
	return func() { <-r.syncers }
}

// health of the root, for its status.
func (r *root) health() wire.Health {
	switch {
	case r.failed.Load() != nil:
		return wire.HealthFailed
	case r.partial.Load():
		return wire.HealthPartial
	case r.unused.Load():
		return wire.HealthNew
	}
	return wire.HealthUp
}

// serving is nil, or the error that a root out of service answers with.
func (r *root) serving() error {
	if why := r.failed.Load(); why != nil {
		return vocab.Errorf(vocab.DiskFailed, "storage %v is out of service until storaged is restarted: %s", r.identity.ID, *why)
	}
	return nil
}

// failure turns an error of the disk into what the peer is told. Those that do
// not tell of a disk that works on leave it in service; others end that.
func (r *root) failure(doing string, err error) error {
	var ve *vocab.Error
	switch {
	case errors.As(err, &ve):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return vocab.Errorf(vocab.NoSpace, "storage %v is full", r.identity.ID)
	case errors.Is(err, unix.EFBIG):
		return vocab.Errorf(vocab.TooLarge, "storage %v: %s: the file system holds no file that long", r.identity.ID, doing)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return vocab.Errorf(vocab.Unavailable, "storage %v: %s: %v", r.identity.ID, doing, err)
	}
	return r.fail(doing, err)
}

// openFailure is failure for opening a slot file. What is there but is no file
// of ours concerns that file alone.
func (r *root) openFailure(name string, err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) || errno == unix.ELOOP || errno == unix.EISDIR || errno == unix.ENOTDIR {
		return vocab.Errorf(vocab.Corrupt, "storage %v: %s is no regular file within the root: %v", r.identity.ID, name, err)
	}
	return r.failure("open "+name, err)
}

// fail takes the root out of service.
func (r *root) fail(doing string, err error) error {
	why := fmt.Sprintf("%s: %v", doing, err)
	if r.failed.CompareAndSwap(nil, &why) {
		r.log.Error("the disk has failed, the storage is out of service until storaged is restarted", "root", r.path, "doing", doing, "err", err)
	}
	return r.serving()
}

// admit checks the incarnation, the health and the fence that a request meets.
func (r *root) admit(t *wire.Target, anyIncarnation bool) error {
	if t.Incarnation != r.identity.Incarnation && (t.Incarnation != 0 || !anyIncarnation) {
		return vocab.Errorf(vocab.WrongIncarnation, "storage %v has incarnation %x, the request is for %x", r.identity.ID, uint64(r.identity.Incarnation), uint64(t.Incarnation))
	}
	if err := r.serving(); err != nil {
		return err
	}
	if e := r.fences.epoch(t.Session); t.Epoch < e {
		return vocab.Errorf(vocab.Fenced, "session %d acts under epoch %d, below %d", uint64(t.Session), uint64(t.Epoch), uint64(e))
	}
	return nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
