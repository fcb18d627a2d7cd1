package exportd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Defaults and bounds of Config.
const (
	DefaultLeaseTerm     = 20 * time.Second
	MinLeaseTerm         = 50 * time.Millisecond
	MaxLeaseTerm         = 5 * time.Minute
	DefaultPollInterval  = time.Second
	DefaultScrubInterval = 7 * 24 * time.Hour
	DefaultScrubRate     = 32 << 20
	DefaultCacheInodes   = 200_000
	DefaultCacheBytes    = 64 << 20
	DefaultElementBytes  = 8
	MaxExports           = 1024
)

// Config is what a Server is started with. Volumes, Exports and Dir are needed;
// zero elsewhere means the default.
type Config struct {
	Dir     string          // the metadata directory; made when it is not there
	Cluster vocab.ClusterID // identity of the installation; zero: that of Dir, or a random one for a new Dir
	Volumes []Volume
	Exports []Export

	LeaseTerm    time.Duration // how long a session lives after it was last heard; default 20 s
	PollInterval time.Duration // between two questions to a storage; default 1 s
	// ScrubInterval is the time from the end of a scrub of a volume to the next; default a
	// week; negative: none begins by itself. ScrubRate is how many bytes of slots per second
	// it checks; default 32 MiB.
	ScrubInterval time.Duration
	ScrubRate     uint64
	CacheInodes   int   // inodes, and directory entries, kept decoded; default 200,000 each
	CacheBytes    int64 // Pebble's block cache; default 64 MiB

	// Dial connects to a storaged; default wire.Dial.
	Dial func(ctx context.Context, addr string, mine wire.Hello, h wire.Handler) (*wire.Conn, error)
	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// FS holds Dir; default the operating system's.
	FS  vfs.FS
	Log *slog.Logger
}

// Volume is a set of clusters that share a layout.
type Volume struct {
	VID      vocab.VID
	Layout   vocab.Layout
	Clusters []Cluster
}

// Cluster is a set of storages; a file lies within one.
type Cluster struct {
	CID      vocab.CID // unique in the volume
	Storages []Storage
}

// Storage is a member of a cluster.
type Storage struct {
	SID  vocab.SID // unique in the cluster
	Addr string    // host:port of its storaged
	// Domain is what fails as one: storages of one domain are not given the same
	// file as long as there are others. Default: the host of Addr.
	Domain string
}

// Export is a mountable namespace on a volume.
type Export struct {
	EID          vocab.EID
	Name         string
	Root         string // the path under which clients mount it
	VID          vocab.VID
	BlockBytes   uint32 // of new files; default 8 KiB
	ElementBytes uint8  // of new files; default 8
	Systematic   bool   // form of new files
	SoftQuota    uint64 // bytes; nothing is done about it yet; 0: none
	HardQuota    uint64 // bytes; no new files and no growth by truncation above it; 0: none
}

func (c *Config) fillDefaults() {
	if c.LeaseTerm == 0 {
		c.LeaseTerm = DefaultLeaseTerm
	}
	if c.PollInterval == 0 {
		c.PollInterval = DefaultPollInterval
	}
	if c.ScrubInterval == 0 {
		c.ScrubInterval = DefaultScrubInterval
	}
	if c.ScrubRate == 0 {
		c.ScrubRate = DefaultScrubRate
	}
	if c.CacheInodes == 0 {
		c.CacheInodes = DefaultCacheInodes
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.Dial == nil {
		c.Dial = wire.Dial
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Exports = append([]Export(nil), c.Exports...)
	for i := range c.Exports {
		e := &c.Exports[i]
		e.Root = path.Clean(e.Root)
		if e.BlockBytes == 0 {
			e.BlockBytes = vocab.DefaultBlockBytes
		}
		if e.ElementBytes == 0 {
			e.ElementBytes = DefaultElementBytes
		}
	}
}

// Validate returns everything that is wrong, after defaults are filled in.
func (c *Config) Validate() error {
	c.fillDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Dir == "" {
		bad("metadata directory: none given")
	}
	if c.LeaseTerm < MinLeaseTerm || c.LeaseTerm > MaxLeaseTerm {
		bad("lease term %v: want %v to %v", c.LeaseTerm, MinLeaseTerm, MaxLeaseTerm)
	}
	if c.PollInterval < time.Millisecond || c.PollInterval > time.Minute {
		bad("poll interval %v: want 1ms to 1m", c.PollInterval)
	}
	if len(c.Exports) > MaxExports {
		bad("%d exports: at most %d", len(c.Exports), MaxExports)
	}
	volumes := map[vocab.VID]*Volume{}
	for i := range c.Volumes {
		v := &c.Volumes[i]
		if volumes[v.VID] != nil {
			bad("volume %d: defined twice", v.VID)
		}
		volumes[v.VID] = v
		errs = append(errs, v.validate()...)
	}
	eids, roots := map[vocab.EID]bool{}, map[string]bool{}
	for _, e := range c.Exports {
		if eids[e.EID] || roots[e.Root] {
			bad("export %d (%s): eid or root used twice", e.EID, e.Root)
		}
		eids[e.EID], roots[e.Root] = true, true
		v := volumes[e.VID]
		if v == nil {
			bad("export %d (%s): volume %d is not defined", e.EID, e.Root, e.VID)
			continue
		}
		if err := e.geometry(v).Validate(); err != nil {
			bad("export %d (%s): %w", e.EID, e.Root, err)
		}
	}
	return errors.Join(errs...)
}

func (v *Volume) validate() (errs []error) {
	if err := v.Layout.Validate(); err != nil {
		return []error{fmt.Errorf("volume %d: %w", v.VID, err)}
	}
	cids := map[vocab.CID]bool{}
	for _, c := range v.Clusters {
		if cids[c.CID] {
			errs = append(errs, fmt.Errorf("volume %d: cluster %d defined twice", v.VID, c.CID))
		}
		cids[c.CID] = true
		if len(c.Storages) < int(v.Layout.Safe) {
			errs = append(errs, fmt.Errorf("cluster %d of volume %d has %d storages, layout %v needs %d",
				c.CID, v.VID, len(c.Storages), v.Layout, v.Layout.Safe))
		}
		sids := map[vocab.SID]bool{}
		for _, s := range c.Storages {
			if sids[s.SID] || s.SID == 0 {
				errs = append(errs, fmt.Errorf("cluster %d of volume %d: storage %d is 0 or defined twice", c.CID, v.VID, s.SID))
			}
			sids[s.SID] = true
		}
	}
	return errs
}

// geometry is that of a new file.
func (e *Export) geometry(v *Volume) vocab.Geometry {
	return vocab.Geometry{Layout: v.Layout, Systematic: e.Systematic, ElementBytes: e.ElementBytes, BlockBytes: e.BlockBytes}
}
