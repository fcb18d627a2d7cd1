package storaged

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged/disk"
)

func TestFenceLogToleratesATornTailOnly(t *testing.T) {
	log := fencesHead()
	for i := range 5 {
		log = appendFence(log, vocab.SessionID(i+1), vocab.Epoch(10+i))
	}
	log = appendFence(log, 1, 99)
	all := map[vocab.SessionID]vocab.Epoch{1: 99, 2: 11, 3: 12, 4: 13, 5: 14}
	got, err := decodeFences(log)
	require.NoError(t, err)
	require.Equal(t, all, got)

	withoutLast := map[vocab.SessionID]vocab.Epoch{1: 10, 2: 11, 3: 12, 4: 13, 5: 14}
	for cutAt := 1; cutAt <= fenceBytes; cutAt++ {
		got, err := decodeFences(log[:len(log)-cutAt])
		require.NoError(t, err)
		require.Equal(t, withoutLast, got)
	}
	got, err = decodeFences(append(log, make([]byte, 3*fenceBytes)...)) // zeros that a crash left
	require.NoError(t, err)
	require.Equal(t, all, got)

	_, err = decodeFences(flipped(log, fencesHeader+fenceBytes+3))
	require.ErrorIs(t, err, vocab.Corrupt)
	_, err = decodeFences(flipped(log, 0))
	require.ErrorIs(t, err, vocab.Corrupt)
	_, err = decodeFences(flipped(log, 4))
	require.ErrorIs(t, err, vocab.NotSupported)
	_, err = decodeFences(nil)
	require.ErrorIs(t, err, vocab.Corrupt)
}

func TestTornFenceLogIsMendedAtStart(t *testing.T) {
	g := newRig(t)
	g.fence(7, 20)
	g.fence(8, 30)
	g.stop()
	name := filepath.Join(g.path, fencesFile)
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, append(b, b[fencesHeader:fencesHeader+10]...), 0o600))
	g.start()
	g.fence(9, 40)
	g.restart()
	require.Equal(t, map[vocab.SessionID]vocab.Epoch{7: 20, 8: 30, 9: 40}, g.srv.order[0].fences.epochs)

	// Decay in the middle is no torn tail: the root is refused.
	g.stop()
	b, err = os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, flipped(b, fencesHeader+1), 0o600))
	_, err = New(g.cfg)
	require.ErrorIs(t, err, vocab.Corrupt)
	require.NoError(t, os.WriteFile(name, b, 0o600))
	g.start()
}

func TestFenceLogIsCompacted(t *testing.T) {
	dir := t.TempDir()
	d, err := disk.Open(dir)
	require.NoError(t, err)
	defer d.Close()
	l, err := openFences(d)
	require.NoError(t, err)
	l.records = fencesSlack // as if that many had been appended
	require.NoError(t, l.f.Truncate(fencesHeader+int64(l.records)*fenceBytes))
	for e := vocab.Epoch(1); e <= 3; e++ {
		require.NoError(t, l.raise(1, e))
	}
	require.Equal(t, 1, l.records)
	require.NoError(t, l.raise(2, 5))
	require.NoError(t, l.close())
	info, err := os.Stat(filepath.Join(dir, fencesFile))
	require.NoError(t, err)
	require.Equal(t, int64(fencesHeader+2*fenceBytes), info.Size())
	l, err = openFences(d)
	require.NoError(t, err)
	require.Equal(t, map[vocab.SessionID]vocab.Epoch{1: 3, 2: 5}, l.epochs)
	require.NoError(t, l.close())
}

func TestFencesAreBounded(t *testing.T) {
	g := newRig(t)
	r := g.srv.order[0]
	r.fences.mu.Lock()
	for i := range MaxFences {
		r.fences.epochs[vocab.SessionID(i+1)] = 1
	}
	r.fences.mu.Unlock()
	require.ErrorIs(t, r.raiseFence(MaxFences+1, 5), vocab.TooManyOpen)
	require.NoError(t, r.raiseFence(3, 5))
	require.Equal(t, vocab.Epoch(5), r.fences.epoch(3))
	require.Nil(t, r.failed.Load())
}

// A lease that has ended is refused alone: what its session does under others goes on, and
// so does a sync, which is about many files.
func TestAFencedLeaseIsRefusedAlone(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1))
	ended := wire.LeaseID{Session: g.to.Session, Epoch: g.to.Epoch}
	exportd := g.to
	exportd.Session, exportd.Epoch = 1<<63, 1
	require.NoError(t, g.send(wire.OpFence, &wire.FenceRequest{Target: exportd, Leases: []wire.LeaseID{ended}}, nil, &wire.BootReply{}))
	require.ErrorIs(t, g.tryWrite(1, version(2)), vocab.Fenced)
	discard := wire.DiscardRequest{Target: g.to, Run: g.run(0, 1), Version: version(3)}
	require.ErrorIs(t, g.send(wire.OpDiscard, &discard, nil, &wire.BootReply{}), vocab.Fenced)
	g.sync()
	for _, step := range []int{1, -1} {
		g.to.Epoch = ended.Epoch + vocab.Epoch(step)
		require.False(t, isFenced(g.tryWrite(1, vocab.Version{Epoch: g.to.Epoch, Counter: 1})))
	}
	require.Equal(t, []found{present(version(1))}, g.read(0, 1))
}

// What a client sends under a lease that has ended long since is refused where something of a
// newer one is final: it must not become the newest of a block that was not written again.
func TestALateClientIsRefusedWhereANewerLeaseIsFinal(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1), version(1))
	newer := vocab.Version{Epoch: version(1).Epoch + 1}
	g.final(newer)
	require.ErrorIs(t, g.tryWrite(0, version(2)), vocab.Fenced)
	discard := wire.DiscardRequest{Target: g.to, Run: g.run(1, 1), Version: version(3)}
	require.ErrorIs(t, g.send(wire.OpDiscard, &discard, nil, &wire.BootReply{}), vocab.Fenced)
	require.Equal(t, []found{present(version(1)), present(version(1))}, g.read(0, 2))
	g.to.Epoch = newer.Epoch
	newer.Counter = 1
	g.write(0, newer)
}

func TestFencedLeasesAreBounded(t *testing.T) {
	var l leaseFences
	id := func(i int) wire.LeaseID { return wire.LeaseID{Session: 1, Epoch: vocab.Epoch(i)} }
	for i := range maxLeaseFences + 2 {
		l.add([]wire.LeaseID{id(i), id(i)})
	}
	require.Len(t, l.all, maxLeaseFences)
	require.False(t, l.has(id(1)))
	require.True(t, l.has(id(2)))
	require.True(t, l.has(id(maxLeaseFences+1)))
}

func FuzzDecodeFences(f *testing.F) {
	log := appendFence(appendFence(fencesHead(), 1, 2), 3, 4)
	f.Add(log)
	f.Add(log[:len(log)-5])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		epochs, err := decodeFences(b)
		if err != nil {
			return
		}
		again := fencesHead()
		for s, e := range epochs {
			again = appendFence(again, s, e)
		}
		back, err := decodeFences(again)
		require.NoError(t, err)
		require.Equal(t, epochs, back)
	})
}

func FuzzFileHeader(f *testing.F) {
	h := fileHeader{FID: testFID, PayloadBytes: 4104, Generation: 3, MaxEpoch: 9, Cuts: []cut{{5, version(3)}}}
	f.Add(h.marshal())
	f.Add(make([]byte, slotFileHeader))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := parseFileHeader(b, testFID)
		if !ok {
			return
		}
		require.Positive(t, h.stride())
		back, ok := parseFileHeader(h.marshal(), testFID)
		require.True(t, ok)
		require.Equal(t, h, back)
	})
}

func FuzzIdentity(f *testing.F) {
	f.Add(Identity{Cluster: vocab.ClusterID{1}, ID: vocab.StorageID{CID: 1, SID: 2}, Incarnation: 7}.marshal())
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := parseIdentity(b)
		if err != nil {
			return
		}
		back, err := parseIdentity(id.marshal())
		require.NoError(t, err)
		require.Equal(t, id, back)
	})
}
