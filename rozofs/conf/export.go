package conf

import (
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// Defaults of export.conf.
const (
	DefaultListen     = "*:53000"
	DefaultMeta       = "/srv/rozofs/exportd"
	DefaultDataPort   = 41001
	DefaultLeaseTerm  = 20 * time.Second
	DefaultScrubDays  = 7
	MaxScrubDays      = 365
	DefaultScrubRate  = 32 << 20
	maxScrubMiB       = 1 << 20
	MinLeaseTerm      = 2 * time.Second
	MaxLeaseTerm      = 300 * time.Second
	MaxEID            = 1024
	defaultLayoutText = "0"
)

// Export is export.conf, checked, with defaults filled in. Two of them say the same when their Format is equal.
type Export struct {
	Layout    vocab.Layout    // default for volumes
	Listen    string          // host:port that exportd serves; host * is every address
	Meta      string          // directory of the metadata database
	Cluster   vocab.ClusterID // identity that the storages carry; zero when the file names none
	LeaseTerm time.Duration   // whole seconds, MinLeaseTerm to MaxLeaseTerm
	ScrubDays int             // from the end of a scrub to the next, 0 to MaxScrubDays; 0: none begins by itself
	ScrubRate uint64          // bytes per second that it checks, whole MiB, at least one
	Volumes   []Volume
	Exports   []ExportEntry
}

// Volume is a set of clusters that share a layout.
type Volume struct {
	VID      vocab.VID // unique
	Layout   vocab.Layout
	Clusters []Cluster
	Pos      Pos
}

// Cluster is a set of storages, at least as many as its volume's layout calls safe.
type Cluster struct {
	CID      vocab.CID // unique in its volume
	Storages []Member
	Pos      Pos
}

// Member is one storage of a cluster, as exportd and the clients reach it.
type Member struct {
	SID   vocab.SID // unique in its cluster
	Host  string    // name or IP address, without a port
	Port  int       // of the data service
	Site  string    // failure domain above the host, or ""
	Outer string    // address for clients outside the storages' network, host or host:port, or ""
	Pos   Pos
}

// Addr gives host:port.
func (m *Member) Addr() string { return net.JoinHostPort(m.Host, strconv.Itoa(m.Port)) }

// OuterAddr gives host:port for clients outside, or "" when the storage has no outer address. Without a port of its own
// the outer address uses that of the inner one.
func (m *Member) OuterAddr() string {
	if m.Outer == "" || isHostPort(m.Outer, false) {
		return m.Outer
	}
	return net.JoinHostPort(m.Outer, strconv.Itoa(m.Port))
}

// ExportEntry is one mountable namespace on a volume.
type ExportEntry struct {
	EID        vocab.EID // unique, 1 to MaxEID
	Name       string    // by default the last element of Root
	Root       string    // unique absolute path, the name under which clients mount
	MD5        string    // accepted for old files; nothing checks it
	SoftQuota  uint64    // bytes; 0 is none
	HardQuota  uint64    // bytes; 0 is none
	VID        vocab.VID // the volume
	BlockSize  uint32    // bytes, a power of two from 4096 to 65536; for new files
	Systematic bool      // form of the code; for new files
	FilterName string    // name of the filter of client addresses, or ""
	Pos        Pos
}

// ListenAddr gives Listen for net.Listen, where an empty host is every address.
func (e *Export) ListenAddr() string { return strings.TrimPrefix(e.Listen, "*") }

// Volume gives the volume with this vid, or nil.
func (e *Export) Volume(vid vocab.VID) *Volume {
	for i := range e.Volumes {
		if e.Volumes[i].VID == vid {
			return &e.Volumes[i]
		}
	}
	return nil
}

// Export gives the export with this eid, or nil.
func (e *Export) Export(eid vocab.EID) *ExportEntry {
	for i := range e.Exports {
		if e.Exports[i].EID == eid {
			return &e.Exports[i]
		}
	}
	return nil
}

// Validate finds what ParseExport would find in the Format of e; positions are lines of that text.
func (e *Export) Validate() (warnings []string, err error) {
	_, warnings, err = ParseExport("export.conf", e.Format())
	return warnings, err
}
