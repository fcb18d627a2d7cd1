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
//	journal/SEQ       segments of the journal
//	slots/XXX/FID     slot files in 4096 buckets
//
// # Slot files and the journal
//
// A slot file holds the projections of one file: a header of 192 bytes, then the
// slot of block b at 192 + b*(64+payloadBytes), as it came over the wire. The
// payload size is fixed by the first write. A block never written is a hole.
//
// Only large spans of new blocks behind the covered end of the file go straight
// into place (write.go, isDirect). All else is appended to the journal of the root
// (journal.go, record.go), and folded into place (fold.go) once it is final: once
// the client has said that this version, or a newer one, lies durably on forward
// storages. Until then the last final version stays where it is. What the journal
// has is indexed in memory (pending); reads take the newest of both (read.go,
// newestOf), or the newest below a version.
//
// # What holds always
//
//   - Versions decide which write of a block counts, never the time of arrival. The
//     newest final version and all above it are kept.
//   - In place a slot is overwritten by folding alone, from a journal that is synced
//     and kept until the fold is synced too. Below the covered end a slot that
//     does not check has rotted; behind it, nobody was promised it.
//   - The header of a slot file changes in the journal first.
//   - What was discarded stays away: what a client wrote before it and that arrives later
//     is hidden or left out, also when the discard itself is forgotten.
//   - A version equal to one that is there is kept again when that has rotted.
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
// # Concurrency and limits
//
// All methods are safe for concurrent use. Requests run on the goroutines of
// package wire, at most Config.Threads of them on a root at once; what they hold
// in bulk is bounded by Config.MaxBulkBytes, a quarter of it for one connection.
// A goroutine of each root folds. Close joins everything. Lock order: root.folding,
// root.gate, rounds of a syncGroup, slotFile.mu, fenceLog.appending or journal.appending,
// all held during I/O (diskLock), then the short ones (fileCache.mu, fenceLog.mu,
// journal.mu, syncGroup.mu), none of which is held while taking another or during I/O.
//
// # Failures
//
// Every refusal is a vocab.Kind with a text. No space is NoSpace, what is written
// then partly is taken back; another error of the disk takes the root out of
// service; errors of reading concern their blocks alone.
package storaged
