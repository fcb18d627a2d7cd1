// Command exportd is Rozo's metadata server: it keeps names, attributes and
// placement of files, and hands out leases on them.
//
//	exportd -c FILE [-d]
//
//	-c FILE   configuration (default /etc/rozofs/export.conf)
//	-d        log debug messages too
//
// It stays in the foreground. When it accepts connections it prints one line,
//
//	exportd: ready on ADDRESS, cluster ID, metadata in DIRECTORY
//
// to standard output; its log goes to standard error. SIGTERM and SIGINT stop it
// cleanly. Exit status: 0 after a clean stop, 1 when it could not start or broke
// down, 2 when its configuration or command line is wrong.
package main
