package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/admin"
)

// smallest are options of the least work, in directories of the test.
func smallest(t testing.TB) FSOptions {
	return FSOptions{Dir: t.TempDir(), Against: []string{t.TempDir()}, SizeBytes: 4 << 20, Files: 60, Random: time.Millisecond}
}

// newBench leaves the caches of the machine alone.
func newBench(o FSOptions) *bench {
	o.defaults()
	return &bench{FSOptions: o, drop: func() error { return nil }, report: &FSReport{Options: o}}
}

func requireEmpty(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, entries, "what was made is removed")
	}
}

func TestEveryWorkloadRunsInEveryDirectory(t *testing.T) {
	o := smallest(t)
	b := newBench(o)
	require.NoError(t, b.run(t.Context(), io.Discard))
	require.Len(t, b.report.Results, 2*len(b.workloads()))
	for i, r := range b.report.Results {
		require.Equal(t, append([]string{o.Dir}, o.Against...)[i%2], r.Dir)
		require.Equal(t, b.workloads()[i/2].name, r.Workload)
		require.Positive(t, r.Rate)
		require.Positive(t, r.Seconds)
	}
	require.InDelta(t, 4.194304, b.report.Results[0].Amount, 1e-9, "MB written")
	require.Empty(t, b.report.Notes)
	requireEmpty(t, o.Dir, o.Against[0])

	var out bytes.Buffer
	require.NoError(t, WriteJSON(&out, b.report))
	var again FSReport
	require.NoError(t, json.Unmarshal(out.Bytes(), &again))
	require.Equal(t, b.report.Results, again.Results)
}

func TestOptionsOfAFileSystemAreChecked(t *testing.T) {
	good := smallest(t)
	require.NoError(t, good.Validate())
	require.NoError(t, FSOptions{Dir: t.TempDir()}.Quick().Validate())
	require.EqualValues(t, 8<<20, FSOptions{SizeBytes: 8 << 20}.Quick().SizeBytes, "what was asked for stays")
	file := filepath.Join(good.Dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for want, change := range map[string]func(*FSOptions){
		"65 workers: want 1 to 64":                          func(o *FSOptions) { o.Workers = 65 },
		"want a multiple of 4MiB":                           func(o *FSOptions) { o.SizeBytes = 5 << 20 },
		"size of -1 bytes":                                  func(o *FSOptions) { o.SizeBytes = -1 },
		"49 small files: want 50":                           func(o *FSOptions) { o.Files = 49 },
		"2h0m0s of random requests":                         func(o *FSOptions) { o.Random = 2 * time.Hour },
		"no such file or directory":                         func(o *FSOptions) { o.Dir = filepath.Join(o.Dir, "none") },
		"is not a directory: name one of":                   func(o *FSOptions) { o.Against = []string{file} },
		"1 small files: want 50 to 10000000\n1ns of random": func(o *FSOptions) { o.Files, o.Random = 1, 1 },
	} {
		o := good
		change(&o)
		require.ErrorContains(t, o.Validate(), want)
		_, err := RunFS(t.Context(), o, io.Discard)
		require.ErrorContains(t, err, want)
	}
}

func TestAClusterThatIsNotThereIsSaidSo(t *testing.T) {
	o := smallest(t)
	o.Cluster = t.TempDir()
	_, err := RunFS(t.Context(), o, io.Discard)
	require.ErrorContains(t, err, "cluster to watch")
	requireEmpty(t, o.Dir)
}

func TestAClusterThatCannotBeMadeLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	_, err := RunOnNewCluster(t.Context(), FSOptions{}, admin.Options{Layout: "9"}, parent, io.Discard)
	require.ErrorContains(t, err, "layout 9")
	requireEmpty(t, parent)
}

func TestCachesThatCannotBeDroppedAreNoted(t *testing.T) {
	b := newBench(smallest(t))
	b.drop = func() error { return os.ErrPermission }
	require.NoError(t, b.run(t.Context(), io.Discard))
	require.Len(t, b.report.Notes, 1)
	require.Contains(t, b.report.Notes[0], "what is read may come from it; run as root")
}

func TestARunEndsWithItsContextAndCleansUp(t *testing.T) {
	o := smallest(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	require.ErrorIs(t, newBench(o).run(ctx, io.Discard), enough)
	requireEmpty(t, o.Dir, o.Against[0])
}

func TestWrongDataAreAnError(t *testing.T) {
	b := newBench(smallest(t))
	where := target{work: b.Dir}
	path := where.path(largeName(0))
	require.NoError(t, writeFile(t.Context(), path, 2))
	require.NoError(t, readFile(t.Context(), path, 2))
	require.ErrorIs(t, readFile(t.Context(), path, 3), io.EOF)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, readBlock(f, make([]byte, randomBytes), 300))
	_, err = f.WriteAt([]byte{9}, 300*randomBytes)
	require.NoError(t, err)
	require.ErrorContains(t, readFile(t.Context(), path, 2), "wrong data: at byte 1228800 there is piece 265, not 300")
	require.ErrorContains(t, readBlock(f, make([]byte, randomBytes), 300), "wrong data")

	small := where.path("small")
	require.NoError(t, createSmall(small))
	require.ErrorIs(t, createSmall(small), os.ErrExist)
	require.NoError(t, os.WriteFile(small, []byte("other"), 0o600))
	require.ErrorContains(t, readSmall(small), "does not hold what was written")
	require.ErrorContains(t, statSmall(small), "has 5 bytes")
	_, err = b.list(t.Context(), where)
	require.ErrorIs(t, err, os.ErrNotExist)
	for dir := range smallDirs {
		require.NoError(t, os.Mkdir(smallDir(where, dir), 0o700))
	}
	_, err = b.list(t.Context(), where)
	require.ErrorContains(t, err, "0 entries listed, 60 files made")
}

func TestAnErrorOfOneWorkerEndsTheOthers(t *testing.T) {
	broken := errors.New("broken")
	n, err := each(t.Context(), 3, func(ctx context.Context, worker int) (int64, error) {
		if worker == 1 {
			return 1, broken
		}
		<-ctx.Done()
		return 1, context.Cause(ctx)
	})
	require.EqualValues(t, 3, n)
	require.Equal(t, broken.Error(), err.Error())
}

func TestDaemonsAreWatchedThroughProc(t *testing.T) {
	proc := t.TempDir()
	write := func(pid, file, text string) {
		require.NoError(t, os.MkdirAll(filepath.Join(proc, pid), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(proc, pid, file), []byte(text), 0o600))
	}
	write("7", "stat", "7 (a) b) ) S 1 7 7 0 -1 0 0 0 0 0 150 25 0 0 20 0 9 0 0 0 0")
	write("7", "status", "Name:\ta\nVmHWM:\t    2048 kB\nThreads:\t1\n")
	write("8", "stat", "8 (x) S 1 2")
	d := &daemons{proc: proc}
	d.add("storaged-1", 7)
	d.add("not understood", 8)
	d.add("gone", 9)
	d.add("never started", 0)
	require.Equal(t, []DaemonUsage{
		{Name: "storaged-1", PID: 7, CPUSeconds: 1.75, PeakBytes: 2 << 20},
		{Name: "not understood", PID: 8, Ended: true},
		{Name: "gone", PID: 9, Ended: true},
	}, d.usage())
	require.EqualValues(t, 1.75, d.cpuSeconds())
	require.NoError(t, os.RemoveAll(filepath.Join(proc, "7")))
	require.EqualValues(t, 1.75, d.cpuSeconds(), "the last known")
	require.Zero(t, peakBytes([]byte("Name: x\n")))
	_, err := parseStat([]byte("8 (x) S 1 2 3 4 5 6 7 8 9 10 eleven 12 13"))
	require.ErrorContains(t, err, "not understood")
}

func TestTheTableSetsDirectoriesSideBySide(t *testing.T) {
	r := &FSReport{
		Machine: Machine{CPU: "Abacus", Date: time.Unix(0, 0).UTC()},
		Options: FSOptions{Dir: "mnt", Against: []string{"/tmp"}, SizeBytes: 1 << 30, Files: 5000, Random: time.Second},
		Cluster: &ClusterText{Layout: "2,3,4", Systematic: true, BlockBytes: 8192, Storages: 4},
		Notes:   []string{"something"},
		Results: []FSResult{
			{Workload: "write, 1 job", Unit: "MB/s", Dir: "mnt", Rate: 300, DaemonCPUSeconds: 2, DaemonCPUPerGB: 1.86},
			{Workload: "write, 1 job", Unit: "MB/s", Dir: "/tmp", Rate: 600},
			{Workload: "stat", Unit: "files/s", Dir: "mnt", Rate: 9000},
			{Workload: "stat", Unit: "files/s", Dir: "/tmp", Rate: 4500},
		},
		Daemons: []DaemonUsage{{Name: "exportd", PID: 12, CPUSeconds: 3, PeakBytes: 50 << 20}, {Name: "storaged-1", PID: 13, Ended: true}},
	}
	var b bytes.Buffer
	require.NoError(t, r.WriteTable(&b))
	require.Equal(t, `Abacus, 0 CPUs, / , , 1970-01-01T00:00:00Z
Cluster: layout 2,3,4, systematic, blocks of 8KiB, 4 storages
1GiB in large files, 5,000 small files of 4KiB in 50 directories, 1s of random requests of 4KiB; fsync counted in writes of large files.
Note: something

WORKLOAD      UNIT     mnt   /tmp  RATIO  DAEMONS' CPU s  s/GB
write, 1 job  MB/s     300   600   0.500  2.00            1.86
stat          files/s  9000  4500  2.000  0.00            -

DAEMON      PID  CPU s SINCE ITS START  PEAK MEMORY  
exportd     12   3.00                   50 MiB       
storaged-1  13   0.00                   0 MiB        ended before the benchmark did
`, b.String())
}

// BenchmarkWorkloads runs the workloads of a file system on the temporary
// directory.
func BenchmarkWorkloads(b *testing.B) {
	o := smallest(b)
	bench := newBench(o)
	t := target{work: o.Dir}
	for _, w := range bench.workloads() {
		if w.name == "create+write+close" || w.name == "unlink" {
			continue // not repeatable
		}
		if w.name == "stat" {
			_, err := bench.small(createSmall)(b.Context(), t)
			require.NoError(b, err)
		}
		b.Run(w.name, func(b *testing.B) {
			var n int64
			for b.Loop() {
				once, err := w.run(b.Context(), t)
				if err != nil {
					b.Fatal(err)
				}
				n += once
			}
			b.ReportMetric(float64(n)/w.per/b.Elapsed().Seconds(), w.unit)
		})
	}
}
