package exportd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waiting for what must happen.
const patience = 20 * time.Second

func eventually(t testing.TB, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, what)
}

// fakeStoraged answers exportd as a storaged with one root per sid would.
type fakeStoraged struct {
	unsettling atomic.Bool // it settles nothing
	t          testing.TB
	addr       string
	srv        *wire.Server
	done       chan error

	mu      sync.Mutex // guards the rest
	roots   []wire.StorageRoot
	deleted map[vocab.StorageID]map[vocab.FID]bool
	fences  map[vocab.StorageID]wire.Target
	settle  []wire.SettleRequest
	repairs []wire.RepairRequest
	leases  []wire.LeaseID // that were fenced
}

const testTotal = 1 << 40

func newFakeStoraged(t testing.TB, sids ...vocab.SID) *fakeStoraged {
	f := &fakeStoraged{t: t, deleted: map[vocab.StorageID]map[vocab.FID]bool{}, fences: map[vocab.StorageID]wire.Target{}}
	for _, sid := range sids {
		id := vocab.StorageID{CID: 1, SID: sid}
		f.roots = append(f.roots, wire.StorageRoot{ID: id, Incarnation: vocab.Incarnation(1000 + uint64(sid)), Boot: 1, Health: wire.HealthUp, TotalBytes: testTotal, FreeBytes: testTotal / 2})
		f.deleted[id] = map[vocab.FID]bool{}
	}
	f.start("127.0.0.1:0")
	t.Cleanup(f.stop)
	return f
}

func (f *fakeStoraged) start(addr string) {
	l, err := net.Listen("tcp", addr)
	require.NoError(f.t, err)
	f.addr = l.Addr().String()
	f.srv = &wire.Server{Hello: wire.Hello{Role: wire.RoleStoraged, Name: "fake"}, Handler: f.handle, Log: slog.New(slog.DiscardHandler)}
	f.done = make(chan error, 1)
	srv, done := f.srv, f.done
	go func() { done <- srv.Serve(l) }()
}

func (f *fakeStoraged) stop() {
	if f.srv == nil {
		return
	}
	require.NoError(f.t, f.srv.Close())
	require.NoError(f.t, <-f.done)
	f.srv = nil
}

func (f *fakeStoraged) restart() { f.start(f.addr) }

func (f *fakeStoraged) handle(_ context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.Op {
	case wire.OpStorageStatus:
		return &wire.StorageStatusReply{Roots: append([]wire.StorageRoot(nil), f.roots...)}, wire.Bulk{}, nil
	case wire.OpFence:
		var m wire.FenceRequest
		if err := r.Decode(&m); err != nil {
			return nil, wire.Bulk{}, err
		}
		if err := f.check(m.Target); err != nil {
			return nil, wire.Bulk{}, err
		}
		if m.Session != settleSession {
			f.fences[m.ID] = m.Target
		}
		f.leases = append(f.leases, m.Leases...)
		return &wire.BootReply{Boot: 1}, wire.Bulk{}, nil
	case wire.OpMark:
		var m wire.MarkRequest
		if err := r.Decode(&m); err != nil {
			return nil, wire.Bulk{}, err
		}
		return &wire.BootReply{Boot: 1}, wire.Bulk{}, f.check(m.Target)
	case wire.OpRepair: // the second request for a file is its last
		var m wire.RepairRequest
		if err := r.Decode(&m); err != nil {
			return nil, wire.Bulk{}, err
		}
		f.repairs = append(f.repairs, m)
		m.SoFar.Boot, m.SoFar.Next = 1, 0
		if m.From == 0 {
			m.SoFar.Next, m.SoFar.Lost, m.SoFar.Missing = 1024, 3, 1<<2
		}
		return &m.SoFar, wire.Bulk{}, nil
	case wire.OpSettle:
		var m wire.SettleRequest
		if err := r.Decode(&m); err != nil {
			return nil, wire.Bulk{}, err
		}
		f.settle = append(f.settle, m)
		if f.unsettling.Load() {
			return nil, wire.Bulk{}, vocab.Errorf(vocab.Unavailable, "as the test wants it")
		}
		return &wire.BootReply{Boot: 1}, wire.Bulk{}, nil
	case wire.OpDelete:
		var m wire.DeleteRequest
		if err := r.Decode(&m); err != nil {
			return nil, wire.Bulk{}, err
		}
		if err := f.check(m.Target); err != nil {
			return nil, wire.Bulk{}, err
		}
		for _, fid := range m.FIDs {
			f.deleted[m.ID][fid] = true
		}
		return &wire.BootReply{Boot: 1}, wire.Bulk{}, nil
	}
	return nil, wire.Bulk{}, vocab.NotSupported
}

func (f *fakeStoraged) check(m wire.Target) error {
	for i := range f.roots {
		if f.roots[i].ID == m.ID {
			if f.roots[i].Incarnation != m.Incarnation {
				return vocab.WrongIncarnation
			}
			return nil
		}
	}
	return vocab.NotFound
}

// settles gives the last request to settle a file.
func (f *fakeStoraged) settles() (m wire.SettleRequest, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.settle); n > 0 {
		return f.settle[n-1], true
	}
	return m, false
}

func (f *fakeStoraged) fence(sid vocab.SID) (wire.Target, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, ok := f.fences[vocab.StorageID{CID: 1, SID: sid}]
	return m, ok
}

// world is a server that can be restarted, and its storages.
type world struct {
	t     testing.TB
	cfg   Config
	clock atomic.Int64 // added to the real time
	srv   *Server
	addr  string
	done  chan error
	hash  func(string) uint64
	fakes []*fakeStoraged
}

// newWorld starts a server over four storages, each its own daemon.
func newWorld(t testing.TB, change ...func(*Config)) *world {
	w := &world{t: t}
	var storages []Storage
	for sid := vocab.SID(1); sid <= 4; sid++ {
		f := newFakeStoraged(t, sid)
		w.fakes = append(w.fakes, f)
		storages = append(storages, Storage{SID: sid, Addr: f.addr, Domain: fmt.Sprint(sid)})
	}
	w.cfg = Config{
		Dir: "meta", FS: vfs.NewCrashableMem(), LeaseTerm: MaxLeaseTerm, PollInterval: 5 * time.Millisecond,
		Clock:   func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) },
		Volumes: []Volume{{VID: 1, Layout: vocab.Layout{Inverse: 2, Forward: 3, Safe: 4}, Clusters: []Cluster{{CID: 1, Storages: storages}}}},
		Exports: []Export{{EID: 1, Name: "one", Root: "/srv/one", VID: 1}, {EID: 2, Name: "two", Root: "/srv/two", VID: 1}},
	}
	if os.Getenv("EXPORTD_TEST_LOG") != "" {
		w.cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	for _, f := range change {
		f(&w.cfg)
	}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	var err error
	w.srv, err = New(w.cfg)
	require.NoError(w.t, err)
	if w.hash != nil {
		w.srv.hash = w.hash
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	w.addr = l.Addr().String()
	w.done = make(chan error, 1)
	srv, done := w.srv, w.done
	go func() { done <- srv.Serve(l) }()
}

func (w *world) stop() {
	if w.srv == nil {
		return
	}
	require.NoError(w.t, w.srv.Close())
	require.NoError(w.t, <-w.done)
	w.srv = nil
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// crash loses what was not synced and starts again.
func (w *world) crash() {
	w.t.Helper()
	clone := w.cfg.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
	w.stop()
	w.cfg.FS = clone
	w.start()
}

func (w *world) check() {
	w.t.Helper()
	require.Empty(w.t, w.srv.Check(context.Background()))
}

// client is one mount.
type client struct {
	t      testing.TB
	w      *world
	conn   *wire.Conn
	opened wire.OpenSessionReply
	next   atomic.Uint64

	mu       sync.Mutex // guards onRecall
	onRecall func(wire.RecallRequest)
	recalls  chan wire.RecallRequest
	turns    chan uint64 // tickets of locks
}

func (w *world) client(export string) *client {
	w.t.Helper()
	c := &client{t: w.t, w: w, recalls: make(chan wire.RecallRequest, 4096), turns: make(chan uint64, 4096)}
	c.connect()
	require.NoError(w.t, c.raw(wire.OpOpenSession, &wire.OpenSessionRequest{Export: export, Name: "test"}, &c.opened))
	return c
}

func (c *client) connect() {
	c.t.Helper()
	var err error
	c.conn, err = wire.Dial(context.Background(), c.w.addr, wire.Hello{Role: wire.RoleClient, Name: "test"}, c.handle)
	require.NoError(c.t, err)
	conn := c.conn
	c.t.Cleanup(func() { conn.Close() })
}

// resume comes back after a lost connection or a restart.
func (c *client) resume() error {
	c.t.Helper()
	c.conn.Close()
	c.connect()
	var r wire.OpenSessionReply
	err := c.raw(wire.OpOpenSession, &wire.OpenSessionRequest{Resume: c.opened.Session, Secret: c.opened.Secret}, &r)
	if err == nil {
		require.Equal(c.t, c.opened.Session, r.Session)
	}
	return err
}

func (c *client) handle(_ context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	if r.Op == wire.OpLockTurn {
		return c.takeTurns(r)
	}
	if r.Op != wire.OpRecall {
		return nil, wire.Bulk{}, vocab.NotSupported
	}
	var m wire.RecallRequest
	if err := r.Decode(&m); err != nil {
		return nil, wire.Bulk{}, err
	}
	c.mu.Lock()
	f := c.onRecall
	c.mu.Unlock()
	c.recalls <- m
	if f != nil {
		f(m)
	}
	return &wire.Empty{}, wire.Bulk{}, nil
}

func (c *client) whenRecalled(f func(wire.RecallRequest)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onRecall = f
}

func (c *client) raw(op wire.Op, m, reply wire.Message) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := c.conn.Call(ctx, op, m, wire.Bulk{}, reply)
	return err
}

func (c *client) head() wire.Head { return wire.Head{Session: c.opened.Session} }

// change is the head of a request that changes something. Tests that are
// sequential acknowledge all earlier ones.
func (c *client) change() wire.Head {
	h := c.head()
	h.RequestID = c.next.Add(1)
	return h
}

func (c *client) root() vocab.Ino { return c.opened.Root.Ino }

func (c *client) lookup(parent vocab.Ino, name string) (vocab.Attr, error) {
	var r wire.AttrReply
	err := c.raw(wire.OpLookup, &wire.NameRequest{Head: c.head(), Parent: parent, Name: name}, &r)
	return r.Attr, err
}

func (c *client) getattr(ino vocab.Ino) (vocab.Attr, error) {
	var r wire.AttrReply
	err := c.raw(wire.OpGetAttr, &wire.InoRequest{Head: c.head(), Ino: ino}, &r)
	return r.Attr, err
}

func (c *client) mknod(parent vocab.Ino, name string, mode uint32) (vocab.Attr, error) {
	var r wire.AttrReply
	err := c.raw(wire.OpMknod, &wire.MknodRequest{Head: c.change(), Parent: parent, Name: name, Mode: mode}, &r)
	return r.Attr, err
}

func (c *client) mkdir(parent vocab.Ino, name string) (vocab.Attr, error) {
	return c.mknod(parent, name, vocab.ModeDir|0o755)
}

func (c *client) create(parent vocab.Ino, name string, want wire.LeaseKind) (wire.OpenReply, error) {
	var r wire.OpenReply
	err := c.raw(wire.OpCreate, &wire.CreateRequest{Head: c.change(), Parent: parent, Name: name, Mode: 0o644, Want: want}, &r)
	return r, err
}

func (c *client) open(ino vocab.Ino, want wire.LeaseKind) (wire.OpenReply, error) {
	var r wire.OpenReply
	err := c.raw(wire.OpOpen, &wire.OpenRequest{Head: c.change(), Ino: ino, Want: want}, &r)
	return r, err
}

func (c *client) release(items ...wire.ReleaseItem) error {
	return c.raw(wire.OpRelease, &wire.ReleaseRequest{Head: c.change(), Items: items}, nil)
}

func (c *client) closeAll(ino vocab.Ino, l wire.Lease) error {
	return c.release(wire.ReleaseItem{Commit: wire.Commit{Ino: ino, Epoch: l.Epoch}, Close: true})
}

func (c *client) unlink(parent vocab.Ino, name string) error {
	return c.raw(wire.OpUnlink, &wire.NameRequest{Head: c.change(), Parent: parent, Name: name}, nil)
}

func (c *client) rmdir(parent vocab.Ino, name string) error {
	return c.raw(wire.OpRmdir, &wire.NameRequest{Head: c.change(), Parent: parent, Name: name}, nil)
}

func (c *client) link(ino, parent vocab.Ino, name string) error {
	return c.raw(wire.OpLink, &wire.LinkRequest{Head: c.change(), Ino: ino, Parent: parent, Name: name}, &wire.AttrReply{})
}

func (c *client) rename(parent vocab.Ino, name string, newParent vocab.Ino, newName string, flags wire.RenameFlags) error {
	return c.raw(wire.OpRename, &wire.RenameRequest{Head: c.change(), Parent: parent, Name: name, NewParent: newParent, NewName: newName, Flags: flags}, nil)
}

func (c *client) setattr(m wire.SetAttrRequest) (vocab.Attr, error) {
	var r wire.AttrReply
	m.Head = c.change()
	err := c.raw(wire.OpSetAttr, &m, &r)
	return r.Attr, err
}

func (c *client) reclaim(last bool, held ...wire.Held) ([]wire.Lease, error) {
	var r wire.ReclaimReply
	err := c.raw(wire.OpReclaim, &wire.ReclaimRequest{Head: c.head(), Held: held, Last: last}, &r)
	return r.Granted, err
}

// list reads a whole directory, a few entries at a time.
func (c *client) list(ino vocab.Ino, step uint32, plus bool) []wire.Entry {
	c.t.Helper()
	var all []wire.Entry
	for cookie := uint64(0); ; {
		var r wire.ReaddirReply
		require.NoError(c.t, c.raw(wire.OpReaddir, &wire.ReaddirRequest{Head: c.head(), Ino: ino, Cookie: cookie, Max: step, Plus: plus}, &r))
		all = append(all, r.Entries...)
		if r.Last {
			return all
		}
		require.NotEmpty(c.t, r.Entries)
		cookie = r.Entries[len(r.Entries)-1].Cookie
	}
}
