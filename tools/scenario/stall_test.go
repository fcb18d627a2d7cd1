package scenario

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fioReport is what fio says of its only job, as far as it is of interest.
type fioReport struct {
	Jobs []struct {
		Error int
		Read  fioSide
		Write fioSide
		Sync  struct {
			Lat fioLatency `json:"lat_ns"`
		}
	}
}

type fioSide struct {
	IOs     int        `json:"total_ios"`
	Latency fioLatency `json:"clat_ns"`
}

type fioLatency struct {
	Max        int64
	N          int64
	Percentile map[string]int64
}

func (l fioLatency) String() string {
	ms := func(ns int64) string { return time.Duration(ns).Round(100 * time.Microsecond).String() }
	return fmt.Sprintf("longest %s, 99.9%% %s, 50%% %s", ms(l.Max), ms(l.Percentile["99.900000"]), ms(l.Percentile["50.000000"]))
}

// fio reads and writes a file at random, each write with an fsync, for a while, and then
// verifies all that it has written. The reads do not come from the kernel's cache.
func fio(t *testing.T, dir string, bytes int64, run time.Duration) fioReport {
	t.Helper()
	out := filepath.Join(t.TempDir(), "fio.json")
	cmd := []string{
		"--name=stalls", "--directory=" + dir, "--rw=randrw", "--bs=16k", "--ioengine=psync", "--direct=1", "--fsync=1",
		fmt.Sprintf("--size=%d", bytes), "--time_based", fmt.Sprintf("--runtime=%d", int(run.Seconds())),
		"--verify=crc32c", "--verify_fatal=1", "--verify_backlog=0", "--randseed=1", "--output-format=json", "--output=" + out,
	}
	text, err := try(dir, need(t, "fio", "fio"), cmd...)
	require.NoError(t, err, text)
	report, err := os.ReadFile(out)
	require.NoError(t, err)
	var r fioReport
	require.NoError(t, json.Unmarshal(report, &r), "%s", report)
	require.Len(t, r.Jobs, 1)
	require.Zero(t, r.Jobs[0].Error)
	require.Positive(t, r.Jobs[0].Sync.Lat.N)
	return r
}

// Storages hang by turns while fio reads, writes and syncs: no error, what was written
// is right, and how long the longest pause was is told beside that of a run without.
func TestStoragesHangUnderFio(t *testing.T) {
	need(t, "fio", "fio")
	for _, layout := range scaled([]string{"0"}, []string{"0", "1"}) {
		t.Run(layout, func(t *testing.T) {
			c := start(t, options{layout: layout})
			const size = 64 * mib
			span := scaled(16*time.Second, 60*time.Second)
			tell(t, "nothing hangs", fio(t, c.mnt, size, span))

			stop, hung := c.hangByTurns()
			r := fio(t, c.mnt, size, span)
			close(stop)
			turns := <-hung
			require.Positive(t, turns)
			tell(t, fmt.Sprintf("a storage hung %d times", turns), r)
			require.Eventually(t, func() bool { return c.status().Healthy }, await, tick)
		})
	}
}

func tell(t *testing.T, what string, r fioReport) {
	j := r.Jobs[0]
	t.Logf("%s: %d reads %v; %d writes %v; %d syncs %v", what, j.Read.Latency.N, j.Read.Latency, j.Write.Latency.N, j.Write.Latency, j.Sync.Lat.N, j.Sync.Lat)
}

// hangByTurns stops one storaged after the other, and lets it go on, until stop is closed.
// Then hung tells how often.
func (c *cluster) hangByTurns() (stop chan<- struct{}, hung <-chan int) {
	const (
		hanging = 2 * time.Second
		well    = 2 * time.Second
	)
	var pids []int
	for name, pid := range c.pids() {
		if strings.HasPrefix(name, "storaged-") {
			pids = append(pids, pid)
		}
	}
	done, turns := make(chan struct{}), make(chan int, 1)
	pause := func(d time.Duration) bool {
		select {
		case <-done:
			return false
		case <-time.After(d):
			return true
		}
	}
	go func() { // until stop is closed
		n := 0
		for more := true; more; n++ {
			pid := pids[n%len(pids)]
			_ = syscall.Kill(pid, syscall.SIGSTOP)
			more = pause(hanging)
			_ = syscall.Kill(pid, syscall.SIGCONT)
			more = more && pause(well)
		}
		turns <- n
	}()
	return done, turns
}
