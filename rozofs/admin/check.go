package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rozofs-go/rozo/rozofs/conf"
)

// check finds what would keep the cluster from coming up, all of it, and
// changes nothing. c.Record may still lack its ports, which are free then.
func (c *Cluster) check() error {
	return errors.Join(c.checkDir(), c.checkPrograms(RoleExportd, RoleStoraged, RoleMount), c.checkFUSE(),
		c.checkMountPoint(), c.checkPorts(c.Daemons()), c.checkConfs())
}

// checkDir wants a directory that can be written, or can be made.
func (c *Cluster) checkDir() error {
	entries, err := os.ReadDir(c.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkCreatable("--dir", c.Dir)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("--dir %s is not a directory: name a directory, or a name that is free", c.Dir)
	case err != nil:
		return fmt.Errorf("--dir: %w", err)
	}
	if err := syscall.Access(c.Dir, accessWrite); err != nil {
		return fmt.Errorf("--dir %s cannot be written (%w): change its permissions, or name another", c.Dir, err)
	}
	if _, err := os.Stat(c.path(recordName)); errors.Is(err, fs.ErrNotExist) && slices.ContainsFunc(entries, foreign) {
		return fmt.Errorf("--dir %s holds other files and no cluster: name a new or empty directory", c.Dir)
	}
	return nil
}

// foreign tells what Up does not leave when it is killed before the cluster has
// its record.
func foreign(e fs.DirEntry) bool {
	name := e.Name()
	return name != "run" && name != "log" && !strings.HasPrefix(name, "."+recordName+".")
}

const accessWrite = 2 // W_OK

// checkCreatable looks whether a directory that does not exist could be made.
func checkCreatable(flag, path string) error {
	for up := filepath.Dir(path); ; up = filepath.Dir(up) {
		info, err := os.Stat(up)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err == nil {
			err = syscall.Access(up, accessWrite)
		}
		if err != nil {
			return fmt.Errorf("%s %s cannot be made in %s (%w): name another place", flag, path, up, errno(err))
		}
		return nil
	}
}

// errno takes the path off an error of package os.
func errno(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func (c *Cluster) checkPrograms(roles ...string) error {
	var missing []string
	for _, role := range roles {
		if info, err := os.Stat(filepath.Join(c.bin, role)); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			missing = append(missing, role)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("no program %s in %s: build them with `make build`, which puts all programs into one directory", strings.Join(missing, ", "), c.bin)
}

// checkFUSE wants the device, and the helper for those who are not root.
func (c *Cluster) checkFUSE() error {
	var errs []error
	info, err := os.Stat(c.machine.devFuse)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%s is missing: load the kernel's module with `modprobe fuse`; in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN", c.machine.devFuse)
	case err == nil && info.Mode()&fs.ModeCharDevice == 0:
		err = fmt.Errorf("%s is not a character device", c.machine.devFuse)
	case err == nil:
		f, openErr := os.OpenFile(c.machine.devFuse, os.O_RDWR, 0)
		if openErr != nil {
			err = fmt.Errorf("%s cannot be opened (%w): run as root; in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN", c.machine.devFuse, errno(openErr))
		} else {
			f.Close()
		}
	}
	errs = append(errs, err)
	if !c.machine.root {
		if _, err := c.machine.fusermount(); err != nil {
			errs = append(errs, errors.New("mounting needs root or the program fusermount3, and neither is here: run as root, or install it (Debian: apt-get install fuse3)"))
		}
	}
	return errors.Join(errs...)
}

// checkMountPoint wants an empty directory that nothing is mounted on, or a
// name at which one can be made. What a rozofsmount that has died left mounted
// is no problem: prepareMountPoint takes it away.
func (c *Cluster) checkMountPoint() error {
	at := c.Record.Mount
	if inTree(at)(c.Dir) {
		return fmt.Errorf("--mount %s would hide the cluster's own directory %s: name another", at, c.Dir)
	}
	for _, own := range []string{"meta", "log", "run", "storage_"} {
		if strings.HasPrefix(at, c.path(own)) {
			return fmt.Errorf("--mount %s lies among the cluster's own files: name another", at)
		}
	}
	fsType, err := c.machine.mounted(at)
	switch {
	case err != nil:
		return err
	case fsType == mountType && c.machine.dead(at):
		return nil
	case fsType != "":
		return fmt.Errorf("--mount %s is busy: a file system of type %s is mounted on it: unmount it, or name another", at, fsType)
	}
	entries, err := os.ReadDir(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkCreatable("--mount", at)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("--mount %s is not a directory: name an empty directory, or a name that is free", at)
	case err != nil:
		return fmt.Errorf("--mount: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("--mount %s is not empty, and mounting would hide what is in it: name an empty directory, or a name that is free", at)
	}
	return nil
}

// prepareMountPoint makes the directory, or takes away a mount that is dead.
func (c *Cluster) prepareMountPoint() error {
	fsType, err := c.machine.mounted(c.Record.Mount)
	if err != nil {
		return err
	}
	if fsType != "" {
		return c.machine.detach(c.machine, c.Record.Mount)
	}
	return os.MkdirAll(c.Record.Mount, 0o755)
}

func (c *Cluster) checkPorts(daemons []Daemon) error {
	var errs []error
	for _, d := range daemons {
		if port := c.port(d); port != 0 {
			errs = append(errs, portProblem(d, port))
		}
	}
	return errors.Join(errs...)
}

// port is 0 for rozofsmount and before ports are chosen.
func (c *Cluster) port(d Daemon) int {
	switch d.Role {
	case RoleExportd:
		return c.Record.ExportdPort
	case RoleStoraged:
		return c.Record.Storages[d.SID-1].Port
	}
	return 0
}

// checkConfs reads the configuration files that are there, which a person may
// have changed, and looks for the roots of storages that were made.
func (c *Cluster) checkConfs() error {
	if c.moved() || c.Record.ExportdPort == 0 {
		return nil // they will be written
	}
	var errs []error
	if name := c.path("export.conf"); exists(name) {
		_, _, err := conf.LoadExport(name)
		errs = append(errs, err)
	}
	for _, s := range c.Record.Storages {
		name := c.daemon(RoleStoraged, s.SID, s.Port).Conf
		if !exists(name) {
			continue
		}
		load := conf.LoadStorage
		if s.Made {
			load = conf.LoadStorageWithRoots
		}
		_, err := load(name)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
