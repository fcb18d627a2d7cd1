package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rozofs-go/rozo/rozofs/admin"
)

const usage = `Rozo: a distributed file system whose redundancy is the Mojette transform.

Usage:
  rozo up             make a cluster on this machine, or start it again, and mount it
  rozo status         show every daemon and the mount
  rozo down           unmount and stop all
  rozo start DAEMON   start one daemon: exportd, storaged-N or rozofsmount
  rozo stop DAEMON    stop one daemon
  rozo kill DAEMON    end one daemon at once, as a crash would

  rozo storage rebuild SID    bring back what a storage has lost
  rozo storage drain SID      move all that a storage has to the others; undrain ends that
  rozo storage status         how rebuilds and drains get on
  rozo volume balance         fill all storages alike; cancel, status
  rozo scrub start            check everything, and repair it; cancel, status

rozo COMMAND --help tells the flags and gives examples.
`

// command is one word after rozo. It writes what is asked for, and progress, to
// out, and returns errUnwell when its answer is that something does not run.
type command func(ctx context.Context, args []string, out io.Writer) error

var commands = map[string]command{
	"up": up, "status": status, "down": down,
	"start": one("start", (*admin.Cluster).Start),
	"stop":  one("stop", (*admin.Cluster).Stop),
	"kill":  one("kill", (*admin.Cluster).Kill),

	"storage": tasksOf("storage"), "volume": tasksOf("volume"), "scrub": tasksOf("scrub"),
}

// errUnwell makes the exit status 1 without a word: the answer said it all.
var errUnwell = errors.New("not all is well")

func main() {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	// That nobody reads the progress any more must not end rozo up in the middle.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	os.Exit(report(err, os.Stderr))
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return &admin.UsageError{Text: "no command given\n\n" + strings.TrimRight(usage, "\n")}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		_, err := io.WriteString(out, usage)
		return err
	}
	do, ok := commands[args[0]]
	if !ok {
		return &admin.UsageError{Text: fmt.Sprintf("unknown command %q\n\n%s", args[0], strings.TrimRight(usage, "\n"))}
	}
	return do(ctx, args[1:], out)
}

// report writes the error, a line for each problem, and gives the exit status.
func report(err error, w io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUnwell):
		return 1
	}
	for _, p := range problems(err) {
		fmt.Fprintf(w, "rozo: %s\n", p)
	}
	if _, ok := errors.AsType[*admin.UsageError](err); ok {
		return 2
	}
	return 1
}

// problems takes joined errors apart.
func problems(err error) []string {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{err.Error()}
	}
	var all []string
	for _, e := range joined.Unwrap() {
		all = append(all, problems(e)...)
	}
	return all
}
