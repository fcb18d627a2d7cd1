package rozofs_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/exportd"
	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// stall is a file of which something lies complete, and not synced, on its homes.
type stall struct {
	t     *testing.T
	c     *cluster
	m     *mount
	f     *rozofs.File
	want  []byte
	nodes []*storageNode // by position of the file
}

func newStall(t *testing.T, form form) *stall {
	s := &stall{t: t, c: startCluster(t, form)}
	s.m = s.c.mountWith(t, rozofs.Config.Patient)
	var err error
	s.f, err = s.m.Create(t.Context(), "f")
	require.NoError(t, err)
	for _, sid := range s.f.Handle().SIDs() {
		s.nodes = append(s.nodes, s.c.storages[sid-1])
	}
	s.write(random(1, 300_000), 0)
	require.NoError(t, s.f.Sync()) // so that all are connected
	s.put(2, 3_000_000)
	return s
}

// put writes from the beginning of the file on, and brings it to the homes; nobody syncs
// it until sync.
func (s *stall) put(seed uint64, n int) {
	s.t.Helper()
	s.f.Handle().HoldSaves(false)
	if n < len(s.want) { // whole blocks, so that none is read, and nobody late with that
		n = n / vocab.DefaultBlockBytes * vocab.DefaultBlockBytes
	}
	s.write(random(seed, n), 0)
	s.f.Handle().HoldSaves(true)
	require.NoError(s.t, s.f.Handle().Flush(s.t.Context()))
	for _, n := range s.nodes {
		n.gate.forget()
	}
}

func (s *stall) write(data []byte, off int) {
	s.t.Helper()
	_, err := s.f.WriteAt(data, int64(off))
	require.NoError(s.t, err)
	if n := off + len(data) - len(s.want); n > 0 {
		s.want = append(s.want, make([]byte, n)...)
	}
	copy(s.want[off:], data)
}

func (s *stall) sync() { s.t.Helper(); require.NoError(s.t, s.startSync()()) }

// startSync begins a sync and returns what waits for it.
func (s *stall) startSync() (ended func() error) {
	s.f.Handle().HoldSaves(false)
	done := make(chan error, 1)
	go func() { done <- s.f.Sync() }()
	return func() error { return <-done }
}

func (s *stall) n() int { return int(s.c.layout.Forward) }

func (s *stall) homes() []*storageNode  { return s.nodes[:s.n()] }
func (s *stall) spares() []*storageNode { return s.nodes[s.n():] }

func count(nodes []*storageNode, op wire.Op) (n int) {
	for _, node := range nodes {
		n += node.gate.count(op)
	}
	return n
}

// survives checks that the file is whole for other mounts when, of all storages but those
// that are away for good, any forward - inverse are lost.
func (s *stall) survives(away []*storageNode) {
	s.t.Helper()
	var holders []int
	for i, n := range s.c.storages {
		if slices.Contains(away, n) {
			n.stop()
		} else {
			holders = append(holders, i)
		}
	}
	s.m.close() // what lies on spares is brought home as soon as all storages are up
	losses := int(s.c.layout.Forward - s.c.layout.Inverse)
	for first := range holders {
		var set []int
		for i := range losses {
			set = append(set, holders[(first+i)%len(holders)])
		}
		s.c.withDown(set, func() {
			r := s.c.mount(s.t)
			r.holds("f", s.want)
			r.close()
		})
	}
}

// comesHome closes the mount and waits until all that lies on spares is repaired.
func (s *stall) comesHome() {
	s.t.Helper()
	s.m.close()
	srv := s.c.export.server.(*exportd.Server)
	require.Eventually(s.t, func() bool {
		recovery, degraded := srv.Unfinished()
		return recovery+degraded == 0
	}, patience, 10*time.Millisecond)
}

var stallForms = []form{{"0", false}, {"0", true}, {"1", false}, {"2,4,5", true}}

// As many homes as there are spares hang before what they hold is synced. Its projections
// go to the spares, nothing else is written once more, and all is durable.
func TestSyncDoesNotWaitForStoragesThatHang(t *testing.T) {
	for _, form := range stallForms {
		t.Run(form.String(), func(t *testing.T) {
			s := newStall(t, form)
			hung := s.homes()[:len(s.spares())]
			for _, n := range hung {
				n.gate.freeze()
			}
			s.sync()
			require.Zero(t, count(s.homes(), wire.OpWrite), "no home gets anything again")
			for _, n := range s.spares() {
				require.Positive(t, n.gate.count(wire.OpWrite))
				require.True(t, n.gate.isSynced(), "it is not enough that a spare has it")
			}
			for _, n := range s.homes()[len(hung):] {
				require.True(t, n.gate.isSynced() && n.gate.count(wire.OpSync) > 0)
			}
			s.survives(hung)
			for _, n := range hung {
				n.gate.thaw()
			}
		})
	}
}

// What was overwritten with zeros on homes that hang is discarded on the spares too: nobody
// reads what the others have of the content before.
func TestZerosDoNotWaitForStoragesThatHang(t *testing.T) {
	for _, form := range stallForms {
		t.Run(form.String(), func(t *testing.T) {
			s := newStall(t, form)
			s.sync()
			s.write(make([]byte, len(s.want)), 0)
			s.f.Handle().HoldSaves(true)
			require.NoError(t, s.f.Handle().Flush(t.Context()))
			for _, n := range s.nodes {
				n.gate.forget()
			}
			hung := s.homes()[:len(s.spares())]
			for _, n := range hung {
				n.gate.freeze()
			}
			s.sync()
			require.Zero(t, count(s.nodes, wire.OpWrite))
			for _, n := range s.spares() {
				require.Positive(t, n.gate.count(wire.OpDiscard))
			}
			s.survives(hung)
			for _, n := range hung {
				n.gate.thaw()
			}
		})
	}
}

// A home that was only late has what its spare has too; both are one projection, and all
// comes home again.
func TestAStorageThatWokeUpIsUsedAgain(t *testing.T) {
	for _, form := range []form{{"0", false}, {"1", true}} {
		t.Run(form.String(), func(t *testing.T) {
			s := newStall(t, form)
			for round := range 3 {
				hung := s.homes()[round%s.n()]
				hung.gate.freeze()
				s.sync()
				s.write(random(uint64(10+round), 700_001), 500_000*round)
				require.NoError(t, s.f.Sync())
				hung.gate.thaw()
				requireWell(t, s.f.Handle(), round%s.n())
				s.put(uint64(20+round), 1_000_000)
				require.NoError(t, s.f.Handle().Flush(t.Context()))
			}
			s.sync()
			s.comesHome()
			s.survives(s.spares())
		})
	}
}

func requireWell(t *testing.T, h *rozofs.Handle, position int) {
	t.Helper()
	require.Eventually(t, func() bool { return h.IsWell(position) }, patience, time.Millisecond)
}

// A disk that syncs slowly, or not at all, under a storaged that lives: the others do not
// wait for it, and while it is so it gets no writes. Then it is used again.
func TestSyncDoesNotWaitForADiskThatHangs(t *testing.T) {
	s := newStall(t, form{layout: "0"})
	slow := s.homes()[1]
	slow.gate.hold(wire.OpSync)
	s.sync()
	require.Zero(t, count(s.homes(), wire.OpWrite))
	require.True(t, s.spares()[0].gate.isSynced())

	s.put(3, 1_000_000)
	s.sync()
	require.Zero(t, slow.gate.count(wire.OpWrite)+slow.gate.count(wire.OpSync), "it gets nothing while a sync of it is overdue")

	slow.gate.release(wire.OpSync)
	requireWell(t, s.f.Handle(), 1)
	s.put(4, 1_000_000)
	require.Equal(t, 0, s.spares()[0].gate.count(wire.OpWrite))
	s.sync()
	require.Zero(t, count(s.spares(), wire.OpSync), "the home has it")
	s.survives(s.spares())
}

// Disks that are all slow alike are waited for: nothing is written again, however long it
// takes.
func TestDisksThatAreSlowAlikeAreWaitedFor(t *testing.T) {
	s := newStall(t, form{layout: "0"})
	for _, n := range s.homes() {
		n.gate.hold(wire.OpSync)
	}
	ended := s.startSync()
	for _, n := range s.homes() {
		require.Eventually(t, func() bool { return n.gate.count(wire.OpStorageStatus) >= 5 }, patience, time.Millisecond,
			"it is asked for signs of life again and again")
	}
	for _, n := range s.homes() {
		n.gate.release(wire.OpSync)
	}
	require.NoError(t, ended())
	require.Zero(t, count(s.nodes, wire.OpWrite))
	s.survives(s.spares())
}

// What was overwritten since it was sent cannot be sent once more under its version: what
// is left of it gets a new one, together with what is newer.
func TestSyncWhileAStorageHangsOfWhatWasOverwrittenInPart(t *testing.T) {
	for _, form := range stallForms {
		t.Run(form.String(), func(t *testing.T) {
			s := newStall(t, form)
			s.homes()[0].gate.freeze()
			s.f.Handle().HoldSaves(false)
			for i := range 20 { // parts of many runs, all of none
				s.write(random(uint64(i), 12_345), i*140_000)
			}
			require.NoError(t, s.f.Sync())
			s.survives(s.homes()[:1])
			s.homes()[0].gate.thaw()
		})
	}
}

// A storage whose disk fails while it syncs is replaced at once.
func TestSyncWhenADiskFails(t *testing.T) {
	for _, kind := range []vocab.Kind{vocab.DiskFailed, vocab.NoSpace} {
		t.Run(kind.Error(), func(t *testing.T) {
			s := newStall(t, form{layout: "0"})
			s.homes()[2].gate.refuse(wire.OpSync, kind)
			s.sync()
			require.Zero(t, count(s.homes(), wire.OpWrite))
			require.True(t, s.spares()[0].gate.isSynced())
			s.homes()[2].gate.refuse(wire.OpSync, vocab.Internal)
			s.survives(s.homes()[2:3])
		})
	}
}

// Where there is no spare a sync waits, names whom for, and is good when that is back.
func TestSyncWithoutSparesWaits(t *testing.T) {
	c := startCluster(t, form{layout: "2,3,3"})
	m := c.mount(t, storageTimeout(time.Second))
	f, err := m.Create(t.Context(), "f")
	require.NoError(t, err)
	data := random(1, 300_000)
	_, err = f.Write(data)
	require.NoError(t, err)
	h := f.Handle()
	h.HoldSaves(true)
	require.NoError(t, h.Flush(t.Context()))
	hung := c.storages[h.SIDs()[1]-1]
	hung.gate.freeze()
	h.HoldSaves(false)
	for range 2 {
		err = f.Sync()
		require.ErrorIs(t, err, vocab.Unavailable)
		require.ErrorContains(t, err, "fewer than 3 storages made it durable")
		require.ErrorContains(t, err, hung.addr+" does not answer")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, h.Sync(ctx), context.Canceled)
	hung.gate.thaw()
	require.Eventually(t, func() bool { return f.Sync() == nil }, patience, time.Millisecond)
	require.NoError(t, f.Close())
	c.mount(t).holds("f", data)
}

// A truncation is durable on forward storages without the one that hangs, and the next one
// does not even ask that.
func TestTruncationDoesNotWaitForAStorageThatHangs(t *testing.T) {
	s := newStall(t, form{layout: "0"})
	s.sync()
	hung := s.homes()[0]
	hung.gate.freeze()
	for _, blocks := range []int{200, 100, 1} { // whole ones, so that nothing is read
		size := blocks * vocab.DefaultBlockBytes
		require.NoError(t, s.f.Truncate(int64(size)))
		s.want = s.want[:size]
	}
	require.False(t, s.f.Handle().IsWell(0))
	s.write(random(9, 50_000), 0) // what lies on the one that hangs too
	require.NoError(t, s.f.Sync())
	s.survives(s.homes()[:1])
	hung.gate.thaw()
}

// Full storages are no error as long as there are spares, and are used again when they
// have room. Then the error says so, and names them.
func TestFullStorages(t *testing.T) {
	s := newStall(t, form{layout: "1"})
	s.sync()
	full := s.homes()[1 : 1+len(s.spares())]
	for _, n := range full {
		n.gate.refuse(wire.OpWrite, vocab.NoSpace)
	}
	s.put(3, 2_000_000)
	s.sync()
	for _, n := range s.spares() {
		require.True(t, n.gate.isSynced() && n.gate.count(wire.OpSync) > 0)
	}
	one := s.homes()[0]
	one.gate.refuse(wire.OpWrite, vocab.NoSpace)
	s.write(random(4, 60*vocab.DefaultBlockBytes), 0)
	for range 2 {
		err := s.f.Sync()
		require.ErrorIs(t, err, vocab.NoSpace)
		for _, n := range append([]*storageNode{one}, full...) {
			require.ErrorContains(t, err, n.addr)
		}
	}
	for _, n := range append([]*storageNode{one}, full...) {
		n.gate.refuse(wire.OpWrite, vocab.Internal)
	}
	require.NoError(t, s.f.Sync())
	s.put(5, 1_000_000)
	require.Zero(t, count(s.spares(), wire.OpWrite), "they are used again")
	s.sync()
	s.comesHome()
	s.survives(s.spares())
}

// Who mounts while a storage hangs, and has never reached it, does without.
func TestMountWhileAStorageHangs(t *testing.T) {
	s := newStall(t, form{layout: "0"})
	s.sync()
	hung := s.homes()[0]
	s.m.close()
	hung.gate.freeze()
	m := s.c.mount(t)
	m.holds("f", s.want)
	m.write("g", s.want)
	m.close()
	hung.gate.thaw()
	s.survives(nil)
	r := s.c.mount(t)
	r.holds("g", s.want)
}

// A projection that went to a spare because its home was late goes home after all when the
// spare hangs.
func TestAWriteDoesNotWaitForASpareThatHangs(t *testing.T) {
	for _, form := range []form{{"0", false}, {"1", false}} {
		t.Run(form.String(), func(t *testing.T) {
			s := newStall(t, form)
			s.sync()
			var well []func()
			for i := range s.spares() {
				well = append(well, s.f.Handle().Overdue(i))
			}
			for _, n := range s.spares() {
				n.gate.forget()
				n.gate.hold(wire.OpWrite)
			}
			s.write(random(7, 500_000), 0)
			ended := s.startSync()
			for _, n := range s.spares() {
				require.Eventually(t, func() bool { return n.gate.count(wire.OpWrite) > 0 }, patience, time.Millisecond)
			}
			for _, end := range well {
				end()
			}
			require.NoError(t, ended())
			for _, n := range s.spares() {
				n.gate.release(wire.OpWrite)
			}
			s.survives(s.spares())
		})
	}
}

// A spare that is late itself when it is first needed takes the projection when it is well.
func TestAWriteGetsASpareThatWasLate(t *testing.T) {
	s := newStall(t, form{layout: "0"})
	s.sync()
	s.homes()[2].gate.freeze()
	well := s.f.Handle().Overdue(s.n())
	s.write(random(7, 3_000_000), 0)
	ended := s.startSync()
	require.Eventually(t, func() bool { return !s.f.Handle().IsWell(2) }, patience, time.Millisecond, "the home is found to be late")
	well()
	require.NoError(t, ended())
	s.survives(s.homes()[2:3])
	s.homes()[2].gate.thaw()
}

// What a write in the background could not do is told to who has written, once, whoever
// meets it first.
func TestFailuresAreToldToWhoHasWritten(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	var log lines
	client, err := rozofs.Mount(t.Context(), rozofs.Config{
		Hosts: []string{c.export.addr}, Export: "test", ExportTimeout: patience, StorageTimeout: patience,
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, err)
	m := &mount{Tree: client.Tree(rozofs.Caller{UID: 1000, GID: 100}), t: t, client: client}
	t.Cleanup(m.close)
	f, err := m.Create(t.Context(), "f")
	require.NoError(t, err)
	h := f.Handle()
	each := m.open("each", os.O_CREATE|os.O_RDWR|syscall.O_DSYNC)
	data := random(1, 300_000)
	_, err = f.Write(data)
	require.NoError(t, err)
	h.HoldSaves(true)
	require.NoError(t, h.Flush(t.Context()))
	for _, sid := range h.SIDs()[:2] {
		c.storages[sid-1].gate.refuse(wire.OpSync, vocab.DiskFailed)
		c.storages[sid-1].gate.refuse(wire.OpWrite, vocab.NoSpace)
	}
	h.HoldSaves(false)
	require.Eventually(t, func() bool { return log.has("written data could not be made durable yet") }, patience, time.Millisecond)

	n, err := each.Write(data)
	require.ErrorIs(t, err, vocab.NoSpace)
	require.Zero(t, n, "none of it is durable")

	for _, sid := range h.SIDs()[:2] {
		c.storages[sid-1].gate.refuse(wire.OpSync, vocab.Internal)
		c.storages[sid-1].gate.refuse(wire.OpWrite, vocab.Internal)
	}
	require.ErrorIs(t, f.Sync(), vocab.NoSpace)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	c.mount(t).holds("f", data)
	_ = each.Close()
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex // guards text
	text []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text, []byte(text))
}

// A closed file that waits for its storages to be given up does not keep others from
// being opened.
func TestFilesAreGivenUpEachForItself(t *testing.T) {
	s := newStall(t, form{layout: "0"})
	s.m.write("durable", s.want)
	synced := s.m.open("durable", os.O_RDWR)
	require.NoError(t, synced.Sync())
	s.put(3, 1_000_000)
	s.homes()[0].gate.freeze()
	s.homes()[1].gate.freeze()
	require.NoError(t, synced.Close())
	require.NoError(t, s.f.Close())
	s.f.Handle().HoldSaves(false)
	client := s.m.client
	require.Eventually(t, func() bool { return client.Files() == 1 }, patience, time.Millisecond, "it is given up though the other cannot be")
	s.homes()[0].gate.thaw()
	s.homes()[1].gate.thaw()
	s.survives(nil)
}
