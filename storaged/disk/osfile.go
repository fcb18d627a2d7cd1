package disk

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// osFile is a file of osDisk. The system calls that package os lacks go through
// raw, which keeps the descriptor from being closed meanwhile.
type osFile struct {
	*os.File
	raw syscall.RawConn
}

// control runs call with the descriptor, again when a signal interrupted it.
func (f *osFile) control(name string, call func(fd int) error) error {
	var err error
	cerr := f.raw.Control(func(fd uintptr) {
		for {
			if err = call(int(fd)); err != unix.EINTR {
				return
			}
		}
	})
	if cerr != nil {
		return os.ErrClosed // the one cause that Control has
	}
	return os.NewSyscallError(name, err)
}

func (f *osFile) WriteVec(parts [][]byte, off int64) error {
	var n int
	err := f.control("pwritev", func(fd int) (err error) {
		n, err = unix.Pwritev(fd, parts, off)
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range parts { // a short write: the rest, part by part
		if n >= len(p) {
			n -= len(p)
			off += int64(len(p))
			continue
		}
		if _, err := f.WriteAt(p[n:], off+int64(n)); err != nil {
			return err
		}
		off += int64(len(p))
		n = 0
	}
	return nil
}

func (f *osFile) Stat() (size, allocated int64, err error) {
	var st unix.Stat_t
	err = f.control("fstat", func(fd int) error { return unix.Fstat(fd, &st) })
	return st.Size, st.Blocks * 512, err
}

func (f *osFile) seek(off int64, whence int) (int64, error) {
	var at int64
	err := f.control("lseek", func(fd int) (err error) {
		at, err = unix.Seek(fd, off, whence)
		return err
	})
	if errors.Is(err, unix.ENXIO) {
		return 0, io.EOF
	}
	return at, err
}

func (f *osFile) NextData(off int64) (int64, error) { return f.seek(off, unix.SEEK_DATA) }
func (f *osFile) NextHole(off int64) (int64, error) { return f.seek(off, unix.SEEK_HOLE) }

func (f *osFile) Punch(off, n int64) error {
	err := f.control("fallocate", func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return f.zero(off, n)
	}
	return err
}

// zero writes zeros on file systems that cannot make holes.
func (f *osFile) zero(off, n int64) error {
	zeros := make([]byte, min(n, 1<<20))
	for n > 0 {
		z := zeros[:min(n, int64(len(zeros)))]
		if _, err := f.WriteAt(z, off); err != nil {
			return err
		}
		off += int64(len(z))
		n -= int64(len(z))
	}
	return nil
}

func (f *osFile) Datasync() error {
	return f.control("fdatasync", unix.Fdatasync)
}

func (f *osFile) Lock() error {
	err := f.control("flock", func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}
