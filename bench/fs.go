package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rozofs-go/rozo/rozofs/admin"
)

// Requests and files of the workloads.
const (
	sequentialBytes = 1 << 20
	randomBytes     = 4 << 10
	smallFileBytes  = 4 << 10
	smallDirs       = 50
)

// FSOptions say what RunFS measures. Zero values mean the defaults.
type FSOptions struct {
	Dir       string        `json:"dir"`        // a directory of the file system to measure
	Against   []string      `json:"against"`    // other directories, measured in turn with it
	Cluster   string        `json:"cluster"`    // directory of the cluster behind Dir, whose daemons are watched; "" for none
	SizeBytes int64         `json:"size_bytes"` // of the large files together, a multiple of 4 MiB; default 1 GiB
	Files     int           `json:"files"`      // small ones, at least 50; default 5000
	Workers   int           `json:"workers"`    // jobs, threads and creators of small files; 1 to 64, default 4
	Random    time.Duration `json:"random_ns"`  // how long random requests go on; default 5 s
	// KeepCache leaves the page cache of the machine as it is: what was just written
	// is then read from memory.
	KeepCache bool `json:"keep_cache"`
}

// Quick are options that take a fraction of the time.
func (o FSOptions) Quick() FSOptions {
	if o.SizeBytes == 0 {
		o.SizeBytes = 128 << 20
	}
	o.Files, o.Random = 500, time.Second
	return o
}

func (o *FSOptions) defaults() {
	if o.SizeBytes == 0 {
		o.SizeBytes = 1 << 30
	}
	if o.Files == 0 {
		o.Files = 5000
	}
	if o.Workers == 0 {
		o.Workers = 4
	}
	if o.Random == 0 {
		o.Random = 5 * time.Second
	}
}

// Validate returns all that is wrong with the options.
func (o FSOptions) Validate() error {
	o.defaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Workers < 1 || o.Workers > 64 {
		bad("%d workers: want 1 to 64", o.Workers)
	} else if unit := int64(o.Workers) * sequentialBytes; o.SizeBytes < unit || o.SizeBytes%unit != 0 {
		bad("size of %d bytes: want a multiple of %s, a whole number of requests for each of %d jobs", o.SizeBytes, sizeText(unit), o.Workers)
	}
	if o.Files < smallDirs || o.Files > 10_000_000 {
		bad("%d small files: want %d to 10000000", o.Files, smallDirs)
	}
	if o.Random < time.Millisecond || o.Random > time.Hour {
		bad("%v of random requests: want 1ms to 1h", o.Random)
	}
	for _, dir := range append([]string{o.Dir}, o.Against...) {
		if st, err := os.Stat(dir); err != nil {
			bad("directory to measure: %w", err)
		} else if !st.IsDir() {
			bad("%s is not a directory: name one of the file system to measure", dir)
		}
	}
	return errors.Join(errs...)
}

// FSReport is what RunFS measured.
type FSReport struct {
	Machine Machine       `json:"machine"`
	Options FSOptions     `json:"options"`
	Cluster *ClusterText  `json:"cluster"` // nil when none is watched
	Notes   []string      `json:"notes"`   // what limits the results
	Results []FSResult    `json:"results"` // of each workload, Dir and then Against
	Daemons []DaemonUsage `json:"daemons"`
}

// ClusterText describes the cluster that was watched.
type ClusterText struct {
	Layout     string `json:"layout"`
	Systematic bool   `json:"systematic"`
	BlockBytes uint32 `json:"block_size_bytes"`
	Storages   int    `json:"storages"`
}

// FSResult is one workload on one directory.
type FSResult struct {
	Workload string  `json:"workload"`
	Dir      string  `json:"dir"`
	Amount   float64 `json:"amount"` // in Unit, without "/s"
	Unit     string  `json:"unit"`   // of Rate: MB/s is 10^6 bytes
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"rate"`
	// CPU seconds of the cluster's daemons while the workload ran; 0 when they are
	// not watched, or on the directories it is measured against.
	DaemonCPUSeconds float64 `json:"daemon_cpu_seconds"`
	DaemonCPUPerGB   float64 `json:"daemon_cpu_seconds_per_gb"` // 0 unless the workload moves data
}

// bench is a run of RunFS.
type bench struct {
	FSOptions
	drop    func() error // drops the page cache
	daemons *daemons     // nil: none watched
	report  *FSReport
}

// RunFS measures the directories. It writes a line to progress for each result.
func RunFS(ctx context.Context, o FSOptions, progress io.Writer) (*FSReport, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.defaults()
	b := &bench{FSOptions: o, drop: dropCaches, report: &FSReport{Machine: ThisMachine(), Options: o}}
	if o.KeepCache {
		b.drop = func() error { return nil }
		b.note("the page cache was not dropped, as asked: what is read comes from it")
	}
	if o.Cluster != "" {
		if err := b.watch(ctx); err != nil {
			return nil, err
		}
	}
	return b.report, b.run(ctx, progress)
}

// watch finds the daemons of the cluster.
func (b *bench) watch(ctx context.Context) error {
	c, err := admin.Open(b.Cluster)
	if err != nil {
		return fmt.Errorf("cluster to watch: %w", err)
	}
	defer c.Close()
	s, err := c.Status(ctx)
	if err != nil {
		return fmt.Errorf("cluster to watch: %w", err)
	}
	b.report.Cluster = &ClusterText{Layout: s.Layout, Systematic: s.Systematic, BlockBytes: s.BlockBytes, Storages: len(c.Record.Storages)}
	b.daemons = &daemons{proc: "/proc"}
	for _, d := range s.Daemons {
		b.daemons.add(d.Name, d.PID)
	}
	b.daemons.add(s.Mount.Name, s.Mount.PID)
	if !s.Healthy {
		b.note("not every daemon of the cluster ran when the benchmark began")
	}
	return nil
}

func (b *bench) note(text string) { b.report.Notes = append(b.report.Notes, text) }

// run carries out the workloads in directories of their own, which it removes.
func (b *bench) run(ctx context.Context, progress io.Writer) (err error) {
	var targets []target
	defer func() {
		for _, t := range targets {
			err = errors.Join(err, os.RemoveAll(t.work))
		}
	}()
	for i, dir := range append([]string{b.Dir}, b.Against...) {
		work, err := os.MkdirTemp(dir, "rozo-bench-")
		if err != nil {
			return fmt.Errorf("make a directory to work in: %w", err)
		}
		targets = append(targets, target{dir: dir, work: work, watched: i == 0 && b.daemons != nil})
	}
	if err := b.drop(); err != nil {
		b.note(fmt.Sprintf("the page cache could not be dropped (%v): what is read may come from it; run as root", err))
		b.drop = func() error { return nil }
	}
	for _, w := range b.workloads() {
		for _, t := range targets {
			r, err := b.one(ctx, w, t)
			if err != nil {
				return fmt.Errorf("%s in %s: %w", w.name, t.dir, err)
			}
			b.report.Results = append(b.report.Results, r)
			fmt.Fprintf(progress, "%-22s %10s %-9s %s\n", r.Workload, threeDigits(r.Rate), r.Unit, t.dir)
		}
	}
	if b.daemons != nil {
		b.report.Daemons = b.daemons.usage()
	}
	return nil
}

// target is a directory that is measured.
type target struct {
	dir     string
	work    string // in dir, for the files
	watched bool   // the daemons are behind it
}

func (t target) path(name string) string { return filepath.Join(t.work, name) }

// one runs a workload in a directory.
func (b *bench) one(ctx context.Context, w workload, t target) (FSResult, error) {
	if err := b.drop(); err != nil { // before writes too: earlier ones are on the disk then
		return FSResult{}, err
	}
	before := 0.0
	if t.watched {
		before = b.daemons.cpuSeconds()
	}
	began := time.Now()
	n, err := w.run(ctx, t)
	seconds := time.Since(began).Seconds()
	if err != nil {
		return FSResult{}, err
	}
	r := FSResult{Workload: w.name, Dir: t.dir, Amount: float64(n) / w.per, Unit: w.unit, Seconds: seconds}
	r.Rate = r.Amount / max(seconds, 1e-9)
	if t.watched {
		r.DaemonCPUSeconds = max(0, b.daemons.cpuSeconds()-before)
		if w.bytes > 0 && n > 0 {
			r.DaemonCPUPerGB = r.DaemonCPUSeconds / (float64(n) * float64(w.bytes) / 1e9)
		}
	}
	return r, nil
}
