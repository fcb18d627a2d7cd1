package exportd

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

func TestReaddirReturnsWhatStaysExactlyOnce(t *testing.T) {
	for _, hash := range []func(string) uint64{hashName, func(n string) uint64 { return 1 + hashName(n)%5 }} {
		w := newWorld(t)
		w.hash, w.srv.hash = hash, hash
		c := w.client("one")
		rng := rand.New(rand.NewPCG(3, 4))
		for i := range 60 {
			_, err := c.mkdir(c.root(), fmt.Sprintf("stays%d", i))
			require.NoError(t, err)
			_, err = c.mknod(c.root(), fmt.Sprintf("goes%d", i), vocab.ModeFIFO)
			require.NoError(t, err)
		}
		seen := map[string]int{}
		last, cookie := false, uint64(0)
		for round := 0; !last; round++ {
			var r wire.ReaddirReply
			require.NoError(t, c.raw(wire.OpReaddir, &wire.ReaddirRequest{Head: c.head(), Ino: c.root(), Cookie: cookie, Max: 4}, &r))
			for _, e := range r.Entries {
				require.Greater(t, e.Cookie, cookie)
				require.Positive(t, int64(e.Cookie))
				cookie = e.Cookie
				seen[e.Name]++
			}
			last = r.Last
			_ = c.unlink(c.root(), fmt.Sprintf("goes%d", rng.IntN(60)))
			_, err := c.mknod(c.root(), fmt.Sprintf("comes%d", round), vocab.ModeFIFO)
			require.NoError(t, err)
		}
		for i := range 60 {
			require.Equal(t, 1, seen[fmt.Sprintf("stays%d", i)])
		}
		for name, n := range seen {
			require.Equal(t, 1, n, name)
		}
		w.check()
	}
}

func TestReaddirPlusWaitsForWriters(t *testing.T) {
	w := newWorld(t)
	a, b := w.client("one"), w.client("one")
	for i := range 5 {
		_, err := a.create(a.root(), fmt.Sprint(i), wire.LeaseWrite)
		require.NoError(t, err)
	}
	require.Len(t, b.list(b.root(), 100, false), 5)
	require.Empty(t, a.recalls)
	a.obey(99)
	entries := b.list(b.root(), 100, true)
	require.Len(t, entries, 5)
	for _, e := range entries {
		require.EqualValues(t, 99, e.Attr.Size)
	}
}

func TestReaddirReplyFitsAFrame(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	require.NoError(t, w.srv.own(w.srv.exports[1], func(t *tx) error {
		t.head = &wire.Head{}
		for i := range wire.MaxEntries + 1 {
			dir, err := t.inode(c.root())
			if err != nil {
				return err
			}
			if _, err := t.make(dir, fmt.Sprintf("%0255d", i), vocab.ModeFIFO, 0); err != nil {
				return err
			}
		}
		t.head = nil
		return nil
	}))
	require.Len(t, c.list(c.root(), wire.MaxEntries, true), wire.MaxEntries+1)
	w.check()
}
