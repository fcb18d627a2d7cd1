// Command rozo runs and administers a Rozo cluster on one machine.
//
//	rozo up       make a cluster, or start it again, and mount it
//	rozo status   show every daemon and the mount
//	rozo down     unmount and stop all
//	rozo start    start one daemon
//	rozo stop     stop one daemon
//	rozo kill     end one daemon at once, as a crash would
//
// All have --dir DIRECTORY, the cluster's (default ./rozo-data). start, stop and
// kill want a daemon: exportd, rozofsmount or storaged-N, where N is the sid.
// status has --json. The flags of up:
//
//	--mount DIRECTORY   mount point (default ./mnt)
//	--layout L          0 (2,3,4; the default), 1 (4,6,8), 2 (8,12,16) or a triple K,N,S
//	--storages NUMBER   default the layout's safe
//	--systematic        keep the blocks themselves beside parities
//	--export NAME       default export_1
//	--block-size SIZE   4K to 64K (default 8K)
//	--detach            return when ready, and leave all running
//
// `rozo COMMAND --help` tells more, docs/commands.md all. The exit status is 0
// when all is well, 1 when something failed or, of status, does not run, 2 when
// the command was not understood.
package main
