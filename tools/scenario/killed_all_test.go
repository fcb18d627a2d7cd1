package scenario

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Everything is killed by -9 at once while files are written and synced, many times; what
// was synced is there afterwards, whichever single storage is then missing.
func TestEverythingIsKilledAtOnce(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	c.shortenLeases()
	choice := rand.New(generator(s))
	files := make([]*over, overFiles)
	for i := range files {
		files[i] = &over{name: fmt.Sprint("over-", i)}
	}
	var generation atomic.Uint64
	for round := range scaled(2, 50) {
		var writing sync.WaitGroup
		for i, o := range files {
			own := rand.New(generator(s + uint64(1000*round+i)))
			writing.Go(func() { require.Error(t, o.write(c.mnt, own, &generation)) })
		}
		stop := generation.Load() + 200 + choice.Uint64N(2000)
		require.Eventually(t, func() bool { return generation.Load() > stop }, await, tick)
		killAll(processesUnder(c.base))
		writing.Wait()
		c.down()
		c.up()
		first := make([][overBlocks]uint64, len(files))
		for i, o := range files {
			first[i] = o.check(t, c.mnt)
			o.synced, o.written = first[i], first[i]
		}
		for _, d := range c.status().Daemons {
			if d.Role != "storaged" {
				continue
			}
			c.kill(d.Name)
			c.remount()
			for i, o := range files {
				require.Equal(t, first[i], o.check(t, c.mnt), "round %d, without %s", round, d.Name)
			}
			c.start(d.Name)
		}
	}
}
