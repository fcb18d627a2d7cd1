package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// MojetteOptions say what RunMojette measures. Zero values mean the defaults.
type MojetteOptions struct {
	Layouts      [][2]int      `json:"layouts"`       // (inverse, forward); default (2,3) (4,6) (8,12)
	BlockBytes   []int         `json:"block_bytes"`   // multiples of inverse x element; default 4 KiB, 8 KiB, 64 KiB, 1 MiB
	ElementBytes int           `json:"element_bytes"` // 8, 16, 32 or 64; default 8
	Rounds       int           `json:"rounds"`        // 1 to 1000; default 121
	Batch        time.Duration `json:"batch_ns"`      // duration of a sample, 100 ns to 1 s; default 1 ms
}

// Quick are options that take some seconds.
func (o MojetteOptions) Quick() MojetteOptions {
	o.Rounds, o.Batch = 41, 300*time.Microsecond
	return o
}

func (o *MojetteOptions) defaults() {
	if len(o.Layouts) == 0 {
		o.Layouts = [][2]int{{2, 3}, {4, 6}, {8, 12}}
	}
	if len(o.BlockBytes) == 0 {
		o.BlockBytes = []int{4 << 10, 8 << 10, 64 << 10, 1 << 20}
	}
	if o.ElementBytes == 0 {
		o.ElementBytes = 8
	}
	if o.Rounds == 0 {
		o.Rounds = 121
	}
	if o.Batch == 0 {
		o.Batch = time.Millisecond
	}
}

// Validate returns all that is wrong with the options.
func (o MojetteOptions) Validate() error {
	o.defaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains([]int{8, 16, 32, 64}, o.ElementBytes) {
		bad("element width %d: want 8, 16, 32 or 64 bytes", o.ElementBytes)
		return errors.Join(errs...)
	}
	if o.Rounds < 1 || o.Rounds > 1000 {
		bad("%d rounds: want 1 to 1000", o.Rounds)
	}
	if o.Batch < 100 || o.Batch > time.Second {
		bad("a batch of %v: want 100ns to 1s", o.Batch)
	}
	for _, l := range o.Layouts {
		if l[0] < 2 || l[1] <= l[0] || l[1] > 2*l[0] {
			bad("layout (%d,%d): want 2 <= inverse < forward <= 2 x inverse", l[0], l[1])
			continue
		}
		for _, b := range o.BlockBytes {
			if b <= 0 || b > 64<<20 || b%(l[0]*o.ElementBytes) != 0 {
				bad("block of %d bytes: want a multiple of %d for layout (%d,%d), at most 64 MiB", b, l[0]*o.ElementBytes, l[0], l[1])
			}
		}
	}
	return errors.Join(errs...)
}

// Cases lists what the options ask for: encoding, and rebuilding and decoding
// with one loss and with all that the layout tolerates.
func (o MojetteOptions) Cases() []Case {
	o.defaults()
	var all []Case
	for _, l := range o.Layouts {
		for _, b := range o.BlockBytes {
			all = append(all, Case{Encode, 0, l[0], l[1], b})
			for _, op := range []string{Rebuild, Decode} {
				all = append(all, Case{op, 1, l[0], l[1], b})
				if tolerated := l[1] - l[0]; tolerated > 1 {
					all = append(all, Case{op, tolerated, l[0], l[1], b})
				}
			}
		}
	}
	return all
}

// MojetteReport is what RunMojette measured.
type MojetteReport struct {
	Machine  Machine        `json:"machine"`
	Options  MojetteOptions `json:"options"`
	Results  []CaseResult   `json:"results"`
	Overhead []Overhead     `json:"overhead"`
}

// CaseResult has the measurements of one case.
type CaseResult struct {
	Case
	Kernels []KernelResult `json:"kernels"`
}

// KernelResult has the samples of one kernel; GB/s are 10^9 bytes of user data.
type KernelResult struct {
	Name          string    `json:"name"`
	BestGBps      float64   `json:"best_tenth_gb_per_s"`
	MedianGBps    float64   `json:"median_gb_per_s"`
	ToReedSolomon float64   `json:"ratio_to_reedsolomon"` // of the best tenths
	ToCopy        float64   `json:"ratio_to_copy"`
	Calls         int       `json:"calls_per_sample"`
	NsPerCall     []float64 `json:"ns_per_call"` // one sample for each round
}

// Overhead is what is stored, over the block.
type Overhead struct {
	Inverse     int     `json:"inverse"`
	Forward     int     `json:"forward"`
	BlockBytes  int     `json:"block_bytes"`
	Systematic  float64 `json:"systematic"`
	Projections float64 `json:"projections"`
	ReedSolomon float64 `json:"reedsolomon"` // forward/inverse, the ideal
}

// RunMojette measures the code. It writes a line to progress for each layout and
// block size.
func RunMojette(ctx context.Context, o MojetteOptions, progress io.Writer) (*MojetteReport, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.defaults()
	report := &MojetteReport{Machine: ThisMachine(), Options: o}
	for _, c := range o.Cases() {
		if c.Op == Encode {
			fmt.Fprintf(progress, "(%d,%d), blocks of %s\n", c.Inverse, c.Forward, sizeText(int64(c.BlockBytes)))
			h, err := c.overhead(o.ElementBytes)
			if err != nil {
				return nil, err
			}
			report.Overhead = append(report.Overhead, h)
		}
		r, err := c.measure(ctx, o)
		if err != nil {
			return nil, err
		}
		report.Results = append(report.Results, r)
	}
	return report, nil
}

func (c Case) overhead(elementBytes int) (Overhead, error) {
	h := Overhead{Inverse: c.Inverse, Forward: c.Forward, BlockBytes: c.BlockBytes, ReedSolomon: float64(c.Forward) / float64(c.Inverse)}
	for systematic, to := range map[bool]*float64{true: &h.Systematic, false: &h.Projections} {
		code, err := c.code(elementBytes, systematic)
		if err != nil {
			return h, err
		}
		*to = code.Overhead(c.BlockBytes)
	}
	return h, nil
}

// measure times the kernels of a case in turn, the first of each round being
// another every time.
func (c Case) measure(ctx context.Context, o MojetteOptions) (CaseResult, error) {
	r := CaseResult{Case: c}
	kernels, err := c.kernels(o.ElementBytes)
	if err != nil {
		return r, err
	}
	for _, k := range kernels {
		calls, err := k.calibrate(o.Batch)
		if err != nil {
			return r, fmt.Errorf("%v, %s: %w", c, k.name, err)
		}
		r.Kernels = append(r.Kernels, KernelResult{Name: k.name, Calls: calls})
	}
	for round := range o.Rounds {
		if err := context.Cause(ctx); err != nil {
			return r, err
		}
		for i := range kernels {
			at := (i + round) % len(kernels)
			d, err := kernels[at].time(r.Kernels[at].Calls)
			if err != nil {
				return r, fmt.Errorf("%v, %s: %w", c, kernels[at].name, err)
			}
			k := &r.Kernels[at]
			k.NsPerCall = append(k.NsPerCall, max(1, float64(d))/float64(k.Calls))
		}
	}
	r.summarize()
	return r, nil
}

// calibrate checks the kernel's result and finds how many calls make a sample.
// On a busy machine a timing may be much too long, so the least of three counts.
func (k kernel) calibrate(batch time.Duration) (int, error) {
	if err := k.run(); err != nil {
		return 0, err
	}
	if err := k.check(); err != nil {
		return 0, err
	}
	for calls := 1; ; calls *= 2 {
		d := time.Duration(math.MaxInt64)
		for range 3 {
			once, err := k.time(calls)
			if err != nil {
				return 0, err
			}
			d = min(d, once)
		}
		if d >= batch/2 || calls >= 1<<24 {
			return max(1, int(int64(calls)*int64(batch)/max(1, int64(d)))), nil
		}
	}
}

func (k kernel) time(calls int) (time.Duration, error) {
	began := time.Now()
	for range calls {
		if err := k.run(); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

func (r *CaseResult) summarize() {
	for i := range r.Kernels {
		k := &r.Kernels[i]
		k.BestGBps = float64(r.BlockBytes) / BestTenth(k.NsPerCall) // bytes in a nanosecond
		k.MedianGBps = float64(r.BlockBytes) / Median(k.NsPerCall)
	}
	for i := range r.Kernels {
		k := &r.Kernels[i]
		k.ToReedSolomon = k.BestGBps / r.Kernel(ReedSolomon).BestGBps
		k.ToCopy = k.BestGBps / r.Kernel(Copy).BestGBps
	}
}

// Kernel is the result of the kernel of this name, nil if the case has none.
func (r *CaseResult) Kernel(name string) *KernelResult {
	for i := range r.Kernels {
		if r.Kernels[i].Name == name {
			return &r.Kernels[i]
		}
	}
	return nil
}
