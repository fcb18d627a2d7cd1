package rozofs_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged"
)

// giveUpMove has a storage drained of its only file until all is copied and the storage that
// joins is to be called whole, and cancels that.
func (c *cluster) giveUpMove(from, to int) {
	c.t.Helper()
	gate := c.storages[to].gate
	gate.refuseAfter(1, wire.OpMark, vocab.Unavailable) // one has it join
	defer gate.refuse(wire.OpMark, vocab.Internal)
	c.start(wire.TaskDrain, from)
	c.awaitTask(wire.TaskDrain, func(t *wire.Task) bool { return t.State == wire.TaskRunning && t.Waiting == 1 })
	c.cancel(wire.TaskDrain, from)
}

func (c *cluster) cancel(kind wire.TaskKind, i int) {
	c.t.Helper()
	m := wire.TaskRequest{Kind: kind, VID: 1, ID: vocab.StorageID{CID: 1, SID: vocab.SID(i + 1)}}
	c.admin(wire.OpCancelTask, &m, &wire.Task{})
}

// admin asks exportd as rozo does.
func (c *cluster) admin(op wire.Op, m, reply wire.Message) {
	c.t.Helper()
	conn, err := wire.Dial(c.t.Context(), c.export.addr, wire.Hello{Role: wire.RoleAdmin, Cluster: c.id, Name: "test"}, nil)
	require.NoError(c.t, err)
	defer conn.Close()
	_, err = conn.Call(c.t.Context(), op, m, wire.Bulk{}, reply)
	require.NoError(c.t, err)
}

// bootOf is the boot that exportd knows of a storage.
func (c *cluster) bootOf(i int) vocab.Boot {
	var reply wire.ExportStatusReply
	c.admin(wire.OpExportStatus, &wire.Empty{}, &reply)
	return reply.Storages[i].Boot
}

// movable is a cluster of one storage more than its one file lies on. homes are those, other
// is the one more.
func movable(t *testing.T) (c *cluster, data []byte, homes []int, other int) {
	c = startClusterOf(t, form{"0", false}, 1, storaged.Config{})
	m := c.mount(t)
	data = random(1, 100_000)
	f := m.create("f", data)
	sids := f.Handle().SIDs()
	require.NoError(t, f.Close())
	m.close()
	other = 0 + 1 + 2 + 3 + 4
	for _, sid := range sids {
		homes = append(homes, int(sid)-1)
		other -= int(sid) - 1
	}
	return c, data, homes, other
}

// What a move that was given up has left on a storage is no projection of the place that the
// storage gets by another move.
func TestAMoveAfterOneThatWasGivenUp(t *testing.T) {
	c, data, homes, other := movable(t)
	c.giveUpMove(homes[0], other)
	c.start(wire.TaskDrain, homes[1])
	require.EqualValues(t, 1, c.taskOf(wire.TaskDrain, homes[1]).Found.Moved)
	c.surviveLosses(files{"f": data})
}

// What a move that was given up has left is found by a scrub.
func TestWhatAMoveLeavesIsAnOrphan(t *testing.T) {
	c, data, homes, other := movable(t)
	c.giveUpMove(homes[0], other)
	c.foldStorages()
	require.Len(t, c.slotFiles()[other], 1)
	c.start(wire.TaskScrub, -1)
	require.EqualValues(t, 1, c.task(wire.TaskScrub).Found.Orphans)
	require.Empty(t, c.slotFiles()[other])
	c.surviveLosses(files{"f": data})
}

// A move, also one that is given up, changes nothing for those who use the file meanwhile:
// no storage but the one that joins refuses the present distribution, when it gets what it
// lacked.
func TestAMoveThatWasGivenUpLocksNobodyOut(t *testing.T) {
	c, data, homes, other := movable(t)
	c.foldStorages()
	lacking := homes[1]
	c.killStorage(lacking)
	for _, name := range c.slotFiles()[lacking] {
		require.NoError(t, os.Remove(name))
	}
	before := c.bootOf(lacking)
	c.restartStorage(lacking)
	require.Eventually(t, func() bool { return c.bootOf(lacking) != before }, patience, time.Millisecond, "exportd knows that it is back")
	c.giveUpMove(homes[0], other)
	c.killStorage(homes[3]) // the spare: now each home is needed
	m := c.mount(t, storageTimeout(2*time.Second))
	f := m.open("f", os.O_RDWR)
	copy(data, random(2, 10_000))
	_, err := f.WriteAt(data[:10_000], 0)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	m.close()
	c.restartStorage(homes[3])
	c.start(wire.TaskScrub, -1)
	c.task(wire.TaskScrub)
	c.surviveLosses(files{"f": data})
}

// A spare that has what a home missed is not left before the home has it.
func TestASpareIsNotLeftWhileAHomeIsAway(t *testing.T) {
	c, data, homes, _ := movable(t)
	home, spare := homes[1], homes[3]
	c.killStorage(home)
	m := c.mount(t)
	f := m.open("f", os.O_RDWR)
	copy(data, random(3, 50_000))
	_, err := f.WriteAt(data[:50_000], 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	m.close()
	c.start(wire.TaskDrain, spare)
	task := c.awaitTask(wire.TaskDrain, func(t *wire.Task) bool { return t.Waiting == 1 || t.State == wire.TaskDone })
	require.Equal(t, wire.TaskRunning, task.State)
	c.restartStorage(home)
	require.EqualValues(t, 1, c.taskOf(wire.TaskDrain, spare).Found.Moved)
	c.surviveLosses(files{"f": data})
}

// What a spare has for a home that missed it stays there while that home's place is moved to
// another storage: the move may be given up.
func TestAMoveLeavesSparesWhatTheyHave(t *testing.T) {
	c, data, homes, other := movable(t)
	home := c.storages[homes[0]].gate
	home.refuse(wire.OpWrite, vocab.NoSpace) // of clients and of those who repair
	m := c.mount(t)
	f := m.open("f", os.O_RDWR)
	copy(data, random(3, 50_000))
	_, err := f.WriteAt(data[:50_000], 0)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	m.close()
	c.giveUpMove(homes[0], other)
	c.withDown([]int{homes[1]}, func() {
		m := c.mount(t)
		m.holds("f", data)
		m.close()
	})
	c.start(wire.TaskDrain, homes[0])
	require.EqualValues(t, 1, c.taskOf(wire.TaskDrain, homes[0]).Found.Moved)
	c.allAtHome()
	c.foldStorages()
	c.allWhole()
	c.surviveLosses(files{"f": data})
}
