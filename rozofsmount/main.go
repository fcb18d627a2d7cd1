package rozofsmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1 // it could not be mounted, or data could not be written at the end
	exitUsage   = 2 // the command line is wrong
)

// connectFunc is the type of Options.Connect.
type connectFunc = func(ctx context.Context, o *Options, invalidate func(vocab.Ino)) (FileSystem, error)

// Main is the program rozofsmount, or mount.rozofs when args[0] says so. It
// returns the exit status.
func Main(args []string, stdout, stderr io.Writer) int {
	return mainWith(args, stdout, stderr, nil)
}

func mainWith(args []string, stdout, stderr io.Writer, connect connectFunc) int {
	name := "rozofsmount"
	if len(args) > 0 {
		name = filepath.Base(args[0])
	}
	c, err := parseCommand(args)
	if err != nil {
		report(stderr, name, err)
		fmt.Fprintf(stderr, "%s -h tells more\n", name)
		return exitUsage
	}
	switch {
	case c.help:
		fmt.Fprint(stdout, usageText)
		return exitOK
	case c.version:
		fmt.Fprintln(stdout, "rozofsmount", version())
		return exitOK
	}
	c.options.Connect = connect
	if parent := adopted(); parent != nil {
		return c.runDaemon(parent)
	}
	for _, w := range c.warnings {
		fmt.Fprintf(stderr, "%s: warning: %s\n", name, w)
	}
	if err := c.run(args, stderr); err != nil {
		report(stderr, name, err)
		return exitFailure
	}
	if c.verbose && !c.fake {
		fmt.Fprintf(stdout, "%s mounted on %s\n", c.options.source(), c.options.Mountpoint)
	}
	return exitOK
}

// run does what the command line says, in this process or by a daemon.
func (c *command) run(args []string, stderr io.Writer) error {
	if c.foreground {
		return c.serve(c.logger(stderr), func() {})
	}
	if _, err := c.options.precheck(); err != nil || c.fake {
		return err
	}
	return startDaemon(args)
}

// serve mounts, calls ready and serves until unmounted or told to end.
func (c *command) serve(log *slog.Logger, ready func()) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	o := c.options
	o.Log, o.Trace = log, c.debug
	m, err := Mount(ctx, o)
	if err != nil {
		return err
	}
	log.Info("mounted", "source", o.source(), "mountpoint", m.Mountpoint(), "pid", os.Getpid())
	ready()
	select {
	case <-m.Done():
		return m.Wait()
	case <-ctx.Done():
	}
	stop() // a second signal ends the program at once
	log.Info("told to end: unmounting", "mountpoint", m.Mountpoint())
	return m.Unmount()
}

func (c *command) logger(w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if c.debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// report prints each problem of err on a line of its own.
func report(w io.Writer, name string, err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(w, "%s: %s\n", name, line)
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown version)"
}

var errDaemonEnded = errors.New("the daemon ended before it had mounted")
