package storaged

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk is the directory tree of a root. Names are relative to the root and use
// slashes. The server reaches its root through this interface alone, so that
// another implementation can stand in for a disk that fails.
type disk interface {
	// open opens a regular file; flag as in os.OpenFile.
	open(name string, flag int) (file, error)
	mkdir(name string) error
	// names lists a directory.
	names(dir string) ([]string, error)
	remove(name string) error
	rename(from, to string) error
	// syncDir makes the entries of a directory durable.
	syncDir(name string) error
	// space gives the size of the file system and what is left to us.
	space() (total, free uint64, err error)
	close() error
}

// file is an open regular file. Close may run beside the other methods, which
// then fail with os.ErrClosed.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// writeVec writes the parts one after the other from off, in one call if
	// the system takes them whole.
	writeVec(parts [][]byte, off int64) error
	// stat gives the size and the bytes allocated on the disk.
	stat() (size, allocated int64, err error)
	// nextData and nextHole give the first offset from off on that is data, or
	// a hole; io.EOF when there is no more data.
	nextData(off int64) (int64, error)
	nextHole(off int64) (int64, error)
	truncate(size int64) error
	// punch makes a hole. The size stays.
	punch(off, n int64) error
	datasync() error
	// lock takes an exclusive lock that lasts until Close, or fails at once.
	lock() error
}

// errLocked is what lock returns when somebody else has it.
var errLocked = errors.New("locked by another process")

// osDisk is a disk on the operating system, confined to its directory.
type osDisk struct{ root *os.Root }

func openOSDisk(path string) (disk, error) {
	r, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return osDisk{r}, nil
}

func (d osDisk) open(name string, flag int) (file, error) {
	f, err := d.root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return newOSFile(f)
}

func newOSFile(f *os.File) (file, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: errors.New("not a regular file")}
	}
	var raw syscall.RawConn
	if err == nil {
		raw, err = f.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &osFile{File: f, raw: raw}, nil
}

func (d osDisk) mkdir(name string) error      { return d.root.Mkdir(name, 0o700) }
func (d osDisk) remove(name string) error     { return d.root.Remove(name) }
func (d osDisk) rename(from, to string) error { return d.root.Rename(from, to) }
func (d osDisk) close() error                 { return d.root.Close() }

func (d osDisk) names(dir string) ([]string, error) {
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d osDisk) syncDir(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d osDisk) space() (total, free uint64, err error) {
	f, err := d.root.Open(".")
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, 0, os.NewSyscallError("fstatfs", err)
	}
	unit := uint64(st.Bsize)
	return st.Blocks * unit, st.Bavail * unit, nil
}

// syncPath makes the entries of a directory outside any root durable.
func syncPath(path string) error {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
