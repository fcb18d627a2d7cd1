package rozofs_test

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/exportd"
	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged"
)

var taskForms = []form{{"0", false}, {"0", true}, {"1", false}, {"2,4,5", true}}

// replaceRoot takes away all that a storage has and starts it with an empty root.
func (c *cluster) replaceRoot(i int) {
	c.emptyRoot(i)
	c.restartStorage(i)
}

// emptyRoot stops a storage, takes away all that it has and makes it an empty root.
func (c *cluster) emptyRoot(i int) {
	c.killStorage(i)
	require.NoError(c.t, os.RemoveAll(c.storages[i].root))
	require.NoError(c.t, storaged.InitRoot(c.storages[i].root, c.id, vocab.StorageID{CID: 1, SID: vocab.SID(i + 1)}))
}

// task waits until the task of a kind is done, and returns how it was.
func (c *cluster) task(kind wire.TaskKind) wire.Task { return c.taskOf(kind, -1) }

// taskOf is task for a storage.
func (c *cluster) taskOf(kind wire.TaskKind, i int) (done wire.Task) {
	c.t.Helper()
	return c.awaitTask(kind, func(t *wire.Task) bool { return t.State == wire.TaskDone && (i < 0 || int(t.ID.SID) == i+1) })
}

// awaitTask waits until a task of a kind matches, and returns how it is.
func (c *cluster) awaitTask(kind wire.TaskKind, match func(*wire.Task) bool) (found wire.Task) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		for _, t := range c.export.server.(*exportd.Server).Tasks() {
			if t.Kind == kind && match(&t) {
				found = t
				return true
			}
		}
		return false
	}, patience, time.Millisecond, "%v", kind)
	return found
}

func (c *cluster) start(kind wire.TaskKind, i int) {
	c.t.Helper()
	m := wire.TaskRequest{Kind: kind, VID: 1}
	if i >= 0 {
		m.ID = vocab.StorageID{CID: 1, SID: vocab.SID(i + 1)}
	}
	require.NoError(c.t, c.export.server.(*exportd.Server).Start(m))
}

// fill writes files of many sizes: small ones, some with holes, and large ones.
func (c *cluster) fill(m *mount, n int) files {
	all := files{}
	for i := range n {
		name := fmt.Sprint("f", i)
		data := random(uint64(i), []int{0, 1, 5000, 8192, 100_000, 1_500_000}[i%6])
		m.write(name, data)
		if i%4 == 3 {
			f := m.open(name, os.O_RDWR)
			more := random(uint64(i)+1000, 20_000)
			data = append(data, make([]byte, 300_000)...)
			_, err := f.WriteAt(more, int64(len(data)))
			require.NoError(c.t, err)
			require.NoError(c.t, f.Close())
			data = append(data, more...)
		}
		all[name] = data
	}
	return all
}

// A storage whose root is lost gets all that it had on a new one, by itself, also what is
// written meanwhile.
func TestALostRootIsRebuilt(t *testing.T) {
	for _, form := range taskForms {
		t.Run(form.String(), func(t *testing.T) {
			c := startCluster(t, form)
			m := c.mount(t)
			all := c.fill(m, 24)
			w := m.open("written", os.O_CREATE|os.O_RDWR)
			for i := range c.storages {
				c.replaceRoot(i)
				more := random(uint64(i)+77, 300_000)
				_, err := w.Write(more)
				require.NoError(t, err)
				all["written"] = append(all["written"], more...)
				if i == 0 {
					c.restartExport() // it goes on
				}
				c.taskOf(wire.TaskRebuild, i)
			}
			require.NoError(t, w.Close())
			m.close()
			c.surviveLosses(all)
		})
	}
}

// What is durable, and not yet known to be final by any storage, is rebuilt too: its writer
// does not write it again.
func TestWhatIsDurableAndNotYetFinalIsRebuilt(t *testing.T) {
	c := startCluster(t, form{"0", false})
	m := c.mount(t)
	data := random(1, 100_000)
	f := m.create("f", data)
	for _, sid := range f.Handle().SIDs()[:2] {
		c.replaceRoot(int(sid) - 1)
		c.taskOf(wire.TaskRebuild, int(sid)-1)
	}
	require.NoError(t, f.Close())
	m.close()
	c.surviveLosses(files{"f": data})
}

// A root that is being rebuilt does not know what it lacks, and so must not say that blocks
// are absent: with another storage missing they would read as zeros.
func TestARootThatLacksBlocksDoesNotCallThemAbsent(t *testing.T) {
	c := startCluster(t, form{"0", false})
	m := c.mount(t)
	data := random(1, 100_000)
	f := m.create("f", data)
	sids := f.Handle().SIDs()
	require.NoError(t, f.Close())
	m.close()

	c.allAtHome()
	other := int(sids[1]) - 1
	c.killStorage(other)
	c.replaceRoot(int(sids[0]) - 1)
	c.awaitTask(wire.TaskRebuild, func(t *wire.Task) bool { return t.Waiting == 1 })
	m = c.mount(t, storageTimeout(2*time.Second))
	_, err := m.ReadFile(t.Context(), "f")
	require.ErrorIs(t, err, vocab.Unavailable)
	m.close()
	c.restartStorage(other)
	c.task(wire.TaskRebuild)
	c.surviveLosses(files{"f": data})
}

// slotFiles lists what lies in the roots, by storage.
func (c *cluster) slotFiles() (all [][]string) {
	for _, n := range c.storages {
		var names []string
		err := filepath.WalkDir(filepath.Join(n.root, "slots"), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				names = append(names, path)
			}
			return err
		})
		if !os.IsNotExist(err) {
			require.NoError(c.t, err)
		}
		all = append(all, names)
	}
	return all
}

// allAtHome waits until no storage has what belongs to another.
func (c *cluster) allAtHome() {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		recovery, degraded := c.export.server.(*exportd.Server).Unfinished()
		return recovery+degraded == 0
	}, patience, 10*time.Millisecond, "all is at home")
}

// stored writes a file f, which lies at home and in place then, and tells where.
func (c *cluster) stored(data []byte) vocab.Placement {
	c.t.Helper()
	m := c.mount(c.t)
	f := m.create("f", data)
	place := f.Handle().Placement()
	require.NoError(c.t, f.Close())
	m.close()
	c.foldAll()
	return place
}

// foldAll scrubs, which tells the storages what is final, and has them bring that into
// place, where it can be damaged.
func (c *cluster) foldAll() wire.TaskFindings {
	c.allAtHome()
	c.start(wire.TaskScrub, -1)
	found := c.task(wire.TaskScrub).Found
	for _, n := range c.storages {
		require.NoError(c.t, n.server.(*storaged.Server).Fold())
	}
	return found
}

func TestAScrubFindsAndRepairsWhatHasRotted(t *testing.T) {
	for _, form := range taskForms {
		t.Run(form.String(), func(t *testing.T) {
			c := startCluster(t, form)
			m := c.mount(t)
			all := c.fill(m, 36)
			m.close()
			found := c.foldAll()
			require.Equal(t, wire.TaskFindings{Checked: found.Checked}, found, "a sound cluster")

			r := rand.New(rand.NewPCG(1, 2))
			harmed := map[string]bool{} // files of which one projection was harmed
			var swap string
			flipped, deleted, swapped := 0, 0, 0
			for i, names := range c.slotFiles() {
				c.killStorage(i)
				for _, name := range names {
					fid := filepath.Base(name)
					if harmed[fid] || r.IntN(2) == 0 {
						continue
					}
					harmed[fid] = true
					switch r.IntN(4) {
					case 0, 1:
						flipBit(t, r, name)
						flipped++
					case 2:
						require.NoError(t, os.Remove(name))
						deleted++
					case 3:
						if swap == "" {
							swap = name
							break
						}
						require.NoError(t, os.Rename(name, name+"x"))
						require.NoError(t, os.Rename(swap, name))
						require.NoError(t, os.Rename(name+"x", swap))
						swap = ""
						swapped++
					}
				}
				swap = ""
				c.restartStorage(i)
			}
			t.Log("flipped", flipped, "deleted", deleted, "swapped", swapped)
			require.NotZero(t, flipped*deleted*swapped)
			m = c.mount(t)
			m.holdsAll(all)
			m.close()
			c.start(wire.TaskScrub, -1)
			found = c.task(wire.TaskScrub).Found
			require.NotZero(t, found.Broken)
			require.NotZero(t, found.Lacking)
			require.Zero(t, found.Lost)
			c.start(wire.TaskScrub, -1)
			found = c.task(wire.TaskScrub).Found
			require.Equal(t, wire.TaskFindings{Checked: found.Checked}, found, "all was repaired")
			c.surviveLosses(all)
		})
	}
}

// flipBit flips a bit of the header or a slot, not of what is between slots.
func flipBit(t *testing.T, r *rand.Rand, name string) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	st, err := f.Stat()
	require.NoError(t, err)
	b := make([]byte, st.Size())
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	at := r.IntN(100)
	if r.IntN(3) > 0 {
		for at = r.IntN(len(b)); b[at] == 0; at = r.IntN(len(b)) {
		}
	}
	b[at] ^= 1 << r.IntN(8)
	_, err = f.WriteAt(b[at:at+1], int64(at))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestAScrubRemovesOrphansAndNothingElse(t *testing.T) {
	c := startCluster(t, form{"0", false})
	m := c.mount(t)
	all := c.fill(m, 12)
	m.close()
	c.foldAll()
	m = c.mount(t)
	kept := map[string][]byte{}
	for _, names := range c.slotFiles() {
		for _, name := range names {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			kept[name] = data
		}
	}
	for name := range all {
		if name != "f4" && name != "f5" {
			require.NoError(t, m.Remove(t.Context(), name))
			delete(all, name)
		}
	}
	m.close()
	left := func() (n int) {
		for _, names := range c.slotFiles() {
			n += len(names)
		}
		return n
	}
	require.Eventually(t, func() bool { return left() == 6 }, patience, 10*time.Millisecond, "of %d", left())
	others := 0
	for name, data := range kept { // back they come, also as files of a later exportd
		if _, err := os.Stat(name); err == nil {
			continue
		}
		require.NoError(t, os.WriteFile(name, data, 0o600))
		fid, err := vocab.ParseFID(filepath.Base(name))
		require.NoError(t, err)
		later := vocab.MakeFID(fid.Group(), fid.Incarnation()+1, fid.Export(), fid.Ino())
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(name), later.String()), data, 0o600))
		others++
	}
	require.NotZero(t, others)
	c.start(wire.TaskScrub, -1)
	require.EqualValues(t, others, c.task(wire.TaskScrub).Found.Orphans)
	require.Equal(t, 6+others, left())
	c.surviveLosses(all)
}

// A storage that is drained ends empty, files are written and read meanwhile, and nothing
// is less safe than before.
func TestADrainedStorageIsEmptyAndNothingIsLost(t *testing.T) {
	for _, form := range taskForms {
		t.Run(form.String(), func(t *testing.T) {
			c := startClusterOf(t, form, 1, storaged.Config{})
			m := c.mount(t)
			all := c.fill(m, 24)
			w := m.open("written", os.O_CREATE|os.O_RDWR)
			const drained = 0
			c.start(wire.TaskDrain, drained)
			for i := range 20 {
				more := random(uint64(i)+77, 100_000)
				_, err := w.Write(more)
				require.NoError(t, err)
				all["written"] = append(all["written"], more...)
				if i == 10 {
					require.NoError(t, w.Sync())
				}
				m.holds("f5", all["f5"])
			}
			done := c.task(wire.TaskDrain)
			require.NotZero(t, done.Found.Moved)
			name := "later"
			m.write(name, random(5, 10_000))
			all[name] = random(5, 10_000)
			require.NoError(t, w.Close())
			m.close()
			for _, name := range slices.Sorted(maps.Keys(all)) {
				m := c.mount(t)
				f := m.open(name, os.O_RDONLY)
				require.NotContains(t, f.Handle().SIDs(), vocab.SID(drained+1), name)
				require.NoError(t, f.Close())
				m.close()
			}
			c.foldAll()
			require.Eventually(t, func() bool { return len(c.slotFiles()[drained]) == 0 }, patience, 10*time.Millisecond, "its files are deleted")
			c.killStorage(drained)
			m = c.mount(t)
			m.holdsAll(all)
			m.close()
			c.restartStorage(drained)
			c.surviveLosses(all)
		})
	}
}

// hollow writes files with ranges that were punched, zeroed and cut off, and changes them all
// once more when all but a storage have it.
func (c *cluster) hollow(m *mount, away int) files {
	const size = 400_000
	all, open := files{}, []*rozofs.File{}
	change := func(i, round int) {
		f, name := open[i], fmt.Sprint("f", i)
		data, at := all[name], 17_000+90_000*round
		var err error
		switch i % 5 {
		case 0:
			err = f.Handle().Punch(c.t.Context(), int64(at), 100_001)
			clear(data[at : at+100_001])
		case 1:
			_, err = f.WriteAt(make([]byte, 100_000), int64(at))
			clear(data[at : at+100_000])
		case 2:
			err = f.Handle().Zero(c.t.Context(), int64(at), 100_000, true)
			clear(data[at : at+100_000])
		case 3: // cut, and grown again
			if err = f.Truncate(int64(at)); err == nil {
				err = f.Truncate(size)
			}
			clear(data[at:])
		case 4: // and written again in part
			err = f.Handle().Punch(c.t.Context(), 0, size)
			clear(data)
			if err == nil {
				_, err = f.WriteAt(random(uint64(i+round), 50_000), int64(at))
				copy(data[at:], random(uint64(i+round), 50_000))
			}
		}
		require.NoError(c.t, err)
	}
	for i := range 10 {
		name := fmt.Sprint("f", i)
		open = append(open, m.open(name, os.O_CREATE|os.O_RDWR))
		all[name] = random(uint64(i), size)
		_, err := open[i].Write(all[name])
		require.NoError(c.t, err)
		require.NoError(c.t, open[i].Sync())
		change(i, 0)
		if i < 5 {
			require.NoError(c.t, open[i].Sync())
		}
	}
	c.foldStorages()
	c.killStorage(away)
	for i, f := range open {
		change(i, 1)
		require.NoError(c.t, f.Sync())
	}
	for _, f := range open {
		require.NoError(c.t, f.Close())
	}
	m.close()
	c.foldStorages() // what was discarded is forgotten before the storage returns
	c.restartStorage(away)
	return all
}

func (c *cluster) foldStorages() {
	for _, n := range c.storages {
		if n.server != nil {
			require.NoError(c.t, n.server.(*storaged.Server).Fold())
		}
	}
}

// dial connects to a storage as exportd does.
func (c *cluster) dial(i int) *wire.Conn {
	c.t.Helper()
	conn, err := wire.Dial(c.t.Context(), c.storages[i].addr, wire.Hello{Role: wire.RoleExportd, Cluster: c.id, Name: "test"}, nil)
	require.NoError(c.t, err)
	return conn
}

// allWhole checks that each block of which a storage has anything lies on all its homes, and
// nowhere else.
func (c *cluster) allWhole() {
	c.t.Helper()
	on := map[string]int{}
	for i, n := range c.storages {
		id, err := storaged.ReadRoot(n.root)
		require.NoError(c.t, err)
		conn := c.dial(i)
		for _, name := range c.slotFiles()[i] {
			fid, err := vocab.ParseFID(filepath.Base(name))
			require.NoError(c.t, err)
			var reply wire.VersionsReply
			req := wire.BlocksRequest{Target: wire.Target{ID: id.ID, Incarnation: id.Incarnation}, FID: fid, Verify: true}
			_, err = conn.Call(c.t.Context(), wire.OpVersions, &req, wire.Bulk{}, &reply)
			require.NoError(c.t, err)
			require.Equal(c.t, wire.FileWhole, reply.Condition)
			for _, b := range reply.Blocks {
				require.NotEqualValues(c.t, wire.Discarded, b.Projection)
				on[fmt.Sprint(fid, " ", b.Block, " ", b.Version)]++
			}
		}
		require.NoError(c.t, conn.Close())
	}
	require.NotEmpty(c.t, on)
	for what, n := range on {
		require.EqualValues(c.t, c.layout.Forward, n, what)
	}
}

// What was punched, zeroed and cut off, also while a storage was away, does not come back with
// a rebuild, a scrub or a drain, and what was not is not taken for it.
func TestWhatWasDiscardedStaysAwayThroughTasks(t *testing.T) {
	for _, form := range taskForms {
		t.Run(form.String(), func(t *testing.T) {
			c := startClusterOf(t, form, 1, storaged.Config{})
			const away, lost, drained = 0, 1, 2
			all := c.hollow(c.mount(t), away)
			c.foldAll()
			c.allWhole()
			c.surviveLosses(all)

			c.replaceRoot(lost)
			c.taskOf(wire.TaskRebuild, lost)
			c.foldStorages()
			c.allWhole()
			c.surviveLosses(all)

			for range 2 {
				found := c.foldAll()
				require.Equal(t, wire.TaskFindings{Checked: found.Checked}, found)
			}
			c.start(wire.TaskDrain, drained)
			require.NotZero(t, c.task(wire.TaskDrain).Found.Moved)
			require.Eventually(t, func() bool { return len(c.slotFiles()[drained]) == 0 }, patience, 10*time.Millisecond) // else it is an orphan
			found := c.foldAll()
			require.Equal(t, wire.TaskFindings{Checked: found.Checked}, found)
			c.allWhole()
			c.surviveLosses(all)
		})
	}
}

// A home forgets a discard after a repair has looked at it, and before that writes there: the
// repair looks again, at what it is about then, and does not begin the file anew.
func TestRepairLooksAgainWhenADiscardWasForgotten(t *testing.T) {
	const size = 400_000
	c := startCluster(t, form{"0", false})
	m := c.mount(t)
	data := random(1, size)
	m.write("f", data)
	m.close()
	c.foldAll()
	m = c.mount(t)
	f := m.open("f", os.O_RDWR)
	place := f.Handle().Placement()
	home := int(place.Distribution.SIDs[0]) - 1
	c.losePower(home)
	c.restartStorage(home)

	req := c.repairRequest(place, size)
	by := int(place.Distribution.SIDs[1]) - 1
	final := func() vocab.Version {
		conn := c.dial(home)
		defer conn.Close()
		var reply wire.VersionsReply
		to := wire.Target{ID: req.Storages[0].ID, Incarnation: req.Storages[0].Incarnation}
		_, err := conn.Call(t.Context(), wire.OpVersions, &wire.BlocksRequest{Target: to, FID: place.FID}, wire.Bulk{}, &reply)
		require.NoError(t, err)
		return reply.Final
	}
	before, gate := final(), c.storages[home].gate
	gate.hold(wire.OpWrite)
	conn := c.dial(by)
	defer conn.Close()
	var reply wire.RepairReply
	done := make(chan error, 1)
	go func() {
		_, err := conn.Call(t.Context(), wire.OpRepair, req, wire.Bulk{}, &reply)
		done <- err
	}()
	require.Eventually(t, gate.hasHeld, patience, time.Millisecond, "it writes what the home lacks")
	require.NoError(t, f.Handle().Punch(t.Context(), 0, 200_000))
	clear(data[:200_000])
	require.Eventually(t, func() bool { return final().Compare(before) > 0 }, patience, time.Millisecond)
	require.NoError(t, c.storages[home].server.(*storaged.Server).Fold())
	gate.release(wire.OpWrite)
	require.NoError(t, <-done)
	require.EqualValues(t, 49-24, reply.Lacking, "what was punched is not")
	require.NoError(t, f.Close())
	m.close()
	c.foldAll()
	c.allWhole()
	c.surviveLosses(files{"f": data})
}
