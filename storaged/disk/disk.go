package disk

import (
	"errors"
	"io"
)

// Disk is the directory tree of a root. Names are relative to the root and use
// slashes.
type Disk interface {
	// Open opens a regular file; flag as in os.OpenFile.
	Open(name string, flag int) (File, error)
	Mkdir(name string) error
	// Names lists a directory.
	Names(dir string) ([]string, error)
	Remove(name string) error
	Rename(from, to string) error
	// SyncDir makes the entries of a directory durable.
	SyncDir(name string) error
	// Space gives the size of the file system and what is left to us.
	Space() (total, free uint64, err error)
	Close() error
}

// File is an open regular file. Close may run beside the other methods, which
// then fail with os.ErrClosed.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// WriteVec writes the parts one after the other from off, in one call if
	// the system takes them whole.
	WriteVec(parts [][]byte, off int64) error
	// Stat gives the size and the bytes allocated on the disk.
	Stat() (size, allocated int64, err error)
	// NextData and NextHole give the first offset from off on that is data, or
	// a hole; io.EOF when there is no more data.
	NextData(off int64) (int64, error)
	NextHole(off int64) (int64, error)
	Truncate(size int64) error
	// Punch makes a hole. The size stays.
	Punch(off, n int64) error
	Datasync() error
	// Lock takes an exclusive lock that lasts until Close, or fails at once.
	Lock() error
}

// ErrLocked is what Lock returns when somebody else has it.
var ErrLocked = errors.New("locked by another process")
