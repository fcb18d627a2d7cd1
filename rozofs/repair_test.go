package rozofs_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// A storage that was missing while files were written has, soon after it is back, all that
// it would have had: without the spares every n - k of the homes may fail.
func TestAStorageThatReturnsIsBroughtUpToDate(t *testing.T) {
	for _, form := range []form{{"0", false}, {"0", true}, {"1", false}, {"2,4,5", true}} {
		t.Run(form.String(), func(t *testing.T) {
			c := startCluster(t, form)
			k, n := int(c.layout.Inverse), int(c.layout.Forward)
			m := c.mount(t)
			f := m.open("f", os.O_CREATE|os.O_RDWR)
			data := random(1, 3_000_000)
			_, err := f.Write(data)
			require.NoError(t, err)
			require.NoError(t, f.Sync())
			var homes []int
			for _, sid := range f.Handle().SIDs() {
				homes = append(homes, int(sid)-1)
			}
			spares := homes[n:]
			homes = homes[:n]

			c.killStorage(homes[1])
			copy(data[100_000:], random(2, 500_000)) // overwritten
			_, err = f.WriteAt(data[100_000:600_000], 100_000)
			require.NoError(t, err)
			clear(data[700_000:1_000_000]) // overwritten with zeros
			_, err = f.WriteAt(data[700_000:1_000_000], 700_000)
			require.NoError(t, err)
			clear(data[1_200_000:1_500_000]) // punched
			require.NoError(t, f.Handle().Punch(t.Context(), 1_200_000, 300_000))
			data = data[:2_000_001] // cut, and grown
			require.NoError(t, f.Truncate(int64(len(data))))
			data = append(data, make([]byte, 1_000_000)...)
			more := random(3, 700_000)
			_, err = f.WriteAt(more, int64(len(data)))
			require.NoError(t, err)
			data = append(data, more...)
			require.NoError(t, f.Sync())
			require.NoError(t, f.Close())
			m.close()
			for i := range c.storages { // what they were told is final they have forgotten
				if i != homes[1] {
					c.killStorage(i)
					c.restartStorage(i)
				}
			}
			c.restartStorage(homes[1])
			c.allAtHome()

			for _, i := range spares {
				c.killStorage(i)
			}
			for first := range homes {
				var down []int
				for i := range n - k {
					down = append(down, homes[(first+i)%n])
				}
				for _, i := range down {
					c.killStorage(i)
				}
				r := c.mount(t)
				r.holds("f", data)
				r.close()
				for _, i := range down {
					c.restartStorage(i)
				}
			}
		})
	}
}

// What lies on a spare comes home while it is read. The home had been asked before, the spare
// is asked after: both have nothing, and that does not mean zeros.
func TestAReadBesideARepair(t *testing.T) {
	c := startCluster(t, form{"0", false})
	m := c.mount(t)
	f := m.create("f", random(1, 10_000))
	sids := f.Handle().SIDs()
	gates := make([]*gate, len(sids))
	for i, sid := range sids {
		gates[i] = c.storages[sid-1].gate
	}
	gates[0].refuse(wire.OpWrite, vocab.NoSpace) // also to repair
	data := random(2, 300_000)
	_, err := f.WriteAt(data, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	m.close()

	r := c.mount(t)
	for _, g := range gates[1:] {
		g.clients = true
		g.hold(wire.OpRead)
	}
	gates[0].forget()
	read := make(chan []byte, 1)
	go func() {
		got, err := r.ReadFile(t.Context(), "f")
		assert.NoError(t, err)
		read <- got
	}()
	for _, g := range gates[1:] {
		require.Eventually(t, g.hasHeld, patience, time.Millisecond)
	}
	require.NotZero(t, gates[0].count(wire.OpRead))
	gates[0].refuse(wire.OpWrite, vocab.Internal)
	c.allAtHome()
	gates[3].release(wire.OpRead)
	require.Never(t, func() bool { return len(read) > 0 }, 100*time.Millisecond, time.Millisecond)
	gates[1].release(wire.OpRead)
	gates[2].release(wire.OpRead)
	requireBytes(t, data, <-read)
}
