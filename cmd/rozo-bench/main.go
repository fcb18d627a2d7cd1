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
)

const usage = `Benchmarks of Rozo.

Usage:
  rozo-bench mojette    the erasure code, against klauspost/reedsolomon and the memory
  rozo-bench fs         a mounted file system, against other directories

rozo-bench COMMAND --help tells the flags and gives examples.
`

// command writes its result to out and its progress to progress.
type command func(ctx context.Context, args []string, out, progress io.Writer) error

var commands = map[string]command{"mojette": mojette, "fs": fs}

// usageError is a command line that is not understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(report(err, os.Stderr))
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) == 0 {
		return &usageError{fmt.Errorf("no command given: mojette or fs\n\n%s", strings.TrimRight(usage, "\n"))}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		_, err := io.WriteString(out, usage)
		return err
	}
	do, ok := commands[args[0]]
	if !ok {
		return &usageError{fmt.Errorf("unknown command %q: want mojette or fs\n\n%s", args[0], strings.TrimRight(usage, "\n"))}
	}
	return do(ctx, args[1:], out, progress)
}

// report writes the error and gives the exit status.
func report(err error, w io.Writer) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			line = "rozo-bench: " + line
		}
		fmt.Fprintln(w, line)
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return 2
	}
	return 1
}
