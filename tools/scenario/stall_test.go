package scenario

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
	fioSize, span := int64(64*mib), scaled(16*time.Second, 60*time.Second)
	need(t, "fio", "fio")
	c := start(t, options{})
	tell := func(what string, r fioReport) {
		j := r.Jobs[0]
		t.Logf("%s: %d reads %v; %d writes %v; %d syncs %v", what, j.Read.Latency.N, j.Read.Latency, j.Write.Latency.N, j.Write.Latency, j.Sync.Lat.N, j.Sync.Lat)
	}
	tell("nothing hangs", fio(t, c.mnt, fioSize, span))

	done := make(chan struct{})
	hung := make(chan int, 1)
	pids := c.pids()
	go func() {
		turns := 0
		defer func() { hung <- turns }()
		for n := 0; ; n++ {
			pid := pids[daemon(n%4)]
			for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
				_ = syscall.Kill(pid, s)
				select {
				case <-done:
					_ = syscall.Kill(pid, syscall.SIGCONT)
					return
				case <-time.After(2 * time.Second): // how long it hangs, and how long all is well
				}
			}
			turns++
		}
	}()
	r := fio(t, c.mnt, fioSize, span)
	close(done)
	turns := <-hung
	require.Positive(t, turns)
	tell(fmt.Sprintf("a storage hung %d times", turns), r)
	require.True(t, c.status().Healthy)
}
