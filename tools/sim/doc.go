// Package sim runs whole clusters in one process, on a simulated clock, network and
// disks, breaks them by a seed, and judges what the clients saw. It has tests only.
//
// # An episode
//
// TestCluster runs one for each seed: exportd.Server, storaged.Servers and a few
// rozofs.Clients, made as their programs make them, in a bubble of testing/synctest. Time
// is simulated, so the terms, polls and timeouts are the ones of production and nobody
// waits for them; an episode of a minute takes about a tenth of a second. The clients work
// on files of their own and on shared ones: write, read, truncate, fsync, make, rename,
// rename over, unlink. Meanwhile, at messages that the seed chooses,
//
//   - a storaged or exportd loses its power: no message of it arrives any more, and of what
//     its disk has not synced any part may be there afterwards, sector by sector;
//   - one of them is restarted;
//   - a client crashes and another mounts in its place;
//   - connections are cut, nodes cannot reach each other, links are slow;
//   - bits turn in slot files, on at most forward − inverse storages of a file;
//   - fdatasync, writes, reads or syncs of directories fail on a storage, until its machine
//     is started anew, with the same disk or an empty one;
//   - the calls of a storage's disk take their time, up to 20 seconds each;
//   - a storage's disk is lost and an empty one put in its place: the rebuild begins by itself,
//     while exportd or a storage loses its power, perhaps, or the new disk is lost too;
//   - syncs of exportd's log fail: it ends, and is started again;
//   - a scrub runs; a storage is drained for a while, or until it is empty, and taken back;
//     storages say that they have more or less free space, and a balance moves files;
//   - with SIM_FULL_DISKS=1, a disk is full for a while.
//
// No more is lost at a time than the layout bears: a lost disk counts until exportd knows the
// new root and that is whole, a file that has rotted on a storage until the end.
//
// When all faults are over the episode must end well by itself: Server.Unfinished becomes
// 0 and 0, no task runs, every storage is whole, exportd.Check finds nothing, every name is
// there that must be, and everything reads the same with each single storage missing in turn
// (but what has rotted on others). Then all is scrubbed: unless something has rotted, nothing
// must be lacking or broken. A second scrub must find nothing at all, no orphan either, and
// everything reads the same without as many storages as the layout bears, rot or not.
//
// # The judge
//
// Each block of two cells, and each size, is a register (history_test.go). Porcupine looks
// for an order of the operations on it that explains what every read found: a read through
// any mount sees what a completed write through any mount has written. What a client that
// crashed, or was told of an error, has written since its last fsync may be lost, back to any value since then;
// what it was doing was done or not. Values are never written twice and fill their cell, so a mix shows.
// Errors that no fault explains, and failures of a bubble, are problems too.
//
// # Running
//
//	make sim                 # 500 seeds
//	make sim SEEDS=5000      # seeds 1 to 5000
//	make sim SEEDS=17..17    # one, again
//	SIM_TRACE=1 make sim SEEDS=17..17    # with all that daemons say, as it happens
//
// A seed that fails prints its trace and the command that runs it again. What each storage
// has of a file that reads wrong is in the trace.
//
// # What a seed decides
//
// Layout, workload, faults, delays of messages and what crashes leave come from the seed,
// each from a source of its own, so do the random numbers of the daemons (testing/cryptotest), and
// all goroutines run on one processor. What is left to chance is the order in which package
// runtime runs goroutines that are ready at the same instant of simulated time, select
// among ready cases, and iteration over maps; messages have delays of their own, to the nanosecond, so that
// few things happen at the same instant. Most seeds run the same each time, some differ after a
// while. A failing one is worth running a few times.
//
// # Limits
//
// In the bubble the clock stands still while a goroutine waits for a mutex: what is held while
// a disk or another machine is waited for must be a semaphore or a channel. Pebble waits for
// its disk with mutexes held, so exportd's disk has no delays, and only syncs of its log
// fail: after other errors Pebble ends the process.
package sim
