package wire

import "github.com/rozofs-go/rozo/rozofs/vocab"

// MaxEntries bounds the entries of one readdir reply.
const MaxEntries = 4096

// NameRequest names a directory entry: OpLookup, OpUnlink, OpRmdir.
type NameRequest struct {
	Head
	Parent vocab.Ino
	Name   string
}

// Code implements Message.
func (m *NameRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Parent)
	c.String(&m.Name, MaxPath)
}

// InoRequest names a file: OpGetAttr, OpReadlink.
type InoRequest struct {
	Head
	Ino vocab.Ino
}

// Code implements Message.
func (m *InoRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Ino)
}

// AttrReply answers whatever yields the attributes of one file.
type AttrReply struct {
	Attr vocab.Attr
}

// Code implements Message.
func (m *AttrReply) Code(c *Codec) { CodeAttr(c, &m.Attr) }

// SetMask says which attributes a SetAttrRequest sets.
type SetMask uint32

// The bits of a SetMask; each names the field of SetAttrRequest that counts.
const (
	SetMode        SetMask = 1 << iota // Mode, without the type bits
	SetUID                             // Owner
	SetGID                             // Group
	SetSize                            // Size; needs the write lease: Epoch names it
	SetAtime                           // Atime
	SetMtime                           // Mtime
	SetAtimeNow                        // atime from exportd's clock
	SetMtimeNow                        // mtime likewise
	SetNoPrivilege                     // clears set-user-id, and set-group-id of what the group may run
)

// SetAttrRequest changes attributes; ctime follows. A new owner or group does what
// SetNoPrivilege does, too.
type SetAttrRequest struct {
	Head
	Ino          vocab.Ino
	Mask         SetMask
	Mode         uint32
	Owner, Group uint32
	Size         uint64
	Atime, Mtime vocab.Time
	Epoch        vocab.Epoch // the caller's write lease, or 0
}

// Code implements Message.
func (m *SetAttrRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Ino)
	U32(c, &m.Mask)
	U32(c, &m.Mode)
	U32(c, &m.Owner)
	U32(c, &m.Group)
	U64(c, &m.Size)
	U64(c, &m.Atime)
	U64(c, &m.Mtime)
	U64(c, &m.Epoch)
}

// MknodRequest makes a file of any type but a symbolic link: OpMknod (the type
// is in Mode; a directory is one of them). AttrReply.
type MknodRequest struct {
	Head
	Parent vocab.Ino
	Name   string
	Mode   uint32
	Rdev   uint32
	Masked uint32 // bits that the umask has taken from Mode; a default ACL gives them back
}

// Code implements Message.
func (m *MknodRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Parent)
	c.String(&m.Name, MaxPath)
	U32(c, &m.Mode)
	U32(c, &m.Rdev)
	U32(c, &m.Masked)
}

// CreateRequest opens a regular file and makes it when it is not there, and
// takes a lease in the same step: OpCreate. OpenReply. OpTmpfile makes a file that has no
// name in Parent, and may be given one by a link as long as it is open.
type CreateRequest struct {
	Head
	Parent    vocab.Ino
	Name      string
	Mode      uint32
	Exclusive bool // Exists if it is there
	Want      LeaseKind
	Patience  uint32 // milliseconds for which it may wait for leases, 0: for any time; then Unavailable, and nothing was done
	Masked    uint32 // bits that the umask has taken from Mode; a default ACL gives them back
}

// Code implements Message.
func (m *CreateRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Parent)
	c.String(&m.Name, MaxPath)
	U32(c, &m.Mode)
	c.Bool(&m.Exclusive)
	U8(c, &m.Want)
	U32(c, &m.Patience)
	U32(c, &m.Masked)
}

// OpenRequest registers the file as open by the session, so that it outlives its
// last name, and takes a lease on it, or raises the one held: OpOpen. OpenReply.
type OpenRequest struct {
	Head
	Ino      vocab.Ino
	Want     LeaseKind
	Patience uint32 // as in a CreateRequest
}

// Code implements Message.
func (m *OpenRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Ino)
	U8(c, &m.Want)
	U32(c, &m.Patience)
}

// OpenReply gives all that is needed to read and write the file.
type OpenReply struct {
	Attr      vocab.Attr
	Placement vocab.Placement // zero unless a regular file
	Lease     Lease
	Created   bool
}

// Code implements Message.
func (m *OpenReply) Code(c *Codec) {
	CodeAttr(c, &m.Attr)
	CodePlacement(c, &m.Placement)
	m.Lease.Code(c)
	c.Bool(&m.Created)
}

// SymlinkRequest: OpSymlink. AttrReply.
type SymlinkRequest struct {
	Head
	Parent vocab.Ino
	Name   string
	Target string
}

// Code implements Message.
func (m *SymlinkRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Parent)
	c.String(&m.Name, MaxPath)
	c.String(&m.Target, MaxPath)
}

// ReadlinkReply: OpReadlink.
type ReadlinkReply struct {
	Target string
}

// Code implements Message.
func (m *ReadlinkReply) Code(c *Codec) { c.String(&m.Target, MaxPath) }

// LinkRequest: OpLink. AttrReply.
type LinkRequest struct {
	Head
	Ino    vocab.Ino
	Parent vocab.Ino
	Name   string
}

// Code implements Message.
func (m *LinkRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Ino)
	U64(c, &m.Parent)
	c.String(&m.Name, MaxPath)
}

// RenameFlags are those of renameat2.
type RenameFlags uint32

// The flags that are offered; not both at once.
const (
	RenameNoReplace RenameFlags = 1 // Exists if the new name is there
	RenameExchange  RenameFlags = 2 // both names must be there, and swap
)

// RenameRequest: OpRename. Empty reply.
type RenameRequest struct {
	Head
	Parent    vocab.Ino
	Name      string
	NewParent vocab.Ino
	NewName   string
	Flags     RenameFlags
}

// Code implements Message.
func (m *RenameRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Parent)
	c.String(&m.Name, MaxPath)
	U64(c, &m.NewParent)
	c.String(&m.NewName, MaxPath)
	U32(c, &m.Flags)
}

// ReaddirRequest asks for the entries after Cookie (0: from the start). An entry
// that is there all the while is returned exactly once, whatever else changes.
type ReaddirRequest struct {
	Head
	Ino    vocab.Ino
	Cookie uint64
	Max    uint32 // entries, at most MaxEntries
	Plus   bool   // with attributes
}

// Code implements Message.
func (m *ReaddirRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Ino)
	U64(c, &m.Cookie)
	U32(c, &m.Max)
	c.Bool(&m.Plus)
}

// Entry is a directory entry, without "." and "..".
type Entry struct {
	Name   string
	Cookie uint64     // its position: never 0, stable while the entry lives
	Attr   vocab.Attr // without Plus only Ino and the type bits of Mode
}

// ReaddirReply ends the listing when Last is set. Parent is the directory's own
// parent, for "..".
type ReaddirReply struct {
	Parent  vocab.Ino
	Entries []Entry
	Last    bool
}

// Code implements Message.
func (m *ReaddirReply) Code(c *Codec) {
	U64(c, &m.Parent)
	Slice(c, &m.Entries, MaxEntries, 76, func(c *Codec, e *Entry) {
		c.String(&e.Name, vocab.MaxNameBytes)
		U64(c, &e.Cookie)
		CodeAttr(c, &e.Attr)
	})
	c.Bool(&m.Last)
}

// StatFSReply: OpStatFS. Bytes are of user data: raw space times inverse/forward.
type StatFSReply struct {
	TotalBytes, FreeBytes uint64
	Files                 uint64
	BlockBytes            uint32
}

// Code implements Message.
func (m *StatFSReply) Code(c *Codec) {
	U64(c, &m.TotalBytes)
	U64(c, &m.FreeBytes)
	U64(c, &m.Files)
	U32(c, &m.BlockBytes)
}

// CommitRequest records size and times of a file under its write lease:
// OpCommit. It is refused with Fenced when the epoch is not the lease's.
// AttrReply.
type CommitRequest struct {
	Head
	Commit
}

// Commit is what the holder of a write lease has changed.
type Commit struct {
	Ino   vocab.Ino
	Epoch vocab.Epoch
	Size  uint64
	Mtime vocab.Time
	// Degraded says that some of what was written is not at home, or was not discarded
	// everywhere, because a storage was missing: the file is to be repaired.
	Degraded bool
}

func (m *Commit) code(c *Codec) {
	U64(c, &m.Ino)
	U64(c, &m.Epoch)
	U64(c, &m.Size)
	U64(c, &m.Mtime)
	c.Bool(&m.Degraded)
}

// Code implements Message.
func (m *CommitRequest) Code(c *Codec) {
	m.Head.code(c)
	m.Commit.code(c)
}

// ReleaseItem gives up, of one file, the lease down to Keep, and with Close the
// registration as open too. A write lease is given up cleanly, that is when all
// that was written under it is durable; Changed says that Commit counts. Torn says
// that it is not: the file is settled, as after the end of a session, before
// anybody gets a lease on it, and of the sender nothing under this one is on its way
// to a storage but on connections that it has.
type ReleaseItem struct {
	Commit
	Changed bool
	Torn    bool // Keep is LeaseNone
	Keep    LeaseKind
	Close   bool
}

// ReleaseRequest: OpRelease. Empty reply. Items whose lease is gone already are
// passed over.
type ReleaseRequest struct {
	Head
	Items []ReleaseItem
}

// Code implements Message.
func (m *ReleaseRequest) Code(c *Codec) {
	m.Head.code(c)
	Slice(c, &m.Items, MaxHeld, 37, func(c *Codec, i *ReleaseItem) {
		i.Commit.code(c)
		c.Bool(&i.Changed)
		c.Bool(&i.Torn)
		U8(c, &i.Keep)
		c.Bool(&i.Close)
	})
}

// ExportStatusReply: OpExportStatus, whose request is Empty and needs no session.
type ExportStatusReply struct {
	Cluster   vocab.ClusterID
	Sessions  uint32
	Exports   []ExportStatus
	Storages  []StorageAddr
	Unsettled uint32 // files that wait to be settled: their writers ended without finishing
	Degraded  uint32 // files that wait to be repaired: something of them is not at home
}

// ExportStatus describes one export.
type ExportStatus struct {
	EID   vocab.EID
	Name  string
	Root  string
	VID   vocab.VID
	Files uint64
	Bytes uint64 // sum of the files' sizes
}

// Code implements Message.
func (m *ExportStatusReply) Code(c *Codec) {
	c.Fixed(m.Cluster[:])
	U32(c, &m.Sessions)
	Slice(c, &m.Exports, 1024, 28, func(c *Codec, e *ExportStatus) {
		U16(c, &e.EID)
		c.String(&e.Name, 255)
		c.String(&e.Root, MaxPath)
		U16(c, &e.VID)
		U64(c, &e.Files)
		U64(c, &e.Bytes)
	})
	codeStorages(c, &m.Storages)
	U32(c, &m.Unsettled)
	U32(c, &m.Degraded)
}
