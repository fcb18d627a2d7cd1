// Package bench measures: the erasure code against another one and against the
// limits of the memory, and a mounted file system against any other directory.
// cmd/rozo-bench is its command.
//
// # How the code is measured
//
// Every kernel of a case (one layout, block size, operation and number of
// losses) is timed in turn, round after round, in one process and on one
// goroutine, so that whatever else the machine does falls on all of them alike.
// A sample is the mean time of a batch of calls. Of the samples of all rounds
// the report gives the median and the best tenth, the mean of the fastest tenth:
// the first is what one gets on this machine now, the second comes nearest to
// what the code can do. Ratios within one report count, absolute figures of
// different machines or days do not compare.
//
// The block and its pieces are the same in every call, so that small blocks stay
// in the caches. All figures are bytes of user data, the block, per second, also
// those of the limits: copy moves the block once, xor reads two blocks and writes
// one.
//
//	encode    the parities of data shards in place; without systematic form, all projections
//	rebuild   the lost data shards, in place; the others are left where they are
//	decode    the block, contiguous, from pieces with losses; pieces that are data are copied
//
// Losses are the first data shards, or the first projections. Before anything is
// timed each kernel's result is compared with the block.
//
// # How a file system is measured
//
// By a driver of its own: sequential writes and reads in 1 MiB requests by one
// and by several jobs, random 4 KiB reads and writes by several threads, small
// files created, statted, listed, read and removed. The directories compared take
// turns workload by workload. Writes count until fsync has returned; small files
// are written and closed, without fsync. Where it may, the page cache is dropped
// before each workload that reads, and where it may not, the report says so.
// CPU time and peak memory of a cluster's daemons are read from /proc.
//
// # What fails
//
// A workload that reads something else than was written, or any error of the
// file system, ends the run with an error. The clock never fails anything. The
// files are made in a directory of their own, which is removed at the end. A run
// ends early with its context.
package bench
