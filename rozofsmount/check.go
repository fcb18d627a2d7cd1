package rozofsmount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const fuseDevice = "/dev/fuse"

// checkMountpoint returns the absolute path, free of symbolic links, of a
// directory that nothing is mounted on yet. It asks the list of mounts before
// it touches the directory: a hanging file system may be mounted there.
func checkMountpoint(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("mount point %s: %w", path, err)
	}
	if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil && abs != "/" {
		abs = filepath.Join(parent, filepath.Base(abs))
	}
	if err := checkFree(abs); err != nil {
		return "", err
	}
	st, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("mount point %s does not exist: make it with mkdir -p %s", abs, abs)
	case errors.Is(err, syscall.ENOTCONN):
		return "", fmt.Errorf("mount point %s belongs to a mount whose daemon has died: run umount -l %s", abs, abs)
	case err != nil:
		return "", fmt.Errorf("mount point %s: %w", abs, err)
	case !st.IsDir():
		return "", fmt.Errorf("mount point %s is not a directory", abs)
	}
	resolved, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", fmt.Errorf("mount point %s: %w", abs, err)
	}
	return resolved, checkFree(resolved)
}

func checkFree(abs string) error {
	m, busy, err := mountAt(abs)
	if err != nil {
		return err
	}
	if busy {
		return fmt.Errorf("mount point %s is busy: %s (%s) is mounted there; unmount it with umount %s, or choose another directory", abs, m.source, m.fsType, abs)
	}
	return nil
}

// checkDevice tells how to get the FUSE device when it is missing. fusermount3
// opens it with the user's own rights, so users need them too.
func checkDevice(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return unix.Close(fd)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%s is missing: run modprobe fuse, or give the container the device (docker run --device %s --cap-add SYS_ADMIN)", path, path)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s has no driver: run modprobe fuse", path)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s may not be opened: run as root, or chmod 666 %s; a container needs the device given (docker run --device %s --cap-add SYS_ADMIN)", path, path, path)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// checkHelper finds the set-uid program by which a user mounts, root needs none.
func checkHelper() error {
	if os.Geteuid() == 0 {
		return nil
	}
	for _, name := range []string{"fusermount3", "fusermount", "/bin/fusermount3", "/bin/fusermount"} {
		if _, err := exec.LookPath(name); err == nil {
			return nil
		}
	}
	return errors.New("fusermount3 is not installed, and only root mounts without: install the package fuse3, or run as root")
}
