package rozofsmount

import "golang.org/x/sys/unix"

// mountFlag is what an option of mount(8) sets and clears in mount(2).
type mountFlag struct{ set, clear uintptr }

var mountFlags = map[string]mountFlag{
	"ro":         {set: unix.MS_RDONLY},
	"rw":         {clear: unix.MS_RDONLY},
	"nosuid":     {set: unix.MS_NOSUID},
	"suid":       {clear: unix.MS_NOSUID},
	"nodev":      {set: unix.MS_NODEV},
	"dev":        {clear: unix.MS_NODEV},
	"noexec":     {set: unix.MS_NOEXEC},
	"exec":       {clear: unix.MS_NOEXEC},
	"noatime":    {set: unix.MS_NOATIME},
	"atime":      {clear: unix.MS_NOATIME},
	"nodiratime": {set: unix.MS_NODIRATIME},
	"diratime":   {clear: unix.MS_NODIRATIME},
	"relatime":   {set: unix.MS_RELATIME},
	"norelatime": {clear: unix.MS_RELATIME},
	"sync":       {set: unix.MS_SYNCHRONOUS},
	"async":      {clear: unix.MS_SYNCHRONOUS},
	"dirsync":    {set: unix.MS_DIRSYNC},
}

// kernelFlags takes from options those that mount(2) wants as bits; the last
// one of a pair wins.
func kernelFlags(options []string) (bits uintptr, rest []string) {
	bits = unix.MS_NOSUID | unix.MS_NODEV
	for _, o := range options {
		f, ok := mountFlags[o]
		if !ok {
			rest = append(rest, o)
			continue
		}
		bits = bits&^f.clear | f.set
	}
	if bits == 0 {
		bits = unix.MS_MGC_VAL // the FUSE library takes 0 for its default; the kernel ignores this value
	}
	return bits, rest
}
