package storaged

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

func TestReadOfNothingIsAbsent(t *testing.T) {
	g := newRig(t)
	reply, bulk, err := g.tryRead(g.run(0, 8))
	require.NoError(t, err)
	require.Empty(t, reply.Pieces)
	require.Empty(t, bulk)
	_, err = os.Stat(g.slotPath())
	require.ErrorIs(t, err, os.ErrNotExist, "a read makes no file")
}

func TestWrittenRunIsReadBack(t *testing.T) {
	for _, first := range []uint64{0, 1, 5} {
		g := newRig(t)
		g.write(first, version(1), version(2), version(3))
		want := make([]found, first)
		want = append(want, present(version(1)), present(version(2)), present(version(3)), absent)
		require.Equal(t, want, g.read(0, int(first)+4))
		require.Equal(t, []found{present(version(2))}, g.read(first+1, 1))
	}
}

func TestVersionsDecideNotArrival(t *testing.T) {
	v := version
	for _, tc := range []struct {
		name        string
		then        []vocab.Version // written over v(5), v(5), v(5), at first
		first       uint64
		want        []found // of the first five blocks
		afterReopen bool    // the server does not know what it wrote
	}{
		{name: "newer", then: []vocab.Version{v(6), v(7)}, first: 1, want: []found{present(v(5)), present(v(6)), present(v(7)), absent, absent}},
		{name: "older arrives late", then: []vocab.Version{v(4), v(3), v(2)}, want: []found{present(v(5)), present(v(5)), present(v(5)), absent, absent}},
		{name: "same again", then: []vocab.Version{v(5)}, first: 1, want: []found{present(v(5)), present(v(5)), present(v(5)), absent, absent}},
		{name: "part is newer", then: []vocab.Version{v(6), v(4), v(7)}, want: []found{present(v(6)), present(v(5)), present(v(7)), absent, absent}},
		{name: "older beyond the end", then: []vocab.Version{v(4), v(4), v(4)}, first: 1, want: []found{present(v(5)), present(v(5)), present(v(5)), present(v(4)), absent}},
		{name: "older epoch, higher counter", then: []vocab.Version{{Epoch: 9, Counter: 99}}, want: []found{present(v(5)), present(v(5)), present(v(5)), absent, absent}},
		{name: "newer after a hole", then: []vocab.Version{v(6)}, first: 4, want: []found{present(v(5)), present(v(5)), present(v(5)), absent, present(v(6))}},
	} {
		for _, reopen := range []bool{false, true} {
			t.Run(tc.name, func(t *testing.T) {
				g := newRig(t)
				g.write(0, v(5), v(5), v(5))
				if reopen {
					g.restart()
				}
				g.write(tc.first, tc.then...)
				require.Equal(t, tc.want, g.read(0, 5))
				g.sync()
				g.restart()
				require.Equal(t, tc.want, g.read(0, 5))
			})
		}
	}
}

func TestTwoSlotsOfOneVersionAreRefused(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(2))
	other := slot(testFID, 1, version(2), testPayload-1)
	err := g.send(wire.OpWrite, &wire.WriteRequest{Target: g.to, Run: g.run(1, 1), PayloadBytes: testPayload}, other, nil)
	require.ErrorIs(t, err, vocab.Invalid)
	require.Equal(t, []found{present(version(1)), present(version(2))}, g.read(0, 2))
}

func TestSameVersionHealsATornPayload(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(2))
	g.fold()
	g.damage(slotFileHeader + wire.SlotHeaderBytes + 10)
	g.restart()
	g.write(0, version(1))
	require.Equal(t, []found{present(version(1)), present(version(2))}, g.read(0, 2))
}

// damage flips a bit of the slot file.
func (g *rig) damage(off int64) {
	g.t.Helper()
	f, err := os.OpenFile(g.slotPath(), os.O_RDWR, 0)
	require.NoError(g.t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], off)
	require.NoError(g.t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b[:], off)
	require.NoError(g.t, err)
}

func TestShortLastSlot(t *testing.T) {
	g := newRig(t)
	short := append(slots(testFID, 0, version(1)), slot(testFID, 1, version(1), 10)...)
	req := &wire.WriteRequest{Target: g.to, Run: g.run(0, 2), PayloadBytes: testPayload}
	require.NoError(t, g.send(wire.OpWrite, req, short, nil))
	reply, bulk, err := g.tryRead(g.run(0, 10))
	require.NoError(t, err)
	require.Equal(t, []wire.Piece{{Count: 2, State: wire.SlotPresent}}, reply.Pieces)
	require.Equal(t, short, bulk, "not padded")
	// It grows, and is no longer the last.
	g.write(1, version(2), version(2))
	require.Equal(t, []found{present(version(1)), present(version(2)), present(version(2))}, g.read(0, 3))
	// A short one in the middle is padded by what lay there.
	req = &wire.WriteRequest{Target: g.to, Run: g.run(1, 1), PayloadBytes: testPayload}
	require.NoError(t, g.send(wire.OpWrite, req, slot(testFID, 1, version(3), 20), nil))
	require.Equal(t, []found{present(version(1)), present(version(3)), present(version(2))}, g.read(0, 3))
}

func TestHugeHoleCostsNothing(t *testing.T) {
	g := newRig(t)
	const far = 1 << 31
	g.write(far, version(1), version(2))
	g.write(3, version(1))
	want := make([]found, 1024)
	want[3] = present(version(1))
	require.Equal(t, want, g.read(0, 1024))
	require.Equal(t, make([]found, 1024), g.read(far/2, 1024))
	want[3] = absent
	want[1000], want[1001] = present(version(1)), present(version(2))
	require.Equal(t, want, g.read(far-1000, 1024))
	g.fold()
	require.Equal(t, want, g.read(far-1000, 1024))
	info, err := os.Stat(g.slotPath())
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(far)*testPayload)
}

func TestHolesBetweenManySlots(t *testing.T) {
	g := newRig(t)
	want := make([]found, 1000)
	for b := uint64(7); b < 1000; b += 333 {
		g.write(b, version(b))
		want[b] = present(version(b))
	}
	require.Equal(t, want, g.read(0, 1000))
}

func TestPayloadSizeIsFixedByTheFirstWrite(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1))
	req := &wire.WriteRequest{Target: g.to, Run: g.run(0, 1), PayloadBytes: testPayload + 1}
	require.ErrorIs(t, g.send(wire.OpWrite, req, slot(testFID, 0, version(2), testPayload), nil), vocab.Invalid)
}

func TestReadThatNoReplyHoldsIsRefused(t *testing.T) {
	g := newRig(t)
	const payload = 8 << 10
	for first := range uint64(2) {
		var b []byte
		for i := range uint64(400) {
			b = append(b, slot(testFID, first*400+i, version(1), payload)...)
		}
		req := &wire.WriteRequest{Target: g.to, Run: g.run(first*400, 400), PayloadBytes: payload}
		require.NoError(t, g.send(wire.OpWrite, req, b, nil))
	}
	_, _, err := g.tryRead(g.run(0, 800))
	require.ErrorIs(t, err, vocab.TooLarge)
	require.ErrorContains(t, err, "at most 508 blocks")
	for _, f := range g.read(300, 500) {
		require.Equal(t, present(version(1)), f)
	}
}

func TestDamageIsUnknownNeverAbsent(t *testing.T) {
	const stride = wire.SlotHeaderBytes + testPayload
	g := newRig(t)
	g.write(0, version(1), version(1), version(1), version(1))
	g.fold()
	g.damage(slotFileHeader + stride + 5)    // flags of slot 1
	g.damage(slotFileHeader + 3*stride + 40) // epoch of slot 3
	require.Equal(t, []found{present(version(1)), unknown, present(version(1)), unknown, absent}, g.read(0, 5))
	// A good slot of whatever version mends it.
	g.write(1, version(1))
	require.Equal(t, []found{present(version(1)), present(version(1)), present(version(1)), unknown, absent}, g.read(0, 5))
}

func TestSlotOfAnotherPlaceIsUnknown(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(1))
	g.fold()
	f, err := os.OpenFile(g.slotPath(), os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(slot(testFID, 1, version(1), testPayload), slotFileHeader)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, []found{unknown, present(version(1))}, g.read(0, 2))
}

func TestBrokenFileHeaderIsUnknownAndTakesNoWrite(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(1))
	g.fold()
	g.damage(9)
	g.restart()
	require.Equal(t, []found{unknown, unknown, unknown}, g.read(0, 3))
	require.ErrorIs(t, g.tryWrite(0, version(2)), vocab.Corrupt)
	require.Equal(t, wire.HealthUp, g.status().Health)
}

func TestEmptySlotFileIsAbsentAndWritable(t *testing.T) {
	g := newRig(t)
	require.NoError(t, os.MkdirAll(filepath.Dir(g.slotPath()), 0o700))
	require.NoError(t, os.WriteFile(g.slotPath(), nil, 0o600))
	require.Equal(t, []found{absent}, g.read(0, 1))
	g.write(2, version(1))
	require.Equal(t, []found{absent, absent, present(version(1))}, g.read(0, 3))
}

func TestGenerationsOnlyRise(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1))
	write := func(gen uint32, v vocab.Version) error {
		run := g.run(0, 1)
		run.Generation = gen
		req := &wire.WriteRequest{Target: g.to, Run: run, PayloadBytes: testPayload}
		return g.send(wire.OpWrite, req, slots(testFID, 0, v), nil)
	}
	require.ErrorIs(t, write(0, version(2)), vocab.OldGeneration)
	require.NoError(t, write(3, version(2)))
	g.restart()
	require.ErrorIs(t, write(2, version(3)), vocab.OldGeneration)
	_, _, err := g.tryRead(g.run(0, 1))
	require.ErrorIs(t, err, vocab.OldGeneration)
}

func TestEvictedFilesAreReopened(t *testing.T) {
	g := newRig(t, func(g *rig) { g.cfg.MaxOpenFiles = 2 })
	for i := range 10 {
		fid := vocab.MakeFID(1, 1, 1, vocab.Ino(i))
		req := &wire.WriteRequest{Target: g.to, Run: wire.Run{FID: fid, Count: 1}, PayloadBytes: testPayload}
		require.NoError(t, g.send(wire.OpWrite, req, slots(fid, 0, version(1)), nil))
	}
	c := g.srv.order[0].files
	c.mu.Lock()
	idle, files := c.idle.Len(), len(c.files)
	c.mu.Unlock()
	require.Equal(t, []int{2, 2}, []int{idle, files})
	var fids []vocab.FID
	for i := range 10 {
		fids = append(fids, vocab.MakeFID(1, 1, 1, vocab.Ino(i)))
		reply, _, err := g.tryRead(wire.Run{FID: fids[i], Count: 1})
		require.NoError(t, err)
		require.Equal(t, []wire.Piece{{Count: 1, State: wire.SlotPresent}}, reply.Pieces)
	}
	require.NoError(t, g.trySync(g.srv.Boot(), fids...))
}

func TestLongRunsAreComparedSlotBySlot(t *testing.T) {
	g := newRig(t)
	const n = 40
	first, then := make([]vocab.Version, n), make([]vocab.Version, n)
	want := make([]found, n+5)
	for i := range n {
		first[i], then[i] = version(uint64(10+i%3)), version(11)
	}
	g.write(0, first...)
	g.fold()
	g.damage(slotFileHeader + 7*(wire.SlotHeaderBytes+testPayload)) // slot 7
	g.restart()
	g.write(5, then...) // over 35 of them, and 5 beyond
	for i := range n + 5 {
		switch {
		case i < 5 || i < n && first[i].Compare(version(11)) > 0 && i != 7:
			want[i] = present(first[i])
		default:
			want[i] = present(version(11))
		}
	}
	require.Equal(t, want, g.read(0, n+5))
}
