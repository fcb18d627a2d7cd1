package scenario

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	overBlock  = 8 << 10
	overBlocks = 24
	overFiles  = 6
)

// over is a file that is overwritten again and again.
type over struct {
	name string
	// By block: the generation that an fsync covered last, and the last that was written.
	synced, written [overBlocks]uint64
}

// pattern is the content of a block of a generation.
func (o *over) pattern(block int, generation uint64) []byte {
	b := make([]byte, overBlock)
	binary.LittleEndian.PutUint64(b, generation)
	_, _ = rand.NewChaCha8([32]byte{byte(block), byte(len(o.name)), byte(generation), byte(generation >> 8), byte(generation >> 16), o.name[len(o.name)-1]}).Read(b[8:])
	return b
}

// write overwrites blocks at random until the mount is gone.
func (o *over) write(dir string, choice *rand.Rand, generation *atomic.Uint64) error {
	f, err := os.OpenFile(filepath.Join(dir, o.name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		first := choice.IntN(overBlocks)
		for block := first; block < min(overBlocks, first+1+choice.IntN(overBlocks)); block++ {
			g := generation.Add(1)
			o.written[block] = g
			if _, err := f.WriteAt(o.pattern(block, g), int64(block)*overBlock); err != nil {
				return err
			}
		}
		if choice.IntN(3) > 0 {
			continue
		}
		written := o.written
		if err := f.Sync(); err != nil {
			return err
		}
		o.synced = written
	}
}

// check reads the file: each block is whole, of a generation between the last that was
// synced and the last that was written.
func (o *over) check(t *testing.T, dir string) (generations [overBlocks]uint64) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, o.name))
	if os.IsNotExist(err) {
		require.Zero(t, o.synced, "%s is gone", o.name)
		return generations
	}
	require.NoError(t, err)
	got = append(got, make([]byte, overBlocks*overBlock-len(got))...)
	for block := range overBlocks {
		b := got[block*overBlock : (block+1)*overBlock]
		g := binary.LittleEndian.Uint64(b)
		generations[block] = g
		require.True(t, o.synced[block] <= g && g <= o.written[block], "%s, block %d: generation %d, %d was synced, %d written", o.name, block, g, o.synced[block], o.written[block])
		want := make([]byte, overBlock)
		if g > 0 {
			want = o.pattern(block, g)
		}
		require.Equal(t, want, b, "%s, block %d is a mixture", o.name, block)
	}
	return generations
}

// A mount is killed by -9 in the middle of overwriting files, many times: each block is
// the old one or the new one, whole, never older than what was synced, and stays what it is.
func TestAWritingMountIsKilled(t *testing.T) {
	for _, layout := range []string{"0", "1", "2"} {
		t.Run(layout, func(t *testing.T) {
			s := seed(t)
			c := start(t, options{layout: layout})
			c.shortenLeases()
			choice := rand.New(generator(s))
			files := make([]*over, overFiles)
			for i := range files {
				files[i] = &over{name: fmt.Sprint("over-", i)}
			}
			var generation atomic.Uint64
			for round := range scaled(2, 200) {
				m := c.secondMount()
				var writing sync.WaitGroup
				before := generation.Load()
				for i, o := range files {
					own := rand.New(generator(s + uint64(1000*round+i)))
					writing.Go(func() { require.Error(t, o.write(m.point, own, &generation)) })
				}
				stop := before + 200 + choice.Uint64N(2000)
				require.Eventually(t, func() bool { return generation.Load() > stop }, await, tick)
				m.kill(t)
				writing.Wait()
				first := make([][overBlocks]uint64, len(files))
				for i, o := range files {
					first[i] = o.check(t, c.mnt)
				}
				c.remount()
				for i, o := range files {
					require.Equal(t, first[i], o.check(t, c.mnt), "round %d: read again", round)
					o.synced, o.written = first[i], first[i]
				}
			}
		})
	}
}
