package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// least are options of the least work.
func least() MojetteOptions {
	return MojetteOptions{Layouts: [][2]int{{2, 3}, {4, 6}}, BlockBytes: []int{4096}, Rounds: 3, Batch: 100}
}

func TestEveryKernelYieldsWhatItShould(t *testing.T) {
	for _, element := range []int{8, 64} {
		o := MojetteOptions{BlockBytes: []int{4096, 8192}}
		for _, c := range o.Cases() {
			kernels, err := c.kernels(element)
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(kernels), 4)
			for _, k := range kernels {
				require.Error(t, k.check(), "%v, %s: nothing is done yet", c, k.name)
				for range 2 {
					require.NoError(t, k.run())
					require.NoError(t, k.check(), "%v, %s", c, k.name)
				}
			}
		}
	}
}

func TestCasesHaveOneAndAllTolerableLosses(t *testing.T) {
	require.Equal(t, []Case{
		{Encode, 0, 2, 3, 4096},
		{Rebuild, 1, 2, 3, 4096},
		{Decode, 1, 2, 3, 4096},
		{Encode, 0, 4, 6, 4096},
		{Rebuild, 1, 4, 6, 4096},
		{Rebuild, 2, 4, 6, 4096},
		{Decode, 1, 4, 6, 4096},
		{Decode, 2, 4, 6, 4096},
	}, least().Cases())
	require.Len(t, MojetteOptions{}.Cases(), 4*(3+5+5))
}

func TestOptionsOfTheCodeAreChecked(t *testing.T) {
	require.NoError(t, MojetteOptions{}.Validate())
	require.NoError(t, MojetteOptions{ElementBytes: 64}.Quick().Validate())
	for want, o := range map[string]MojetteOptions{
		"element width 7: want 8":               {ElementBytes: 7},
		"1001 rounds: want 1 to 1000":           {Rounds: 1001},
		"a batch of 2s: want 100ns":             {Batch: 2 * time.Second},
		"layout (3,3): want 2 <= inverse":       {Layouts: [][2]int{{3, 3}}},
		"layout (2,5)":                          {Layouts: [][2]int{{2, 5}}},
		"block of 100 bytes: want a multiple":   {BlockBytes: []int{100}},
		"block of 0 bytes":                      {BlockBytes: []int{0}},
		"block of 134217728 bytes":              {BlockBytes: []int{128 << 20}},
		"-1 rounds: want 1 to 1000\na batch of": {Rounds: -1, Batch: -1},
	} {
		require.ErrorContains(t, o.Validate(), want)
		_, err := RunMojette(t.Context(), o, io.Discard)
		require.ErrorContains(t, err, want)
	}
}

func TestTheCodeIsMeasured(t *testing.T) {
	var progress bytes.Buffer
	r, err := RunMojette(t.Context(), least(), &progress)
	require.NoError(t, err)
	require.Equal(t, "(2,3), blocks of 4KiB\n(4,6), blocks of 4KiB\n", progress.String())
	require.Len(t, r.Results, 8)
	for i := range r.Results {
		c := &r.Results[i]
		require.Equal(t, c.Op == Rebuild, c.Kernel(Projections) == nil)
		for _, k := range c.Kernels {
			require.Len(t, k.NsPerCall, 3)
			require.GreaterOrEqual(t, k.BestGBps, k.MedianGBps)
			require.Positive(t, k.MedianGBps)
		}
		require.EqualValues(t, 1, c.Kernel(ReedSolomon).ToReedSolomon)
		require.EqualValues(t, 1, c.Kernel(Copy).ToCopy)
	}
	require.Equal(t, []Overhead{{2, 3, 4096, 1.5, 1.5 + 2*8.0/4096, 1.5}}, r.Overhead[:1])

	var b bytes.Buffer
	require.NoError(t, WriteJSON(&b, r))
	var again MojetteReport
	require.NoError(t, json.Unmarshal(b.Bytes(), &again))
	require.Equal(t, *r, again)
}

func TestAMeasurementEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := RunMojette(ctx, least(), io.Discard)
	require.ErrorIs(t, err, context.Canceled)
}

func TestAKernelThatIsWrongOrFailsEndsTheMeasurement(t *testing.T) {
	broken := errors.New("broken")
	ok := func() error { return nil }
	fails := func() error { return broken }
	_, err := kernel{"k", fails, ok}.calibrate(time.Microsecond)
	require.ErrorIs(t, err, broken)
	_, err = kernel{"k", ok, fails}.calibrate(time.Microsecond)
	require.ErrorIs(t, err, broken)
	n, err := kernel{"k", ok, ok}.calibrate(time.Microsecond)
	require.NoError(t, err)
	require.Positive(t, n)
}

// reported is a report with figures known in advance.
func reported() *MojetteReport {
	r := &MojetteReport{
		Machine: Machine{CPU: "Abacus", CPUs: 2, OS: "linux", Arch: "amd64", Kernel: "6", Go: "go1.26", Date: time.Unix(0, 0).UTC()},
		Options: MojetteOptions{ElementBytes: 8, Rounds: 2},
		Results: []CaseResult{{
			Case: Case{Rebuild, 1, 2, 3, 8192},
			Kernels: []KernelResult{
				{Name: Systematic, Calls: 10, NsPerCall: []float64{512, 1024}},
				{Name: ReedSolomon, Calls: 10, NsPerCall: []float64{1024, 1024}},
				{Name: Copy, Calls: 10, NsPerCall: []float64{64, 128}},
				{Name: XOR, Calls: 10, NsPerCall: []float64{256, 256}},
			},
		}},
		Overhead: []Overhead{{2, 3, 8192, 1.5, 1.502, 1.5}},
	}
	r.Results[0].summarize()
	return r
}

func TestTheTableShowsSpeedsAndRatios(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, reported().WriteTable(&b))
	require.Equal(t, `Abacus, 2 CPUs, linux/amd64 6, go1.26, 1970-01-01T00:00:00Z
Elements of 8 bytes, 2 rounds; GB/s of user data, best tenth (median), one thread; "/ rs" is the ratio to reedsolomon.

    (2,3)  block  lost   systematic  / rs  projections  / rs  reedsolomon        copy          xor
  rebuild   8KiB     1  16.0 (10.7)  2.00            -     -  8.00 (8.00)  128 (85.3)  32.0 (32.0)

  stored / data  block  systematic  projections  reedsolomon
          (2,3)   8KiB       1.500        1.502        1.500
`, b.String())
}

func TestBenchstatGetsEverySample(t *testing.T) {
	r := reported()
	r.Machine.Commit = "abc"
	var b bytes.Buffer
	require.NoError(t, r.WriteBenchstat(&b))
	require.Contains(t, b.String(), "goos: linux\ngoarch: amd64\npkg: github.com/rozofs-go/rozo/bench\ncpu: Abacus\n")
	require.Contains(t, b.String(), "commit: abc\n")
	require.Contains(t, b.String(), "BenchmarkMojette/op=rebuild/lost=1/layout=2_3/block=8KiB/code=systematic \t10\t512.00 ns/op\t16000.00 MB/s\n")
	require.Equal(t, 8, strings.Count(b.String(), "ns/op"))
}

// BenchmarkMojette runs the same kernels under go test.
func BenchmarkMojette(b *testing.B) {
	for _, c := range (MojetteOptions{BlockBytes: []int{8192, 65536}}).Cases() {
		kernels, err := c.kernels(8)
		require.NoError(b, err)
		for _, k := range kernels {
			b.Run(c.key()+"/code="+k.name, func(b *testing.B) {
				b.SetBytes(int64(c.BlockBytes))
				b.ReportAllocs()
				for b.Loop() {
					if err := k.run(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
