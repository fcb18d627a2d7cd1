package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// WriteJSON writes any report of this package.
func WriteJSON(w io.Writer, report any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(report)
}

// WriteTable writes the report for people to read.
func (r *MojetteReport) WriteTable(w io.Writer) error {
	fmt.Fprintln(w, r.Machine)
	fmt.Fprintf(w, "Elements of %d bytes, %d rounds; GB/s of user data, best tenth (median), one thread; \"/ rs\" is the ratio to reedsolomon.\n",
		r.Options.ElementBytes, r.Options.Rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i := range r.Results {
		c := &r.Results[i]
		if i == 0 || c.Inverse != r.Results[i-1].Inverse || c.Forward != r.Results[i-1].Forward {
			fmt.Fprintf(t, "\n(%d,%d)\tblock\tlost\tsystematic\t/ rs\tprojections\t/ rs\treedsolomon\tcopy\txor\t\n", c.Inverse, c.Forward)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t", c.Op, sizeText(int64(c.BlockBytes)), c.Lost)
		for _, name := range []string{Systematic, Projections, ReedSolomon, Copy, XOR} {
			k := c.Kernel(name)
			fmt.Fprint(t, k.speed(), "\t")
			if name == Systematic || name == Projections {
				fmt.Fprint(t, k.ratio(), "\t")
			}
		}
		fmt.Fprintln(t)
	}
	fmt.Fprint(t, "\nstored / data\tblock\tsystematic\tprojections\treedsolomon\t\n")
	for _, h := range r.Overhead {
		fmt.Fprintf(t, "(%d,%d)\t%s\t%.3f\t%.3f\t%.3f\t\n", h.Inverse, h.Forward, sizeText(int64(h.BlockBytes)), h.Systematic, h.Projections, h.ReedSolomon)
	}
	return t.Flush()
}

func (k *KernelResult) speed() string {
	if k == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s)", threeDigits(k.BestGBps), threeDigits(k.MedianGBps))
}

func (k *KernelResult) ratio() string {
	if k == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", k.ToReedSolomon)
}

// threeDigits writes a figure with about three digits.
func threeDigits(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// WriteBenchstat writes the samples as Go benchmarks print theirs, for benchstat
// to compare with those of another run (-ignore date,commit). `benchstat -col
// /code FILE` compares the codes within one.
func (r *MojetteReport) WriteBenchstat(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: github.com/rozofs-go/rozo/bench\ncpu: %s\ngo: %s\nkernel: %s\nelement-bytes: %d\ndate: %s\n",
		m.OS, m.Arch, m.CPU, m.Go, m.Kernel, r.Options.ElementBytes, m.Date.Format(time.RFC3339))
	if m.Commit != "" {
		fmt.Fprintf(w, "commit: %s\n", m.Commit)
	}
	for i := range r.Results {
		c := &r.Results[i]
		for _, k := range c.Kernels {
			for _, ns := range k.NsPerCall {
				_, err := fmt.Fprintf(w, "BenchmarkMojette/%s/code=%s \t%d\t%.2f ns/op\t%.2f MB/s\n", c.key(), k.Name, k.Calls, ns, float64(c.BlockBytes)/ns*1000)
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// key names the case in the manner of benchmarks.
func (c Case) key() string {
	return fmt.Sprintf("op=%s/lost=%d/layout=%d_%d/block=%s", c.Op, c.Lost, c.Inverse, c.Forward, sizeText(int64(c.BlockBytes)))
}

// sizeText writes a size in the greatest unit that divides it.
func sizeText(n int64) string {
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprintf("%d%s", n/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}
