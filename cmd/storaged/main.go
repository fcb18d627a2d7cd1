// Command storaged is the storage server of Rozo: it keeps the projections of
// files in the directories that storage.conf lists.
//
//	storaged -c FILE [-H HOST] [-log-level LEVEL]
//	storaged -c FILE -init -cluster HEX
//
// The first form serves until SIGTERM or SIGINT, and prints one line beginning
// with "storaged ready" when it listens. -H binds that host instead of "*". The
// second form makes the roots that have no identity yet, whose directories must
// be empty or absent, and exits.
//
// Exit status: 0 after a clean stop, 1 when starting or serving failed, 2 when
// the command line or the configuration is wrong; each problem is then a line on
// standard error.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
