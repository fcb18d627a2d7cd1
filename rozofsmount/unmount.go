package rozofsmount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How patient Unmount is with a mount that is in use: files closed a moment ago
// are not, shells standing in it are.
const (
	unmountTries = 10
	unmountPause = 50 * time.Millisecond
)

// Unmount unmounts the file system and waits until what was written is on the
// storages. When programs still use it, it says so in the log, writes what they
// have written, takes the mount point away and cuts them off: their files
// answer ENOTCONN from then on. After an error the client is closed all the
// same, and the mount, if there is one left, answers with errors.
func (m *Mounted) Unmount() error {
	for range unmountTries {
		place, err := m.place()
		switch {
		case err != nil:
			return errors.Join(err, m.closeClient())
		case place == covered:
			err := fmt.Errorf("%s cannot be unmounted: something else is mounted on top of it", m.point)
			return errors.Join(err, m.face.syncAll(context.Background()), m.closeClient())
		case place == visible:
			err := unmount(m.point)
			if err == nil {
				return m.Wait()
			}
			m.log.Debug("unmounting", "mountpoint", m.point, "err", err)
		}
		select {
		case <-m.done:
			return m.err
		case <-time.After(unmountPause):
		}
	}
	return m.cutOff()
}

// place is where the list of mounts shows our mount.
type place int

const (
	visible place = iota
	absent        // unmounted, perhaps lazily while programs go on using it
	covered       // by another mount, which is not ours to take away
)

func (m *Mounted) place() (place, error) {
	entry, ok, err := mountAt(m.point)
	switch {
	case err != nil:
		return visible, err
	case !ok || m.device == "":
		return absent, nil
	case entry.device != m.device:
		return covered, nil
	}
	return visible, nil
}

func (m *Mounted) cutOff() error {
	m.log.Warn("the mount is in use: detaching it, programs that use it lose their files", "mountpoint", m.point)
	syncErr := m.face.syncAll(context.Background())
	if syncErr != nil {
		m.log.Error("writing what open files had buffered failed", "err", syncErr)
	}
	place, err := m.place()
	if err == nil && place == visible {
		err = detach(m.point, true)
	}
	if err != nil {
		return errors.Join(syncErr, fmt.Errorf("detaching %s: %w", m.point, err), m.closeClient())
	}
	if (place == absent || os.Geteuid() != 0) && !m.abort() {
		err := fmt.Errorf("%s is detached, but programs still use it", m.point)
		return errors.Join(syncErr, err, m.closeClient())
	}
	return errors.Join(syncErr, m.Wait())
}

// abort ends the connection to the kernel by the control file of the FUSE
// connection, whose number is the minor one of the device.
func (m *Mounted) abort() bool {
	_, minor, _ := strings.Cut(m.device, ":")
	return os.WriteFile("/sys/fs/fuse/connections/"+minor+"/abort", []byte("1"), 0o600) == nil
}

// unmount is umount(8). A mount that is in use gives EBUSY.
func unmount(point string) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(point, unix.UMOUNT_NOFOLLOW)
	}
	return fusermount("-u", point)
}

// detach takes the mount point away however it is used. With abort the kernel
// answers all that is under way, and all to come, with an error.
func detach(point string, abort bool) error {
	if os.Geteuid() != 0 {
		return fusermount("-u", "-z", point)
	}
	flags := unix.MNT_DETACH | unix.UMOUNT_NOFOLLOW
	if abort {
		flags |= unix.MNT_FORCE
	}
	return unix.Unmount(point, flags)
}

func fusermount(args ...string) error {
	name := "fusermount3"
	if _, err := exec.LookPath(name); err != nil {
		name = "fusermount"
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	switch {
	case err == nil:
		return nil
	case strings.Contains(string(out), "busy"):
		return unix.EBUSY
	}
	return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
}
