// Package disk is how a storaged reaches the directory of a root, and nothing
// outside of it: the interface Disk, and with Open the operating system's. Another
// implementation can stand in for a disk that fails or loses its power
// (storaged/disk/memdisk).
//
// All methods may be called at the same time. Errors are those of the operating
// system, so that errors.Is tells fs.ErrNotExist, ENOSPC and the like apart.
package disk
