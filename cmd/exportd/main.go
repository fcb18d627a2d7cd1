package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/rozofs-go/rozo/exportd"
	"github.com/rozofs-go/rozo/rozofs/conf"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("exportd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: exportd -c FILE [-d]")
		flags.PrintDefaults()
	}
	file := flags.String("c", "/etc/rozofs/export.conf", "configuration `file`")
	debug := flags.Bool("d", false, "log debug messages too (exportd stays in the foreground in any case)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "exportd: argument %q is not understood; options go before it\n", flags.Arg(0))
		return exitUsage
	}
	c, warnings, err := conf.LoadExport(*file)
	for _, w := range warnings {
		fmt.Fprintln(stderr, "warning: "+w)
	}
	if err != nil {
		for _, p := range conf.Problems(err) {
			fmt.Fprintln(stderr, p)
		}
		return exitUsage
	}
	level := slog.LevelInfo
	if *debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	if err := serve(ctx, c, *file, log, stdout); err != nil {
		fmt.Fprintln(stderr, "exportd: "+err.Error())
		return exitFailed
	}
	return exitOK
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, c *conf.Export, file string, log *slog.Logger, stdout io.Writer) error {
	l, err := net.Listen("tcp", c.ListenAddr())
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("address %s is taken by another program: stop that, or set another listen in %s", c.Listen, file)
		}
		return fmt.Errorf("cannot listen on %s, set another listen in %s: %w", c.Listen, file, err)
	}
	s, err := exportd.New(exportd.FromConf(c, log))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	fmt.Fprintf(stdout, "exportd: ready on %s, cluster %v, metadata in %s\n", l.Addr(), s.Cluster(), c.Meta)
	select {
	case err = <-served: // the listener failed
		return errors.Join(err, s.Close())
	case <-ctx.Done():
	}
	log.Info("stopping")
	err = s.Close()
	return errors.Join(err, <-served)
}
