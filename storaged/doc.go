// Package storaged is the storage server: it keeps projections, one slot per
// block and file, and knows nothing of names.
//
// # Roots
//
// A server has one or more roots, each a directory that holds one storage (cid,
// sid). [InitRoot] makes a root: its identity file names the cluster, the
// storage and an incarnation drawn at random. A directory without an identity is
// refused at start, because it may be the mount point of a disk that is missing.
// A root is locked while it is served. Under it lie
//
//	rozofs.root       identity, 64 bytes, never changed
//	fences            log of refused epochs
//	slots/XXX/FID     slot files in 4096 buckets
//
// # Slot files
//
// A slot file holds the projections of one file: a header of 128 bytes, then the
// slot of block b at 128 + b*(64+payloadBytes), as it came over the wire. The
// payload size is fixed by the first write. A block never written is a hole.
//
// # What holds always
//
//   - Versions decide which write of a block stays, never the time of arrival.
//     A version equal to the one that lies there is written again when it is the
//     same slot byte for byte: that heals a slot torn by a crash.
//   - A reply to a sync means that everything written to the files before under
//     this boot lies on the disk, the files' directory entries too. A reply to a
//     fence or a delete means that it is durable.
//   - Once a fence is acknowledged no change under a lower epoch of that session
//     takes effect any more, changes under way included.
//   - A root whose disk failed a write or a sync answers DiskFailed until the
//     server is restarted; a failed sync is never tried again.
//   - What cannot be read or does not check is answered as unknown, never as
//     absent.
//
// In this version a write goes over the old slot in place: a crash in the middle
// can tear that slot on this storage.
//
// # Concurrency and limits
//
// All methods are safe for concurrent use. Requests run on the goroutines of
// package wire, at most Config.Threads of them on a root at once; what they hold
// in bulk is bounded by Config.MaxBulkBytes, a quarter of it for one connection.
// Close joins everything. Lock order: root.gate, syncGroup.run, slotFile.mu,
// fenceLog.appending, then the short ones (fileCache.mu, fenceLog.mu,
// syncGroup.mu), none of which is held while taking another or during I/O.
//
// # Failures
//
// Every refusal is a vocab.Kind with a text. No space is NoSpace, what is written
// then partly is taken back; another error of the disk takes the root out of
// service; errors of reading concern their blocks alone.
package storaged
