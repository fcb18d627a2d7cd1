package storaged

import (
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// repairs writes blocks under one version that is final, as repair does.
func (g *rig) repairs(c *wire.Conn, first uint64, count int, v vocab.Version, sync bool) error {
	g.t.Helper()
	req := &wire.WriteRequest{Target: g.to, Run: g.run(first, count), PayloadBytes: testPayload, Final: v, Seen: v, Sync: sync}
	slots := slots(testFID, first, slices.Repeat([]vocab.Version{v}, count)...)
	_, err := c.Call(g.t.Context(), wire.OpWrite, req, wire.Bulk{Parts: [][]byte{slots}}, &wire.WriteReply{})
	return err
}

func TestAWriteWithSyncIsDurableWhenItIsAnswered(t *testing.T) {
	g, d := newFaultRig(t)
	d.set(failing("datasync", syscall.EIO))
	require.NoError(t, g.repairs(g.admin, 0, 1, version(1), false))
	require.ErrorIs(t, g.repairs(g.admin, 1, 1, version(1), true), vocab.DiskFailed)
}

// What repair writes is final here at once, in place too; a client cannot say that.
func TestWhatRepairWritesIsFinal(t *testing.T) {
	g := newRig(t)
	require.ErrorIs(t, g.repairs(g.conn, 0, 1, version(1), false), vocab.Invalid)
	require.NoError(t, g.repairs(g.admin, 0, wire.MaxRunBlocks, version(1), false))
	require.EqualValues(t, wire.MaxRunBlocks, g.head().Settled)
	require.Equal(t, version(1), g.head().Final)
}

func (g *rig) head() fileHeader {
	files := g.srv.roots[testID].files
	f := files.acquire(testFID)
	defer files.release(f)
	require.NoError(g.t, f.lockRead())
	defer f.mu.RUnlock()
	return f.head
}

// A storage is rebuilt through its journal, however small that is.
func TestRepairWaitsForRoomInTheJournal(t *testing.T) {
	g := newRig(t, func(g *rig) { g.cfg.JournalBytes = MinJournalBytes })
	const count = 300 // too few to go in place
	journal := g.srv.roots[testID].journal
	for i := range uint64(100) {
		require.NoError(t, g.repairs(g.admin, i*count, count, version(1), false))
		require.Less(t, journal.length(), int64(MinJournalBytes+minDirect))
	}
}

// A crash takes away what lay in place, was settled and not synced: what is written there
// later is not settled.
func TestWhatACrashTookAwayIsNotSettledAnyMore(t *testing.T) {
	g := newRig(t)
	require.NoError(t, g.repairs(g.admin, 0, wire.MaxRunBlocks, version(1), false))
	g.to.Epoch++
	g.write(2000, vocab.Version{Epoch: 11, Counter: 2}) // the header goes to the journal
	require.EqualValues(t, wire.MaxRunBlocks, g.head().Settled)
	g.stop()
	require.NoError(t, os.Truncate(g.slotPath(), 0))
	g.start()
	g.to.Epoch++
	g.write(0, slices.Repeat([]vocab.Version{{Epoch: 11, Counter: 3}}, wire.MaxRunBlocks)...)
	var reply wire.UnsettledReply
	_, err := g.admin.Call(t.Context(), wire.OpUnsettled, &wire.BlocksRequest{Target: g.to, FID: testFID}, wire.Bulk{}, &reply)
	require.NoError(t, err)
	require.Equal(t, []wire.Range{{First: 0, Count: wire.MaxRunBlocks}, {First: 2000, Count: 1}}, reply.Ranges)
}
