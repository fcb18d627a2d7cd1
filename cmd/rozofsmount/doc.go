// Command rozofsmount mounts an export; linked to /sbin/mount.rozofs it is the
// helper of mount(8) for the type rozofs. See package rozofsmount.
//
//	rozofsmount -H HOST[:PORT][/HOST2...] -E EXPORTPATH [-o OPTION,...] [-f] MOUNTPOINT
//	mount.rozofs SPEC MOUNTPOINT [-sfnv] [-o OPTION,...]
//
//	-H HOST...      exportd, port 53000 unless given; several are tried in turn
//	-E EXPORTPATH   the export's root, or its name
//	-o OPTION,...   mount options, listed in docs/commands.md
//	-f              stay in the foreground, log to standard error
//	-d              as -f, and log every request
//	-h, -V          help, version
//
// It returns when the mount point answers and leaves a daemon that serves it
// until umount, or SIGTERM to the daemon. Exit status: 0 when mounted (with -f:
// unmounted, and all data written), 1 when something failed, 2 when the command
// line is wrong.
package main
