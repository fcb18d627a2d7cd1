package storaged

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

func (g *rig) markWith(change func(*wire.MarkRequest)) error {
	g.t.Helper()
	req := &wire.MarkRequest{Target: g.to, FID: testFID, PayloadBytes: testPayload, Generation: 1, Partial: true}
	change(req)
	_, err := g.admin.Call(g.t.Context(), wire.OpMark, req, wire.Bulk{}, &wire.BootReply{})
	return err
}

func (g *rig) versions(change func(*wire.BlocksRequest)) (reply wire.VersionsReply) {
	g.t.Helper()
	req := &wire.BlocksRequest{Target: g.to, FID: testFID}
	change(req)
	_, err := g.admin.Call(g.t.Context(), wire.OpVersions, req, wire.Bulk{}, &reply)
	require.NoError(g.t, err)
	return reply
}

// What a root that is not whole does not have is unknown, of files that it has and of those
// that it does not have, also after a restart.
func TestAPartialRootDoesNotCallBlocksAbsent(t *testing.T) {
	g := newRig(t)
	require.Equal(t, wire.HealthNew, g.status().Health)
	root := func(r *wire.MarkRequest) { r.FID = vocab.FID{} }
	require.NoError(t, g.markWith(root))
	for range 2 {
		require.Equal(t, wire.HealthPartial, g.status().Health)
		require.Equal(t, []found{unknown, unknown}, g.read(0, 2))
		g.write(3, version(1), version(1))
		require.Equal(t, []found{unknown, present(version(1)), present(version(1)), unknown}, g.read(2, 4))
		g.sync()
		g.restart()
	}
	require.NoError(t, g.markWith(func(r *wire.MarkRequest) { root(r); r.Partial = false }))
	for range 2 {
		require.Equal(t, []found{absent, present(version(1)), present(version(1)), absent}, g.read(2, 4))
		require.Equal(t, wire.HealthUp, g.status().Health)
		g.restart()
	}
}

func TestAPartialFileDoesNotCallBlocksAbsent(t *testing.T) {
	g := newRig(t)
	require.NoError(t, g.markWith(func(*wire.MarkRequest) {}))
	for range 2 {
		require.Equal(t, []found{unknown, unknown}, g.read(0, 2))
		require.Equal(t, wire.FilePartial, g.versions(func(*wire.BlocksRequest) {}).Condition)
		g.restart()
	}
	g.write(0, version(1))
	g.sync()
	require.NoError(t, g.markWith(func(r *wire.MarkRequest) { r.Partial = false }))
	require.Equal(t, []found{present(version(1)), absent}, g.read(0, 2))
	require.Equal(t, wire.FileWhole, g.versions(func(*wire.BlocksRequest) {}).Condition)
}

// A storage that joins a distribution again forgets what it has from before, also when the
// deletion of that has not come yet; when it comes it spares what is new.
func TestAStorageThatJoinsForgetsAndIsSpared(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		g := newRig(t)
		g.write(0, version(1), version(1))
		g.fold()
		if deleted {
			g.remove(testFID)
		}
		join := func(r *wire.MarkRequest) { r.Generation, r.Join = 3, true }
		require.NoError(t, g.markWith(join))
		at := g.run(0, 3)
		at.Generation = 3
		req := &wire.WriteRequest{Target: g.to, Run: at, PayloadBytes: testPayload}
		req.Count = 1
		require.NoError(t, g.send(wire.OpWrite, req, slots(testFID, 0, version(1)), &wire.WriteReply{}))
		require.NoError(t, g.markWith(join), "again, by a move that goes on")
		require.ErrorIs(t, g.tryWrite(1, version(2)), vocab.OldGeneration)

		require.NoError(t, g.send(wire.OpDelete, &wire.DeleteRequest{Target: g.to, FIDs: []vocab.FID{testFID}, Generation: 3}, nil, &wire.BootReply{}))
		require.Equal(t, present(version(1)), func() found {
			reply, _, err := g.tryRead(at)
			require.NoError(t, err)
			require.Equal(t, []wire.Piece{{Count: 1, State: wire.SlotPresent}, {Count: 2, State: wire.SlotBroken}}, reply.Pieces)
			return present(version(1))
		}())
		require.NoError(t, g.send(wire.OpDelete, &wire.DeleteRequest{Target: g.to, FIDs: []vocab.FID{testFID}, Generation: 4}, nil, &wire.BootReply{}))
		require.NoFileExists(t, g.slotPath())
	}
}

// The newest final version is told beside a newer one, up to the version that the asker
// knows to be final.
func TestVersionsTellWhatIsFinalBehindWhatIsNot(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(2))
	g.final(version(2))
	g.write(0, version(3), version(4))
	told := func(final vocab.Version) (all []vocab.Version) {
		for _, b := range g.versions(func(r *wire.BlocksRequest) { r.Final = final }).Blocks {
			all = append(all, b.Version)
		}
		return all
	}
	require.Equal(t, []vocab.Version{version(3), version(1), version(4), version(2)}, told(vocab.Version{}))
	require.Equal(t, []vocab.Version{version(3), version(4), version(2)}, told(version(3)))
}

// A broken header is formed anew: what checks is kept, what does not is unknown until it
// is written again.
func TestABrokenHeaderIsFormedAnew(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(1), version(1))
	g.fold()
	g.stop()
	f, err := os.OpenFile(g.slotPath(), os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{99}, 20) // the header
	require.NoError(t, err)
	const second = slotFileHeader + wire.SlotHeaderBytes + testPayload
	_, err = f.WriteAt([]byte{99, 99}, second+70)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	g.start()
	require.Equal(t, wire.FileBroken, g.versions(func(*wire.BlocksRequest) {}).Condition)
	require.ErrorIs(t, g.tryWrite(0, version(2)), vocab.Corrupt)
	require.NoError(t, g.markWith(func(r *wire.MarkRequest) { r.Epoch = 10 }))
	for range 2 {
		require.Equal(t, []found{present(version(1)), unknown, present(version(1)), unknown}, g.read(0, 4))
		g.restart()
	}
	g.write(1, version(1))
	g.sync()
	require.NoError(t, g.markWith(func(r *wire.MarkRequest) { r.Partial = false }))
	require.Equal(t, []found{present(version(1)), present(version(1)), present(version(1)), absent}, g.read(0, 4))
}
