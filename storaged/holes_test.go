package storaged

import (
	"math"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/block"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// discardFormless discards blocks also if there is nothing of the file.
func (g *rig) discardFormless(first uint64, count int, v vocab.Version) {
	g.t.Helper()
	req := &wire.DiscardRequest{Target: g.to, Run: g.run(first, count), Version: v, PayloadBytes: testPayload}
	require.NoError(g.t, g.send(wire.OpDiscard, req, nil, &wire.BootReply{}))
}

// emptyJournal brings what is final into place, and all of it is.
func (g *rig) emptyJournal() {
	g.t.Helper()
	for range 2 {
		_, err := g.srv.order[0].fold(false)
		require.NoError(g.t, err)
	}
	require.Nil(g.t, g.srv.order[0].journal.pendingOf(testFID))
}

// What is older than a discard and comes after it, from a client, stays away: while the
// discard is new, when it is final and has left the journal, and after a restart.
func TestAnOlderWriteDoesNotOutliveADiscard(t *testing.T) {
	for _, tc := range []struct {
		name string
		then func(*rig)
	}{
		{"at once", func(*rig) {}},
		{"after a restart", func(g *rig) { g.sync(); g.restart() }},
		{"when it is final", func(g *rig) { g.sync(); g.final(version(5)) }},
		{"when it has left the journal", func(g *rig) { g.sync(); g.final(version(5)); g.emptyJournal() }},
		{"when it has left the journal, after a restart", func(g *rig) { g.sync(); g.final(version(5)); g.emptyJournal(); g.restart() }},
	} {
		for _, before := range []string{"nothing", "in the journal", "in place"} {
			t.Run(tc.name+"/"+before, func(t *testing.T) {
				g := newRig(t)
				if before != "nothing" {
					g.write(0, version(1), version(1), version(1), version(1))
				}
				if before == "in place" {
					g.sync()
					g.final(version(1))
					g.emptyJournal()
				}
				g.discardFormless(1, 2, version(5))
				tc.then(g)
				g.write(1, version(4), version(3))
				got := g.read(1, 2)
				require.Equal(t, []found{absent, absent}, got)
				g.write(1, version(6))
				require.Equal(t, []found{present(version(6)), absent}, g.read(1, 2), "what is newer is kept")
			})
		}
	}
}

// While a discard is not final what lies below it can be asked for, also if it came later:
// an interrupted discard may have to be taken for not made.
func TestADiscardThatIsNotFinalHidesAndKeeps(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(1))
	g.discardFormless(0, 2, version(5))
	g.write(1, version(3))
	require.Equal(t, []found{absent, absent}, g.read(0, 2))
	require.Equal(t, []found{present(version(1)), present(version(3))}, g.readBelow(0, 2, version(5)))
}

// Repair writes old versions to where they are lacking. It is told when a discard that it
// could not know of has left since it looked.
func TestRepairMeetsADiscardThatHasLeft(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(1), version(1), version(1))
	g.sync()
	g.final(version(4))
	g.emptyJournal()
	looked := func() vocab.Version {
		var reply wire.VersionsReply
		_, err := g.admin.Call(t.Context(), wire.OpVersions, &wire.BlocksRequest{Target: g.to, FID: testFID, From: 100}, wire.Bulk{}, &reply)
		require.NoError(t, err)
		return reply.Final
	}
	bring := func(block uint64, seen vocab.Version) error {
		req := &wire.WriteRequest{Target: g.to, Run: g.run(block, 1), PayloadBytes: testPayload, Seen: seen}
		_, err := g.admin.Call(t.Context(), wire.OpWrite, req, wire.Bulk{Parts: [][]byte{slots(testFID, block, version(2))}}, &wire.WriteReply{})
		return err
	}
	seen := looked()
	require.Equal(t, version(4), seen, "also of a file that has nothing there")
	require.NoError(t, bring(7, seen))

	g.discard(1, 2, version(5))
	g.sync()
	g.final(version(6))
	require.NoError(t, bring(1, seen), "under the discard, which is there")
	require.Equal(t, []found{present(version(1)), absent, absent}, g.read(0, 3))
	g.emptyJournal()
	require.ErrorIs(t, bring(1, seen), vocab.Busy)
	require.ErrorIs(t, bring(3, seen), vocab.Busy, "what was discarded is not known by block any more")
	require.Equal(t, []found{present(version(1)), absent, absent}, g.read(0, 3))
	require.NoError(t, bring(3, looked()), "it looks again")
	require.Equal(t, present(version(2)), g.read(3, 1)[0])
}

func TestVersionsTellDiscardsThatAreNotFinal(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(1), version(1))
	g.discard(1, 1, version(5))
	ask := func() []wire.BlockVersion {
		var reply wire.VersionsReply
		_, err := g.admin.Call(t.Context(), wire.OpVersions, &wire.BlocksRequest{Target: g.to, FID: testFID}, wire.Bulk{}, &reply)
		require.NoError(t, err)
		return reply.Blocks
	}
	require.Equal(t, []wire.BlockVersion{{Block: 0, Version: version(1)}, {Block: 1, Version: version(5), Projection: wire.Discarded}, {Block: 2, Version: version(1)}}, ask())
	g.final(version(5))
	require.Equal(t, []wire.BlockVersion{{Block: 0, Version: version(1)}, {Block: 2, Version: version(1)}}, ask())
}

func (g *rig) extents(from uint64) (ranges []wire.Range, next uint64) {
	g.t.Helper()
	var reply wire.ExtentsReply
	require.NoError(g.t, g.send(wire.OpExtents, &wire.BlocksRequest{Target: g.to, FID: testFID, From: from}, nil, &reply))
	return reply.Ranges, reply.Next
}

func TestExtents(t *testing.T) {
	g := newRig(t)
	all, next := g.extents(0)
	require.Empty(t, all)
	require.Zero(t, next)

	const far = 1 << 36 // searched in no time
	g.write(0, large(version(1))...)
	g.write(far, large(version(1))...) // in place, like the first ones
	g.write(far/2, version(2))         // in the journal
	n := uint64(len(large(version(1))))
	check := func(from uint64, want ...wire.Range) {
		t.Helper()
		all, next := g.extents(from)
		require.Zero(t, next)
		require.Equal(t, want, all)
	}
	check(0, wire.Range{First: 0, Count: n}, wire.Range{First: far / 2, Count: 1}, wire.Range{First: far, Count: n})
	check(10, wire.Range{First: 10, Count: n - 10}, wire.Range{First: far / 2, Count: 1}, wire.Range{First: far, Count: n})
	check(far+n-1, wire.Range{First: far + n - 1, Count: 1})
	check(far + n)

	g.discard(2, 3, version(5))
	g.discard(far/2, 1, version(6))
	g.write(3, version(7))
	check(0, wire.Range{First: 0, Count: 2}, wire.Range{First: 3, Count: 1}, wire.Range{First: 5, Count: n - 5}, wire.Range{First: far, Count: n})
	g.discard(far-1, 0, version(8))
	check(0, wire.Range{First: 0, Count: 2}, wire.Range{First: 3, Count: 1}, wire.Range{First: 5, Count: n - 5})
}

func TestExtentsComeInParts(t *testing.T) {
	g := newRig(t)
	for b := range uint64(wire.MaxRanges + 10) {
		g.write(3*b, version(1))
	}
	for _, fold := range []bool{false, true} {
		if fold {
			g.fold()
		}
		seen := map[uint64]bool{}
		calls := 0
		for from, more := uint64(0), true; more; calls++ {
			all, next := g.extents(from)
			require.LessOrEqual(t, len(all), wire.MaxRanges)
			for _, r := range all {
				for b := r.First; b < r.First+r.Count; b++ {
					seen[b] = true
				}
			}
			require.True(t, next == 0 || next > from)
			from, more = next, next > 0
		}
		for b := range uint64(wire.MaxRanges + 10) {
			require.True(t, seen[3*b], "block %d", 3*b)
		}
		if !fold {
			require.Len(t, seen, wire.MaxRanges+10)
			require.Equal(t, 2, calls)
		}
	}
}

// allocated is what the root takes on its disk.
func (g *rig) allocated() (bytes int64) {
	g.t.Helper()
	for _, name := range []string{g.slotPath()} {
		if info, err := os.Stat(name); err == nil {
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
	}
	return bytes
}

// Discards are folded when there is enough to be freed, though they are short.
func TestDiscardsFreeSpace(t *testing.T) {
	g := newRig(t, func(g *rig) { g.cfg.JournalBytes = MinJournalBytes })
	const blocks = 1 << 14
	for b := uint64(0); b < blocks; b += wire.MaxRunBlocks {
		g.write(b, slices.Repeat([]vocab.Version{version(1)}, wire.MaxRunBlocks)...)
	}
	g.sync()
	before := g.allocated()
	require.Greater(t, before, int64(blocks*testPayload))
	for b := uint64(0); b < blocks; b += wire.MaxRunBlocks {
		g.discard(b, wire.MaxRunBlocks, version(2+b))
		g.sync()
		g.final(version(2 + b))
	}
	require.Eventually(t, func() bool { return g.allocated() < before/2 }, 10*time.Second, time.Millisecond)
}

// A file whose content was all discarded leaves nothing in the journal.
func TestAnEmptyFileLeavesTheJournal(t *testing.T) {
	for _, count := range []int{0, 2} {
		g := newRig(t)
		g.write(0, version(1), version(1))
		g.discard(0, count, version(2))
		g.fold()
		require.Equal(t, []found{absent, absent}, g.read(0, 2))
		g.restart()
		require.Equal(t, []found{absent, absent}, g.read(0, 2))
	}
}

// Discards that are not final move to the end of the journal together.
func TestDiscardsMoveUpTogether(t *testing.T) {
	g := newRig(t)
	g.write(0, slices.Repeat([]vocab.Version{version(1)}, 600)...)
	g.discard(0, 400, version(5))
	g.discard(200, 400, version(6))
	g.sync()
	_, err := g.srv.order[0].fold(true)
	require.NoError(t, err)
	length := int64(0)
	for _, seg := range g.srv.order[0].journal.segments {
		length += seg.size
	}
	require.Less(t, length, int64(2000), "not a record for each block")
	g.restart()
	require.Equal(t, slices.Repeat([]found{absent}, 600), g.read(0, 600))
	require.Equal(t, slices.Repeat([]found{absent}, 400), g.readBelow(0, 400, version(6)))
	require.Equal(t, slices.Repeat([]found{present(version(1))}, 200), g.readBelow(400, 200, version(6)))
	require.Equal(t, slices.Repeat([]found{present(version(1))}, 400), g.readBelow(0, 400, version(5)))
}

// What a truncation has hidden stays away when the truncation is pushed out by newer ones,
// though the journal still has it and is read anew.
func TestWhatACutHidesStaysAwayWithoutIt(t *testing.T) {
	for _, fold := range []bool{false, true} {
		g := newRig(t)
		g.write(0, slices.Repeat([]vocab.Version{version(1)}, 8)...)
		g.discard(3, 0, version(2))
		g.write(4, version(3))
		g.sync()
		g.final(version(3))
		for i := range uint64(maxCuts) {
			g.discard(10*(i+1), 0, version(4+i))
			g.sync()
			g.final(version(4 + i))
		}
		want := []found{present(version(1)), present(version(1)), present(version(1)), absent, present(version(3)), absent, absent, absent}
		require.Equal(t, want, g.read(0, 8))
		if fold {
			g.emptyJournal()
		}
		g.restart()
		require.Equal(t, want, g.read(0, 8))
		g.write(6, version(1))
		require.Equal(t, want, g.read(0, 8), "it does not come late either")
	}
}

// A discard stays in the journal as long as something older that it hides lies behind it.
func TestADiscardOutlivesWhatCameAfterIt(t *testing.T) {
	g := newRig(t)
	g.discardFormless(0, 2, version(5))
	require.NoError(t, g.srv.order[0].journal.seal())
	g.write(0, version(3))
	g.write(7, version(9)) // not final: its segment stays
	g.sync()
	g.final(version(5))
	n, err := g.srv.order[0].fold(false)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	g.restart()
	require.Equal(t, []found{absent, absent}, g.read(0, 2))
	g.final(version(9))
	g.emptyJournal()
	g.restart()
	require.Equal(t, []found{absent, absent}, g.read(0, 2))
	require.Equal(t, present(version(9)), g.read(7, 1)[0])
}

// Behind a discard that is not final, of a range or to the end, the newest final version is
// told too: the discard may have to be taken for not made.
func TestVersionsTellWhatLiesBehindADiscard(t *testing.T) {
	for _, count := range []int{1, 0} {
		g := newRig(t)
		g.write(0, version(1))
		g.final(version(1))
		g.write(0, version(3))
		g.discard(0, count, version(5))
		ask := func(final vocab.Version) []wire.BlockVersion {
			var reply wire.VersionsReply
			_, err := g.admin.Call(t.Context(), wire.OpVersions, &wire.BlocksRequest{Target: g.to, FID: testFID, Final: final}, wire.Bulk{}, &reply)
			require.NoError(t, err)
			return reply.Blocks
		}
		discard := wire.BlockVersion{Version: version(5), Projection: wire.Discarded}
		require.Equal(t, []wire.BlockVersion{discard, {Version: version(1)}}, ask(vocab.Version{}))
		require.Equal(t, []wire.BlockVersion{discard, {Version: version(3)}}, ask(version(4)))
		require.Empty(t, ask(version(5)))
	}
}

func TestADiscardUnderWayKeepsAFileBusy(t *testing.T) {
	coder, err := block.NewCoder(vocab.Geometry{Layout: vocab.Layout{Inverse: 2, Forward: 3, Safe: 4}, ElementBytes: 8, BlockBytes: 8192})
	require.NoError(t, err)
	w := &repairer{settler: &settler{coder: coder}}
	slot := func(i uint8, n uint64) block.Answer {
		return block.Answer{State: block.Present, Projection: i, Version: version(n)}
	}
	gone := block.Answer{State: block.Absent, Version: version(5)}
	nothing := block.Answer{State: block.Absent}
	final := []block.Answer{slot(0, 1), slot(1, 1), slot(2, 1), nothing}
	for _, tc := range []struct {
		name           string
		answers, final []block.Answer
		want           bool
	}{
		{"all homes have it", []block.Answer{gone, gone, gone, nothing}, final, false},
		{"all homes have it, of a block that had nothing", []block.Answer{gone, gone, gone, nothing}, nil, false},
		{"a home lacks it", []block.Answer{gone, gone, nothing, gone}, final, true},
		{"a home has an older version", []block.Answer{gone, gone, slot(2, 4), nothing}, final, true},
		{"a spare that has something lacks it", []block.Answer{gone, gone, gone, nothing}, []block.Answer{nothing, nothing, nothing, slot(1, 1)}, true},
		{"a newer version is everywhere", []block.Answer{slot(0, 6), slot(1, 6), slot(2, 6), gone}, final, false},
		{"a newer version is not", []block.Answer{slot(0, 6), gone, slot(2, 6), gone}, final, true},
	} {
		require.Equal(t, tc.want, w.isBusy(tc.answers, tc.final), tc.name)
	}
}

func (g *rig) mark(partial bool) {
	g.t.Helper()
	req := &wire.MarkRequest{Target: g.to, FID: testFID, PayloadBytes: testPayload, Generation: 1, Partial: partial}
	_, err := g.admin.Call(g.t.Context(), wire.OpMark, req, wire.Bulk{}, &wire.BootReply{})
	require.NoError(g.t, err)
}

// A file that lacks what it should have does not tell of holes; and once it has all, what a
// client wrote before discards that it has not seen comes too late.
func TestAPartialFileKnowsNoHoles(t *testing.T) {
	g := newRig(t)
	g.mark(true)
	everywhere := wire.Range{First: 3, Count: math.MaxUint64 - 3}
	all, next := g.extents(3)
	require.Zero(t, next)
	require.Equal(t, []wire.Range{everywhere}, all)
	g.write(0, version(4))
	all, _ = g.extents(3)
	require.Equal(t, []wire.Range{everywhere}, all)
	g.sync()
	g.final(version(4))
	g.mark(false)
	all, _ = g.extents(0)
	require.Equal(t, []wire.Range{{First: 0, Count: 1}}, all)
	g.write(1, version(3))
	g.write(2, version(5))
	require.Equal(t, []found{present(version(4)), absent, present(version(5))}, g.read(0, 3))
}

// What was folded has its header in place, also when all of it was discarded.
func TestAFoldLeavesNothingInTheJournal(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(1))
	g.sync()
	g.final(version(1))
	require.NoError(t, g.srv.Fold())
	g.discard(0, 2, version(2))
	g.sync()
	g.final(version(2))
	require.NoError(t, g.srv.Fold())
	require.Nil(t, g.srv.order[0].journal.pendingOf(testFID))
	head, err := os.ReadFile(g.slotPath())
	require.NoError(t, err)
	_, ok := parseFileHeader(head, testFID)
	require.True(t, ok)
}
