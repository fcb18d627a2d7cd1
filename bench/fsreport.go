package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable writes the report for people to read.
func (r *FSReport) WriteTable(w io.Writer) error {
	fmt.Fprintln(w, r.Machine)
	if c := r.Cluster; c != nil {
		form := "projections only"
		if c.Systematic {
			form = "systematic"
		}
		fmt.Fprintf(w, "Cluster: layout %s, %s, blocks of %s, %d storages\n", c.Layout, form, sizeText(int64(c.BlockBytes)), c.Storages)
	}
	o := r.Options
	fmt.Fprintf(w, "%s in large files, %s small files of %s in %d directories, %v of random requests of %s; fsync counted in writes of large files.\n",
		sizeText(o.SizeBytes), count(o.Files), sizeText(smallFileBytes), smallDirs, o.Random, sizeText(randomBytes))
	for _, n := range r.Notes {
		fmt.Fprintln(w, "Note:", n)
	}
	fmt.Fprintln(w)
	if err := r.writeResults(w); err != nil {
		return err
	}
	return r.writeDaemons(w)
}

func (r *FSReport) writeResults(w io.Writer) error {
	dirs := append([]string{r.Options.Dir}, r.Options.Against...)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "WORKLOAD\tUNIT")
	for i, dir := range dirs {
		fmt.Fprintf(t, "\t%s", dir)
		if i > 0 {
			fmt.Fprint(t, "\tRATIO")
		}
	}
	if r.Cluster != nil {
		fmt.Fprint(t, "\tDAEMONS' CPU s\ts/GB")
	}
	fmt.Fprintln(t)
	for i := 0; i+len(dirs) <= len(r.Results); i += len(dirs) {
		first := r.Results[i]
		fmt.Fprintf(t, "%s\t%s\t%s", first.Workload, first.Unit, threeDigits(first.Rate))
		for _, other := range r.Results[i+1 : i+len(dirs)] {
			fmt.Fprintf(t, "\t%s\t%.3f", threeDigits(other.Rate), first.Rate/other.Rate)
		}
		if r.Cluster != nil {
			perGB := "-"
			if first.DaemonCPUPerGB > 0 {
				perGB = fmt.Sprintf("%.2f", first.DaemonCPUPerGB)
			}
			fmt.Fprintf(t, "\t%.2f\t%s", first.DaemonCPUSeconds, perGB)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func (r *FSReport) writeDaemons(w io.Writer) error {
	if len(r.Daemons) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nDAEMON\tPID\tCPU s SINCE ITS START\tPEAK MEMORY\t\n")
	for _, d := range r.Daemons {
		ended := ""
		if d.Ended {
			ended = "ended before the benchmark did"
		}
		fmt.Fprintf(t, "%s\t%d\t%.2f\t%d MiB\t%s\n", d.Name, d.PID, d.CPUSeconds, d.PeakBytes>>20, ended)
	}
	return t.Flush()
}
