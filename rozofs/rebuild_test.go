package rozofs_test

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/exportd"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged"
)

// A root that is being rebuilt is lost too: the next one gets all, also what the first had
// got already.
func TestARootThatIsLostDuringItsRebuildIsRebuiltAnew(t *testing.T) {
	const lost = 1
	c := startCluster(t, form{"0", false})
	m := c.mount(t)
	all := c.fill(m, 24)
	m.close()
	c.allAtHome()

	gate := c.storages[lost].gate
	gate.hold(wire.OpWrite)
	c.replaceRoot(lost)
	require.Eventually(t, gate.hasHeld, patience, 10*time.Millisecond, "the rebuild has begun")
	first := c.awaitTask(wire.TaskRebuild, func(*wire.Task) bool { return true }).Started
	c.emptyRoot(lost)
	gate.release(wire.OpWrite)
	c.restartStorage(lost)
	c.awaitTask(wire.TaskRebuild, func(t *wire.Task) bool { return t.Started > first }) // it begins anew
	c.task(wire.TaskRebuild)
	_, err := storaged.ReadRoot(c.storages[lost].root)
	require.NoError(t, err)
	require.NoFileExists(t, c.storages[lost].root+"/rozofs.partial")
	c.foldStorages()
	c.allWhole()
	c.surviveLosses(all)
}

// repairRequest is what exportd asks of the storage at position 1.
func (c *cluster) repairRequest(place vocab.Placement, size uint64) *wire.RepairRequest {
	req := &wire.RepairRequest{SettleRequest: wire.SettleRequest{Placement: place, Size: size}}
	req.Session, req.Epoch = 1<<40, 1<<62
	for _, sid := range place.Distribution.SIDs {
		n := c.storages[sid-1]
		id, err := storaged.ReadRoot(n.root)
		require.NoError(c.t, err)
		req.Storages = append(req.Storages, wire.StorageAddr{StorageRoot: wire.StorageRoot{ID: id.ID, Incarnation: id.Incarnation, Health: wire.HealthUp}, Addr: n.addr})
	}
	req.ID, req.Incarnation = req.Storages[1].ID, req.Storages[1].Incarnation
	return req
}

// A file that a home marks as partial is whole when all of it was repaired, not when the
// last of several requests has found nothing to be amiss.
func TestAPartialFileIsWholeWhenAllRequestsForItWereDone(t *testing.T) {
	c := startCluster(t, form{"0", false})
	m := c.mount(t)
	m.write("f", random(1, 400_000))
	m.close()
	c.foldAll()
	m = c.mount(t)
	f := m.open("f", os.O_RDONLY)
	place := f.Handle().Placement()
	req := c.repairRequest(place, 400_000)
	home := c.dial(int(place.Distribution.SIDs[0]) - 1)
	defer home.Close()
	by := c.dial(int(place.Distribution.SIDs[1]) - 1)
	defer by.Close()
	call := func(conn *wire.Conn, op wire.Op, m, reply wire.Message) {
		t.Helper()
		_, err := conn.Call(t.Context(), op, m, wire.Bulk{}, reply)
		require.NoError(t, err)
	}
	to := wire.Target{ID: req.Storages[0].ID, Incarnation: req.Storages[0].Incarnation, Session: req.Session, Epoch: req.Epoch}
	call(home, wire.OpMark, &wire.MarkRequest{Target: to, FID: place.FID, PayloadBytes: 1, Generation: place.Distribution.Generation, Partial: true}, &wire.BootReply{})
	isPartial := func() bool {
		var reply wire.VersionsReply
		call(home, wire.OpVersions, &wire.BlocksRequest{Target: to, FID: place.FID}, &reply)
		return reply.Condition == wire.FilePartial && reply.Marked
	}
	// Marked since the first request, when something was found amiss too late, or was not there.
	for _, before := range []wire.RepairReply{{}, {Lost: 1, Marked: 1 << 0}, {Missing: 1 << 0, Marked: 1 << 0}} {
		req.From, req.SoFar = 20, before
		var reply wire.RepairReply
		call(by, wire.OpRepair, req, &reply)
		require.Equal(t, before.Lost, reply.Lost)
		require.Equal(t, before.Missing, reply.Missing)
		require.True(t, isPartial(), "%+v", before)
	}
	req.SoFar = wire.RepairReply{Lacking: 7, Missing: 1 << 1, Marked: 1 << 0} // another home is no matter
	call(by, wire.OpRepair, req, &wire.RepairReply{})
	require.False(t, isPartial())
	require.NoError(t, f.Close())
	m.close()
}

// exportd may end after it has marked an empty root and before it knows that one.
func TestARootThatIsMarkedAlreadyIsRebuilt(t *testing.T) {
	c := startCluster(t, form{"0", false})
	m := c.mount(t)
	all := c.fill(m, 12)
	m.close()
	c.allAtHome()
	c.export.stop()
	c.replaceRoot(0)
	id, err := storaged.ReadRoot(c.storages[0].root)
	require.NoError(t, err)
	conn := c.dial(0)
	mark := wire.MarkRequest{Target: wire.Target{ID: id.ID, Incarnation: id.Incarnation, Epoch: 1}, Partial: true}
	_, err = conn.Call(t.Context(), wire.OpMark, &mark, wire.Bulk{}, &wire.BootReply{})
	require.NoError(t, err)
	conn.Close()
	c.export.start()
	c.taskOf(wire.TaskRebuild, 0)
	c.surviveLosses(all)
}

// A rebuild takes what is sound where something has rotted, as long as there is enough.
func TestARootIsRebuiltBesideRot(t *testing.T) {
	c := startCluster(t, form{"2,4,5", true})
	data := random(1, 100_000)
	sids := c.stored(data).Distribution.SIDs
	lost, rotten := int(sids[0])-1, int(sids[1])-1 // the first whom the rebuild asks
	c.killStorage(rotten)
	for _, name := range c.slotFiles()[rotten] {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		b[len(b)-1] ^= 1
		require.NoError(t, os.WriteFile(name, b, 0o600))
	}
	c.restartStorage(rotten)
	c.replaceRoot(lost)
	c.taskOf(wire.TaskRebuild, lost)
	c.surviveLosses(files{"f": data})
}

// A root that is being rebuilt gets no old version of a block of which there may be a newer
// one: together with a storage that missed that it would outvote it.
func TestARootThatIsRebuiltDoesNotVouchForAnOldVersion(t *testing.T) {
	log := &lines{}
	c := startCluster(t, form{"0", false}, func(cfg *exportd.Config) {
		cfg.LeaseTerm, cfg.Log = 2*time.Second, slog.New(slog.NewTextHandler(log, nil))
	})
	sids := c.stored(random(1, 100_000)).Distribution.SIDs
	at := func(position int) int { return int(sids[position]) - 1 }

	m := c.mount(t)
	c.killStorage(at(1))
	f := m.open("f", os.O_RDWR)
	data := random(2, 100_000)
	_, err := f.WriteAt(data, 0)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	m.client.Kill() // it lies on positions 0, 2 and 3
	m.client = nil
	c.killStorage(at(3))
	c.restartStorage(at(1))
	c.replaceRoot(at(2))
	require.Eventually(t, func() bool {
		return log.has("a file was settled") || log.has("a file that needs recovery or repair has to wait")
	}, patience, time.Millisecond, "the file was decided about, or could not be")
	c.restartStorage(at(3))
	c.taskOf(wire.TaskRebuild, at(2))
	c.surviveLosses(files{"f": data})
}

// breakHeaders spoils the headers of a storage's slot files, and with slots the payload of the
// first slot of each.
func (c *cluster) breakHeaders(i int, slots bool) {
	c.t.Helper()
	c.killStorage(i)
	for _, name := range c.slotFiles()[i] {
		b, err := os.ReadFile(name)
		require.NoError(c.t, err)
		b[20] ^= 1
		if slots {
			b[192+wire.SlotHeaderBytes] ^= 1
		}
		require.NoError(c.t, os.WriteFile(name, b, 0o600))
	}
	c.restartStorage(i)
}

// A root is rebuilt beside a storage that cannot tell either what it lacks, and lacks something:
// the two others can tell that there is nothing newer than what they have.
func TestTwoStoragesThatCannotTellWhatTheyLackAreMadeWhole(t *testing.T) {
	c := startCluster(t, form{"0", false})
	sids := c.stored(random(1, 100_000)).Distribution.SIDs
	lost, other := int(sids[0])-1, int(sids[1])-1
	c.killStorage(other)
	m := c.mount(t)
	data := random(2, 100_000)
	m.write("f", data) // to the others, the spare among them
	m.close()
	c.emptyRoot(lost)
	c.breakHeaders(other, false)
	c.restartStorage(lost)
	c.taskOf(wire.TaskRebuild, lost)
	c.allAtHome()
	c.surviveLosses(files{"f": data})
}

// The header of a slot file breaks when a long repair has looked at some of its blocks: what the
// storage had of them may be gone, so it is not whole when the rest is repaired.
func TestAHeaderThatBreaksDuringARepair(t *testing.T) {
	c := startCluster(t, form{"0", false})
	data := random(1, 400_000)
	place := c.stored(data)
	req := c.repairRequest(place, 400_000)
	repair := func() (reply wire.RepairReply, err error) {
		conn := c.dial(int(place.Distribution.SIDs[1]) - 1)
		defer conn.Close()
		_, err = conn.Call(t.Context(), wire.OpRepair, req, wire.Bulk{}, &reply)
		return reply, err
	}
	home := int(place.Distribution.SIDs[0]) - 1
	c.breakHeaders(home, true)
	req.From = 20
	_, err := repair()
	require.ErrorIs(t, err, vocab.Unavailable, "it has to begin anew")
	_, err = repair()
	require.NoError(t, err)

	at := func() (reply wire.VersionsReply) {
		conn := c.dial(home)
		defer conn.Close()
		to := wire.Target{ID: req.Storages[0].ID, Incarnation: req.Storages[0].Incarnation}
		_, err := conn.Call(t.Context(), wire.OpVersions, &wire.BlocksRequest{Target: to, FID: place.FID, Verify: true}, wire.Bulk{}, &reply)
		require.NoError(t, err)
		return reply
	}
	require.Equal(t, wire.FilePartial, at().Condition, "who looked at some blocks only")
	require.Len(t, at().Blocks, 48)
	req.From = 0
	got, err := repair()
	require.NoError(t, err)
	require.Zero(t, got.Marked)
	require.Equal(t, wire.FileWhole, at().Condition)
	require.Len(t, at().Blocks, 49)
	c.surviveLosses(files{"f": data})
}

// A storage cannot tell what it lacks of a file when the task that found this ends, since too few
// others can, or one of them does not answer: it is not left so.
func TestAFileThatStaysPartialIsRepairedLater(t *testing.T) {
	for _, silent := range []bool{false, true} {
		c := startCluster(t, form{"0", false})
		data := random(1, 100_000)
		place := c.stored(data)
		req := c.repairRequest(place, 100_000)
		ask := func(position int, op wire.Op, m, reply wire.Message) {
			conn := c.dial(int(place.Distribution.SIDs[position]) - 1)
			defer conn.Close()
			_, err := conn.Call(t.Context(), op, m, wire.Bulk{}, reply)
			require.NoError(t, err)
		}
		to := func(position int) wire.Target {
			return wire.Target{ID: req.Storages[position].ID, Incarnation: req.Storages[position].Incarnation, Epoch: 1}
		}
		condition := func() wire.FileCondition {
			var reply wire.VersionsReply
			ask(0, wire.OpVersions, &wire.BlocksRequest{Target: to(0), FID: place.FID}, &reply)
			return reply.Condition
		}
		c.breakHeaders(int(place.Distribution.SIDs[0])-1, silent)
		require.Equal(t, wire.FileBroken, condition())
		other := c.storages[place.Distribution.SIDs[1]-1].gate
		if silent {
			other.refuse(wire.OpVersions, vocab.Unavailable)
		} else { // a rebuild begins by itself
			ask(3, wire.OpMark, &wire.MarkRequest{Target: to(3), Partial: true}, &wire.BootReply{})
		}
		before := c.task(wire.TaskScrub).Started
		c.start(wire.TaskScrub, -1)
		c.awaitTask(wire.TaskScrub, func(t *wire.Task) bool { return t.State == wire.TaskDone && t.Started > before })
		other.refuse(wire.OpVersions, vocab.Internal)
		require.Eventually(t, func() bool { return condition() == wire.FileWhole }, patience, 10*time.Millisecond)
		c.surviveLosses(files{"f": data})
	}
}
