package rozofs_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/storaged"
)

// used is what the storages' disks are taken up with.
func (c *cluster) used() (bytes int64) {
	c.t.Helper()
	for _, s := range c.storages {
		err := filepath.WalkDir(s.root, func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			info, err := e.Info()
			if err == nil {
				bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
			}
			return nil // what is gone takes nothing
		})
		require.NoError(c.t, err)
	}
	return bytes
}

// smallJournal makes storageds that fold soon.
var smallJournal = storaged.Config{JournalBytes: 16 << 20}

func TestZerosCostNothing(t *testing.T) {
	const size = 16 << 20
	c := startCluster(t, form{layout: "0"})
	before := c.used()
	m := c.mount(t)
	image := make([]byte, size)
	copy(image[size/2:], "something in the middle")
	m.write("new", image)
	m.write("emptied", random(1, 100_000))
	m.write("emptied", make([]byte, size))
	f := m.open("sparse", os.O_CREATE|os.O_RDWR)
	require.NoError(t, f.Truncate(size))
	_, err := f.WriteAt(make([]byte, size/2), 1000)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	m.close()
	require.Less(t, c.used(), before+size/16)
	m = c.mount(t)
	m.holds("new", image)
	m.holds("emptied", make([]byte, size))
	m.holds("sparse", make([]byte, size))
}

// Data that are overwritten with zeros, punched or cut off are given back, and do not come
// back when the file grows.
func TestSpaceIsFreed(t *testing.T) {
	const size = 64 << 20
	for name, free := range map[string]func(f *rozofs.File) error{
		"overwritten": func(f *rozofs.File) error { _, err := f.WriteAt(make([]byte, size), 0); return err },
		"punched":     func(f *rozofs.File) error { return f.Handle().Punch(t.Context(), 0, size) },
		"zeroed":      func(f *rozofs.File) error { return f.Handle().Zero(t.Context(), 0, size, false) },
		"cut":         func(f *rozofs.File) error { return f.Truncate(0) },
	} {
		t.Run(name, func(t *testing.T) {
			c := startClusterOf(t, form{layout: "0"}, 0, smallJournal)
			before := c.used()
			m := c.mount(t)
			f := m.open("f", os.O_CREATE|os.O_RDWR)
			_, err := f.Write(random(1, size))
			require.NoError(t, err)
			require.NoError(t, f.Sync())
			require.Greater(t, c.used(), before+size*5/4)
			require.NoError(t, free(f))
			require.NoError(t, f.Sync())
			// A journal may be half full, and half as much may be left to be freed.
			require.Eventually(t, func() bool { return c.used() < before+size }, patience, 10*time.Millisecond)
			require.NoError(t, f.Truncate(5000))
			require.NoError(t, f.Truncate(2*size))
			require.NoError(t, f.Close())
			m.holds("f", make([]byte, 2*size))
		})
	}
}

// rollBack has a storage forget all since it was saved, as a crash may what was not synced.
func (c *cluster) save(i int) (rollBack func()) {
	c.killStorage(i)
	root, saved := c.storages[i].root, c.t.TempDir()
	require.NoError(c.t, os.CopyFS(filepath.Join(saved, "root"), os.DirFS(root)))
	c.restartStorage(i)
	return func() {
		c.killStorage(i)
		require.NoError(c.t, os.RemoveAll(root))
		require.NoError(c.t, os.CopyFS(root, os.DirFS(filepath.Join(saved, "root"))))
		c.restartStorage(i)
	}
}

// Zeros that storages forget before they are synced are sent again.
func TestForgottenZerosAreSentAgain(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	const size = 1 << 20
	m := c.mount(t)
	f := m.open("f", os.O_CREATE|os.O_RDWR)
	_, err := f.Write(random(1, size))
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	m.close()
	back := []func(){c.save(0), c.save(1), c.save(2), c.save(3)}

	m = c.mount(t)
	f = m.open("f", os.O_RDWR)
	_, err = f.WriteAt(make([]byte, size), 0)
	require.NoError(t, err)
	f.Handle().HoldSaves(true)
	require.NoError(t, f.Handle().Flush(t.Context()))
	for _, rollBack := range back {
		rollBack()
	}
	f.Handle().HoldSaves(false)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	m.holds("f", make([]byte, size))
}

// A writer of zeros dies when they have reached some of the storages: whoever reads then
// has the old content if enough is left of it, else zeros, for ever and from whichever
// storages.
func TestAWriterOfZerosThatDies(t *testing.T) {
	const blocks, size = 3, 2*vocab.DefaultBlockBytes + 3000
	for _, form := range []form{{"0", false}, {"1", true}, {"2,4,5", false}} {
		t.Run(form.String(), func(t *testing.T) {
			c, endSessions := startMortal(t, form)
			k, n := int(c.layout.Inverse), int(c.layout.Forward)
			for sent := range n + 1 {
				what := fmt.Sprintf("%d of %d storages had the zeros", sent, n)
				now := random(uint64(sent+2), size)
				m := c.mount(t)
				m.write("f", now)
				m.close()
				w := c.mount(t)
				f := w.open("f", os.O_RDWR)
				_, err := f.WriteAt(make([]byte, size), 0)
				require.NoError(t, err)
				require.NoError(t, f.Handle().SendSome(t.Context(), 0, blocks, rand.Perm(n)[:sent]), what)
				w.client.Kill()
				w.client = nil
				endSessions()
				if n-sent < k {
					now = make([]byte, size)
				}
				t.Log(what)
				for _, set := range append([][]int{nil}, c.downSets(n-k)...) { // the file is settled first
					c.withDown(set, func() {
						r := c.mount(t)
						r.holds("f", now)
						r.close()
					})
				}
			}
		})
	}
}

// What is zeroed while a storage is away stays so when it is back with the old content, and
// others are away.
func TestAStorageThatMissedZerosIsOutvoted(t *testing.T) {
	for _, form := range []form{{"0", false}, {"1", true}, {"2,4,5", false}} {
		t.Run(form.String(), func(t *testing.T) {
			c := startCluster(t, form)
			const size = 2_000_000
			data := random(1, size)
			m := c.mount(t)
			m.write("f", data)
			m.close()
			for i, away := range c.downSets(int(c.layout.Safe - c.layout.Forward)) {
				m := c.mount(t)
				f := m.open("f", os.O_RDWR)
				for _, s := range away {
					c.killStorage(s)
				}
				at := i * 300_000
				clear(data[at : at+200_000])
				_, err := f.WriteAt(data[at:at+100_000], int64(at))
				require.NoError(t, err)
				require.NoError(t, f.Handle().Punch(t.Context(), int64(at+100_000), 100_000))
				require.NoError(t, f.Sync())
				for _, s := range away {
					c.restartStorage(s)
				}
				require.NoError(t, f.Close())
				m.close()
				c.surviveLosses(files{"f": data})
			}
		})
	}
}

// A truncation, or a punch, that too few storages take fails, and is completed before the
// file grows again, is read, or is given up.
func TestADiscardThatFailedIsCompleted(t *testing.T) {
	const size = 1 << 20
	for name, discard := range map[string]func(f *rozofs.File) error{
		"truncate": func(f *rozofs.File) error { return f.Truncate(100) },
		"punch":    func(f *rozofs.File) error { return f.Handle().Punch(t.Context(), 100, size) },
	} {
		t.Run(name, func(t *testing.T) {
			c := startCluster(t, form{layout: "0"})
			data := random(1, size)
			m := c.mount(t, storageTimeout(time.Second))
			f := m.open("f", os.O_CREATE|os.O_RDWR)
			_, err := f.Write(data)
			require.NoError(t, err)
			require.NoError(t, f.Sync())
			c.killStorage(0)
			c.killStorage(1)
			require.ErrorIs(t, discard(f), vocab.Unavailable)
			_, err = f.WriteAt([]byte("more"), size/2)
			require.ErrorIs(t, err, vocab.Unavailable)
			c.restartStorage(0)
			c.restartStorage(1)
			require.Eventually(t, func() bool {
				_, err := f.WriteAt([]byte("more"), size/2)
				return err == nil
			}, patience, 10*time.Millisecond)
			require.NoError(t, f.Truncate(size))
			clear(data[100:])
			copy(data[size/2:], "more")
			got := make([]byte, size)
			_, err = f.ReadAt(got, 0)
			require.NoError(t, err)
			requireBytes(t, data, got)
			require.NoError(t, f.Close())
			m.close()
			c.mount(t).holds("f", data)
		})
	}
}

func TestSeekFindsHolesAndData(t *testing.T) {
	const size = 1 << 40 // found in no time
	for _, form := range []form{{"0", false}, {"2", true}} {
		t.Run(form.String(), func(t *testing.T) {
			c := startClusterOf(t, form, 0, smallJournal)
			m := c.mount(t)
			f := m.open("f", os.O_CREATE|os.O_RDWR)
			h := f.Handle()
			const none = -1
			check := func(off, data, hole int64) {
				t.Helper()
				at, found, err := h.SeekData(t.Context(), off)
				require.NoError(t, err)
				if !found {
					at = none
				}
				require.Equal(t, data, at, "data from %d", off)
				at, found, err = h.SeekHole(t.Context(), off)
				require.NoError(t, err)
				if !found {
					at = none
				}
				require.Equal(t, hole, at, "hole from %d", off)
			}
			check(0, none, none)
			require.NoError(t, f.Truncate(size))
			check(0, none, 0)
			check(size-1, none, size-1)
			check(size, none, none)

			const mid = size/2 + 5*block
			for off, n := range map[int64]int{0: 100, 1 << 30: 1 << 20, mid: 3 * block, size - 3: 3} {
				_, err := f.WriteAt(random(uint64(n), n), off)
				require.NoError(t, err)
			}
			for _, synced := range []bool{false, true} {
				if synced {
					require.NoError(t, f.Sync())
				}
				check(0, 0, block)
				check(block, 1<<30, block)
				check(1<<30+77, 1<<30+77, 1<<30+1<<20)
				check(1<<30+1<<20, mid, 1<<30+1<<20)
				check(mid+3*block-1, mid+3*block-1, mid+3*block)
				check(mid+3*block, size-block, mid+3*block)
				check(size-2, size-2, size)
			}
			require.NoError(t, h.Punch(t.Context(), mid+block, block))
			check(mid, mid, mid+block)
			check(mid+block, mid+2*block, mid+block)
			_, err := f.WriteAt(make([]byte, 1<<20), 1<<30)
			require.NoError(t, err)
			check(block, mid, block)
			require.NoError(t, f.Sync())
			check(block, mid, block)
			require.NoError(t, h.Punch(t.Context(), 0, size), "a punch of all costs what there is")
			check(0, none, 0)
			require.NoError(t, f.Close())
		})
	}
}

// While too few storages tell, everything may be data.
func TestUnknownCountsAsData(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	const size = 1 << 30
	m := c.mount(t)
	f := m.open("f", os.O_CREATE|os.O_RDWR)
	require.NoError(t, f.Truncate(size))
	at, found, err := f.Handle().SeekHole(t.Context(), 5)
	require.NoError(t, err)
	require.Equal(t, int64(5), at)
	require.True(t, found)
	c.withDown([]int{0, 1, 2}, func() {
		at, found, err := f.Handle().SeekData(t.Context(), 5)
		require.NoError(t, err)
		require.Equal(t, int64(5), at)
		require.True(t, found)
		at, found, err = f.Handle().SeekHole(t.Context(), 5)
		require.NoError(t, err)
		require.Equal(t, int64(size), at)
		require.True(t, found)
	})
	require.NoError(t, f.Close())
}
