// Package exportd is the metadata server: names, attributes, placement, sessions
// and leases. It never sees the content of files. New opens or makes a metadata
// directory, Server.Serve answers clients by the messages of rozofs/wire, whose
// comments are the protocol.
//
// # State machine
//
// Every change is a command, applied one at a time under one lock (tx): it reads
// the state, through a bounded cache of inodes and directory entries, decides, and
// makes one Pebble batch of the new records, the counters with the index of the
// command, and the reply. Time, inode numbers, epochs and placement are part of
// the command, so that the same commands make the same state. The batch is
// applied under the lock and its sync awaited outside, so that one fdatasync
// serves all that came meanwhile. Whoever reads what such a batch has written
// waits for the sync too: nobody is told of what a power cut may undo.
//
// A command that fails leaves nothing behind. One that succeeds leaves its reply
// under the session's request number, until the client acknowledges it, so a
// request repeated after a lost connection, or a crash, is answered and not done
// twice.
//
// # Sessions, leases, opens
//
// A session is one mount; it is durable and bound to the connection on which it
// was opened or resumed. A lease on a regular file protects content and
// attributes. A request that reads what another session may be writing, or
// changes what another session may be caching, first recalls that session's
// lease and waits for it to come down; then the request is tried again from the
// start. Requests that take a lease are served in the order of their coming.
// A holder that answers a recall has given up the lease, whether or not a
// release came before. No request waits for more than its context, its session
// and the server live.
//
// Write leases are durable from their grant until they are given up; read leases
// and opens are kept in memory and reclaimed after a restart. Until every session
// has reclaimed, or a term has passed, nothing that some session may have cached
// is changed, and nothing unlinked deleted; reading goes on.
//
// Locks (fcntl, OFD, flock) are in memory likewise, and what a session reclaims is what it
// has from then on. A request that waits for one occupies nothing but a place in a queue.
//
// A session that was not heard of for LeaseTerm and an eighth is ended, durably:
// its read leases end at once; its write leases end when enough storages of the
// file (at least max(safe-forward+inverse, safe-inverse+1)) refuse its epochs.
// The file then is listed as needing recovery. CloseSession says that everything
// held was given up and is durable: nothing is fenced.
//
// # Placement, deletion
//
// Each storaged is asked every PollInterval for its roots. The incarnation of a
// root is recorded when it is first seen; a root of another incarnation in its
// place is out of use (HealthReplaced) until it is rebuilt. choose is the pure function
// that places files. A deleted file's storages are told by a durable queue for each storage.
//
// # Key space
//
// Numbers in keys are big endian, so that ranges are in order; values are coded
// as messages are (little endian), after one byte, 1, that numbers the record's
// form ('M' has none: its first field is the format of the whole). Lengths of keys
// in brackets.
//
//	'M'                         [1]   format u32, cluster 16 bytes, metadata incarnation u32, group u16
//	'C'                         [1]   commands applied u64; last inode number, epoch counter, session, deletion handed out u64 each
//	'E' eid:2                   [3]   root inode u64, vid u16, inodes without the root u64, sum of sizes u64
//	'I' eid:2 ino:8             [11]  attributes (wire.CodeAttr); directory: parent u64, entries u32;
//	                                  symbolic link: target; regular file: placement (wire.CodePlacement),
//	                                  last generation under which a storage was to join it u32,
//	                                  nameable bool: it was made without a name and may be given one
//	'A' eid:2 ino:8             [11]  extended attributes, in order of their names: of each the name, the value
//	'D' eid:2 dir:8 cookie:8    [19]  name, inode u64, type bits u32; an empty name is a tombstone
//	'S' session:8               [9]   secret u64, eid u16, name, fence epoch u64 (0: alive)
//	'R' session:8 request:8     [17]  op u16, reply as sent
//	'L' eid:2 ino:8             [11]  write lease: session u64, epoch u64
//	'P' eid:2 ino:8             [11]  to be repaired: session u64, epoch u64 of who said so
//	'N' eid:2 ino:8             [11]  needs recovery: session u64, epoch u64 of the lease that ended uncleanly
//	'O' eid:2 ino:8             [11]  empty: the inode has no name and may be open
//	'T' vid:2 cid:2 sid:1       [6]   incarnation u64 of the storage's root, draining bool
//	'X' vid:2 cid:2 sid:1 seq:8 [14]  fid, generation u32, without form: the storage has not confirmed its deletion
//	'K' kind:1 vid:2 cid:2 sid:1 [7]  task (wire.Task), how far it is: eid u16, inode u64; the last inode when it began u64
//
// A cookie is 47 bits of SHA-256 of the name (the first six bytes without the
// lowest bit; never 0) above 16 bits that tell apart names which share them. So a
// cookie is positive as a signed number, at least 65536, and stays with its entry.
// Names that share the 47 bits take the numbers from 0 on; one that goes leaves a
// tombstone while later ones are there, so that a search may end at the first
// number that is absent.
//
// # Concurrency and failures
//
// All exported methods may be called at the same time. Close joins every
// goroutine. When the metadata store fails memory and disk may differ, and only a
// restart tells: nothing is answered any more, connections end and Serve returns, or
// the store ends the process. To clients that is a pause.
package exportd
