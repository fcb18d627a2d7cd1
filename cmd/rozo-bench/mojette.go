package main

import (
	"context"
	"errors"
	"io"

	"github.com/rozofs-go/rozo/bench"
)

const (
	mojetteHelp = `Usage: rozo-bench mojette [flags]

Measures encoding, rebuilding and decoding with one and with all tolerated losses,
for layouts (2,3), (4,6), (8,12) and blocks of 4 KiB, 8 KiB, 64 KiB and 1 MiB:
the Mojette code, systematic and with projections only, github.com/klauspost/
reedsolomon on one goroutine, and what the memory allows (copy, XOR of two blocks).
They take turns in one process; ratios count more than figures.`
	mojetteExamples = `  rozo-bench mojette --quick
  rozo-bench mojette --benchstat > new.txt && benchstat -ignore date,commit old.txt new.txt
  rozo-bench mojette --benchstat > all.txt && benchstat -col /code all.txt
`
)

func mojette(ctx context.Context, args []string, out, progress io.Writer) error {
	f := newFlags("mojette", mojetteHelp, mojetteExamples)
	var o bench.MojetteOptions
	f.IntVar(&o.ElementBytes, "element", 8, "`bytes` of a bin: 8 (the default), 16, 32 or 64")
	quick := f.Bool("quick", false, "fewer and shorter rounds: some seconds")
	asJSON := f.Bool("json", false, "write JSON, all samples included")
	asBenchstat := f.Bool("benchstat", false, "write what benchstat reads")
	if err := f.parse(args, out); err != nil {
		return err
	}
	if *asJSON && *asBenchstat {
		return f.wrong(errors.New("--json and --benchstat exclude one another: give one"))
	}
	if *quick {
		o = o.Quick()
	}
	if err := o.Validate(); err != nil {
		return f.wrong(err)
	}
	r, err := bench.RunMojette(ctx, o, progress)
	switch {
	case err != nil:
		return err
	case *asJSON:
		return bench.WriteJSON(out, r)
	case *asBenchstat:
		return r.WriteBenchstat(out)
	}
	return r.WriteTable(out)
}
