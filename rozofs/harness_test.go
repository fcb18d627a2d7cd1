package rozofs_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rozofs-go/rozo/exportd"
	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waiting for what must happen.
const patience = 30 * time.Second

// form is a layout in one of the two forms of the code.
type form struct {
	layout     string
	systematic bool
}

func (f form) String() string {
	if f.systematic {
		return f.layout + " systematic"
	}
	return f.layout
}

// cluster is exportd and one storaged for each storage, in this process, on
// loopback ports that stay theirs over restarts.
type cluster struct {
	t        testing.TB
	layout   vocab.Layout
	id       vocab.ClusterID
	dir      string
	export   *exportNode
	storages []*storageNode
}

// server is what exportd and storaged have in common.
type server interface {
	Serve(net.Listener) error
	Close() error
}

// daemon is a server at an address, and may be stopped and started.
type daemon struct {
	t      testing.TB
	addr   string
	make   func() (server, error)
	gate   *gate  // nil: none
	server server // nil while stopped
	served chan error
}

type (
	exportNode  struct{ daemon }
	storageNode struct {
		daemon
		root string
	}
)

func startCluster(t testing.TB, f form, change ...func(*exportd.Config)) *cluster {
	return startClusterOf(t, f, 0, storaged.Config{}, change...)
}

// startMortal starts a cluster whose clients' sessions end when the function is called, for
// exportd has not heard of them for an hour then.
func startMortal(t testing.TB, f form) (c *cluster, endSessions func()) {
	var ahead atomic.Int64 // of exportd's clock
	c = startCluster(t, f, func(cfg *exportd.Config) {
		cfg.LeaseTerm = 5 * time.Second
		cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	return c, func() { ahead.Add(int64(time.Hour)) }
}

// startClusterOf starts a cluster with more storages than a file needs, whose storageds are
// configured like one.
func startClusterOf(t testing.TB, f form, more int, like storaged.Config, change ...func(*exportd.Config)) *cluster {
	layout, err := vocab.ParseLayout(f.layout)
	require.NoError(t, err)
	c := &cluster{t: t, layout: layout, dir: t.TempDir()}
	id := vocab.ClusterID{1: byte(rand.Uint32()), 15: 1}
	c.id = id
	storages := make([]exportd.Storage, int(layout.Safe)+more)
	for i := range storages {
		sid := vocab.StorageID{CID: 1, SID: vocab.SID(i + 1)}
		n := &storageNode{root: filepath.Join(c.dir, "storage"+strconv.Itoa(int(sid.SID)))}
		require.NoError(t, storaged.InitRoot(n.root, id, sid))
		n.daemon = daemon{t: t, gate: newGate(), make: func() (server, error) {
			cfg := like
			cfg.Roots = []storaged.RootConfig{{CID: sid.CID, SID: sid.SID, Path: n.root}}
			return storaged.New(cfg)
		}}
		n.start()
		c.storages = append(c.storages, n)
		storages[i] = exportd.Storage{SID: sid.SID, Addr: n.addr, Domain: n.root}
	}
	cfg := exportd.Config{
		Dir: filepath.Join(c.dir, "export"), Cluster: id, PollInterval: 20 * time.Millisecond,
		Volumes: []exportd.Volume{{VID: 1, Layout: layout, Clusters: []exportd.Cluster{{CID: 1, Storages: storages}}}},
		Exports: []exportd.Export{{EID: 1, Name: "test", Root: "/srv/test", VID: 1, Systematic: f.systematic}},
	}
	for _, f := range change {
		f(&cfg)
	}
	c.export = &exportNode{daemon{t: t, make: func() (server, error) { return exportd.New(cfg) }}}
	c.export.start()
	return c
}

// start starts the daemon, at the address that it had before if there was one.
func (d *daemon) start() {
	s, err := d.make()
	require.NoError(d.t, err)
	if d.addr == "" {
		d.addr = "127.0.0.1:0"
		d.t.Cleanup(d.stop)
	}
	l := d.listen()
	d.addr = l.Addr().String()
	d.server, d.served = s, make(chan error, 1)
	served := d.served
	if d.gate != nil {
		l = d.gate.through(l)
	}
	go func() { served <- s.Serve(l) }()
}

// listen waits for a port that someone else's connection has got meanwhile.
func (d *daemon) listen() (l net.Listener) {
	require.Eventually(d.t, func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", d.addr)
		return err == nil
	}, patience, 10*time.Millisecond, "listen on %s", d.addr)
	return l
}

func (d *daemon) stop() {
	if d.server == nil {
		return
	}
	require.NoError(d.t, d.server.Close())
	require.NoError(d.t, <-d.served)
	d.server = nil
}

func (c *cluster) killStorage(i int)    { c.storages[i].stop() }
func (c *cluster) restartStorage(i int) { c.storages[i].start() }

// hangStorage replaces a storage by one that takes requests and never answers.
func (c *cluster) hangStorage(i int) {
	c.killStorage(i)
	n := *c.storages[i]
	n.make = func() (server, error) {
		return &wire.Server{
			Hello: wire.Hello{Role: wire.RoleStoraged, Cluster: c.id, Boot: 1, Name: "hung"}, Log: slog.New(slog.DiscardHandler),
			Handler: func(ctx context.Context, _ *wire.Request) (wire.Message, wire.Bulk, error) {
				<-ctx.Done()
				return nil, wire.Bulk{}, ctx.Err()
			},
		}, nil
	}
	n.start()
	c.t.Cleanup(n.stop)
}

func (c *cluster) restartExport() { c.export.stop(); c.export.start() }

// losePower stops a storage and takes away every slot that it holds.
func (c *cluster) losePower(i int) {
	c.killStorage(i)
	require.NoError(c.t, os.RemoveAll(filepath.Join(c.storages[i].root, "slots")))
}

// mount is one mount of the cluster's export, until the test ends.
type mount struct {
	*rozofs.Tree
	t      testing.TB
	client *rozofs.Client
}

func (c *cluster) mountWith(t testing.TB, change func(rozofs.Config) rozofs.Config) *mount {
	return c.mount(t, func(cfg *rozofs.Config) { *cfg = change(*cfg) })
}

func (c *cluster) mount(t testing.TB, change ...func(*rozofs.Config)) *mount {
	cfg := rozofs.Config{Hosts: []string{c.export.addr}, Export: "test", ExportTimeout: patience, StorageTimeout: patience}
	for _, f := range change {
		f(&cfg)
	}
	client, err := rozofs.Mount(t.Context(), cfg)
	require.NoError(t, err)
	m := &mount{Tree: client.Tree(rozofs.Caller{UID: 1000, GID: 100}), t: t, client: client}
	t.Cleanup(m.close)
	return m
}

// storageTimeout is a change of a mount's configuration.
func storageTimeout(d time.Duration) func(*rozofs.Config) {
	return func(cfg *rozofs.Config) { cfg.StorageTimeout = d }
}

// create writes a file and syncs it; it stays open.
func (m *mount) create(name string, data []byte) *rozofs.File {
	m.t.Helper()
	f := m.open(name, os.O_CREATE|os.O_RDWR)
	_, err := f.Write(data)
	require.NoError(m.t, err)
	require.NoError(m.t, f.Sync())
	return f
}

// close unmounts; nothing may be left unsaved.
func (m *mount) close() {
	if m.client != nil {
		require.NoError(m.t, m.client.Close())
		m.client = nil
	}
}

func (m *mount) open(name string, flag int) *rozofs.File {
	m.t.Helper()
	f, err := m.OpenFile(m.t.Context(), name, flag, 0o644)
	require.NoError(m.t, err)
	return f
}

func (m *mount) write(name string, data []byte) {
	m.t.Helper()
	require.NoError(m.t, m.WriteFile(m.t.Context(), name, data, 0o644))
}

// holds checks the content of a file.
func (m *mount) holds(name string, want []byte) {
	m.t.Helper()
	got, err := m.ReadFile(m.t.Context(), name)
	require.NoError(m.t, err)
	requireBytes(m.t, want, got)
}

// files are contents by name.
type files map[string][]byte

func (m *mount) holdsAll(all files) {
	m.t.Helper()
	for name, data := range all {
		m.holds(name, data)
	}
}

// requireBytes tells where contents differ, without printing them.
func requireBytes(t testing.TB, want, got []byte) {
	t.Helper()
	require.Equal(t, len(want), len(got), "length")
	for i := range want {
		if want[i] != got[i] {
			require.Equal(t, want[i:min(i+16, len(want))], got[i:min(i+16, len(got))], "contents differ first at byte %d, in block %d", i, i/vocab.DefaultBlockBytes)
		}
	}
}

// random returns n bytes from a seed.
func random(seed uint64, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data)
	return data
}

// downSets lists sets of n of the storages, each storage in at least one.
func (c *cluster) downSets(n int) (sets [][]int) {
	s := len(c.storages)
	for first := 0; first < s; first += n {
		set := make([]int, n)
		for i := range set {
			set[i] = (first + i) % s
		}
		sets = append(sets, set)
	}
	return sets
}

// withDown runs f while the storages of the set are stopped.
func (c *cluster) withDown(set []int, f func()) {
	for _, i := range set {
		c.killStorage(i)
	}
	f()
	for _, i := range set {
		c.restartStorage(i)
	}
}

// surviveLosses reads all files with each set of as many storages missing as may.
func (c *cluster) surviveLosses(all files) {
	c.t.Helper()
	for _, set := range c.downSets(int(c.layout.Forward - c.layout.Inverse)) {
		c.withDown(set, func() {
			m := c.mount(c.t)
			m.holdsAll(all)
			m.close()
		})
	}
}
