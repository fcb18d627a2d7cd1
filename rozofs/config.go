package rozofs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// DefaultPort is exportd's port.
const DefaultPort = 53000

// Config says what to mount and how.
type Config struct {
	// Hosts are the addresses of exportd, host or host:port (default port
	// 53000), tried in turn.
	Hosts []string
	// Export is the export's root path, or its name.
	Export string
	// Name tells people who this is; default: the host's name.
	Name string
	// ExportTimeout is how long a call waits for an exportd that cannot be
	// reached. Default 60 s, at least 1 s.
	ExportTimeout time.Duration
	// StorageTimeout is how long a read or write waits for too few reachable
	// storages. Default 30 s, at least 1 s.
	StorageTimeout time.Duration
	// WriteBufferBytes bounds data written and not yet durable. Default 64 MiB,
	// at least 4 MiB.
	WriteBufferBytes int64
	// Invalidate, if not nil, is told of files that others may now change. It
	// must not block.
	Invalidate func(ino vocab.Ino)
	// Log gets what an operator should know. Default: nothing.
	Log *slog.Logger
	// Dial connects; default wire.Dial. Tests put other networks here.
	Dial func(ctx context.Context, addr string, mine wire.Hello, h wire.Handler) (*wire.Conn, error)

	delays delays // tests put others here
}

// delays are by default the constants of these names.
type delays struct{ lateWriteMin, lateWriteMax, signOfLife, slowSync time.Duration }

// withDefaults fills in and validates; it returns all problems.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if len(c.Hosts) == 0 {
		errs = append(errs, errors.New("no exportd host is given"))
	}
	hosts := make([]string, 0, len(c.Hosts))
	for _, h := range c.Hosts {
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(h, strconv.Itoa(DefaultPort))
		}
		hosts = append(hosts, h)
	}
	c.Hosts = hosts
	if c.Export == "" {
		errs = append(errs, errors.New("no export is named"))
	}
	setDuration := func(name string, d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
		if *d < time.Second {
			errs = append(errs, fmt.Errorf("%s is %v: want at least 1s", name, *d))
		}
	}
	setDuration("ExportTimeout", &c.ExportTimeout, 60*time.Second)
	setDuration("StorageTimeout", &c.StorageTimeout, 30*time.Second)
	if c.WriteBufferBytes == 0 {
		c.WriteBufferBytes = 64 << 20
	}
	if c.WriteBufferBytes < 4<<20 {
		errs = append(errs, fmt.Errorf("WriteBufferBytes is %d: want at least 4 MiB", c.WriteBufferBytes))
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.delays == (delays{}) {
		c.delays = delays{lateWriteMin, lateWriteMax, signOfLife, slowSync}
	}
	if c.Dial == nil {
		c.Dial = wire.Dial
	}
	return c, errors.Join(errs...)
}
