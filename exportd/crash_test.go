package exportd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

// TestAcknowledgedSurvivesACrash cuts the power while many callers work.
func TestAcknowledgedSurvivesACrash(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	for round := range 4 {
		w := newWorld(t)
		c := w.client("one")
		var mu sync.Mutex // guards acked
		acked := map[string]wire.OpenReply{}
		stop := make(chan struct{})
		var joined sync.WaitGroup
		for worker := range 8 {
			joined.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					name := fmt.Sprintf("f%d.%d", worker, i)
					o, err := c.create(c.root(), name, wire.LeaseWrite)
					if err != nil {
						t.Errorf("create: %v", err)
						return
					}
					mu.Lock()
					acked[name] = o
					mu.Unlock()
				}
			})
		}
		want := 20 + rng.IntN(150)
		eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(acked) >= want }, "some are acknowledged")
		mu.Lock()
		before := make(map[string]wire.OpenReply, len(acked))
		for k, v := range acked {
			before[k] = v
		}
		mu.Unlock()
		clone := w.cfg.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * (round % 2), RNG: rng})
		close(stop)
		joined.Wait()
		w.stop()
		w.cfg.FS = clone
		w.start()
		w.check()
		require.NoError(t, c.resume())
		for name, o := range before {
			a, err := c.lookup(c.root(), name)
			require.NoError(t, err, name)
			require.Equal(t, o.Attr, a)
			require.NoError(t, c.raw(wire.OpCommit, &wire.CommitRequest{Head: c.change(), Commit: wire.Commit{Ino: a.Ino, Epoch: o.Lease.Epoch, Size: 1}}, nil), "the lease is held on")
		}
		w.check()
		w.stop()
		require.Empty(t, checkDirectoryOn(context.Background(), w.cfg.Dir, w.cfg.FS))
	}
}

func TestRepeatedRequestIsAnsweredNotDoneAgain(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	h := c.change()
	mk := wire.MknodRequest{Head: h, Parent: c.root(), Name: "d", Mode: vocab.ModeDir | 0o755}
	var first, second wire.AttrReply
	require.NoError(t, c.raw(wire.OpMknod, &mk, &first))
	require.NoError(t, c.raw(wire.OpMknod, &mk, &second))
	require.Equal(t, first, second)
	h2 := c.change()
	rm := wire.NameRequest{Head: h2, Parent: c.root(), Name: "d"}
	require.NoError(t, c.raw(wire.OpRmdir, &rm, nil))
	w.crash()
	require.NoError(t, c.resume())
	require.NoError(t, c.raw(wire.OpRmdir, &rm, nil), "after a crash too")
	require.ErrorIs(t, c.raw(wire.OpUnlink, &rm, nil), vocab.Protocol, "the number is another request's")
	require.NoError(t, c.raw(wire.OpMknod, &mk, &second))
	require.Equal(t, first, second)

	h3 := c.change()
	h3.Done = h2.RequestID
	require.NoError(t, c.raw(wire.OpMknod, &wire.MknodRequest{Head: h3, Parent: c.root(), Name: "e", Mode: vocab.ModeDir}, nil))
	require.ErrorIs(t, c.raw(wire.OpRmdir, &rm, nil), vocab.Protocol, "it was acknowledged")
	w.srv.mu.RLock()
	require.Len(t, w.srv.sessions[c.opened.Session].outcomes, 1)
	w.srv.mu.RUnlock()
	require.ErrorIs(t, c.raw(wire.OpRmdir, &wire.NameRequest{Head: c.head(), Parent: c.root(), Name: "e"}, nil), vocab.Protocol, "no number")
	w.restart()
	require.NoError(t, c.resume())
	w.srv.mu.RLock()
	require.Len(t, w.srv.sessions[c.opened.Session].outcomes, 1)
	w.srv.mu.RUnlock()
	w.check()
}

func TestOutcomesAreBounded(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	f, err := c.mknod(c.root(), "f", vocab.ModeRegular)
	require.NoError(t, err)
	s := w.srv.sessions[c.opened.Session]
	w.srv.mu.Lock()
	for i := range uint64(MaxOutcomes) {
		s.outcomes[1_000_000+i] = outcome{}
	}
	w.srv.mu.Unlock()
	_, err = c.setattr(wire.SetAttrRequest{Ino: f.Ino})
	require.ErrorIs(t, err, vocab.Overloaded)
	h := c.change()
	h.Done = 2_000_000
	h.RequestID = 2_000_001
	require.NoError(t, c.raw(wire.OpSetAttr, &wire.SetAttrRequest{Head: h, Ino: f.Ino}, nil))
	w.srv.mu.RLock()
	require.Len(t, s.outcomes, 1)
	w.srv.mu.RUnlock()
}
