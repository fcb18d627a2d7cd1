package storaged

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// frameOf is a frame by hand, with lengths that need not be true.
func frameOf(total, body, id uint32, op wire.Op, flags uint16, rest []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, total)
	b = binary.LittleEndian.AppendUint32(b, body)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint16(b, uint16(op))
	b = binary.LittleEndian.AppendUint16(b, flags)
	return append(b, rest...)
}

func helloFrame() []byte {
	body := wire.Marshal(nil, &wire.Hello{Magic: 0x315a4f52, Min: 1, Max: 1, Role: wire.RoleClient})
	return frameOf(uint32(len(body)), uint32(len(body)), 0, wire.OpHello, 0, body)
}

func TestHostileStreamsEndTheirConnectionOnly(t *testing.T) {
	g := newRig(t)
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(i*7 + i>>8)
	}
	cat := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	for name, stream := range map[string][]byte{
		"http":                  []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"noise":                 noise,
		"zeros":                 make([]byte, 1000),
		"huge frame first":      frameOf(1<<32-1, 1<<32-1, 0, wire.OpHello, 0, nil),
		"not a hello first":     frameOf(0, 0, 1, wire.OpStorageStatus, 0, nil),
		"noise after hello":     cat(helloFrame(), noise),
		"huge body":             cat(helloFrame(), frameOf(1<<31, 1<<31, 1, wire.OpSync, 0, nil)),
		"huge bulk":             cat(helloFrame(), frameOf(1<<31, 4, 1, wire.OpWrite, 0, nil)),
		"body over the frame":   cat(helloFrame(), frameOf(4, 8, 1, wire.OpRead, 0, noise[:8])),
		"unknown flags":         cat(helloFrame(), frameOf(0, 0, 1, wire.OpRead, 0x80, nil)),
		"an error as a request": cat(helloFrame(), frameOf(0, 0, 1, wire.OpRead, 2, nil)),
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := net.Dial("tcp", g.addr)
			require.NoError(t, err)
			defer nc.Close()
			require.NoError(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
			_, _ = nc.Write(stream) // it may be reset while it writes
			_ = nc.(*net.TCPConn).CloseWrite()
			_, err = io.Copy(io.Discard, nc)
			var timeout net.Error
			require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the server does not hang up")
			g.status()
		})
	}
}

func TestTruncatedFramesAreDropped(t *testing.T) {
	g := newRig(t)
	req := wire.Marshal(nil, &wire.WriteRequest{Target: g.to, Run: g.run(0, 1), PayloadBytes: testPayload})
	bulk := slots(testFID, 0, version(1))
	whole := frameOf(uint32(len(req)+len(bulk)), uint32(len(req)), 1, wire.OpWrite, 0, append(req, bulk...))
	for _, n := range []int{1, 15, 16, 20, wire.HeaderBytes + len(req), len(whole) - 1} {
		nc, err := net.Dial("tcp", g.addr)
		require.NoError(t, err)
		_, err = nc.Write(append(helloFrame(), whole[:n]...))
		require.NoError(t, err)
		require.NoError(t, nc.(*net.TCPConn).CloseWrite())
		_, err = io.Copy(io.Discard, nc)
		require.NoError(t, err)
		require.NoError(t, nc.Close())
	}
	require.Equal(t, []found{absent}, g.read(0, 1))
}

// rawBody is a body of any bytes.
type rawBody []byte

func (m rawBody) Code(c *wire.Codec) { c.Fixed(m) }

func TestMalformedMessagesGetAnError(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1))
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	ops := []wire.Op{wire.OpWrite, wire.OpRead, wire.OpSync, wire.OpDiscard, wire.OpDelete, wire.OpFence, wire.OpStorageStatus, 0, 0xffff}
	good := [][]byte{
		wire.Marshal(nil, &wire.WriteRequest{Target: g.to, Run: g.run(0, 1), PayloadBytes: testPayload}),
		wire.Marshal(nil, &wire.SyncRequest{Target: g.to, Boot: g.srv.Boot(), FIDs: []vocab.FID{testFID}}),
		wire.Marshal(nil, &wire.DiscardRequest{Target: g.to, Run: g.run(1, 0), Version: version(1)}),
	}
	for range 2000 {
		body := append([]byte(nil), good[rnd.IntN(len(good))]...)
		for range rnd.IntN(4) {
			body[rnd.IntN(len(body))] ^= byte(1 << rnd.IntN(8))
		}
		body = body[:rnd.IntN(len(body)+1)]
		var bulk []byte
		if rnd.IntN(2) == 0 {
			bulk = slots(testFID, 0, version(2))
			bulk[rnd.IntN(len(bulk))] ^= 1
		}
		op := ops[rnd.IntN(len(ops))]
		err := g.send(op, rawBody(body), bulk, nil)
		require.NotErrorIs(t, err, vocab.DiskFailed)
		require.NotErrorIs(t, err, vocab.Internal, "op %v", op)
	}
	require.Equal(t, wire.HealthUp, g.status().Health)
	require.NoError(t, g.conn.Err())
}

func TestRunsOfExtremeBlocksAreBounded(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1))
	for _, run := range []wire.Run{g.run(1<<63, 1), g.run(wire.MaxBlockIndex+1, 1), g.run(0, wire.MaxRunBlocks+1)} {
		_, _, err := g.tryRead(run)
		require.ErrorIs(t, err, vocab.Protocol)
	}
	_, bulk, err := g.tryRead(g.run(wire.MaxBlockIndex, wire.MaxRunBlocks))
	require.NoError(t, err)
	require.Empty(t, bulk)
	// With the largest stride the last block lies beyond any file system.
	fid := vocab.FID{7}
	req := &wire.WriteRequest{Target: g.to, Run: wire.Run{FID: fid, First: wire.MaxBlockIndex, Count: 1}, PayloadBytes: maxPayloadBytes}
	err = g.send(wire.OpWrite, req, slot(fid, wire.MaxBlockIndex, version(1), 10), nil)
	require.Error(t, err)
	require.Equal(t, wire.HealthUp, g.status().Health, "%v", err)
}

func TestPeerThatTakesNoRepliesHoldsUpNobody(t *testing.T) {
	g := newRig(t, func(g *rig) { g.cfg.MaxBulkBytes = MinMaxBulkBytes; g.cfg.Threads = 2 })
	const payload, count = 60 << 10, 60 // 3.5 MiB
	var b []byte
	for i := range uint64(count) {
		b = append(b, slot(testFID, i, version(1), payload)...)
	}
	req := &wire.WriteRequest{Target: g.to, Run: g.run(0, count), PayloadBytes: payload}
	require.NoError(t, g.send(wire.OpWrite, req, b, nil))

	nc, err := net.Dial("tcp", g.addr)
	require.NoError(t, err)
	defer nc.Close()
	_, err = nc.Write(helloFrame())
	require.NoError(t, err)
	read := wire.Marshal(nil, &wire.ReadRequest{Target: g.to, Run: g.run(0, count)})
	for id := range uint32(wire.MaxServing) {
		_, err = nc.Write(frameOf(uint32(len(read)), uint32(len(read)), id, wire.OpRead, 0, read))
		require.NoError(t, err)
	}
	for range 20 {
		require.Len(t, g.read(0, count), count)
	}
}

func FuzzWriteRequest(f *testing.F) {
	to := wire.Target{Session: 5, Epoch: 10}
	run := wire.Run{FID: testFID, Count: 2}
	f.Add(wire.Marshal(nil, &wire.WriteRequest{Target: to, Run: run, PayloadBytes: testPayload}), slots(testFID, 0, version(1), version(2)))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, body, bulk []byte) {
		var req wire.WriteRequest
		if wire.Unmarshal(body, &req) != nil {
			return
		}
		in, err := checkSlots(&req, bulk, true)
		if err != nil {
			return
		}
		for i := range int(in.Count) {
			_, _, state := wire.ParseSlot(in.slots(i, i+1), in.FID, in.First+uint64(i))
			require.Equal(t, wire.SlotPresent, state)
		}
		require.GreaterOrEqual(t, in.highest.Compare(in.lowest), 0)
	})
}
