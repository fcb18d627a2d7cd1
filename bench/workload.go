package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// workload is one line of the report. run does n things.
type workload struct {
	name  string
	unit  string
	per   float64 // of what run counts, in one of unit
	bytes int     // moved for each that run counts; 0 when no data move
	run   func(context.Context, target) (n int64, err error)
}

// workloads lists them in the order in which they build on one another's files.
func (b *bench) workloads() []workload {
	many := fmt.Sprintf("%d jobs", b.Workers)
	threads := fmt.Sprintf("%d threads", b.Workers)
	return []workload{
		{"write, 1 job", "MB/s", 1e6, 1, b.sequential(1, writeFile)},
		{"read, 1 job", "MB/s", 1e6, 1, b.sequential(1, readFile)},
		{"write, " + many, "MB/s", 1e6, 1, b.sequential(b.Workers, writeFile)},
		{"read, " + many, "MB/s", 1e6, 1, b.sequential(b.Workers, readFile)},
		{"random read, " + threads, "IOPS", 1, randomBytes, b.random(readBlock)},
		{"random write, " + threads, "IOPS", 1, randomBytes, b.random(writeBlock)},
		{"create+write+close", "files/s", 1, 0, b.small(createSmall)},
		{"stat", "files/s", 1, 0, b.small(statSmall)},
		{"ls -l", "entries/s", 1, 0, b.list},
		{"read whole files", "files/s", 1, 0, b.small(readSmall)},
		{"unlink", "files/s", 1, 0, b.small(os.Remove)},
	}
}

// each runs do on that many goroutines, sums what they counted and joins their
// errors; the first error ends the others.
func each(ctx context.Context, workers int, do func(ctx context.Context, worker int) (int64, error)) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	counts, errs := make([]int64, workers), make([]error, workers)
	var joined sync.WaitGroup
	for i := range workers {
		joined.Go(func() {
			if counts[i], errs[i] = do(ctx, i); errs[i] != nil {
				cancel(errOther)
			}
		})
	}
	joined.Wait()
	var sum int64
	var err error
	for i := range workers {
		sum += counts[i]
		if !errors.Is(errs[i], errOther) {
			err = errors.Join(err, errs[i])
		}
	}
	return sum, err
}

// errOther ends workers after another one's error.
var errOther = errors.New("another worker has failed")

// dropCaches writes out what is dirty and has the kernel drop its clean caches.
func dropCaches() error {
	syscall.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0)
}

// count writes a number, not negative, with separators.
func count(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
