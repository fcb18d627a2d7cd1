// Package rozofsmount is the FUSE face of the client library: it answers the
// kernel's requests with calls of a [FileSystem], which the client of package
// rozofs is, and holds the command line of rozofsmount and mount.rozofs. It is
// the only package that imports go-fuse and the only one that knows errno.
//
// # Concepts
//
// A FUSE node id is the file's inode number, so there is no table of nodes and
// nothing to do when the kernel forgets one; only the export's root, which FUSE
// calls 1, is translated. The pair (inode number, generation) never names two
// files, and that is what the kernel needs.
//
// An open file is a [Handle], an open directory a page of entries and the place
// in it; both live in a table of file handles from OPEN to RELEASE.
//
// The kernel checks permissions (default_permissions) and ACLs and caches pages; locks it
// leaves to us (lock.go) but with LocalLocks. It keeps neither names nor
// attributes unless told to by rozofsentrytimeout and rozofsattrtimeout, and
// compares size and time before it trusts its pages.
//
// # Invariants
//
//   - The daemon never opens, stats or lists anything under its own mount point,
//     but for one harmless open at the start that the FUSE library answers itself.
//   - No lock is held while the kernel is notified.
//   - A request that a caller is still waiting for ends with EINTR only when the
//     caller is about to die, see interrupt.go; but one that waits for a lock ends at
//     any signal.
//   - Every error becomes an errno in errno.go; each EIO leaves a log line with
//     the full error.
//
// # Concurrency
//
// The FUSE library calls the methods of one file system from many goroutines.
// [Mount] starts two more, one that serves and one that tells the kernel which
// pages to drop; both have ended when [Mounted.Wait] returns.
//
// # Known gaps
//
// syncfs(2) does not reach a FUSE file system: use fsync. O_APPEND switched on
// by fcntl(F_SETFL) after opening is seen by the kernel alone, which is safe
// among the processes of one machine only. Locks on directories stay with the machine. RELEASE
// comes a moment after close(2), so flock and OFD locks go a moment later too.
package rozofsmount
