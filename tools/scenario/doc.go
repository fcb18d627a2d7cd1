// Package scenario holds the end-to-end tests: real daemons on real sockets
// with real FUSE mounts, brought up by `rozo up` as a user would, and then
// killed, restarted, flooded and worked with by git, sqlite and PostgreSQL. It
// has no code but tests.
//
// # Running them
//
// They need root and /dev/fuse and skip without; the daemons are built from this
// source into a temporary directory. What reads a test's environment:
//
//	ROZO_SCENARIO_SCALE  quick (default): some minutes in all; full: the sizes that we promise
//	ROZO_REQUIRE_ALL     1: a program that a scenario needs and that is not installed is a failure, not a skip
//	ROZO_SCENARIO_BIN    directory of daemons to test instead of building them
//	ROZO_SCENARIO_SEED   seed of contents and choices; each test logs the one that it used
//
// `go test -short` skips all of them.
//
// # How a scenario is written
//
// start gives a cluster under a directory of its own, with verbs: kill, start,
// stop, down, up, remount, secondMount. When the test ends it is taken down, and
// a process or a mount that is left, or a panic in a log, fails the test. A
// scenario that hangs is ended by killing its daemons, which the tests then
// report with the tails of the logs.
//
// Nothing sleeps in place of a condition. Content comes from a seeded generator
// and is judged by SHA-256 computed while it was written, read back after the
// kernel has dropped its copy.
package scenario
