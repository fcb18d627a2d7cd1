package storaged

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged/disk"
	"github.com/rozofs-go/rozo/storaged/disk/memdisk"
)

func TestDiscard(t *testing.T) {
	v := version
	for _, tc := range []struct {
		name  string
		first uint64
		count int
		by    vocab.Version
		want  []found // of v(1), v(5), v(2), v(6), v(3)
	}{
		{"all", 0, 0, v(9), []found{absent, absent, absent, absent, absent}},
		{"to the end", 3, 0, v(9), []found{present(v(1)), present(v(5)), present(v(2)), absent, absent}},
		{"beyond the end", 7, 0, v(9), []found{present(v(1)), present(v(5)), present(v(2)), present(v(6)), present(v(3))}},
		{"a range", 1, 2, v(9), []found{present(v(1)), absent, absent, present(v(6)), present(v(3))}},
		{"a range to the end", 3, 2, v(9), []found{present(v(1)), present(v(5)), present(v(2)), absent, absent}},
		{"newer ones stay", 0, 0, v(4), []found{absent, present(v(5)), absent, present(v(6)), absent}},
		{"newer ones stay in a range", 0, 3, v(4), []found{absent, present(v(5)), absent, present(v(6)), present(v(3))}},
		{"older than all", 0, 0, vocab.Version{Epoch: 9, Counter: 1}, []found{present(v(1)), present(v(5)), present(v(2)), present(v(6)), present(v(3))}},
	} {
		for _, reopen := range []bool{false, true} {
			t.Run(tc.name, func(t *testing.T) {
				g := newRig(t)
				g.write(0, v(1), v(5), v(2), v(6), v(3))
				if reopen {
					g.restart()
				}
				g.discard(tc.first, tc.count, tc.by)
				require.Equal(t, tc.want, g.read(0, 5))
				g.sync()
				g.restart()
				require.Equal(t, tc.want, g.read(0, 5))
			})
		}
	}
}

func TestDiscardToTheEndFreesSpaceAndKeepsTheHeader(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(1), version(1))
	g.fold()
	g.discard(0, 0, vocab.Version{Epoch: 10, Counter: math.MaxUint64})
	info, err := os.Stat(g.slotPath())
	require.NoError(t, err)
	require.Equal(t, int64(slotFileHeader), info.Size())
	g.restart()
	require.Equal(t, []found{absent}, g.read(0, 1))
	g.to.Epoch = 11
	later := vocab.Version{Epoch: 11}
	later.Counter = 1
	g.write(1, later)
	require.Equal(t, []found{absent, present(later), absent}, g.read(0, 3))
}

func TestWriteThatArrivesAfterItsDiscardIsLeftOut(t *testing.T) {
	for _, reopen := range []bool{false, true} {
		g := newRig(t)
		g.write(0, version(1), version(1), version(1))
		g.discard(1, 0, version(5))
		if reopen {
			g.restart()
		}
		g.write(0, version(4), version(4), version(5), version(4), version(6))
		require.Equal(t, []found{present(version(4)), absent, absent, absent, present(version(6))}, g.read(0, 5))
	}
}

func TestDiscardKeepsBrokenSlotsOfUnknownVersion(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(7), version(1))
	g.fold()
	g.damage(slotFileHeader + 1)
	g.discard(0, 0, version(2))
	require.Equal(t, []found{unknown, present(version(7)), absent}, g.read(0, 3))
	g.discard(0, 0, version(8)) // above all that the file can hold
	require.Equal(t, []found{absent, absent, absent}, g.read(0, 3))
}

func TestDiscardOfNothing(t *testing.T) {
	g := newRig(t)
	g.discard(0, 0, version(1))
	_, err := os.Stat(g.slotPath())
	require.ErrorIs(t, err, os.ErrNotExist)
	bad := &wire.DiscardRequest{Target: g.to, Run: g.run(0, 0), Version: vocab.Version{Epoch: 11}}
	require.ErrorIs(t, g.send(wire.OpDiscard, bad, nil, nil), vocab.Invalid)
}

func TestDeleteIsIdempotentAndFinal(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1)) // its descriptor is cached now
	g.remove(testFID)
	_, err := os.Stat(g.slotPath())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Equal(t, []found{absent}, g.read(0, 1))
	require.ErrorIs(t, g.tryWrite(0, version(2)), vocab.Stale)
	_, err = os.Stat(g.slotPath())
	require.ErrorIs(t, err, os.ErrNotExist, "a late write makes no file")
	g.sync()
	g.discard(0, 0, version(3))
	g.remove(testFID, testFID, vocab.MakeFID(1, 1, 1, 999999))
	g.restart()
	g.remove(testFID)
}

func TestClientsNeitherDeleteNorFence(t *testing.T) {
	g := newRig(t)
	_, err := g.conn.Call(t.Context(), wire.OpDelete, &wire.DeleteRequest{Target: g.to, FIDs: []vocab.FID{testFID}}, wire.Bulk{}, nil)
	require.ErrorIs(t, err, vocab.NotPermitted)
	_, err = g.conn.Call(t.Context(), wire.OpFence, &wire.FenceRequest{Target: g.to}, wire.Bulk{}, nil)
	require.ErrorIs(t, err, vocab.NotPermitted)
}

func TestCutsKeepWhatMatters(t *testing.T) {
	var h fileHeader
	h.addCut(cut{10, version(1)})
	h.addCut(cut{20, version(1)}) // covered
	require.Equal(t, []cut{{10, version(1)}}, h.Cuts)
	h.addCut(cut{20, version(3)})
	h.addCut(cut{30, version(5)})
	require.Len(t, h.Cuts, 3)
	require.False(t, h.addCut(cut{25, version(4)}), "one too many, and the oldest is not final")
	require.Len(t, h.Cuts, 3)
	h.Final = version(1)
	require.True(t, h.addCut(cut{25, version(4)}), "the oldest goes")
	require.Equal(t, []cut{{20, version(3)}, {30, version(5)}, {25, version(4)}}, h.Cuts)
	require.True(t, h.cutOff(25, version(4)))
	require.False(t, h.cutOff(24, version(4)))
	require.False(t, h.cutOff(19, version(1)))
	h.addCut(cut{0, version(9)}) // covers all
	require.Equal(t, []cut{{0, version(9)}}, h.Cuts)
}

// A storage remembers few truncations. What one has discarded that it has forgotten since
// stays discarded, whether it lay in place or in the journal, and when the power is lost.
func TestAForgottenDiscardHolds(t *testing.T) {
	synced := map[string]func(*rig){
		"all":         (*rig).sync,
		"the journal": func(g *rig) { require.NoError(g.t, g.srv.order[0].syncJournal()) }, // for another file
		"nothing":     func(*rig) {},
	}
	for last, sync := range synced { // before the power goes
		for _, inPlace := range []bool{false, true} {
			for seed := range uint64(20) {
				forgetADiscard(t, inPlace, seed, last, sync)
			}
		}
	}
}

func forgetADiscard(t *testing.T, inPlace bool, seed uint64, last string, sync func(*rig)) {
	d := memdisk.New()
	require.NoError(t, InitDisk(d, Identity{Cluster: testCluster, ID: testID, Incarnation: 77}))
	g := &rig{t: t, path: "/mem", incarnation: 77}
	g.cfg = Config{Roots: []RootConfig{{CID: 1, SID: 1, Path: "/mem"}}, OpenDisk: func(string) (disk.Disk, error) { return d, nil }}
	g.start()
	one := version(1)
	g.write(0, one, one, one, one, one, one, one, one)
	if inPlace {
		g.sync()
		g.final(one)
		_, err := g.srv.order[0].fold(true)
		require.NoError(t, err)
	}
	for i := range uint64(maxCuts + 1) { // each one leaves more, so none stands for another
		if i == maxCuts || seed%2 == 0 { // late: no header has told yet that they are final
			g.final(version(1 + i))
		}
		g.discard(1+i, 0, version(2+i))
		if i == maxCuts {
			sync(g)
		} else {
			g.sync()
		}
	}
	g.conn.Close()
	g.admin.Close()
	after := d.LosePower(rand.New(rand.NewPCG(seed, 3)))
	_ = g.srv.Close() // without power it may well fail
	d = after
	g.start()
	require.Equal(t, append([]found{present(one)}, make([]found, 7)...), g.read(0, 8), "in place %v, seed %d, synced: %s", inPlace, seed, last)
	g.stop()
}

// The record of a header that forgets a truncation is there only with what stands for it,
// wherever a crash has torn what was appended at once.
func TestATornAppendForgetsNothing(t *testing.T) {
	g := newRig(t)
	one := version(1)
	g.write(0, one, one, one, one, one, one, one, one)
	for i := range uint64(maxCuts) {
		g.discard(1+i, 0, version(2+i))
	}
	g.sync()
	g.final(version(1 + maxCuts))
	end := func() (seg *segment, size int64) {
		j := g.srv.order[0].journal
		j.appending.Lock()
		defer j.appending.Unlock()
		return j.current, j.current.size
	}
	_, before := end()
	g.discard(1+maxCuts, 0, version(2+maxCuts))
	seg, after := end()
	require.Greater(t, after, before+recordAlign)
	for size := before; size <= after; size += recordAlign {
		path := filepath.Join(t.TempDir(), "root")
		require.NoError(t, os.CopyFS(path, os.DirFS(g.path)))
		require.NoError(t, os.Truncate(filepath.Join(path, segmentName(seg.seq)), size))
		torn := &rig{t: t, path: path, cfg: Config{Roots: []RootConfig{{CID: 1, SID: 1, Path: path}}}}
		torn.start()
		require.Equal(t, append([]found{present(one)}, make([]found, 7)...), torn.read(0, 8), "%d of %d bytes", size-before, after-before)
		torn.stop()
	}
}
