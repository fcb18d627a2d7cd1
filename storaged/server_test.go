package storaged

import (
	"context"
	"math"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	testCluster = vocab.ClusterID{1, 2, 3}
	testID      = vocab.StorageID{CID: 1, SID: 1}
	testFID     = vocab.MakeFID(1, 1, 1, 77)
)

const testPayload = 100

// rig is a server with one root and a client of it.
type rig struct {
	t     testing.TB
	path  string
	cfg   Config
	srv   *Server
	addr  string
	conn  *wire.Conn // a client's
	admin *wire.Conn // an exportd's
	to    wire.Target

	incarnation vocab.Incarnation // 0: as the root on the disk says
}

func newRig(t testing.TB, change ...func(*rig)) *rig {
	t.Helper()
	g := &rig{t: t, path: filepath.Join(t.TempDir(), "root")}
	require.NoError(t, InitRoot(g.path, testCluster, testID))
	g.cfg = Config{Roots: []RootConfig{{CID: 1, SID: 1, Path: g.path}}}
	for _, f := range change {
		f(g)
	}
	g.start()
	t.Cleanup(g.stop)
	return g
}

func (g *rig) start() {
	g.t.Helper()
	s, err := New(g.cfg)
	require.NoError(g.t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(g.t, err)
	g.srv, g.addr = s, l.Addr().String()
	s.serving.Go(func() { _ = s.Serve(l) })
	g.conn, g.admin = g.dial(wire.RoleClient), g.dial(wire.RoleExportd)
	incarnation := g.incarnation
	if incarnation == 0 {
		id, err := ReadRoot(g.path)
		require.NoError(g.t, err)
		incarnation = id.Incarnation
	}
	g.to = wire.Target{ID: testID, Incarnation: incarnation, Session: 5, Epoch: 10}
}

func (g *rig) stop() {
	g.conn.Close()
	g.admin.Close()
	require.NoError(g.t, g.srv.Close())
}

func (g *rig) restart() {
	g.t.Helper()
	g.stop()
	g.start()
}

func (g *rig) dial(role wire.Role) *wire.Conn {
	g.t.Helper()
	c, err := wire.Dial(g.t.Context(), g.addr, wire.Hello{Role: role, Cluster: testCluster, Name: "test"}, nil)
	require.NoError(g.t, err)
	return c
}

func (g *rig) run(first uint64, count int) wire.Run {
	return wire.Run{FID: testFID, Generation: 1, First: first, Count: uint32(count)}
}

// version is counter n of epoch 10.
func version(n uint64) vocab.Version { return vocab.Version{Epoch: 10, Counter: n} }

// payloadOf is what the test stores in a block under a version.
func payloadOf(block uint64, v vocab.Version, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(block*31 + v.Counter*7 + uint64(v.Epoch)*3 + uint64(i) + 1)
	}
	return b
}

// slot is a whole slot with a payload of n bytes, without padding.
func slot(fid vocab.FID, block uint64, v vocab.Version, n int) []byte {
	p := payloadOf(block, v, n)
	b := make([]byte, wire.SlotHeaderBytes+n)
	h := wire.SlotHeader{PayloadBytes: uint32(n), PayloadCRC: wire.Checksum(p), FID: fid, Block: block, Version: v, BlockBytes: uint32(n)}
	h.Put(b)
	copy(b[wire.SlotHeaderBytes:], p)
	return b
}

// slots is a run with one version for each block.
func slots(fid vocab.FID, first uint64, versions ...vocab.Version) []byte {
	var b []byte
	for i, v := range versions {
		b = append(b, slot(fid, first+uint64(i), v, testPayload)...)
	}
	return b
}

func (g *rig) send(op wire.Op, req wire.Message, bulk []byte, reply wire.Message) error {
	c := g.conn
	if op == wire.OpDelete || op == wire.OpFence {
		c = g.admin
	}
	var b wire.Bulk
	if bulk != nil {
		b.Parts = [][]byte{bulk}
	}
	buf, err := c.Call(g.t.Context(), op, req, b, reply)
	buf.Release()
	return err
}

func (g *rig) tryWrite(first uint64, versions ...vocab.Version) error {
	req := &wire.WriteRequest{Target: g.to, Run: g.run(first, len(versions)), PayloadBytes: testPayload}
	return g.send(wire.OpWrite, req, slots(testFID, first, versions...), &wire.WriteReply{})
}

func (g *rig) write(first uint64, versions ...vocab.Version) {
	g.t.Helper()
	require.NoError(g.t, g.tryWrite(first, versions...))
}

func (g *rig) trySync(boot vocab.Boot, fids ...vocab.FID) error {
	return g.send(wire.OpSync, &wire.SyncRequest{Target: g.to, Boot: boot, FIDs: fids}, nil, &wire.BootReply{})
}

func (g *rig) sync() {
	g.t.Helper()
	require.NoError(g.t, g.trySync(g.srv.Boot(), testFID))
}

// final tells the storage that all of the file up to v is durable elsewhere too.
func (g *rig) final(v vocab.Version) {
	g.t.Helper()
	req := &wire.FinalRequest{Target: g.to, Files: []wire.FinalFile{{FID: testFID, Final: v}}}
	require.NoError(g.t, g.send(wire.OpFinal, req, nil, &wire.BootReply{}))
}

// fold brings all that was written into place.
func (g *rig) fold() {
	g.t.Helper()
	g.sync()
	g.final(version(math.MaxUint64))
	for range 2 { // the second time for headers that the first has changed
		_, err := g.srv.order[0].fold(true)
		require.NoError(g.t, err)
	}
	require.Nil(g.t, g.srv.order[0].journal.pendingOf(testFID))
}

func (g *rig) discard(first uint64, count int, v vocab.Version) {
	g.t.Helper()
	require.NoError(g.t, g.send(wire.OpDiscard, &wire.DiscardRequest{Target: g.to, Run: g.run(first, count), Version: v}, nil, &wire.BootReply{}))
}

func (g *rig) remove(fids ...vocab.FID) {
	g.t.Helper()
	require.NoError(g.t, g.send(wire.OpDelete, &wire.DeleteRequest{Target: g.to, FIDs: fids}, nil, &wire.BootReply{}))
}

func (g *rig) fence(session vocab.SessionID, epoch vocab.Epoch) {
	g.t.Helper()
	to := g.to
	to.Session, to.Epoch = session, epoch
	require.NoError(g.t, g.send(wire.OpFence, &wire.FenceRequest{Target: to}, nil, &wire.BootReply{}))
}

func (g *rig) status() wire.StorageRoot {
	g.t.Helper()
	var reply wire.StorageStatusReply
	require.NoError(g.t, g.send(wire.OpStorageStatus, &wire.StorageStatusRequest{}, nil, &reply))
	require.Len(g.t, reply.Roots, 1)
	return reply.Roots[0]
}

// found is one block of a read.
type found struct {
	state   wire.SlotState
	version vocab.Version
}

var (
	absent  = found{}
	unknown = found{state: wire.SlotBroken}
)

func present(v vocab.Version) found { return found{wire.SlotPresent, v} }

func (g *rig) tryRead(run wire.Run) (wire.ReadReply, []byte, error) {
	return g.tryReadBelow(run, vocab.Version{})
}

func (g *rig) tryReadBelow(run wire.Run, below vocab.Version) (wire.ReadReply, []byte, error) {
	var reply wire.ReadReply
	buf, err := g.conn.Call(g.t.Context(), wire.OpRead, &wire.ReadRequest{Target: g.to, Run: run, Below: below}, wire.Bulk{}, &reply)
	if err != nil || buf == nil {
		return reply, nil, err
	}
	defer buf.Release()
	return reply, append([]byte(nil), buf.B...), nil
}

// read returns what each block of the run holds, having checked every payload
// that is there against payloadOf.
func (g *rig) read(first uint64, count int) []found {
	g.t.Helper()
	return g.readBelow(first, count, vocab.Version{})
}

// readBelow is read of the newest versions below one.
func (g *rig) readBelow(first uint64, count int, below vocab.Version) []found {
	g.t.Helper()
	reply, bulk, err := g.tryReadBelow(g.run(first, count), below)
	require.NoError(g.t, err)
	require.Equal(g.t, g.srv.Boot(), reply.Boot)
	var all []found
	stride := wire.SlotHeaderBytes + int(reply.PayloadBytes)
	for _, p := range reply.Pieces {
		for range p.Count {
			f := found{state: p.State}
			if p.State == wire.SlotPresent {
				n := min(stride, len(bulk))
				block := first + uint64(len(all))
				h, payload, state := wire.ParseSlot(bulk[:n], testFID, block)
				require.Equal(g.t, wire.SlotPresent, state, "block %d", block)
				require.Equal(g.t, payloadOf(block, h.Version, len(payload)), payload, "block %d", block)
				f.version = h.Version
				bulk = bulk[n:]
			}
			all = append(all, f)
		}
	}
	require.Empty(g.t, bulk)
	require.LessOrEqual(g.t, len(all), count)
	for len(all) < count {
		all = append(all, absent)
	}
	return all
}

func (g *rig) slotPath() string { return filepath.Join(g.path, slotFileName(testFID)) }

func TestServedOpsAreNamedAndOthersRefused(t *testing.T) {
	g := newRig(t)
	require.ErrorIs(t, g.send(wire.OpLookup, &wire.Empty{}, nil, nil), vocab.NotSupported)
	to := g.to
	to.ID.SID = 9
	require.ErrorIs(t, g.send(wire.OpRead, &wire.ReadRequest{Target: to, Run: g.run(0, 1)}, nil, nil), vocab.NotFound)
}

func TestStatusTellsSpaceHealthAndIdentity(t *testing.T) {
	g := newRig(t)
	st := g.status()
	require.Equal(t, wire.HealthNew, st.Health)
	require.Equal(t, g.to.Incarnation, st.Incarnation)
	require.Equal(t, g.srv.Boot(), st.Boot)
	require.Equal(t, g.path, st.Root)
	require.NotZero(t, st.TotalBytes)
	require.LessOrEqual(t, st.FreeBytes, st.TotalBytes)
}

func TestStartBindsAllAddressesOrNone(t *testing.T) {
	g := newRig(t)
	path := filepath.Join(t.TempDir(), "other")
	require.NoError(t, InitRoot(path, testCluster, testID))
	s, err := New(Config{Roots: []RootConfig{{CID: 1, SID: 1, Path: path}}, Listen: []string{"127.0.0.1:0", g.addr}})
	require.NoError(t, err)
	err = s.Start()
	require.ErrorContains(t, err, g.addr)
	require.ErrorContains(t, err, "address already in use")
	require.Empty(t, s.Addrs())
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
}

func TestStartServesUntilClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root")
	require.NoError(t, InitRoot(path, testCluster, testID))
	s, err := New(Config{Roots: []RootConfig{{CID: 1, SID: 1, Path: path}}, Listen: []string{"127.0.0.1:0"}})
	require.NoError(t, err)
	require.NoError(t, s.Start())
	c, err := wire.Dial(t.Context(), s.Addrs()[0].String(), wire.Hello{Role: wire.RoleAdmin}, nil)
	require.NoError(t, err)
	require.Equal(t, testCluster, c.Peer().Cluster)
	require.NoError(t, s.Close())
	_, err = c.Call(context.Background(), wire.OpStorageStatus, &wire.StorageStatusRequest{}, wire.Bulk{}, nil)
	require.ErrorIs(t, err, vocab.Unavailable)
	require.NoError(t, c.Close())
}
