package disk

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// osDisk is a disk on the operating system, confined to its directory.
type osDisk struct{ root *os.Root }

// Open gives the directory at path, which must be there.
func Open(path string) (Disk, error) {
	r, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return osDisk{r}, nil
}

func (d osDisk) Open(name string, flag int) (File, error) {
	f, err := d.root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return newOSFile(f)
}

func newOSFile(f *os.File) (File, error) {
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

func (d osDisk) Mkdir(name string) error      { return d.root.Mkdir(name, 0o700) }
func (d osDisk) Remove(name string) error     { return d.root.Remove(name) }
func (d osDisk) Rename(from, to string) error { return d.root.Rename(from, to) }
func (d osDisk) Close() error                 { return d.root.Close() }

func (d osDisk) Names(dir string) ([]string, error) {
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d osDisk) SyncDir(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d osDisk) Space() (total, free uint64, err error) {
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
