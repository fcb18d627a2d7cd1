package scenario

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/rozofs-go/rozo/rozofs/admin"
)

// task starts a task and waits until it has ended.
func (c *cluster) task(kind string, args ...string) admin.Task {
	c.t.Helper()
	c.rozo(args...)
	return c.ended(kind)
}

// ended waits until the task of a kind has ended, and returns how it was.
func (c *cluster) ended(kind string) (done admin.Task) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		for _, t := range c.status().Tasks {
			if t.Kind == kind && t.State == "done" {
				done = t
				return true
			}
		}
		return false
	}, limit(), tick, kind)
	c.t.Log(done.Line())
	return done
}

// tree is files by path, with the seed that their contents are made of.
type tree struct {
	c     *cluster
	seeds []uint64 // of file i
	sizes []int
	dir   string
}

func (tr *tree) path(i int) string { return filepath.Join(tr.dir, fmt.Sprint(i%100), fmt.Sprint(i)) }

// write writes the files again or for the first time, several at once.
func (tr *tree) write(which []int) error {
	var g errgroup.Group
	g.SetLimit(4)
	for _, i := range which {
		g.Go(func() error {
			if err := os.MkdirAll(filepath.Dir(tr.path(i)), 0o755); err != nil {
				return err
			}
			return os.WriteFile(tr.path(i), bytesOf(tr.seeds[i], tr.sizes[i]), 0o644)
		})
	}
	return g.Wait()
}

// check reads all files and compares them.
func (tr *tree) check(when string) {
	tr.c.t.Helper()
	var g errgroup.Group
	g.SetLimit(2)
	for i, s := range tr.seeds {
		g.Go(func() error {
			sum, err := sumOf(tr.path(i))
			if err == nil && sum != sumOfBytes(bytesOf(s, tr.sizes[i])) {
				err = fmt.Errorf("%s has another content", tr.path(i))
			}
			return err
		})
	}
	require.NoError(tr.c.t, g.Wait(), when)
}

// checkWithout reads all files with each storage missing in turn.
func (tr *tree) checkWithout() {
	tr.c.t.Helper()
	for _, d := range tr.c.status().Daemons[1:] {
		tr.c.kill(d.Name)
		tr.check("without " + d.Name)
		tr.c.start(d.Name)
	}
}

func newTree(c *cluster, s uint64, n int, size func(i int) int) *tree {
	tr := &tree{c: c, dir: c.path("tree")}
	for i := range n {
		tr.seeds = append(tr.seeds, s+uint64(i))
		tr.sizes = append(tr.sizes, size(i))
	}
	require.NoError(c.t, tr.write(upTo(n)))
	c.remount() // all is given up, and durable
	return tr
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// overwrite changes files of the tree again and again until stop is closed.
func (tr *tree) overwrite(which []int, stop <-chan struct{}) error {
	for round := uint64(1); ; round++ {
		for _, i := range which {
			select {
			case <-stop:
				return nil
			default:
			}
			tr.seeds[i] += 1 << 32
			if err := tr.write([]int{i}); err != nil {
				return err
			}
		}
	}
}

// A storage's root is lost, and comes back while files are written, exportd and another
// storaged are killed in the middle.
func TestALostStorageIsRebuiltUnderLoad(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	count := scaled(60, 400)
	size := scaled(400_000, 100*mib)
	tr := newTree(c, s, count, func(i int) int { return []int{size, size / 100, size / 10, size}[i%4] + i })
	root := filepath.Join(c.dir, "storage_2")
	stored := bytesUnder(t, root)

	require.NoError(t, os.RemoveAll(root))
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- tr.overwrite([]int{1, 5, 9}, stop) }()
	c.rozo("storage", "rebuild", "2")
	c.kill("exportd")
	c.start("exportd")
	c.kill("storaged-3")
	c.start("storaged-3")
	done := c.ended("rebuild")
	close(stop)
	require.NoError(t, <-ended)
	took := done.Ended.Sub(done.Started)
	t.Logf("rebuilt %d MiB of a root of %d MiB in %v, exportd and a storaged killed meanwhile; plain copy of as much: %v",
		done.Written/mib, stored/mib, took.Round(time.Millisecond), plainCopy(t, c, int64(done.Written)).Round(time.Millisecond))
	require.NotZero(t, done.Written)
	require.Zero(t, done.Lost)
	c.remount()
	require.Eventually(t, func() bool { return c.status().Degraded == 0 }, await, tick)
	tr.checkWithout()
}

// bytesUnder counts what the files in a directory hold.
func bytesUnder(t *testing.T, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	require.NoError(t, err)
	return n
}

// plainCopy copies bytes from one file of the disk to another, with a sync at the end.
func plainCopy(t *testing.T, c *cluster, n int64) time.Duration {
	from, to := filepath.Join(c.base, "copy-from"), filepath.Join(c.base, "copy-to")
	f, err := os.Create(from)
	require.NoError(t, err)
	b := bytesOf(1, 4*mib)
	for at := int64(0); at < n; at += int64(len(b)) {
		_, err := f.Write(b)
		require.NoError(t, err)
	}
	require.NoError(t, f.Sync())
	require.NoError(t, dropCache(f))
	require.NoError(t, f.Close())
	began := time.Now()
	run(t, c.base, "dd", "if="+from, "of="+to, "bs=1M", "conv=fsync")
	took := time.Since(began)
	require.NoError(t, os.Remove(from))
	require.NoError(t, os.Remove(to))
	return took
}

// Bits are flipped, slot files deleted and swapped with one another, one projection of a
// file at most: all files read back identical, a scrub repairs all, the next finds nothing.
func TestRotIsFoundAndRepaired(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	flips, deletes, swaps := scaled(20, 1000), scaled(20, 1000), scaled(4, 100)
	tr := newTree(c, s, (flips+deletes+2*swaps)*4/3, func(i int) int { return 140_000 + 7*i })
	found := c.task("scrub", "scrub", "start")
	require.Zero(t, found.Broken+found.Lost)

	r := rand.New(rand.NewPCG(s, 0))
	harmed := map[string]bool{}
	for sid := 1; sid <= 4; sid++ {
		c.kill("storaged-" + strconv.Itoa(sid))
		var mine []string // of this storage, of files that are whole
		err := filepath.WalkDir(filepath.Join(c.dir, "storage_"+strconv.Itoa(sid), "slots"), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && !harmed[e.Name()] {
				mine = append(mine, path)
			}
			return err
		})
		require.NoError(t, err)
		r.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		take := func(n int) (some []string) {
			require.LessOrEqual(t, n, len(mine))
			some, mine = mine[:n], mine[n:]
			for _, path := range some {
				harmed[filepath.Base(path)] = true
			}
			return some
		}
		for _, path := range take(flips / 4) {
			flipBit(t, r, path)
		}
		for _, path := range take(deletes / 4) {
			require.NoError(t, os.Remove(path))
		}
		for pairs := take(swaps / 4 * 2); len(pairs) > 0; pairs = pairs[2:] {
			require.NoError(t, os.Rename(pairs[0], pairs[0]+".x"))
			require.NoError(t, os.Rename(pairs[1], pairs[0]))
			require.NoError(t, os.Rename(pairs[0]+".x", pairs[1]))
		}
		c.start("storaged-" + strconv.Itoa(sid))
	}
	c.remount()
	tr.check("with rot")
	found = c.task("scrub", "scrub", "start")
	require.GreaterOrEqual(t, found.Broken, uint64(flips))
	require.NotZero(t, found.Lacking)
	require.Zero(t, found.Lost)
	found = c.task("scrub", "scrub", "start")
	require.Zero(t, found.Broken+found.Lost+found.Lacking+found.Orphans, "the second scrub")
	tr.checkWithout()
}

// flipBit flips a bit of some slot.
func flipBit(t *testing.T, r *rand.Rand, path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	const header = 192
	at := header + r.Int64N(info.Size()-header)
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 1 << r.IntN(8)
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// A storage is drained while files are written and exportd is killed, comes back empty, and
// is filled again by a balance.
func TestAStorageIsDrainedAndFilledAgain(t *testing.T) {
	s := seed(t)
	c := start(t, options{storages: 5, smallRoots: scaled[int64](96*mib, 1024*mib)})
	size := scaled(500_000, 5*mib)
	tr := newTree(c, s, scaled(80, 150), func(i int) int { return size/(1+i%3) + i })
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- tr.overwrite([]int{2, 3, 4}, stop) }()
	c.rozo("storage", "drain", "1")
	c.kill("exportd")
	c.start("exportd")
	done := c.ended("drain")
	require.NotZero(t, done.Moved)
	close(stop)
	require.NoError(t, <-ended)
	c.remount()
	slots := filepath.Join(c.dir, "storage_1", "slots")
	require.Eventually(t, func() bool { return filesUnder(t, slots) == 0 }, await, tick, "the drained storage is empty")
	tr.checkWithout()

	c.rozo("storage", "undrain", "1")
	fullest, emptiest := c.fullness()
	done = c.task("balance", "volume", "balance")
	require.NotZero(t, done.Moved)
	after := func() float64 { a, b := c.fullness(); return a - b }
	// Files move at four hundredths, judged by what the storages said some seconds ago; journals come on top.
	require.Eventually(t, func() bool { return after() < 0.15 }, await, tick, "%.2f", after())
	require.NotZero(t, filesUnder(t, slots))
	t.Logf("fullest %.0f %%, emptiest %.0f %%; after the balance %.0f %% between them", 100*fullest, 100*emptiest, 100*after())
	tr.checkWithout()
}

// fullness tells how full the fullest and the emptiest storage are.
func (c *cluster) fullness() (fullest, emptiest float64) {
	emptiest = 1
	for _, d := range c.status().Daemons[1:] {
		full := 1 - float64(d.FreeBytes)/float64(d.TotalBytes)
		fullest, emptiest = max(fullest, full), min(emptiest, full)
	}
	return fullest, emptiest
}

func filesUnder(t *testing.T, dir string) (n int) {
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // removed meanwhile
		}
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return err
	})
	require.NoError(t, err)
	return n
}

// What is unlinked frees the storages, also one that was down.
func TestUnlinkedFilesFreeTheStorages(t *testing.T) {
	c := start(t, options{})
	count := scaled(2000, 100_000)
	dirs := count / 1000
	var g errgroup.Group
	g.SetLimit(8)
	for d := range dirs {
		require.NoError(t, os.MkdirAll(c.path(fmt.Sprint(d)), 0o755))
	}
	content := bytesOf(1, 150_000) // too large for the journal alone
	for i := range count {
		g.Go(func() error {
			b := content[:2000]
			if i%10 == 0 {
				b = content
			}
			return os.WriteFile(c.path(fmt.Sprint(i%dirs), fmt.Sprint(i)), b, 0o644)
		})
	}
	require.NoError(t, g.Wait())
	c.remount()
	c.kill("storaged-4")
	var removers sync.WaitGroup
	began := time.Now()
	errs := make([]error, dirs)
	for d := range dirs {
		removers.Go(func() { errs[d] = os.RemoveAll(c.path(fmt.Sprint(d))) })
	}
	removers.Wait()
	removed := time.Since(began)
	for _, err := range errs {
		require.NoError(t, err)
	}
	left := func(sids ...int) (n int) {
		for _, sid := range sids {
			n += filesUnder(t, filepath.Join(c.dir, fmt.Sprint("storage_", sid), "slots"))
		}
		return n
	}
	require.Eventually(t, func() bool { return left(1, 2, 3) == 0 }, await, tick)
	gone := time.Since(began)
	require.NotZero(t, left(4))
	c.start("storaged-4")
	require.Eventually(t, func() bool { return left(4) == 0 }, await, tick)
	t.Logf("%d files: unlinked in %v, gone from the storages %v later", count, removed.Round(time.Millisecond), (gone - removed).Round(time.Millisecond))
	require.Zero(t, c.task("scrub", "scrub", "start").Orphans)
}
