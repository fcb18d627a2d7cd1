package storaged

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged/disk"
)

// Defaults and bounds of Config.
const (
	DefaultThreads      = 4
	MaxThreads          = 1024
	DefaultMaxOpenFiles = 1024
	MaxMaxOpenFiles     = 1 << 20
	DefaultMaxBulkBytes = 256 << 20
	DefaultJournalBytes = 256 << 20
	MinJournalBytes     = 1 << 20
	MinMaxBulkBytes     = connShare * wire.MaxBulk
	MaxRoots            = 255
)

// RootConfig is one storage and the directory that holds it.
type RootConfig struct {
	CID  vocab.CID // 1 to 65535
	SID  vocab.SID // 1 to 255
	Path string    // absolute
}

// ID names the storage.
func (r RootConfig) ID() vocab.StorageID { return vocab.StorageID{CID: r.CID, SID: r.SID} }

// Config says what a Server serves.
type Config struct {
	// Roots are the storages, 1 to MaxRoots of them.
	Roots []RootConfig
	// Listen holds the host:port addresses that Start binds; none is fine for a
	// server that is given its listeners by Serve.
	Listen []string
	// Cluster is the installation that the roots must belong to. The zero value
	// takes it from the roots, which must agree.
	Cluster vocab.ClusterID
	// Threads bounds the requests that work on one root at once. Default 4,
	// 1 to MaxThreads.
	Threads int
	// MaxOpenFiles bounds the idle slot files that are kept open per root.
	// Default 1024, 1 to MaxMaxOpenFiles.
	MaxOpenFiles int
	// MaxBulkBytes bounds the bulk parts of requests and replies in service.
	// Default 256 MiB, at least MinMaxBulkBytes.
	MaxBulkBytes int64
	// JournalBytes is the length of a root's journal at which writes wait until some of
	// it is in place, which begins at half of it. Default 256 MiB, at least
	// MinJournalBytes; no more than a 32nd part of the disk, if that is larger than the
	// least. Twice as much of the disk stays free of what clients write.
	JournalBytes int64
	// OpenDisk opens the directory of a root; default disk.Open, the operating system's.
	OpenDisk func(path string) (disk.Disk, error)
	// Dial connects to another storaged, to settle or repair a file; default wire.Dial.
	Dial func(ctx context.Context, addr string, mine wire.Hello, h wire.Handler) (*wire.Conn, error)
	// Name is what peers see in their logs. Default "storaged".
	Name string
	// Log receives what the server has to say. Default: discarded.
	Log *slog.Logger
}

// withDefaults fills in what was left zero.
func (c Config) withDefaults() Config {
	if c.Threads == 0 {
		c.Threads = DefaultThreads
	}
	if c.MaxOpenFiles == 0 {
		c.MaxOpenFiles = DefaultMaxOpenFiles
	}
	if c.MaxBulkBytes == 0 {
		c.MaxBulkBytes = DefaultMaxBulkBytes
	}
	if c.JournalBytes == 0 {
		c.JournalBytes = DefaultJournalBytes
	}
	if c.OpenDisk == nil {
		c.OpenDisk = disk.Open
	}
	if c.Dial == nil {
		c.Dial = wire.Dial
	}
	if c.Name == "" {
		c.Name = "storaged"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns all that is wrong, joined; nil when nothing is. It looks at
// no disk: New does.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if n := len(c.Roots); n < 1 || n > MaxRoots {
		bad("%d storages: want 1 to %d", n, MaxRoots)
	}
	ids, paths := map[vocab.StorageID]bool{}, map[string]bool{}
	for _, r := range c.Roots {
		if r.CID < 1 || r.SID < 1 {
			bad("storage %v: cid and sid count from 1", r.ID())
		}
		if ids[r.ID()] {
			bad("storage %v is listed twice", r.ID())
		}
		path := filepath.Clean(r.Path)
		if !filepath.IsAbs(r.Path) {
			bad("storage %v: root %q is not an absolute path", r.ID(), r.Path)
		} else if paths[path] {
			bad("storage %v: root %q is used by another storage", r.ID(), r.Path)
		}
		ids[r.ID()], paths[path] = true, true
	}
	for _, a := range c.Listen {
		_, port, err := net.SplitHostPort(a)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n > 65535 {
			bad("listen address %q: want HOST:PORT, an empty HOST being every address", a)
		}
	}
	if c.Threads < 1 || c.Threads > MaxThreads {
		bad("threads %d: want 1 to %d", c.Threads, MaxThreads)
	}
	if c.MaxOpenFiles < 1 || c.MaxOpenFiles > MaxMaxOpenFiles {
		bad("open files %d: want 1 to %d", c.MaxOpenFiles, MaxMaxOpenFiles)
	}
	if c.MaxBulkBytes < MinMaxBulkBytes {
		bad("bulk of %d bytes: want at least %d", c.MaxBulkBytes, MinMaxBulkBytes)
	}
	if c.JournalBytes < MinJournalBytes {
		bad("journal of %d bytes: want at least %d", c.JournalBytes, MinJournalBytes)
	}
	if len(c.Name) > 255 {
		bad("name of %d bytes: want at most 255", len(c.Name))
	}
	return errors.Join(errs...)
}
