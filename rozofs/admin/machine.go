package admin

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// machine is what of the machine a cluster needs, apart from processes and
// files, so that tests can have one without FUSE.
type machine struct {
	devFuse   string // device file
	mountinfo string // file of the format of /proc/self/mountinfo
	root      bool   // may mount without help
	lookPath  func(program string) (string, error)
	detach    func(m *machine, mountPoint string) error // unmounts lazily
	dead      func(mountPoint string) bool              // tells that the process behind a FUSE mount is gone

	stopTimeout time.Duration // how long a daemon may take to stop before it is killed
}

func thisMachine() *machine {
	return &machine{
		devFuse: "/dev/fuse", mountinfo: "/proc/self/mountinfo", root: os.Geteuid() == 0,
		lookPath: exec.LookPath, detach: detach, dead: dead, stopTimeout: stopTimeout,
	}
}

// fusermount finds the helper that mounts for those who are not root.
func (m *machine) fusermount() (string, error) {
	path, err := m.lookPath("fusermount3")
	if err != nil {
		path, err = m.lookPath("fusermount")
	}
	return path, err
}

// detach takes a mount point out of the tree; the file system ends when
// nothing in it is in use any more.
func detach(m *machine, mountPoint string) error {
	if m.root {
		const detachFlag, noFollow = 2, 8 // MNT_DETACH, UMOUNT_NOFOLLOW
		if err := syscall.Unmount(mountPoint, detachFlag|noFollow); err != nil {
			return fmt.Errorf("unmount %s: %w", mountPoint, err)
		}
		return nil
	}
	helper, err := m.fusermount()
	if err != nil {
		return fmt.Errorf("unmount %s: not root, and fusermount3 is not installed", mountPoint)
	}
	if out, err := exec.Command(helper, "-u", "-z", mountPoint).CombinedOutput(); err != nil {
		return fmt.Errorf("unmount %s: %w: %s", mountPoint, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// mountType is the type of a mounted Rozo file system.
const mountType = "fuse.rozofs"

// mounted gives the type of the file system mounted on this very path, the
// topmost if there are several, or "".
func (m *machine) mounted(path string) (fsType string, err error) {
	b, err := os.ReadFile(m.mountinfo)
	if err != nil {
		return "", fmt.Errorf("read the table of mounts: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		left, right, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if ok && len(f) >= 5 && len(g) >= 1 && unescape(f[4]) == path {
			fsType = g[0]
		}
	}
	return fsType, nil
}

// unescape undoes the \ooo by which the kernel writes blanks and backslashes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// fsAnswer bounds the time that a file system may take to answer a question.
const fsAnswer = 3 * time.Second

// ask calls f, which asks a file system that may never answer, and gives up after
// fsAnswer.
//
// BUG: the goroutine of a call that was given up stays until the kernel answers,
// since such a call cannot be interrupted.
func ask(f func() error) error {
	answer := make(chan error, 1)
	go func() { answer <- f() }()
	select {
	case err := <-answer:
		return err
	case <-time.After(fsAnswer):
		return fmt.Errorf("no answer within %v", fsAnswer)
	}
}

func dead(mountPoint string) bool {
	return errors.Is(ask(func() error { var st syscall.Stat_t; return syscall.Stat(mountPoint, &st) }), syscall.ENOTCONN)
}

// maxHolders bounds how many users of a mount point are listed.
const maxHolders = 8

// holders lists who has a working directory, root, program or open file for
// whose link in /proc match is true: "bash (pid 12: cwd /mnt/x)". Only root sees
// all processes.
func holders(match func(link string) bool) []string {
	var all []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		links, _ := filepath.Glob(dir + "/fd/*")
		links = append([]string{dir + "/cwd", dir + "/root", dir + "/exe"}, links...)
		for _, l := range links {
			target, err := os.Readlink(l)
			if err != nil || !match(target) {
				continue
			}
			comm, _ := os.ReadFile(dir + "/comm")
			how := strings.TrimPrefix(l, dir+"/")
			all = append(all, fmt.Sprintf("%s (pid %s: %s %s)", strings.TrimSpace(string(comm)), filepath.Base(dir), how, target))
			break
		}
		if len(all) == maxHolders {
			return append(all, "and perhaps others")
		}
	}
	return all
}

// inTree matches a directory and what is below it.
func inTree(dir string) func(string) bool {
	return func(s string) bool { return s == dir || strings.HasPrefix(s, dir+"/") }
}
