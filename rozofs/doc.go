// Package rozofs is the data path of Rozo for Go programs: it mounts an export
// without FUSE. Mount connects to exportd and yields a Client; Client.Tree gives
// the export by path, as package os does with the local file system; the
// inode-level methods of the Client (Lookup, OpenFile, …) are what rozofsmount
// puts under a FUSE mount.
//
// # The way of a write
//
// File.Write → Handle.WriteAt (write.go) copies into pages, full blocks held in
// memory under the file's write lease. A full run of pages is given a version,
// transformed into projections (package block) and sent, one request per
// storage (send.go); a storage that is down, or late while there are spares to
// spare, is replaced by one. The run is complete when all its projections lie on
// storages of their own. Its pages are kept until they are durable there
// (sync.go): what a storage has forgotten in a restart, or is late to make durable, is
// brought to another (saver.go).
//
// # The way of a read
//
// Handle.ReadAt (read.go) takes from pages what is in memory and fetches the
// rest as runs (fetch.go): inverse storages are asked, others when one is late
// or the answers disagree; block.Choose says which version counts.
//
// # Leases
//
// A file's content and attributes are used under a lease from exportd (lease.go).
// When another mount needs the file exportd recalls the lease: what is buffered
// is made durable, then the lease goes back. A lease is good as long as the
// session is renewed (session.go).
//
// # Errors
//
// Errors carry a vocab.Kind (errors.Is(err, vocab.NotFound)) and a text. Methods
// that work by path return *fs.PathError and also match fs.ErrNotExist,
// fs.ErrExist and fs.ErrPermission. A write that fails after WriteAt returned is
// reported by the next WriteAt, Flush, Sync or Close of the file, once.
//
// All types are safe for concurrent use.
package rozofs
