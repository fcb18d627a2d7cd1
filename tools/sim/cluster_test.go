package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rozofs-go/rozo/exportd"
	"github.com/rozofs-go/rozo/exportd/memfs"
	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/storaged"
	"github.com/rozofs-go/rozo/storaged/disk"
	"github.com/rozofs-go/rozo/storaged/disk/memdisk"
)

const (
	blockBytes = vocab.MinBlockBytes
	patience   = 30 * time.Minute // of the simulated clock, for what must happen
)

var clusterID = vocab.ClusterID{1: 7, 15: 1}

// cluster is exportd and its storageds, on a simulated network and disks.
type cluster struct {
	ep       *episode
	net      *network
	layout   vocab.Layout
	export   *exportNode
	storages []*storageNode
}

// server is what exportd and storaged have in common.
type server interface {
	Serve(net.Listener) error
	Close() error
}

// node is a daemon that may be stopped and started.
type node struct {
	ep   *episode
	name string
	make func() (server, error)
	// crash takes away what was not synced; the server still uses the old disk.
	crash func()

	mu     sync.Mutex // guards the rest
	server server     // nil while stopped
	served chan error
}

type (
	exportNode struct {
		node
		fs memfs.FS
	}
	storageNode struct {
		node
		sid         vocab.SID
		incarnation vocab.Incarnation // of the root that lies on its disk
		disk        *memdisk.Disk
		free        atomic.Uint64 // bytes, as it says
	}
)

func (n *node) addr() string { return n.name + ":1" }

func (n *node) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, err := n.make()
	if err != nil {
		return fmt.Errorf("start of %s: %w", n.name, err)
	}
	l := n.ep.c.net.listen(n.name)
	served := make(chan error, 1)
	n.server, n.served = s, served
	go func() { served <- s.Serve(l) }()
	return nil
}

func (n *node) up() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server != nil
}

// stop ends the daemon as SIGTERM does.
func (n *node) stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return nil
	}
	err := n.server.Close()
	if serr := <-n.served; err == nil {
		err = serr
	}
	n.server = nil
	return err
}

// kill takes the machine's power: no message of it arrives any more, then the disk forgets,
// and only then the goroutines end.
func (n *node) kill(silent bool) {
	n.ep.c.net.vanish(n.name, silent)
	n.crash()
	_ = n.stop() // on a disk without power it may well fail
}

// open gives a storaged that starts the disk as it is now.
func (n *storageNode) open(string) (disk.Disk, error) { return spacious{n.disk, n}, nil }

// spacious is a disk of which the node says how much is free.
type spacious struct {
	*memdisk.Disk
	n *storageNode
}

func (d spacious) Space() (total, free uint64, err error) { return 1 << 40, d.n.free.Load(), nil }

// replaceDisk puts an empty root in place of what there was.
func (n *storageNode) replaceDisk() error {
	n.disk = memdisk.New()
	n.incarnation += 100
	return storaged.InitDisk(n.disk, storaged.Identity{Cluster: clusterID, ID: n.id(), Incarnation: n.incarnation})
}

func (n *storageNode) id() vocab.StorageID { return vocab.StorageID{CID: 1, SID: n.sid} }

func newCluster(ep *episode, layout vocab.Layout, systematic bool) *cluster {
	c := &cluster{ep: ep, layout: layout, net: newNetwork(ep.seed)}
	storages := make([]exportd.Storage, ep.storages)
	for i := range storages {
		sid := vocab.SID(i + 1)
		n := &storageNode{sid: sid, incarnation: vocab.Incarnation(sid)}
		n.node = node{ep: ep, name: fmt.Sprintf("storage%d", sid)}
		n.free.Store(1 << 39)
		ep.require(n.replaceDisk())
		n.make = func() (server, error) {
			return storaged.New(storaged.Config{
				Roots: []storaged.RootConfig{{CID: 1, SID: sid, Path: "/" + n.name}}, OpenDisk: n.open, Dial: c.net.dialer(n.name),
				JournalBytes: storaged.MinJournalBytes, MaxOpenFiles: 4, Log: ep.log(n.name),
			})
		}
		rnd := ep.rand("crash " + n.name)
		n.crash = func() { n.disk = n.disk.LosePower(rnd) }
		c.storages = append(c.storages, n)
		storages[i] = exportd.Storage{SID: sid, Addr: n.addr(), Domain: n.name}
	}
	c.export = &exportNode{fs: memfs.New()}
	c.export.node = node{ep: ep, name: "export"}
	rnd := ep.rand("crash export")
	c.export.crash = func() {
		old := c.export.fs
		c.export.fs = old.LosePower(rnd)
		old.SetFault(nil) // Pebble panics when what it does at its end fails
	}
	c.export.make = func() (server, error) {
		return exportd.New(exportd.Config{
			Dir: "meta", FS: c.export.fs, Cluster: clusterID, Dial: c.net.dialer("export"), CacheBytes: 1 << 20, CacheInodes: 50,
			Volumes: []exportd.Volume{{VID: 1, Layout: layout, Clusters: []exportd.Cluster{{CID: 1, Storages: storages}}}},
			Exports: []exportd.Export{{EID: 1, Name: "sim", Root: "/sim", VID: 1, Systematic: systematic, BlockBytes: blockBytes}},
			Log:     ep.log("export"),
		})
	}
	return c
}

// most is how many storages a file can do without.
func (c *cluster) most() int { return int(c.layout.Forward - c.layout.Inverse) }

func (c *cluster) start() {
	for _, n := range c.storages {
		c.ep.require(n.start())
	}
	c.ep.require(c.export.start())
}

// exportServer is the present exportd.
func (c *cluster) exportServer() *exportd.Server {
	c.export.mu.Lock()
	defer c.export.mu.Unlock()
	s, _ := c.export.server.(*exportd.Server)
	return s
}

// mount mounts as a node of the network. The times that a call waits are long: whatever
// fails here is back before.
func (c *cluster) mount(ctx context.Context, name string) (*rozofs.Client, error) {
	return rozofs.Mount(ctx, rozofs.Config{
		Hosts: []string{c.export.addr()}, Export: "sim", Name: name, ExportTimeout: patience, StorageTimeout: patience,
		Dial: c.net.dialer(name), Log: c.ep.log(name),
	})
}

// episode is one seed's run.
type episode struct {
	t        *testing.T
	seed     uint64
	layout   string
	storages int
	clients  int // at the same time
	start    time.Time
	took     time.Duration
	c        *cluster
	faults   *faults
	history  *history
	names    *names
	fids     map[int]vocab.FID
	working  sync.WaitGroup // workers of clients

	mu       sync.Mutex // guards the rest
	trace    []string
	problems []string
	at       []*client // in places that are taken in turn
	nextID   int
}

// rand gives the source of chance for one purpose, so that purposes don't disturb each other.
func (ep *episode) rand(purpose string) *rand.Rand {
	return rand.New(rand.NewPCG(ep.seed, hashOf(purpose)))
}

func (ep *episode) require(err error) {
	if err != nil {
		ep.fail("%v", err)
	}
}

// fail ends the episode. It may be called by the goroutine of the test only.
func (ep *episode) fail(format string, args ...any) {
	ep.t.Helper()
	panic(failure(fmt.Sprintf(format, args...)))
}

type failure string

// note remembers what happened, for the report of a seed that fails.
func (ep *episode) note(who, format string, args ...any) {
	line := fmt.Sprintf("%12v %-9s %s", time.Since(ep.start).Round(time.Microsecond), who, fmt.Sprintf(format, args...))
	if verbose {
		fmt.Println(line)
	}
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.trace = append(ep.trace, line)
}

// wasLogged tells whether a daemon has said something.
func (ep *episode) wasLogged(who string, what ...string) bool {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return slices.ContainsFunc(ep.trace, func(line string) bool {
		return strings.Contains(line, " "+who+" ") && !slices.ContainsFunc(what, func(w string) bool { return !strings.Contains(line, w) })
	})
}

// log passes what a daemon logs on to the trace.
func (ep *episode) log(who string) *slog.Logger { return slog.New(traceHandler{ep: ep, who: who}) }

type traceHandler struct {
	ep    *episode
	who   string
	attrs string
}

func (h traceHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || verbose
}
func (h traceHandler) WithGroup(string) slog.Handler { return h }

func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += " " + a.String()
	}
	return h
}

func (h traceHandler) Handle(_ context.Context, r slog.Record) error {
	text := r.Message + h.attrs
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	if r.Message != "pebble" {
		h.ep.note(h.who, "%v %s", r.Level, text)
	}
	return nil
}
