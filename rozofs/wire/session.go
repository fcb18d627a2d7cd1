package wire

import "github.com/rozofs-go/rozo/rozofs/vocab"

// Limits of session messages.
const (
	MaxPath    = 4096
	MaxHeld    = 8192  // leases and opens in one reclaim
	MaxStorage = 65535 // storages of an export
)

// LeaseKind is what a session may do with a file's content and attributes.
type LeaseKind uint8

const (
	LeaseNone  LeaseKind = iota // nothing
	LeaseRead                   // cache and read; others may too
	LeaseWrite                  // buffer and write; nobody else holds any
)

// String is one word, for logs.
func (k LeaseKind) String() string {
	switch k {
	case LeaseRead:
		return "read"
	case LeaseWrite:
		return "write"
	}
	return "none"
}

// Lease is what exportd granted. Epoch is fresh for each write lease and names
// the grant in commits, releases and recalls.
type Lease struct {
	Kind  LeaseKind
	Epoch vocab.Epoch
}

// Code implements Message.
func (m *Lease) Code(c *Codec) {
	U8(c, &m.Kind)
	U64(c, &m.Epoch)
	if c.decoding && m.Kind > LeaseWrite {
		c.Fail("lease kind %d", m.Kind)
	}
}

// OpenSessionRequest begins a session, or resumes one after a lost connection
// or a restart of exportd: Resume and Secret then are those of the first reply.
type OpenSessionRequest struct {
	Export string // the export's root or its name
	Name   string // host and mount point, for people
	Resume vocab.SessionID
	Secret uint64
}

// Code implements Message.
func (m *OpenSessionRequest) Code(c *Codec) {
	c.String(&m.Export, MaxPath)
	c.String(&m.Name, MaxPeerNameBytes)
	U64(c, &m.Resume)
	U64(c, &m.Secret)
}

// OpenSessionReply describes the export. After a resume the client reclaims
// what it holds before it does anything else.
type OpenSessionReply struct {
	Session     vocab.SessionID
	Secret      uint64
	Cluster     vocab.ClusterID
	EID         vocab.EID
	Root        vocab.Attr // of the export's root directory
	TermMillis  uint32     // how long the session lives after a renewal was sent
	ServerTime  vocab.Time
	Incarnation uint32 // of the metadata
	Storages    []StorageAddr
}

// Code implements Message.
func (m *OpenSessionReply) Code(c *Codec) {
	U64(c, &m.Session)
	U64(c, &m.Secret)
	c.Fixed(m.Cluster[:])
	U16(c, &m.EID)
	CodeAttr(c, &m.Root)
	U32(c, &m.TermMillis)
	U64(c, &m.ServerTime)
	U32(c, &m.Incarnation)
	codeStorages(c, &m.Storages)
}

// StorageAddr is a storage of the export's volume as exportd sees it.
type StorageAddr struct {
	StorageRoot        // Root is left empty
	Addr        string // host:port
}

func codeStorages(c *Codec, s *[]StorageAddr) {
	Slice(c, s, MaxStorage, 44, func(c *Codec, a *StorageAddr) {
		a.StorageRoot.Code(c)
		c.String(&a.Addr, 255)
	})
}

// StoragesReply answers OpStorages, whose request is a Head.
type StoragesReply struct {
	Storages []StorageAddr
}

// Code implements Message.
func (m *StoragesReply) Code(c *Codec) { codeStorages(c, &m.Storages) }

// Head begins every request within a session. A request that changes something
// has a RequestID, counted from 1 by the session; exportd remembers the outcome
// of each until it learns, by Done, that the client has it, so that a request
// repeated after a lost connection is answered and not done twice. Requests that
// change nothing have RequestID 0.
type Head struct {
	Session   vocab.SessionID
	RequestID uint64
	Done      uint64 // the client has the replies of all requests up to this one
	UID, GID  uint32 // of the caller
}

func (m *Head) code(c *Codec) {
	U64(c, &m.Session)
	U64(c, &m.RequestID)
	U64(c, &m.Done)
	U32(c, &m.UID)
	U32(c, &m.GID)
}

// Code makes a Head the whole request of OpRenew, OpCloseSession, OpStorages
// and OpStatFS.
func (m *Head) Code(c *Codec) { m.code(c) }

// Held is a file that a session has open and the lease it has on it.
type Held struct {
	Ino        vocab.Ino
	Generation uint32
	Lease      Lease
}

// ReclaimRequest tells an exportd that restarted what the session holds. Last
// ends the list: what the session held before it was resumed and does not name is given back.
// Granted tells, for each, whether it is still held.
type ReclaimRequest struct {
	Head
	Held []Held
	Last bool
}

// Code implements Message.
func (m *ReclaimRequest) Code(c *Codec) {
	m.Head.code(c)
	Slice(c, &m.Held, MaxHeld, 21, func(c *Codec, h *Held) {
		U64(c, &h.Ino)
		U32(c, &h.Generation)
		h.Lease.Code(c)
	})
	c.Bool(&m.Last)
}

// ReclaimReply has one entry for each of the request.
type ReclaimReply struct {
	Granted []Lease
}

// Code implements Message.
func (m *ReclaimReply) Code(c *Codec) {
	Slice(c, &m.Granted, MaxHeld, 9, func(c *Codec, l *Lease) { l.Code(c) })
}

// RenewReply answers OpRenew.
type RenewReply struct {
	ServerTime vocab.Time
	TermMillis uint32
}

// Code implements Message.
func (m *RenewReply) Code(c *Codec) {
	U64(c, &m.ServerTime)
	U32(c, &m.TermMillis)
}

// RecallRequest goes from exportd to the client: the lease on Ino must come down
// to Keep. The client replies when it has given up the rest with a release.
type RecallRequest struct {
	Ino   vocab.Ino
	Epoch vocab.Epoch
	Keep  LeaseKind
}

// Code implements Message.
func (m *RecallRequest) Code(c *Codec) {
	U64(c, &m.Ino)
	U64(c, &m.Epoch)
	U8(c, &m.Keep)
}

// Empty is a message without fields.
type Empty struct{}

// Code implements Message.
func (*Empty) Code(*Codec) {}

// SetHead fills in the head; the client does so each time it sends the request.
func (m *Head) SetHead(h Head) { *m = h }
