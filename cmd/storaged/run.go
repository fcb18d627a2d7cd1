package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/conf"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/storaged"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// options are the command line.
type options struct {
	file    string
	host    string
	init    bool
	cluster vocab.ClusterID
	level   slog.Level
}

// errParse is a command line that package flag has complained about already.
var errParse = errors.New("bad command line")

// run is main with its surroundings passed in. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseArgs(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if errors.Is(err, errParse) {
		return exitUsage
	}
	if err != nil {
		return report(stderr, exitUsage, err)
	}
	load := conf.LoadStorageWithRoots
	if o.init {
		load = conf.LoadStorage // roots are made
	}
	c, err := load(o.file)
	if err != nil {
		return report(stderr, exitUsage, err)
	}
	if o.init {
		return initRoots(o, c, stdout, stderr)
	}
	cfg := config(o, c, stderr)
	if err := cfg.Validate(); err != nil {
		return report(stderr, exitUsage, err)
	}
	return serve(ctx, cfg, stdout, stderr)
}

// report prints each problem on a line of its own.
func report(stderr io.Writer, code int, err error) int {
	for _, p := range conf.Problems(err) {
		fmt.Fprintln(stderr, "storaged:", p)
	}
	return code
}

func parseArgs(args []string, stderr io.Writer) (options, error) {
	var o options
	var cluster, level string
	f := flag.NewFlagSet("storaged", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.file, "c", "/etc/rozofs/storage.conf", "configuration `FILE`")
	f.StringVar(&o.host, "H", "", "bind `HOST` where the configuration says \"*\"")
	f.BoolVar(&o.init, "init", false, "make the roots that have no identity yet, and exit")
	f.StringVar(&cluster, "cluster", "", "identity of the installation, 32 `HEX` digits, for -init")
	f.StringVar(&level, "log-level", "info", "least `LEVEL` to log: debug, info, warn or error")
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: storaged -c FILE [-H HOST] [-log-level LEVEL]\n       storaged -c FILE -init -cluster HEX")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errParse
	}
	var errs []error
	if f.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q: see storaged -help", f.Arg(0)))
	}
	if err := o.level.UnmarshalText([]byte(level)); err != nil {
		errs = append(errs, fmt.Errorf("-log-level %q: want debug, info, warn or error", level))
	}
	switch {
	case o.init && cluster == "":
		errs = append(errs, errors.New("-init needs -cluster HEX, the identity of the installation that the roots are for"))
	case !o.init && cluster != "":
		errs = append(errs, errors.New("-cluster goes with -init only: a root knows its cluster"))
	case o.init:
		var err error
		if o.cluster, err = vocab.ParseClusterID(cluster); err != nil {
			errs = append(errs, fmt.Errorf("-cluster: %w", err))
		}
	}
	return o, errors.Join(errs...)
}

// config makes a server's configuration of storage.conf.
func config(o options, c *conf.Storage, stderr io.Writer) storaged.Config {
	cfg := storaged.Config{
		Threads: c.Threads,
		Log:     slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: o.level})),
	}
	if host, err := os.Hostname(); err == nil {
		cfg.Name = "storaged@" + host
	}
	for _, l := range c.Listen {
		host := strings.TrimPrefix(l.Addr, "*")
		if host == "" {
			host = o.host
		}
		cfg.Listen = append(cfg.Listen, net.JoinHostPort(host, strconv.Itoa(l.Port)))
	}
	for _, r := range c.Storages {
		cfg.Roots = append(cfg.Roots, storaged.RootConfig{CID: r.CID, SID: r.SID, Path: r.Root})
	}
	return cfg
}

// initRoots makes what roots are missing, all that can be made.
func initRoots(o options, c *conf.Storage, stdout, stderr io.Writer) int {
	var errs []error
	for _, r := range c.Storages {
		id := vocab.StorageID{CID: r.CID, SID: r.SID}
		_, err := storaged.ReadRoot(r.Root)
		fresh := errors.Is(err, fs.ErrNotExist)
		if err := storaged.InitRoot(r.Root, o.cluster, id); err != nil {
			errs = append(errs, err)
			continue
		}
		what := "is a root already"
		if fresh {
			what = "made"
		}
		fmt.Fprintf(stdout, "storage %v: %s %s\n", id, r.Root, what)
	}
	if len(errs) > 0 {
		return report(stderr, exitFailed, errors.Join(errs...))
	}
	return exitOK
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, cfg storaged.Config, stdout, stderr io.Writer) int {
	s, err := storaged.New(cfg)
	if err != nil {
		return report(stderr, exitFailed, err)
	}
	if err := s.Start(); err != nil {
		return report(stderr, exitFailed, errors.Join(err, s.Close()))
	}
	fmt.Fprintf(stdout, "storaged ready on %s: %d storages\n", joinAddrs(s.Addrs()), len(cfg.Roots))
	select {
	case <-ctx.Done():
		cfg.Log.Info("stopping")
	case err = <-s.Failed():
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return report(stderr, exitFailed, err)
	}
	return exitOK
}

func joinAddrs(all []net.Addr) string {
	var s []string
	for _, a := range all {
		s = append(s, a.String())
	}
	return strings.Join(s, ", ")
}
