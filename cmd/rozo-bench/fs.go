package main

import (
	"context"
	"errors"
	"io"

	"github.com/rozofs-go/rozo/bench"
	"github.com/rozofs-go/rozo/rozofs/admin"
)

const (
	fsHelp = `Usage: rozo-bench fs --dir DIR [flags]
       rozo-bench fs --up [flags]

Measures the file system that a directory is on: sequential and random reads and
writes of large files, and small files. The files are made in a directory of their
own and removed at the end. As root the page cache of the whole machine is dropped
between workloads.`
	fsExamples = `  rozo-bench fs --up --quick --against /var/tmp
  rozo-bench fs --dir ./mnt --cluster ./rozo-data --against /var/tmp --json > result.json
`
)

func fs(ctx context.Context, args []string, out, progress io.Writer) error {
	f := newFlags("fs", fsHelp, fsExamples)
	var (
		o        bench.FSOptions
		up       admin.Options
		bytes    size
		newOne   = f.Bool("up", false, "make a cluster in the working directory, measure it, stop it and remove it")
		system   = f.Bool("systematic", false, "with --up: blocks themselves beside parities")
		quick    = f.Bool("quick", false, "128 MiB, 500 small files, 1 second of random requests")
		asJSON   = f.Bool("json", false, "write JSON")
		parallel = f.Int("workers", 4, "`number` of jobs, of threads, of creators of small files (default 4)")
	)
	f.StringVar(&o.Dir, "dir", "", "`directory` to measure: a mount point or below one")
	f.Var((*list)(&o.Against), "against", "another `directory`, measured in turn; may be given several times")
	f.StringVar(&o.Cluster, "cluster", "", "`directory` of the cluster behind --dir (that of rozo up --dir):\nCPU time and memory of its daemons are recorded")
	f.Var(&bytes, "size", "`bytes` in large files, such as 4G (default 1G)")
	f.IntVar(&o.Files, "files", 0, "`number` of small files (default 5000)")
	f.DurationVar(&o.Random, "random", 0, "how `long` random reads, and random writes, go on (default 5s)")
	f.BoolVar(&o.KeepCache, "keep-cache", false, "leave the page cache as it is, and read from it")
	f.StringVar(&up.Layout, "layout", "", "with --up: `L` is 0, 1, 2 or a triple K,N,S (default 0)")
	if err := f.parse(args, out); err != nil {
		return err
	}
	o.SizeBytes, o.Workers, up.Systematic = int64(bytes), *parallel, system
	if *quick {
		o = o.Quick()
	}
	if err := checkFS(&o, *newOne, up); err != nil {
		return f.wrong(err)
	}
	var (
		r   *bench.FSReport
		err error
	)
	if *newOne {
		r, err = bench.RunOnNewCluster(ctx, o, up, ".", progress)
	} else {
		r, err = bench.RunFS(ctx, o, progress)
	}
	switch {
	case err != nil:
		return err
	case *asJSON:
		return bench.WriteJSON(out, r)
	}
	return r.WriteTable(out)
}

func checkFS(o *bench.FSOptions, newOne bool, up admin.Options) error {
	switch {
	case newOne && (o.Dir != "" || o.Cluster != ""):
		return errors.New("--up measures a cluster of its own: leave out --dir and --cluster")
	case newOne:
		with := *o
		with.Dir = "." // where the cluster will be
		return with.Validate()
	case o.Dir == "":
		return errors.New("give --dir DIRECTORY, or --up for a cluster made for the purpose")
	case up.Layout != "" || *up.Systematic:
		return errors.New("--layout and --systematic go with --up: a cluster that is there keeps its own")
	}
	return o.Validate()
}
