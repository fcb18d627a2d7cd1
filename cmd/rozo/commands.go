package main

import (
	"context"
	"flag"
	"io"

	"github.com/rozofs-go/rozo/rozofs/admin"
)

const (
	statusHelp = `Usage: rozo status [flags]

Lists every daemon of a cluster on this machine (role, sid, pid, address, state,
free space, log) and the mount. The exit status is 0 when all run, 1 when something
does not.`
	statusMore = `Examples:
  rozo status
  rozo status --dir /srv/a --json | jq -r '.daemons[] | select(.state != "running") | .name'
`
	downHelp = `Usage: rozo down [flags]

Unmounts the file system, then stops the storaged and exportd. A mount point that
is in use is unmounted all the same, and those who use it are named. Does nothing
to what is down already. The data stay: rozo up starts the cluster again.`
	downMore = `Examples:
  rozo down
  rozo down --dir /srv/a
`
)

func status(ctx context.Context, args []string, out io.Writer) error {
	f := newFlags("status", statusHelp, statusMore)
	dir := f.dir()
	asJSON := f.Bool("json", false, "write JSON, with stable names of fields")
	if err := f.parse(args, out); err != nil {
		return err
	}
	c, err := admin.Open(*dir)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if *asJSON {
		err = writeJSON(out, s)
	} else {
		err = s.WriteTable(out)
	}
	if err == nil && !s.Healthy {
		err = errUnwell
	}
	return err
}

func down(ctx context.Context, args []string, out io.Writer) error {
	f := newFlags("down", downHelp, downMore)
	dir := f.dir()
	if err := f.parse(args, out); err != nil {
		return err
	}
	c, err := admin.Open(*dir)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Down(ctx, out)
}

var oneHelp = map[string]string{
	"start": "Starts one daemon of a cluster on this machine and waits until it is ready.",
	"stop":  "Stops one daemon of a cluster on this machine; rozofsmount unmounts.",
	"kill":  "Ends one daemon of a cluster on this machine with SIGKILL, as a crash would.",
}

// one makes a command that does something to one daemon.
func one(name string, do func(*admin.Cluster, context.Context, string, io.Writer) error) command {
	return func(ctx context.Context, args []string, out io.Writer) error {
		f := newFlags(name, "Usage: rozo "+name+" DAEMON [flags]\n\n"+oneHelp[name]+"\nDAEMON is exportd, rozofsmount or storaged-N, where N is the sid.",
			"Examples:\n  rozo "+name+" storaged-3\n  rozo "+name+" exportd --dir /srv/a\n")
		dir := f.dir()
		if err := f.parse(args, out, "DAEMON"); err != nil {
			return err
		}
		c, err := admin.Open(*dir)
		if err != nil {
			return err
		}
		defer c.Close()
		return do(c, ctx, f.operands[0], out)
	}
}

// given tells whether a flag was among the arguments.
func (f *flags) given(name string) bool {
	found := false
	f.Visit(func(g *flag.Flag) { found = found || g.Name == name })
	return found
}
