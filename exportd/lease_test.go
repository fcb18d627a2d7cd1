package exportd

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

// obey makes the client release what is recalled, with a size to commit when it
// wrote.
func (c *client) obey(size uint64) {
	c.whenRecalled(func(m wire.RecallRequest) {
		_ = c.release(wire.ReleaseItem{Commit: wire.Commit{Ino: m.Ino, Epoch: m.Epoch, Size: size}, Changed: size > 0, Keep: m.Keep})
	})
}

func TestWriteLeaseIsRecalledBeforeOthersSeeTheFile(t *testing.T) {
	w := newWorld(t)
	a, b := w.client("one"), w.client("one")
	f, err := a.create(a.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	a.obey(777)
	attr, err := b.lookup(b.root(), "f")
	require.NoError(t, err)
	require.EqualValues(t, 777, attr.Size)
	require.Equal(t, wire.RecallRequest{Ino: f.Attr.Ino, Epoch: f.Lease.Epoch, Keep: wire.LeaseRead}, <-a.recalls)

	o, err := b.open(f.Attr.Ino, wire.LeaseRead)
	require.NoError(t, err)
	require.Equal(t, wire.LeaseRead, o.Lease.Kind)
	require.Empty(t, a.recalls, "two readers get on")

	b.obey(0)
	up, err := a.open(f.Attr.Ino, wire.LeaseWrite)
	require.NoError(t, err)
	require.Greater(t, up.Lease.Epoch, f.Lease.Epoch)
	require.Equal(t, wire.RecallRequest{Ino: f.Attr.Ino, Epoch: o.Lease.Epoch, Keep: wire.LeaseNone}, <-b.recalls)

	again, err := a.open(f.Attr.Ino, wire.LeaseRead)
	require.NoError(t, err)
	require.Equal(t, up.Lease, again.Lease, "who holds enough keeps it")
	w.check()
}

func TestEveryChangeRecalls(t *testing.T) {
	w := newWorld(t)
	a, b := w.client("one"), w.client("one")
	b.obey(0)
	for _, x := range []struct {
		name   string
		change func(ino vocab.Ino) error
	}{
		{"setattr", func(ino vocab.Ino) error {
			_, err := a.setattr(wire.SetAttrRequest{Ino: ino, Mask: wire.SetMode, Mode: 0o600})
			return err
		}},
		{"link", func(ino vocab.Ino) error { return a.link(ino, a.root(), "other") }},
		{"rename", func(vocab.Ino) error { return a.rename(a.root(), "f", a.root(), "g", 0) }},
		{"unlink", func(vocab.Ino) error { return a.unlink(a.root(), "g") }},
		{"open for writing", func(ino vocab.Ino) error { _, err := a.open(ino, wire.LeaseWrite); return err }},
	} {
		t.Run(x.name, func(t *testing.T) {
			f, err := a.create(a.root(), "f", wire.LeaseNone)
			if _, e := a.lookup(a.root(), "g"); e == nil {
				require.NoError(t, a.unlink(a.root(), "f"))
				f.Attr, err = a.lookup(a.root(), "g")
			}
			require.NoError(t, err)
			o, err := b.open(f.Attr.Ino, wire.LeaseRead)
			require.NoError(t, err)
			require.NoError(t, x.change(f.Attr.Ino))
			require.Equal(t, wire.RecallRequest{Ino: f.Attr.Ino, Epoch: o.Lease.Epoch, Keep: wire.LeaseNone}, <-b.recalls)
		})
	}
	w.check()
}

func TestAnswerWithoutReleaseCountsAsOne(t *testing.T) {
	w := newWorld(t)
	a, b := w.client("one"), w.client("one")
	f, err := a.create(a.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	_, err = b.open(f.Attr.Ino, wire.LeaseWrite)
	require.NoError(t, err)
	err = a.raw(wire.OpCommit, &wire.CommitRequest{Head: a.change(), Commit: wire.Commit{Ino: f.Attr.Ino, Epoch: f.Lease.Epoch, Size: 1}}, nil)
	require.ErrorIs(t, err, vocab.Fenced)
	_, err = a.setattr(wire.SetAttrRequest{Ino: f.Attr.Ino, Mask: wire.SetSize, Size: 5, Epoch: f.Lease.Epoch})
	require.ErrorIs(t, err, vocab.Fenced)
}

func TestWritersTakeTurns(t *testing.T) {
	const writers, rounds = 6, 20
	w := newWorld(t)
	first := w.client("one")
	f, err := first.create(first.root(), "f", wire.LeaseNone)
	require.NoError(t, err)
	var inside atomic.Int32
	var joined sync.WaitGroup
	for range writers {
		c := w.client("one")
		// A client works while it holds the lease, and gives it up when it is
		// recalled and the work is done.
		var mu sync.Mutex
		c.whenRecalled(func(m wire.RecallRequest) {
			mu.Lock()
			defer mu.Unlock()
			_ = c.release(wire.ReleaseItem{Commit: wire.Commit{Ino: m.Ino, Epoch: m.Epoch}, Keep: m.Keep})
		})
		joined.Go(func() {
			for range rounds {
				o, err := c.open(f.Attr.Ino, wire.LeaseWrite)
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				mu.Lock()
				err = c.raw(wire.OpCommit, &wire.CommitRequest{Head: c.change(), Commit: wire.Commit{Ino: f.Attr.Ino, Epoch: o.Lease.Epoch, Size: 1}}, &wire.AttrReply{})
				if err == nil { // else it was recalled between the grant and here
					if inside.Add(1) != 1 {
						t.Error("two writers at once")
					}
					inside.Add(-1)
				}
				mu.Unlock()
			}
		})
	}
	joined.Wait()
	w.check()
}

func TestWaitEndsWithTheConnection(t *testing.T) {
	w := newWorld(t)
	a, b := w.client("one"), w.client("one")
	f, err := a.create(a.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	a.conn.Close() // within its term: others wait
	ctx, cancel := context.WithCancel(context.Background())
	waits := make(chan error, 1)
	go func() {
		_, err := b.conn.Call(ctx, wire.OpGetAttr, &wire.InoRequest{Head: b.head(), Ino: f.Attr.Ino}, wire.Bulk{}, nil)
		waits <- err
	}()
	eventually(t, func() bool {
		w.srv.mu.Lock()
		defer w.srv.mu.Unlock()
		return w.srv.files[f.Attr.Ino] != nil && len(w.srv.files[f.Attr.Ino].queue) == 1
	}, "the request waits")
	require.Empty(t, waits)
	cancel()
	require.Error(t, <-waits)
	b.conn.Close()
	eventually(t, func() bool {
		w.srv.mu.Lock()
		defer w.srv.mu.Unlock()
		return len(w.srv.files[f.Attr.Ino].queue) == 0
	}, "the place in the queue is given up")

	require.NoError(t, b.resume())
	a.obey(9)
	require.NoError(t, a.resume())
	attr, err := b.getattr(f.Attr.Ino)
	require.NoError(t, err)
	require.EqualValues(t, 9, attr.Size)
}

func TestExpiredSessionIsFencedAndItsFilesSettledBeforeOthersWrite(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.LeaseTerm = 2 * time.Second })
	for _, f := range w.fakes {
		f.unsettling.Store(true)
	}
	a, b := w.client("one"), w.client("one")
	f, err := a.create(a.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	gone, err := a.create(a.root(), "gone", wire.LeaseRead)
	require.NoError(t, err)
	require.NoError(t, a.unlink(a.root(), "gone"))
	w.fakes[0].stop()
	w.fakes[1].stop() // two of four: not enough to fence
	for _, i := range []int{0, 1} {
		eventually(t, func() bool { return w.health(w.fakes[i]) == wire.HealthDown }, "down")
	}
	w.clock.Store(int64(time.Hour))
	eventually(t, func() bool { _, ok := w.fakes[2].fence(3); return ok }, "a storage that is up is fenced")
	require.NoError(t, reopen(b))

	opened := make(chan error, 1)
	go func() { _, err := b.open(f.Attr.Ino, wire.LeaseWrite); opened <- err }()
	eventually(t, func() bool { _, ok := w.fakes[3].fence(4); return ok }, "and the other")
	require.Empty(t, opened)
	h := a.head()
	require.ErrorIs(t, a.raw(wire.OpRenew, &h, nil), vocab.NoSession)

	w.fakes[0].restart()
	var asked wire.SettleRequest
	eventually(t, func() bool {
		for _, f := range w.fakes {
			if m, ok := f.settles(); ok {
				asked = m
				return true
			}
		}
		return false
	}, "a storage is asked to settle the file")
	require.Empty(t, opened)
	require.Equal(t, f.Placement, asked.Placement)
	require.Len(t, asked.Storages, 4)
	require.GreaterOrEqual(t, len(asked.Fenced), 3)
	require.Greater(t, asked.Epoch, f.Lease.Epoch)
	for i, a := range asked.Storages {
		require.Equal(t, f.Placement.Distribution.SIDs[i], a.ID.SID)
	}
	m, ok := w.fakes[0].fence(1)
	require.True(t, ok)
	require.Equal(t, a.opened.Session, m.Session)
	require.Greater(t, m.Epoch, f.Lease.Epoch)
	require.NotZero(t, m.Incarnation)
	eventually(t, func() bool { _, err := b.getattr(gone.Attr.Ino); return isKind(err, vocab.Stale) }, "what only the dead session had open is deleted")
	require.ErrorIs(t, a.resume(), vocab.NoSession)
	w.srv.mu.RLock()
	require.Contains(t, w.srv.recovery, f.Attr.Ino)
	w.srv.mu.RUnlock()
	w.check()
	w.restart()
	require.Contains(t, w.srv.recovery, f.Attr.Ino)
	require.Error(t, <-opened, "exportd has restarted")
	c := w.client("one")
	go func() { _, err := c.open(f.Attr.Ino, wire.LeaseRead); opened <- err }()
	for _, f := range w.fakes {
		f.unsettling.Store(false)
	}
	require.NoError(t, <-opened)
	w.srv.mu.RLock()
	require.Empty(t, w.srv.recovery)
	w.srv.mu.RUnlock()
	w.check()
}

// reopen gets a client a new session after its clock jumped.
func reopen(c *client) error {
	return c.raw(wire.OpOpenSession, &wire.OpenSessionRequest{Export: "one", Name: "again"}, &c.opened)
}

func (w *world) health(f *fakeStoraged) wire.Health {
	w.srv.storagesMu.Lock()
	defer w.srv.storagesMu.Unlock()
	return w.srv.storages[place{1, f.roots[0].ID}].root.Health
}

func TestRestartKeepsWhatSessionsHold(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.client("one"), w.client("one"), w.client("one")
	wr, err := a.create(a.root(), "written", wire.LeaseWrite)
	require.NoError(t, err)
	rd, err := b.create(b.root(), "read", wire.LeaseRead)
	require.NoError(t, err)
	orphan, err := b.create(b.root(), "orphan", wire.LeaseRead)
	require.NoError(t, err)
	require.NoError(t, b.unlink(b.root(), "orphan"))
	w.restart()
	require.NoError(t, c.resume())
	_, err = c.reclaim(true)
	require.NoError(t, err)

	_, err = c.getattr(rd.Attr.Ino) // conflicts with nothing: at once
	require.NoError(t, err)
	changed := make(chan error, 1)
	go func() {
		_, err := c.setattr(wire.SetAttrRequest{Ino: rd.Attr.Ino, Mask: wire.SetMode, Mode: 0o600})
		changed <- err
	}()
	seen := make(chan error, 1)
	go func() { _, err := c.getattr(wr.Attr.Ino); seen <- err }()
	_, err = c.create(c.root(), "new", wire.LeaseWrite) // newer than the restart
	require.NoError(t, err)

	b.obey(0)
	require.NoError(t, b.resume())
	granted, err := b.reclaim(true,
		wire.Held{Ino: rd.Attr.Ino, Generation: 1, Lease: rd.Lease},
		wire.Held{Ino: orphan.Attr.Ino, Generation: 1, Lease: orphan.Lease},
		wire.Held{Ino: wr.Attr.Ino, Generation: 1, Lease: wire.Lease{Kind: wire.LeaseRead, Epoch: 3}},
		wire.Held{Ino: 999, Generation: 1})
	require.NoError(t, err)
	require.Equal(t, wire.LeaseRead, granted[0].Kind)
	require.Equal(t, wire.LeaseRead, granted[1].Kind)
	require.Equal(t, wire.Lease{}, granted[2])
	require.Equal(t, wire.Lease{}, granted[3])
	require.Empty(t, changed, "one session has not reclaimed yet")
	require.Empty(t, seen)

	a.obey(4242)
	require.NoError(t, a.resume())
	require.NoError(t, <-seen)
	granted, err = a.reclaim(true, wire.Held{Ino: wr.Attr.Ino, Generation: 1, Lease: wr.Lease})
	require.NoError(t, err)
	require.Equal(t, wr.Lease.Epoch, granted[0].Epoch)
	require.NoError(t, <-changed)
	require.Equal(t, rd.Attr.Ino, (<-b.recalls).Ino)

	o, err := c.getattr(orphan.Attr.Ino)
	require.NoError(t, err)
	require.Zero(t, o.Nlink)
	require.NoError(t, b.closeAll(orphan.Attr.Ino, granted[0]))
	_, err = c.getattr(orphan.Attr.Ino)
	require.ErrorIs(t, err, vocab.Stale)
	w.check()
}

func TestClosedSessionGivesUpEverything(t *testing.T) {
	w := newWorld(t)
	a, b := w.client("one"), w.client("one")
	f, err := a.create(a.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	require.NoError(t, a.unlink(a.root(), "f"))
	g, err := a.create(a.root(), "g", wire.LeaseWrite)
	require.NoError(t, err)
	h := a.change()
	require.NoError(t, a.raw(wire.OpCloseSession, &h, nil))
	require.ErrorIs(t, a.raw(wire.OpRenew, &h, nil), vocab.NoSession)
	_, err = b.getattr(f.Attr.Ino)
	require.ErrorIs(t, err, vocab.Stale)
	_, err = b.open(g.Attr.Ino, wire.LeaseWrite)
	require.NoError(t, err)
	for _, fake := range w.fakes {
		fake.mu.Lock()
		require.Empty(t, fake.fences)
		fake.mu.Unlock()
	}
	w.check()
	w.restart()
	require.ErrorIs(t, a.resume(), vocab.NoSession)
}

func TestGraceEndsAfterATerm(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.LeaseTerm = 2 * time.Second })
	a, b := w.client("one"), w.client("one")
	f, err := a.create(a.root(), "f", wire.LeaseRead)
	require.NoError(t, err)
	require.NoError(t, a.unlink(a.root(), "f"))
	w.restart()
	require.NoError(t, b.resume())
	_, err = b.reclaim(true)
	require.NoError(t, err)
	_, err = b.getattr(f.Attr.Ino)
	require.NoError(t, err, "perhaps open")
	w.clock.Store(int64(time.Hour))
	eventually(t, func() bool {
		if _, err := b.getattr(f.Attr.Ino); isKind(err, vocab.NoSession) {
			require.NoError(t, reopen(b))
		}
		_, err := b.getattr(f.Attr.Ino)
		return isKind(err, vocab.Stale)
	}, "the orphan goes")
	w.check()
}

func TestSessionIsBoundToItsConnectionAndSecret(t *testing.T) {
	w := newWorld(t)
	a, b := w.client("one"), w.client("two")
	stolen := b.head()
	stolen.Session = a.opened.Session
	require.ErrorIs(t, b.raw(wire.OpRenew, &stolen, nil), vocab.Unavailable)
	err := b.raw(wire.OpOpenSession, &wire.OpenSessionRequest{Resume: a.opened.Session, Secret: a.opened.Secret + 1}, nil)
	require.ErrorIs(t, err, vocab.NoSession)
	f, err := a.create(a.root(), "f", wire.LeaseNone)
	require.NoError(t, err)
	_, err = b.getattr(f.Attr.Ino)
	require.ErrorIs(t, err, vocab.Stale, "another export's inode")
	require.ErrorIs(t, a.raw(wire.OpOpenSession, &wire.OpenSessionRequest{Export: "/none"}, nil), vocab.NotFound)
}

// A write lease that is given up with something unsaved under it is refused by the storages
// from then on, and nobody gets the file before it is settled.
func TestATornFileIsSettledBeforeOthersGetIt(t *testing.T) {
	w := newWorld(t)
	for _, f := range w.fakes {
		f.unsettling.Store(true)
	}
	a := w.client("one")
	f, err := a.create(a.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	gone, err := a.create(a.root(), "gone", wire.LeaseWrite)
	require.NoError(t, err)
	require.NoError(t, a.unlink(a.root(), "gone"))
	torn := func(o wire.OpenReply, end bool) wire.ReleaseItem {
		return wire.ReleaseItem{Commit: wire.Commit{Ino: o.Attr.Ino, Epoch: o.Lease.Epoch}, Torn: true, Close: end}
	}
	require.NoError(t, a.release(torn(f, false), torn(gone, true)))
	recovery, _ := w.srv.Unfinished()
	require.Equal(t, 1, recovery, "the other one is deleted")
	w.restart()
	recovery, _ = w.srv.Unfinished()
	require.Equal(t, 1, recovery)
	b := w.client("one")
	opened := make(chan error, 1)
	go func() { _, err := b.open(f.Attr.Ino, wire.LeaseRead); opened <- err }()
	eventually(t, func() bool {
		for _, f := range w.fakes {
			if _, ok := f.settles(); ok {
				return true
			}
		}
		return false
	}, "a storage is asked to settle the file")
	require.Empty(t, opened)
	for _, fake := range w.fakes {
		fake.mu.Lock()
		require.Contains(t, fake.leases, wire.LeaseID{Session: a.opened.Session, Epoch: f.Lease.Epoch})
		fake.mu.Unlock()
		fake.unsettling.Store(false)
	}
	require.NoError(t, <-opened)
	w.check()
}

// What a session has registered, and does not name when it is resumed, it does not know of: its
// opens and leases are given back.
func TestWhatIsNotClaimedIsGivenBack(t *testing.T) {
	w := newWorld(t)
	a, b := w.client("one"), w.client("one")
	held := func(name string, want wire.LeaseKind) wire.Held {
		f, err := a.create(a.root(), name, want)
		require.NoError(t, err)
		return wire.Held{Ino: f.Attr.Ino, Generation: f.Attr.Generation, Lease: f.Lease}
	}
	for range 2 {
		kept, lost, written := held("kept", wire.LeaseRead), held("lost", wire.LeaseRead), held("written", wire.LeaseWrite)
		later := held("later", wire.LeaseRead)
		a.whenRecalled(func(m wire.RecallRequest) {
			_ = a.release(wire.ReleaseItem{Commit: wire.Commit{Ino: m.Ino, Epoch: m.Epoch}})
		})
		for _, name := range []string{"kept", "lost"} {
			require.NoError(t, b.unlink(b.root(), name))
		}
		a.whenRecalled(func(wire.RecallRequest) { t.Error("nobody has the lease any more") })
		require.NoError(t, a.resume())
		_, err := a.open(later.Ino, wire.LeaseRead) // again
		require.NoError(t, err)
		_, err = a.reclaim(false, kept)
		require.NoError(t, err)
		_, err = a.reclaim(true)
		require.NoError(t, err)
		there, err := value(w.srv.db, fileKey(prefixLease, 1, written.Ino), new(leaseRecord))
		require.NoError(t, err)
		require.False(t, there)
		_, err = b.getattr(kept.Ino)
		require.NoError(t, err)
		_, err = b.getattr(lost.Ino)
		require.ErrorIs(t, err, vocab.Stale)
		_, err = b.open(written.Ino, wire.LeaseWrite)
		require.NoError(t, err)
		w.srv.mu.RLock()
		files := maps.Clone(w.srv.sessions[a.opened.Session].files)
		w.srv.mu.RUnlock()
		require.Contains(t, files, later.Ino)
		require.Len(t, files, 2)
		w.check()

		require.NoError(t, a.closeAll(kept.Ino, kept.Lease))
		require.NoError(t, a.closeAll(later.Ino, later.Lease))
		for _, name := range []string{"later", "written"} {
			require.NoError(t, b.unlink(b.root(), name))
		}
	}
}

// A request that says how long it may wait for a lease is answered then, and has done nothing.
func TestARequestWaitsForALeaseAsLongAsItMay(t *testing.T) {
	w := newWorld(t)
	a, b := w.client("one"), w.client("one")
	f, err := a.create(a.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	held := make(chan struct{})
	defer close(held)
	a.whenRecalled(func(wire.RecallRequest) { <-held })
	require.ErrorIs(t, b.raw(wire.OpOpen, &wire.OpenRequest{Head: b.change(), Ino: f.Attr.Ino, Want: wire.LeaseRead, Patience: 20}, &wire.OpenReply{}), vocab.Unavailable)
	require.ErrorIs(t, b.raw(wire.OpCreate, &wire.CreateRequest{Head: b.change(), Parent: b.root(), Name: "f", Want: wire.LeaseRead, Patience: 20}, &wire.OpenReply{}), vocab.Unavailable)
	w.srv.mu.RLock()
	defer w.srv.mu.RUnlock()
	require.Empty(t, w.srv.sessions[b.opened.Session].files)
}
