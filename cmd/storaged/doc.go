// Command storaged is the storage server of Rozo: it keeps the projections of
// files in the directories that storage.conf lists.
//
//	storaged -c FILE [-H HOST] [-log-level LEVEL]
//	storaged -c FILE -init -cluster HEX
//
//	-c FILE            configuration (default /etc/rozofs/storage.conf)
//	-H HOST            bind HOST where the configuration says "*"
//	-log-level LEVEL   debug, info (the default), warn or error
//	-init              make the roots that have no identity yet, and exit
//	-cluster HEX       with -init: identity of the installation, 32 hexadecimal digits
//
// The first form serves until SIGTERM or SIGINT, and prints one line beginning
// with "storaged ready" when it listens. The second form makes the roots whose
// directories are empty or absent, and exits.
//
// Exit status: 0 after a clean stop, 1 when starting or serving failed, 2 when
// the command line or the configuration is wrong; each problem is then a line on
// standard error.
package main
