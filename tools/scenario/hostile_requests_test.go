package scenario

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/admin"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// request is one that a daemon understands.
type request struct {
	op   wire.Op
	m    wire.Message
	bulk []byte
}

func (r *request) frame(id uint32) []byte { return frame(id, r.op, r.m, r.bulk) }

// sendTruncated sends valid requests that end too early: the body with a header
// that says so, which must be answered, and the frame cut off, which must not
// keep the connection.
func sendTruncated(t *testing.T, d admin.DaemonStatus, c *cluster) {
	p := dialPeer(t, d, c)
	for _, r := range p.requests {
		body := wire.Marshal(nil, r.m)
		for _, n := range []int{0, 1, len(body) / 2, len(body) - 1} {
			if n < 0 || n >= len(body) {
				continue // some have no body
			}
			f := append(header(uint32(n), uint32(n), p.next(), r.op, 0), body[:n]...)
			require.True(t, p.ask(t, f), "%v with %d of %d bytes of body ends the connection", r.op, n, len(body))
		}
	}
	unknown := header(0, 0, p.next(), 0x7777, 0)
	require.True(t, p.ask(t, unknown), "an unknown op ends the connection")
	p.nc.Close()
	for _, r := range p.requests {
		f := r.frame(1)
		for _, n := range []int{1, wire.HeaderBytes, len(f) - 1} {
			h := hostile{bytes: append(helloFrame(nil), f[:min(n, len(f)-1)]...), end: true}
			h.send(t, d.Address)
		}
	}
}

// sendMutated sends valid requests with some bytes changed. One whose header is
// whole must be answered.
func sendMutated(t *testing.T, d admin.DaemonStatus, c *cluster, choice *rand.Rand) {
	p := dialPeer(t, d, c)
	for range scaled(400, 4000) {
		r := p.requests[choice.IntN(len(p.requests))]
		f := r.frame(p.next())
		from := wire.HeaderBytes
		if choice.IntN(8) == 0 {
			from = 0
		}
		if from == len(f) {
			continue
		}
		for range 1 + choice.IntN(mutateBytes) {
			f[from+choice.IntN(len(f)-from)] = byte(choice.Uint32())
		}
		if from > 0 && p.ask(t, f) {
			continue
		}
		if from == 0 { // the length may be another: only the end of the stream tells
			_, _ = p.nc.Write(f)
			_ = p.nc.CloseWrite()
			requireClosed(t, p.nc)
		}
		p.nc.Close()
		p = dialPeer(t, d, c)
	}
	p.nc.Close()
}

const (
	greedyPeers    = 3
	greedyRequests = 400 // of each, for 4 MiB
)

// Who asks a storaged for much and reads no answer is made to wait, and takes
// neither its memory nor the others' turn.
func TestPeersThatReadNoAnswerCostLittle(t *testing.T) {
	c := start(t, options{})
	d := c.status().Daemons[1]
	p := dialPeer(t, d, c)
	const blocks = 1000
	w := *p.requests[1].m.(*wire.WriteRequest)
	w.Count = blocks
	payload := p.requests[1].bulk[wire.SlotHeaderBytes:]
	var bulk []byte
	for b := range uint64(blocks) {
		h := wire.SlotHeader{PayloadBytes: uint32(len(payload)), PayloadCRC: wire.Checksum(payload), FID: w.FID, Block: b, Version: vocab.Version{Epoch: 1, Counter: 1}, BlockBytes: 8 * kib}
		slot := make([]byte, wire.SlotHeaderBytes)
		h.Put(slot)
		bulk = append(append(bulk, slot...), payload...)
	}
	require.True(t, p.ask(t, frame(p.next(), wire.OpWrite, &w, bulk)))
	r := request{op: wire.OpRead, m: &wire.ReadRequest{Target: w.Target, Run: wire.Run{FID: w.FID, Count: blocks}}}
	require.True(t, p.ask(t, r.frame(p.next())))
	for range greedyPeers {
		q := dialPeer(t, d, c)
		for range greedyRequests {
			_, err := q.nc.Write(r.frame(q.next()))
			require.NoError(t, err)
		}
	}
	q := dialPeer(t, d, c)
	work := workMeanwhile(c)
	for range 30 {
		require.True(t, q.ask(t, r.frame(q.next())))
	}
	require.NoError(t, work())
	peak := peakMemory(t, d.PID)
	t.Logf("%s has held %d MiB at most", d.Name, peak/mib)
	require.Less(t, peak, int64(hostileMemoryMax))
	require.Equal(t, d.PID, c.pids()[d.Name])
}

// peer is a connection after the hello, with the requests that are valid on it.
type peer struct {
	nc       *net.TCPConn
	id       uint32
	requests []request
}

func (p *peer) next() uint32 { p.id++; return p.id }

func dialPeer(t *testing.T, d admin.DaemonStatus, c *cluster) *peer {
	t.Helper()
	p := &peer{nc: connect(t, d.Address)}
	t.Cleanup(func() { p.nc.Close() })
	_, err := p.nc.Write(helloFrame(nil))
	require.NoError(t, err)
	_, _, err = readAnswer(p.nc, 0)
	require.NoError(t, err)
	if isExportd(d.Name) {
		p.requests = p.exportdRequests(t, c)
	} else {
		p.requests = storagedRequests(t, d)
	}
	return p
}

// ask sends a frame and waits for its answer, whatever that is; false means
// that the connection was closed instead. One of both must happen within await.
func (p *peer) ask(t *testing.T, f []byte) bool {
	t.Helper()
	require.NoError(t, p.nc.SetDeadline(time.Now().Add(await)))
	if _, err := p.nc.Write(f); err != nil {
		return false
	}
	_, _, err := readAnswer(p.nc, p.id)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return false
	}
	require.NoError(t, err, "neither an answer nor the end, after % x", f)
	return true
}

// readAnswer reads frames up to the answer to request id: the daemon may ask
// something in between.
func readAnswer(r io.Reader, id uint32) (body []byte, failed bool, err error) {
	for {
		var h [wire.HeaderBytes]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return nil, false, err
		}
		rest := make([]byte, binary.LittleEndian.Uint32(h[0:]))
		if _, err := io.ReadFull(r, rest); err != nil {
			return nil, false, err
		}
		flags := binary.LittleEndian.Uint16(h[14:])
		if flags&flagReply != 0 && binary.LittleEndian.Uint32(h[8:]) == id {
			return rest[:binary.LittleEndian.Uint32(h[4:])], flags&flagError != 0, nil
		}
	}
}

// exportdRequests opens a session and aims at the file and the directory of
// victims.
func (p *peer) exportdRequests(t *testing.T, c *cluster) []request {
	t.Helper()
	_, err := p.nc.Write(frame(p.next(), wire.OpOpenSession, &wire.OpenSessionRequest{Export: admin.DefaultExport, Name: "hostile"}, nil))
	require.NoError(t, err)
	body, failed, err := readAnswer(p.nc, p.id)
	require.NoError(t, err)
	require.False(t, failed, "%q", body)
	var s wire.OpenSessionReply
	require.NoError(t, wire.Unmarshal(body, &s))
	dir, file := ino(t, c.path("victims")), ino(t, c.path("victims", "file"))
	read := wire.Head{Session: s.Session}
	n := uint64(0)
	change := func() wire.Head { n++; return wire.Head{Session: s.Session, RequestID: n} }
	return []request{
		{op: wire.OpExportStatus, m: &wire.Empty{}},
		{op: wire.OpRenew, m: &read},
		{op: wire.OpStorages, m: &read},
		{op: wire.OpStatFS, m: &read},
		{op: wire.OpLookup, m: &wire.NameRequest{Head: read, Parent: dir, Name: "file"}},
		{op: wire.OpGetAttr, m: &wire.InoRequest{Head: read, Ino: file}},
		{op: wire.OpReadlink, m: &wire.InoRequest{Head: read, Ino: file}},
		{op: wire.OpReaddir, m: &wire.ReaddirRequest{Head: read, Ino: dir, Max: wire.MaxEntries, Plus: true}},
		{op: wire.OpSetAttr, m: &wire.SetAttrRequest{Head: change(), Ino: file, Mask: wire.SetMode | wire.SetMtimeNow, Mode: 0o600}},
		{op: wire.OpMknod, m: &wire.MknodRequest{Head: change(), Parent: dir, Name: "pipe", Mode: syscall.S_IFIFO | 0o600}},
		{op: wire.OpCreate, m: &wire.CreateRequest{Head: change(), Parent: dir, Name: "new", Mode: syscall.S_IFREG | 0o600}},
		{op: wire.OpSymlink, m: &wire.SymlinkRequest{Head: change(), Parent: dir, Name: "link", Target: "file"}},
		{op: wire.OpLink, m: &wire.LinkRequest{Head: change(), Ino: file, Parent: dir, Name: "hard"}},
		{op: wire.OpRename, m: &wire.RenameRequest{Head: change(), Parent: dir, Name: "hard", NewParent: dir, NewName: "moved"}},
		{op: wire.OpUnlink, m: &wire.NameRequest{Head: change(), Parent: dir, Name: "link"}},
		{op: wire.OpRmdir, m: &wire.NameRequest{Head: change(), Parent: dir, Name: "none"}},
		{op: wire.OpOpen, m: &wire.OpenRequest{Head: change(), Ino: file}},
		{op: wire.OpCommit, m: &wire.CommitRequest{Head: change(), Commit: wire.Commit{Ino: file, Epoch: 1, Size: 1}}},
		{op: wire.OpRelease, m: &wire.ReleaseRequest{Head: change(), Items: []wire.ReleaseItem{{Commit: wire.Commit{Ino: file}, Close: true}}}},
		{op: wire.OpReclaim, m: &wire.ReclaimRequest{Head: read, Held: []wire.Held{{Ino: file}}, Last: true}},
	}
}

func ino(t *testing.T, path string) vocab.Ino {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return vocab.Ino(info.Sys().(*syscall.Stat_t).Ino)
}

// storagedRequests aim at a file of their own on the daemon's storage.
func storagedRequests(t *testing.T, d admin.DaemonStatus) []request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), await)
	defer cancel()
	conn, err := wire.Dial(ctx, d.Address, wire.Hello{Role: wire.RoleAdmin, Name: "scenario"}, nil)
	require.NoError(t, err)
	defer conn.Close()
	var s wire.StorageStatusReply
	_, err = conn.Call(ctx, wire.OpStorageStatus, &wire.StorageStatusRequest{}, wire.Bulk{}, &s)
	require.NoError(t, err)
	require.Len(t, s.Roots, 1)
	root := s.Roots[0]
	at := wire.Target{ID: root.ID, Incarnation: root.Incarnation, Session: 1 << 60, Epoch: 1}
	fid := vocab.FID{0xff, 0xfe, 0xfd}
	one := wire.Run{FID: fid, Count: 1}
	payload := bytesOf(3, 4*kib)
	slot := make([]byte, wire.SlotHeaderBytes, wire.SlotHeaderBytes+len(payload))
	h := wire.SlotHeader{PayloadBytes: uint32(len(payload)), PayloadCRC: wire.Checksum(payload), FID: fid, Version: vocab.Version{Epoch: 1, Counter: 1}, BlockBytes: 8 * kib}
	h.Put(slot)
	return []request{
		{op: wire.OpStorageStatus, m: &wire.StorageStatusRequest{}},
		{op: wire.OpWrite, m: &wire.WriteRequest{Target: at, Run: one, PayloadBytes: uint32(len(payload))}, bulk: append(slot, payload...)},
		{op: wire.OpRead, m: &wire.ReadRequest{Target: at, Run: wire.Run{FID: fid, Count: wire.MaxRunBlocks}}},
		{op: wire.OpSync, m: &wire.SyncRequest{Target: at, Boot: root.Boot, FIDs: []vocab.FID{fid}}},
		{op: wire.OpDiscard, m: &wire.DiscardRequest{Target: at, Run: one, Version: vocab.Version{Epoch: 1}}},
		{op: wire.OpDelete, m: &wire.DeleteRequest{Target: at, FIDs: []vocab.FID{fid}}},
		{op: wire.OpFence, m: &wire.FenceRequest{Target: at}},
	}
}
