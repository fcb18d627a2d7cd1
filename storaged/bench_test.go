package storaged

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// A run of 128 blocks of 8 KiB in layout 0 is one FUSE write of 1 MiB; each
// storage gets 128 projections of at most 513 bins. Bytes are those on the wire.
const (
	benchBlocks  = 128
	benchPayload = 513 * 8
)

// benchRun is a run at first under a version.
func benchRun(first uint64, v vocab.Version) []byte {
	var b []byte
	for i := range uint64(benchBlocks) {
		b = append(b, slot(testFID, first+i, v, benchPayload)...)
	}
	return b
}

// stamp gives all slots of a run another block and version, as cheaply as it goes.
func stamp(b []byte, first uint64, v vocab.Version) {
	for i := range uint64(benchBlocks) {
		s := b[i*(wire.SlotHeaderBytes+benchPayload):]
		var h wire.SlotHeader
		h.Parse(s)
		h.Block, h.Version = first+i, v
		h.Put(s)
	}
}

func (g *rig) benchWrite(b *testing.B, first uint64, bulk []byte) {
	req := &wire.WriteRequest{Target: g.to, Run: g.run(first, benchBlocks), PayloadBytes: benchPayload}
	require.NoError(b, g.send(wire.OpWrite, req, bulk, nil))
}

// BenchmarkWriteRun appends, or overwrites where the server knows all versions,
// or where it must look at the headers (after a restart).
func BenchmarkWriteRun(b *testing.B) {
	const runs = 64 // in the file
	for _, mode := range []string{"append", "overwrite", "overwrite-unknown"} {
		b.Run(mode, func(b *testing.B) {
			g := newRig(b)
			bulk := benchRun(0, version(1))
			if mode != "append" {
				for i := range uint64(runs) {
					stamp(bulk, i*benchBlocks, version(1))
					g.benchWrite(b, i*benchBlocks, bulk)
				}
			}
			if mode == "overwrite-unknown" {
				g.restart()
			}
			b.SetBytes(int64(len(bulk)))
			b.ReportAllocs()
			n := uint64(0)
			for b.Loop() {
				first := n % runs * benchBlocks
				if mode == "append" && first == 0 {
					g.discard(0, 0, version(n+2))
				}
				n++
				stamp(bulk, first, version(n+2))
				g.benchWrite(b, first, bulk)
			}
		})
	}
}

func BenchmarkReadRun(b *testing.B) {
	g := newRig(b)
	const runs = 64
	bulk := benchRun(0, version(1))
	for i := range uint64(runs) {
		stamp(bulk, i*benchBlocks, version(1))
		g.benchWrite(b, i*benchBlocks, bulk)
	}
	b.SetBytes(int64(len(bulk)))
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		var reply wire.ReadReply
		req := &wire.ReadRequest{Target: g.to, Run: g.run(n%runs*benchBlocks, benchBlocks)}
		buf, err := g.conn.Call(b.Context(), wire.OpRead, req, wire.Bulk{}, &reply)
		require.NoError(b, err)
		buf.Release()
		n++
	}
}

func BenchmarkReadOneBlock(b *testing.B) {
	g := newRig(b)
	bulk := benchRun(0, version(1))
	g.benchWrite(b, 0, bulk)
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		req := &wire.ReadRequest{Target: g.to, Run: g.run(n%benchBlocks, 1)}
		buf, err := g.conn.Call(b.Context(), wire.OpRead, req, wire.Bulk{}, &wire.ReadReply{})
		require.NoError(b, err)
		buf.Release()
		n++
	}
}
