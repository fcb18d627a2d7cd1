package main

import (
	"context"
	"fmt"
	"io"

	"github.com/rozofs-go/rozo/rozofs/admin"
)

const (
	upHelp = `Usage: rozo up [flags]

Makes a cluster on this machine, or starts it again: exportd, a storaged for each
storage, and the file system mounted. Prints "ready" and the mount point, then
waits; Ctrl-C unmounts and stops all in order. The data stay for the next start.`
	upMore = `A cluster keeps what it was made with; only --mount may change from start to start.

Examples:
  rozo up                               four storages, layout 0, at ./mnt
  rozo up --detach && rozo status       the same in the background; rozo down ends it
  rozo up --dir /srv/a --mount /mnt/a --layout 1
                                        another cluster beside it, of eight storages
  rozo up --dir b --mount mb --layout 2,4,5 --storages 6 --systematic
  rozo kill storaged-3                  from another terminal: see what happens
`
)

func up(ctx context.Context, args []string, out io.Writer) error {
	var o admin.Options
	f := newFlags("up", upHelp, upMore)
	dir := f.dir()
	f.StringVar(&o.Mount, "mount", "", "mount point, a `directory` (default ./"+admin.DefaultMount+"); made if it is not there")
	f.IntVar(&o.Storages, "storages", 0, "`number` of storages (default the layout's safe)")
	f.StringVar(&o.Layout, "layout", "", "`L` is 0 (the default, 2,3,4), 1 (4,6,8), 2 (8,12,16) or a triple K,N,S:\n"+
		"of N projections any K rebuild a block, and they lie on S storages")
	systematic := f.Bool("systematic", false, "keep the blocks themselves beside parities")
	f.StringVar(&o.Export, "export", "", "`name` of the export (default "+admin.DefaultExport+")")
	f.StringVar(&o.BlockSize, "block-size", "", "`size` of a block: 4K, 8K, 16K, 32K or 64K (default 8K)")
	detach := f.Bool("detach", false, "return when ready, and leave all running")
	if err := f.parse(args, out); err != nil {
		return err
	}
	o.Dir = *dir
	if f.given("systematic") {
		o.Systematic = systematic
	}
	c, err := admin.Up(ctx, o, out)
	if err != nil {
		return err
	}
	defer c.Close()
	if *detach {
		return nil
	}
	fmt.Fprintln(out, "          Ctrl-C unmounts and stops all")
	if down, err := c.Wait(ctx, out); down {
		return err
	}
	return c.Down(context.WithoutCancel(ctx), out)
}
