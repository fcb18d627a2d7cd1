// Package admin runs a whole Rozo cluster on one machine: exportd, one storaged
// per storage and rozofsmount, each a process of its own, with their
// configuration, data, logs and process ids under one directory. It is what
// `rozo up`, status, down, start, stop and kill do, for programs and tests.
//
// # The directory
//
//	cluster.json        what was chosen when the cluster was made: see [Record]
//	export.conf         of exportd
//	storage-N.conf      of the storaged with sid N
//	meta/               exportd's metadata
//	storage_N/          root of the storage with sid N
//	log/NAME.log        what a daemon printed; NAME.log.1 is the older part
//	run/NAME.pid        process id, start time and boot of a daemon
//	run/up.lock         held (flock) as long as an Up attends to the cluster
//	run/command.lock    held while a command changes which daemons run
//
// NAME is exportd, storaged-N or rozofsmount. The configuration files are
// written once; what a person changes in them later stays, unless the directory
// has moved, when they are written anew.
//
// # Processes
//
// Daemons run in sessions of their own, so that a Ctrl-C in a terminal reaches
// only the program that called Up, which then stops them in order. They outlive
// that program if it is killed; Down finds them by their pid files. A process is
// known by its id together with its start time and the machine's boot, so a
// process id that was given to another program is never signalled.
//
// A pid file says that the daemon was started and not stopped: with no process
// behind it the daemon has died.
//
// # What holds always
//
// Up finds all problems before it starts anything, and reports them together.
// When a daemon fails to start, Up stops those that it has started. Commands on
// the same directory exclude one another. Everything here is Linux only: it
// reads /proc.
//
// # Errors
//
// A mistake in [Options] or in a daemon's name is a [UsageError]; a daemon that
// ended while it was starting is a [StartError] with the last lines of its log;
// both come joined with others, so errors.As finds them.
package admin
