package rozofsmount

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

const mountInfoPath = "/proc/self/mountinfo"

// mountEntry is a line of mountinfo.
type mountEntry struct {
	device string // MAJOR:MINOR
	point  string
	fsType string
	source string
}

// mountAt returns what is mounted on point, the topmost, without touching it.
func mountAt(point string) (mountEntry, bool, error) {
	text, err := os.ReadFile(mountInfoPath)
	if err != nil {
		return mountEntry{}, false, fmt.Errorf("reading the list of mounts: %w", err)
	}
	e, ok := findMount(text, point)
	return e, ok, nil
}

// findMount looks for point in the text of mountinfo, see proc_pid_mountinfo(5).
// Later lines lie on top of earlier ones.
func findMount(text []byte, point string) (found mountEntry, ok bool) {
	for line := range bytes.Lines(text) {
		head, tail, _ := strings.Cut(string(line), " - ")
		fields, rest := strings.Fields(head), strings.Fields(tail)
		if len(fields) < 5 || len(rest) < 2 || unescapeMount(fields[4]) != point {
			continue
		}
		found = mountEntry{device: fields[2], point: point, fsType: rest[0], source: unescapeMount(rest[1])}
		ok = true
	}
	return found, ok
}

// unescapeMount undoes the \NNN (octal) that mountinfo writes for blanks.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
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

// readAheadKiB is how much of a file the kernel asks for ahead of a reader. It
// starts with 128; 1024 nearly doubles the speed of buffered reads, since it is
// one request of the largest size.
const readAheadKiB = 1024

// raiseReadAhead sets the read-ahead of the mount. It needs root, and without
// it only speed is lost.
func raiseReadAhead(device string) error {
	path := "/sys/class/bdi/" + device + "/read_ahead_kb"
	if err := os.WriteFile(path, []byte(strconv.Itoa(readAheadKiB)), 0o644); err != nil {
		return fmt.Errorf("raising the read-ahead to %d KiB: %w", readAheadKiB, err)
	}
	return nil
}
