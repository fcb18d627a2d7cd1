package rozofs_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func TestStoragesMayFailWhileWritingAndReading(t *testing.T) {
	for _, form := range forms {
		t.Run(form.String(), func(t *testing.T) {
			c := startCluster(t, form)
			spares := int(c.layout.Safe - c.layout.Forward)
			data := random(7, 3<<20+12_345)
			m := c.mount(t)
			m.write("old", data) // overwritten while storages are away
			f, err := m.Create(t.Context(), "f")
			require.NoError(t, err)
			const step = 100_000
			for off := 0; off < len(data); off += step {
				if off == len(data)/2/step*step {
					for i := range spares {
						c.killStorage(i)
					}
				}
				_, err := f.Write(data[off:min(off+step, len(data))])
				require.NoError(t, err)
			}
			require.NoError(t, f.Sync())
			require.NoError(t, f.Close())
			newer := random(8, len(data)-77_777)
			m.write("old", newer)
			m.close()

			reader := c.mount(t)
			reader.holds("f", data)
			reader.holds("old", newer)
			for i := range spares {
				c.restartStorage(i)
			}
			c.surviveLosses(files{"f": data, "old": newer})
		})
	}
}

// What a storage had not synced before it lost its power is written again, and
// only then Sync returns.
func TestSyncWritesAgainWhatAStorageHasForgotten(t *testing.T) {
	for _, form := range []form{{"0", false}, {"0", true}, {"2,4,5", false}} {
		t.Run(form.String(), func(t *testing.T) {
			c := startCluster(t, form)
			losses := int(c.layout.Forward - c.layout.Inverse)
			m := c.mount(t)
			f, err := m.Create(t.Context(), "f")
			require.NoError(t, err)
			data := random(9, 700_000)
			_, err = f.Write(data)
			require.NoError(t, err)
			h := f.Handle()
			h.HoldSaves(true)
			require.NoError(t, h.Flush(t.Context()))
			for i := range losses {
				c.losePower(i)
				c.restartStorage(i)
			}
			h.HoldSaves(false)
			require.NoError(t, f.Sync())
			require.NoError(t, f.Close())
			m.close()
			c.surviveLosses(files{"f": data})
		})
	}
}

// Storages that are only late must not keep the spares from those that are down.
func TestSparesGoToStoragesThatAreDownFirst(t *testing.T) {
	for _, form := range []form{{"1", false}, {"2", false}} {
		t.Run(form.String(), func(t *testing.T) {
			c := startCluster(t, form)
			m := c.mount(t)
			f, err := m.Create(t.Context(), "f")
			require.NoError(t, err)
			data := random(4, 300_000)
			_, err = f.Write(data)
			require.NoError(t, err)
			require.NoError(t, f.Sync()) // so that all are connected
			h, spares := f.Handle(), int(c.layout.Safe-c.layout.Forward)
			for i := range spares {
				c.killStorage(int(h.SIDs()[spares+i]) - 1)
			}
			for round := range 3 {
				for i := range spares {
					h.SetLate(i)
				}
				data = random(uint64(round), 300_000)
				_, err = f.WriteAt(data, 0)
				require.NoError(t, err)
				ctx, cancel := context.WithTimeout(t.Context(), patience/3)
				require.NoError(t, h.Sync(ctx))
				cancel()
			}
			require.NoError(t, f.Close())
			c.mount(t).holds("f", data)
		})
	}
}

// With too few storages a write ends with an error that names those that are missing,
// whatever hangs meanwhile, and what could not be written is kept for the next attempt.
func TestAWriteToTooFewStoragesEnds(t *testing.T) {
	c := startCluster(t, form{layout: "1"})
	m := c.mount(t, storageTimeout(2*time.Second))
	f, err := m.Create(t.Context(), "f")
	require.NoError(t, err)
	data := random(4, 300_000)
	_, err = f.Write(data)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	home := func(i int) int { return int(f.Handle().SIDs()[i]) - 1 }
	c.hangStorage(home(0))
	c.killStorage(home(1))
	c.killStorage(home(2))
	data = random(5, 300_000)
	_, err = f.WriteAt(data, 0)
	require.NoError(t, err)
	for range 2 {
		err = f.Sync()
		require.ErrorIs(t, err, vocab.Unavailable)
		require.ErrorContains(t, err, "fewer than 6 storages took it within")
		require.ErrorContains(t, err, c.storages[home(1)].addr)
	}
	c.restartStorage(home(1))
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	c.mount(t).holds("f", data)
}

func TestOpenFilesOutliveARestartOfExportd(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	m := c.mount(t)
	f := newModelFile(t, 5, "f", m)
	gone, err := m.Create(t.Context(), "gone")
	require.NoError(t, err)
	_, err = gone.WriteString("unlinked")
	require.NoError(t, err)
	require.NoError(t, m.Remove(t.Context(), "gone"))
	for range 3 {
		for range 20 {
			f.step()
		}
		c.restartExport()
	}
	f.check()
	f.close()
	p := make([]byte, 8)
	_, err = gone.ReadAt(p, 0)
	require.NoError(t, err)
	require.Equal(t, "unlinked", string(p))
	require.NoError(t, gone.Close())
	c.mount(t).holds("f", f.want)
	_, err = c.mount(t).OpenFile(t.Context(), "gone", os.O_RDONLY, 0)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAStorageThatIsAwayAllTheTimeIsNotNeeded(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	m := c.mount(t)
	m.write("before", random(1, 100_000))
	for i := range c.storages {
		c.withDown([]int{i}, func() {
			f := newModelFile(t, uint64(i), "f", m)
			f.want, _ = m.ReadFile(t.Context(), "f")
			for range 40 {
				f.step()
			}
			f.check()
			f.close()
			m.holds("before", random(1, 100_000))
		})
	}
}

// A file that is being given up when the client is closed keeps what was written.
func TestCloseWaitsForFilesThatAreBeingGivenUp(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	m := c.mount(t)
	data := random(9, 100_000)
	f, err := m.Create(t.Context(), "held")
	require.NoError(t, err)
	_, err = f.Write(data)
	require.NoError(t, err)
	h := f.Handle()
	h.HoldSaves(true)
	m.write("free", data)

	client := m.client
	m.client = nil
	closed := make(chan error, 1)
	go func() { closed <- client.Close() }()
	require.Eventually(t, func() bool { return client.Files() <= 1 }, patience, time.Millisecond, "close gives up what is free")
	h.HoldSaves(false)
	require.NoError(t, <-closed)
	other := c.mount(t)
	other.holds("free", data)
	other.holds("held", data)
}

func TestPeerNamesMayBeLong(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	client, err := rozofs.Mount(t.Context(), rozofs.Config{
		Hosts: []string{c.export.addr}, Export: "test", Name: strings.Repeat("long/", 200),
	})
	require.NoError(t, err)
	require.NoError(t, client.Close())
}
