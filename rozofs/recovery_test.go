package rozofs_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/exportd"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// A writer dies when its overwrite has reached some of the storages. Whoever reads then
// has the new content if enough projections of it are there to be read, else the old, whole
// and for ever, whichever storages fail afterwards.
func TestAWriterThatDiesLeavesOldOrNew(t *testing.T) {
	const blocks, size = 13, 12*vocab.DefaultBlockBytes + 3000
	for _, form := range []form{{"0", false}, {"0", true}, {"1", false}, {"2,4,5", true}} {
		t.Run(form.String(), func(t *testing.T) {
			c, endSessions := startMortal(t, form)
			k, n := int(c.layout.Inverse), int(c.layout.Forward)
			now := random(1, size)
			m := c.mount(t)
			m.write("f", now)
			m.close()
			for sent := range n + 1 {
				what := fmt.Sprintf("%d of %d projections were written", sent, n)
				next := random(uint64(sent+2), size)
				w := c.mount(t)
				f := w.open("f", os.O_RDWR)
				_, err := f.WriteAt(next, 0)
				require.NoError(t, err)
				require.NoError(t, f.Handle().SendSome(t.Context(), 0, blocks, rand.Perm(n)[:sent]), what)
				w.client.Kill()
				w.client = nil
				endSessions()
				if sent >= k {
					now = next
				}
				r := c.mount(t)
				r.holds("f", now)
				r.close()
				c.surviveLosses(files{"f": now})
			}
		})
	}
}

// A writer dies after a truncation that leaves half a block, whose tail it has cut in its own
// memory alone. What the tail held does not come back when the file grows again.
func TestAWriterThatDiesAfterATruncationLeavesNoTail(t *testing.T) {
	c, endSessions := startMortal(t, form{"0", false})
	const size, cut = 3 * vocab.DefaultBlockBytes, vocab.DefaultBlockBytes + 1000
	data := random(1, size)
	m := c.mount(t)
	m.write("f", data)
	m.close()
	w := c.mount(t)
	require.NoError(t, w.open("f", os.O_RDWR).Truncate(cut))
	w.client.Kill()
	w.client = nil
	endSessions()
	r := c.mount(t)
	r.holds("f", data[:cut])
	require.NoError(t, r.Truncate(t.Context(), "f", size))
	r.holds("f", append(data[:cut:cut], make([]byte, size-cut)...))
}

// A mount cannot save an overwrite, for storages are full, when another wants the file. It
// gives up what it wrote and says so, and the file is settled as if it had died: the other
// sees the content that it had, or the new one, whole and for ever, also when a request that
// was held up comes to its storage at last.
func TestAnOverwriteThatCannotBeSavedLeavesOldOrNew(t *testing.T) {
	const size = 12*vocab.DefaultBlockBytes + 3000
	for _, form := range []form{{"0", true}, {"1", false}} {
		t.Run(form.String(), func(t *testing.T) {
			c := startCluster(t, form)
			for _, s := range c.storages {
				s.gate.clients = true
			}
			k, n := int(c.layout.Inverse), int(c.layout.Forward)
			now := random(1, size)
			m := c.mount(t)
			m.write("f", now)
			m.close()
			for sent := range n {
				what := fmt.Sprintf("%d of %d projections were written", sent, n)
				next := random(uint64(sent+2), size)
				w := c.mount(t, storageTimeout(time.Second))
				f := w.open("f", os.O_RDWR)
				sids := f.Handle().SIDs()
				late := c.storages[sids[sent]-1].gate
				late.hold(wire.OpWrite)
				for _, sid := range sids[sent+1:] {
					c.storages[sid-1].gate.refuse(wire.OpWrite, vocab.NoSpace)
				}
				_, err := f.WriteAt(next, 0)
				require.NoError(t, err)
				require.Error(t, f.Sync(), what)
				require.Eventually(t, late.hasHeld, patience, time.Millisecond)
				r := c.mount(t)
				got, err := r.ReadFile(t.Context(), "f")
				require.NoError(t, err)
				if sent >= k && bytes.Equal(got, next) {
					now = next
				}
				requireBytes(t, now, got)
				late.release(wire.OpWrite)
				r.holds("f", now)
				r.close()
				require.Error(t, f.Sync(), what)
				require.NoError(t, f.Close())
				for _, sid := range sids[sent+1:] {
					c.storages[sid-1].gate.refuse(wire.OpWrite, vocab.Internal)
				}
				w.close()
				c.allAtHome() // a storage that the fence did not reach, since it was away, is told what is final
				c.surviveLosses(files{"f": now})
			}
		})
	}
}

// The session of a mount ends while a write of it waits for the rest of a block, and another
// mount writes the file. Of the late write nothing comes to the storages, and who makes it
// durable is told so, once.
func TestAWriteThatOutlivesItsSessionOverwritesNothing(t *testing.T) {
	c, endSessions := startMortal(t, form{"0", true})
	c.mount(t).write("f", random(1, vocab.DefaultBlockBytes))
	for _, s := range c.storages {
		s.gate.clients = true
	}
	w := c.mount(t)
	f := w.open("f", os.O_RDWR)
	session := w.client.Session()
	for _, s := range c.storages {
		s.gate.hold(wire.OpRead)
	}
	wrote := make(chan error, 1)
	go func() { _, err := f.WriteAt([]byte("late"), 5); wrote <- err }()
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(c.storages, func(s *storageNode) bool { return s.gate.hasHeld() })
	}, patience, time.Millisecond)
	endSessions()
	r := c.mount(t)
	now := random(2, vocab.DefaultBlockBytes)
	r.write("f", now)
	require.Eventually(t, func() bool { return w.client.Session() != session }, patience, time.Millisecond)
	for _, s := range c.storages {
		s.gate.release(wire.OpRead)
	}
	if err := <-wrote; err == nil {
		require.ErrorIs(t, f.Sync(), vocab.Stale)
	}
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	w.holds("f", now)
	r.holds("f", now)
}

// A discard that storages refuse, since its lease has ended, is not tried for ever.
func TestADiscardThatIsRefusedEnds(t *testing.T) {
	c := startCluster(t, form{"0", true})
	m := c.mount(t)
	f := m.create("f", random(1, 300_000))
	for _, s := range c.storages {
		s.gate.refuse(wire.OpDiscard, vocab.Fenced)
	}
	require.ErrorIs(t, f.Truncate(100), vocab.Fenced)
	for _, s := range c.storages {
		s.gate.refuse(wire.OpDiscard, vocab.Internal)
	}
	require.NoError(t, f.Truncate(100))
	require.NoError(t, f.Close())
}

// What was written to a file that has no name any more, and is not open, need not be saved:
// full storages do not keep a mount from ending in peace.
func TestAnUnlinkedFileNeedNotBeSaved(t *testing.T) {
	c := startCluster(t, form{"0", true})
	m := c.mount(t, storageTimeout(time.Second))
	for _, s := range c.storages {
		s.gate.refuse(wire.OpWrite, vocab.NoSpace)
	}
	f := m.open("f", os.O_CREATE|os.O_RDWR)
	_, err := f.Write(random(1, 300_000))
	require.NoError(t, err)
	require.ErrorIs(t, f.Close(), vocab.NoSpace)
	require.NoError(t, m.Remove(t.Context(), "f"))
	m.close() // fails if there is an error
	recovery, _ := c.export.server.(*exportd.Server).Unfinished()
	require.Zero(t, recovery)
}

// A closed file that cannot be saved, for all storages are full, is asked about when names were
// changed, and not each time that it cannot be saved.
func TestAFileThatCannotBeSavedIsNotAskedAboutForEver(t *testing.T) {
	c := startCluster(t, form{"0", true})
	c.export.stop()
	c.export.gate = newGate()
	c.export.start()
	m := c.mount(t, storageTimeout(time.Second))
	for _, s := range c.storages {
		s.gate.refuse(wire.OpWrite, vocab.NoSpace)
	}
	f := m.open("f", os.O_CREATE|os.O_RDWR)
	_, err := f.Write(random(1, 300_000))
	require.NoError(t, err)
	require.ErrorIs(t, f.Close(), vocab.NoSpace)
	m.write("other", nil)
	tries := func(n int) {
		gate := c.storages[0].gate
		gate.forget()
		require.Eventually(t, func() bool { return gate.count(wire.OpWrite) >= n }, patience, 10*time.Millisecond)
	}
	tries(2)
	c.export.gate.forget()
	tries(8)
	require.Zero(t, c.export.gate.count(wire.OpGetAttr))
	require.NoError(t, m.Rename(t.Context(), "other", "another"))
	tries(8)
	require.LessOrEqual(t, c.export.gate.count(wire.OpGetAttr), 2)
	require.NoError(t, m.Remove(t.Context(), "f"))
	require.Eventually(t, func() bool {
		recovery, _ := c.export.server.(*exportd.Server).Unfinished()
		var status wire.ExportStatusReply
		c.admin(wire.OpExportStatus, &wire.Empty{}, &status)
		return recovery == 0 && status.Exports[0].Files == 1
	}, patience, 10*time.Millisecond, "it is given up")
}

// A writer dies, and exportd has not heard that some of what it made durable lies on a spare.
func TestWhatADeadWriterLeftOnASpareComesHome(t *testing.T) {
	c, endSessions := startMortal(t, form{"0", true})
	w := c.mount(t)
	f := w.create("f", random(1, 300_000))
	place := f.Handle().SIDs()
	node := func(position int) *storageNode { return c.storages[place[position]-1] }
	node(0).gate.refuse(wire.OpWrite, vocab.NoSpace)
	data := random(2, 300_000)
	_, err := f.WriteAt(data, 0)
	require.NoError(t, err)
	require.NoError(t, f.Handle().Flush(t.Context()))
	node(1).gate.forget()
	require.Eventually(t, func() bool { return node(1).gate.count(wire.OpFinal) > 0 }, patience, time.Millisecond)
	require.True(t, node(3).gate.isSynced())
	w.client.Kill()
	w.client = nil
	node(0).gate.refuse(wire.OpWrite, vocab.Internal)
	endSessions()
	r := c.mount(t)
	r.holds("f", data)
	r.close()
	c.allAtHome()
	c.withDown([]int{int(place[1]) - 1, int(place[3]) - 1}, func() {
		r := c.mount(t)
		r.holds("f", data)
		r.close()
	})
}

// A writer dies when one storage alone has some of its overwrite, and that storage is away
// while the file is settled. What it has then is in the way of what it lacks: the file is
// settled once more.
func TestWhatAStorageKeptOfADeadWriterIsReplaced(t *testing.T) {
	const blocks, size = 13, 12*vocab.DefaultBlockBytes + 3000
	for _, form := range []form{{"0", false}, {"1", true}} {
		t.Run(form.String(), func(t *testing.T) {
			c, endSessions := startMortal(t, form)
			data := random(1, size)
			m := c.mount(t)
			m.write("f", data)
			m.close()
			w := c.mount(t)
			f := w.open("f", os.O_RDWR)
			away := int(f.Handle().SIDs()[1]) - 1
			_, err := f.WriteAt(random(2, size), 0)
			require.NoError(t, err)
			require.NoError(t, f.Handle().SendSome(t.Context(), 0, blocks, []int{1}))
			w.client.Kill()
			w.client = nil
			c.killStorage(away)
			endSessions()
			r := c.mount(t)
			r.holds("f", data)
			r.close()
			c.restartStorage(away)
			c.allAtHome()
			c.surviveLosses(files{"f": data})
			require.Zero(t, c.foldAll().Lacking)
		})
	}
}

// A writer dies, and the header of a slot file of its file has rotted: the storage counts as one
// that cannot tell, nobody waits for a scrub, and it is whole again afterwards.
func TestAFileWithABrokenHeaderIsSettled(t *testing.T) {
	c, endSessions := startMortal(t, form{"0", false})
	data := random(1, 300_000)
	m := c.mount(t)
	m.write("f", data)
	m.close()
	c.foldAll()
	w := c.mount(t)
	f := w.open("f", os.O_RDWR)
	sids := f.Handle().SIDs()
	w.client.Kill()
	w.client = nil
	c.breakHeaders(int(sids[0])-1, true)
	endSessions()
	r := c.mount(t)
	r.holds("f", data)
	r.close()
	c.allAtHome()
	c.foldStorages()
	c.allWhole()
	c.surviveLosses(files{"f": data})
}
