package storaged

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Many clients write overlapping runs of a few files in any order of versions,
// while others read, sync and delete, with fewer descriptors than files. At the
// end each block is of the highest version that was written to it.
func TestConcurrentClients(t *testing.T) {
	const clients, files, blocks, rounds = 6, 5, 24, 60
	g := newRig(t, func(g *rig) { g.cfg.MaxOpenFiles = 2 })
	seed := rand.Uint64()
	t.Log("seed", seed)
	fid := func(i int) vocab.FID { return vocab.MakeFID(1, 1, 1, vocab.Ino(1000+i)) }
	var (
		mu      sync.Mutex // guards highest
		highest [files][blocks]vocab.Version
		counter atomic.Uint64
		wg      sync.WaitGroup
	)
	write := func(c *wire.Conn, rnd *rand.Rand) error {
		file, first := rnd.IntN(files), rnd.IntN(blocks-1)
		n := 1 + rnd.IntN(blocks-first-1)
		versions := make([]vocab.Version, n)
		for i := range versions {
			versions[i] = version(counter.Add(1))
		}
		rnd.Shuffle(n, func(i, j int) { versions[i], versions[j] = versions[j], versions[i] })
		run := wire.Run{FID: fid(file), First: uint64(first), Count: uint32(n)}
		req := &wire.WriteRequest{Target: g.to, Run: run, PayloadBytes: testPayload}
		_, err := c.Call(t.Context(), wire.OpWrite, req, wire.Bulk{Parts: [][]byte{slots(run.FID, run.First, versions...)}}, nil)
		mu.Lock()
		defer mu.Unlock()
		for i, v := range versions {
			if h := &highest[file][first+i]; v.Compare(*h) > 0 {
				*h = v
			}
		}
		return err
	}
	read := func(c *wire.Conn, file int) ([]found, error) {
		var reply wire.ReadReply
		run := wire.Run{FID: fid(file), Count: blocks}
		buf, err := c.Call(t.Context(), wire.OpRead, &wire.ReadRequest{Target: g.to, Run: run}, wire.Bulk{}, &reply)
		if err != nil || buf == nil {
			return nil, err
		}
		defer buf.Release()
		return unpack(run, &reply, buf.B), nil
	}
	for i := range clients {
		c := g.dial(wire.RoleClient)
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			defer c.Close()
			for range rounds {
				if err := write(c, rnd); err != nil {
					t.Errorf("write: %v", err)
				}
				all, err := read(c, rnd.IntN(files))
				if err != nil {
					t.Errorf("read: %v", err)
				}
				for _, f := range all {
					if f.state == wire.SlotBroken {
						t.Errorf("a reader saw a torn slot")
					}
				}
				req := &wire.SyncRequest{Target: g.to, Boot: g.srv.Boot(), FIDs: []vocab.FID{fid(0), fid(rnd.IntN(files))}}
				if _, err := c.Call(t.Context(), wire.OpSync, req, wire.Bulk{}, nil); err != nil {
					t.Errorf("sync: %v", err)
				}
			}
		})
	}
	deleted := g.run(0, 1)
	deleted.FID = fid(files)
	wg.Go(func() { g.remove(deleted.FID) })
	wg.Wait()
	g.restart()
	for file := range files {
		all, err := read(g.conn, file)
		require.NoError(t, err)
		for b, v := range highest[file] {
			got := absent
			if b < len(all) {
				got = all[b]
			}
			want := absent
			if !v.Absent() {
				want = present(v)
			}
			require.Equal(t, want, got, "file %d block %d", file, b)
		}
	}
}

// unpack tells what a reply holds; payloads that fail their checksum are broken.
func unpack(run wire.Run, reply *wire.ReadReply, bulk []byte) (all []found) {
	stride := wire.SlotHeaderBytes + int(reply.PayloadBytes)
	for _, p := range reply.Pieces {
		for range p.Count {
			f := found{state: p.State}
			if p.State == wire.SlotPresent {
				n := min(stride, len(bulk))
				h, _, state := wire.ParseSlot(bulk[:n], run.FID, run.First+uint64(len(all)))
				f = found{state, h.Version}
				bulk = bulk[n:]
			}
			all = append(all, f)
		}
	}
	return all
}

func TestSyncGroupSharesWhatHasNotBegun(t *testing.T) {
	var g syncGroup
	var rounds atomic.Int32
	begun, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = g.do(func() error { close(begun); <-goOn; rounds.Add(1); return nil })
	})
	<-begun
	var joined sync.WaitGroup
	for range 10 {
		joined.Add(1)
		wg.Go(func() {
			joined.Done()
			before := rounds.Load()
			_ = g.do(func() error { rounds.Add(1); return nil })
			if rounds.Load() < before+1 {
				t.Error("returned without a sync of its own")
			}
		})
	}
	joined.Wait()
	close(goOn)
	wg.Wait()
	require.LessOrEqual(t, rounds.Load(), int32(11))
	require.GreaterOrEqual(t, rounds.Load(), int32(2))
}
