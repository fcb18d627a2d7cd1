package scenario

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// The layouts that must bear the loss of storages, with the sizes of the file
// that is written meanwhile.
var lossy = []struct {
	layout          string
	systematic      bool
	quick, promised int64
}{
	{"0", false, 256 * mib, 2 * gib},
	{"0", true, 64 * mib, 2 * gib},
	{"1", false, 64 * mib, 2 * gib},
	{"1", true, 32 * mib, 2 * gib},
	{"2", false, 64 * mib, 2 * gib},
	{"2", true, 32 * mib, 2 * gib},
	{"2,4,5", false, 64 * mib, 2 * gib},
	{"2,4,5", true, 32 * mib, 2 * gib},
	{"8,12,12", false, 64 * mib, 2 * gib},
	{"8,12,12", true, 32 * mib, 2 * gib},
}

// A file is written while safe-forward storages are killed; then it is read with
// those still down; then, all being up again, with any forward-inverse down.
func TestStoragesAreKilledWhileABigFileIsWrittenAndRead(t *testing.T) {
	for _, l := range lossy {
		name := l.layout + map[bool]string{true: " systematic"}[l.systematic]
		t.Run(name, func(t *testing.T) {
			s := seed(t)
			layout, err := vocab.ParseLayout(l.layout)
			require.NoError(t, err)
			c := start(t, options{layout: l.layout, systematic: l.systematic})
			choice := rand.New(generator(s))
			order := choice.Perm(int(layout.Safe))

			killed := order[:layout.Safe-layout.Forward]
			w := newWriter(c.path("file"), s, scaled(l.quick, l.promised), len(killed))
			var sum string
			written := make(chan error, 1)
			go func() {
				var err error
				sum, err = w.write()
				written <- err
			}()
			for i, storage := range killed {
				<-w.reach[i]
				c.kill(daemon(storage))
			}
			require.NoError(t, <-written, "written while %s were killed", daemons(killed))

			requireSum(t, w.path, sum, "with "+daemons(killed)+" still down")
			c.remount()
			requireSum(t, w.path, sum, "mounted anew with "+daemons(killed)+" still down")
			for _, storage := range killed {
				c.start(daemon(storage))
			}
			for _, down := range losses(choice, int(layout.Safe), int(layout.Forward-layout.Inverse)) {
				for _, storage := range down {
					c.kill(daemon(storage))
				}
				requireSum(t, w.path, sum, "with "+daemons(down)+" down, after "+daemons(killed)+" were down while it was written")
				for _, storage := range down {
					c.start(daemon(storage))
				}
			}
			require.True(t, c.status().Healthy)
		})
	}
}

func daemon(storage int) string { return fmt.Sprintf("storaged-%d", storage+1) }

func daemons(storages []int) string {
	var names []string
	for _, s := range storages {
		names = append(names, daemon(s))
	}
	return "[" + strings.Join(names, " ") + "]"
}

// losses gives the sets of k of n storages, or a sample where they are many.
func losses(choice *rand.Rand, n, k int) [][]int {
	var all [][]int
	var extend func(set []int, from int)
	extend = func(set []int, from int) {
		if len(set) == k {
			all = append(all, append([]int(nil), set...))
			return
		}
		for i := from; i < n; i++ {
			extend(append(set, i), i+1)
		}
	}
	extend(nil, 0)
	choice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(len(all), scaled(4, 10))]
}

// A storage that hangs is worse than one that is gone: its connections stay.
func TestAStorageThatHangsStopsNobody(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	before := newWriter(c.path("before"), s, 32*mib, 0)
	sumBefore, err := before.write()
	require.NoError(t, err)
	pids := c.pids()
	for n := 1; n <= 4; n++ {
		pid := pids[fmt.Sprintf("storaged-%d", n)]
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		requireSum(t, before.path, sumBefore, fmt.Sprintf("while storaged-%d hangs", n))
		w := newWriter(c.path(fmt.Sprintf("while%d", n)), s+uint64(n), 16*mib, 0)
		sum, err := w.write()
		require.NoError(t, err)
		requireSum(t, w.path, sum, fmt.Sprintf("written while storaged-%d hangs", n))
		require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
		requireSum(t, w.path, sum, fmt.Sprintf("storaged-%d goes on", n))
	}
}
