package wire

import "github.com/rozofs-go/rozo/rozofs/vocab"

// Limits of messages to storaged.
const (
	MaxRunBlocks  = 1024 // blocks in one read or write, whatever their size
	MaxFIDs       = 4096 // files in one sync or delete
	MaxBlockIndex = vocab.MaxFileBytes / vocab.MinBlockBytes
)

// Target names the storage root that a request is for and who asks. storaged
// refuses another incarnation of the root (WrongIncarnation; 0 is "any", for
// exportd's polls only), and an epoch below the session's fence (Fenced).
type Target struct {
	ID          vocab.StorageID
	Incarnation vocab.Incarnation
	Session     vocab.SessionID
	Epoch       vocab.Epoch // of the lease under which the sender acts
}

func (m *Target) code(c *Codec) {
	codeStorageID(c, &m.ID)
	U64(c, &m.Incarnation)
	U64(c, &m.Session)
	U64(c, &m.Epoch)
}

// Run is a range of blocks of one file under one generation of its distribution.
type Run struct {
	FID        vocab.FID
	Generation uint32
	First      uint64
	Count      uint32
}

func (m *Run) code(c *Codec) {
	c.Fixed(m.FID[:])
	U32(c, &m.Generation)
	U64(c, &m.First)
	U32(c, &m.Count)
	if c.decoding && (m.First > MaxBlockIndex || m.Count > MaxRunBlocks) {
		c.Fail("run of %d blocks from %d is over the limits", m.Count, m.First)
	}
}

// WriteRequest stores Run.Count slots. The bulk part holds them in order of
// block; each takes SlotHeaderBytes+PayloadBytes bytes, a shorter payload being
// padded, but the last one may end with its payload. PayloadBytes is fixed for
// a file on a storage by its first write.
//
// A slot whose version is not above the one that lies there already is left
// out: versions decide the order, not arrival.
type WriteRequest struct {
	Target
	Run
	PayloadBytes uint32 // room for the payload in each slot: the stride is SlotHeaderBytes more
	// Final says that every version of the file up to it is durable on forward
	// storages, or was replaced by one that is: older content may go.
	Final vocab.Version
}

// Code implements Message.
func (m *WriteRequest) Code(c *Codec) {
	m.Target.code(c)
	m.Run.code(c)
	U32(c, &m.PayloadBytes)
	codeVersion(c, &m.Final)
}

// WriteReply tells the boot under which the slots were taken. They are not
// durable before a sync under the same boot. A request whose PayloadBytes is not
// the one that the file has on this storage is refused with Invalid.
type WriteReply struct {
	Boot vocab.Boot
}

// Code implements Message.
func (m *WriteReply) Code(c *Codec) { U64(c, &m.Boot) }

// ReadRequest asks for the newest slots of a run, or the newest below a version.
type ReadRequest struct {
	Target
	Run
	Below vocab.Version // zero: no bound
}

// Code implements Message.
func (m *ReadRequest) Code(c *Codec) {
	m.Target.code(c)
	m.Run.code(c)
	codeVersion(c, &m.Below)
}

// Piece is consecutive blocks in the same state.
type Piece struct {
	Count uint32
	State SlotState // SlotBroken here means "unknown": this storage cannot tell
}

// ReadReply describes the run from its first block on; blocks after the last
// piece are absent. The bulk part holds the slots of the present pieces, in
// order, each SlotHeaderBytes+PayloadBytes long, but the very last may be short.
type ReadReply struct {
	Boot         vocab.Boot
	PayloadBytes uint32
	Pieces       []Piece
}

// Code implements Message.
func (m *ReadReply) Code(c *Codec) {
	U64(c, &m.Boot)
	U32(c, &m.PayloadBytes)
	Slice(c, &m.Pieces, MaxRunBlocks, 5, func(c *Codec, p *Piece) {
		U32(c, &p.Count)
		U8(c, &p.State)
		if c.decoding && (p.Count > MaxRunBlocks || p.State > SlotBroken) {
			c.Fail("piece of %d blocks in state %d", p.Count, p.State)
		}
	})
}

// SyncRequest makes what was written to the files durable. It is refused with
// Unavailable if Boot is not the storage's: what was written before it
// restarted must be written again.
type SyncRequest struct {
	Target
	Boot vocab.Boot
	FIDs []vocab.FID
}

// Code implements Message.
func (m *SyncRequest) Code(c *Codec) {
	m.Target.code(c)
	U64(c, &m.Boot)
	Slice(c, &m.FIDs, MaxFIDs, 16, codeFID)
}

func codeFID(c *Codec, f *vocab.FID) { c.Fixed(f[:]) }

// DiscardRequest drops blocks of a file: First to the end if Count is 0. Slots
// of a version above Version stay.
type DiscardRequest struct {
	Target
	Run
	Version vocab.Version
}

// Code implements Message.
func (m *DiscardRequest) Code(c *Codec) {
	m.Target.code(c)
	m.Run.code(c)
	codeVersion(c, &m.Version)
}

// DeleteRequest removes files whole; files that are not there are no error.
// Only exportd sends it.
type DeleteRequest struct {
	Target
	FIDs []vocab.FID
}

// Code implements Message.
func (m *DeleteRequest) Code(c *Codec) {
	m.Target.code(c)
	Slice(c, &m.FIDs, MaxFIDs, 16, codeFID)
}

// FenceRequest makes the storage durably refuse epochs of the target's session
// below the target's epoch. Only exportd sends it.
type FenceRequest struct {
	Target
}

// Code implements Message.
func (m *FenceRequest) Code(c *Codec) { m.Target.code(c) }

// FinalRequest tells of files up to which version all is durable on forward storages,
// or replaced by what is. It states a fact, so no lease is needed.
type FinalRequest struct {
	Target
	Files []FinalFile
}

// FinalFile is one file of a FinalRequest.
type FinalFile struct {
	FID   vocab.FID
	Final vocab.Version
}

// Code implements Message.
func (m *FinalRequest) Code(c *Codec) {
	m.Target.code(c)
	Slice(c, &m.Files, MaxFIDs, 32, func(c *Codec, f *FinalFile) {
		codeFID(c, &f.FID)
		codeVersion(c, &f.Final)
	})
}

// BlocksRequest asks what a storage has of the blocks of a file from one on. Not for
// clients. OpUnsettled lists those whose newest version is not final; OpVersions tells of
// VersionsBlocks blocks what there is, by their headers alone.
type BlocksRequest struct {
	Target
	FID  vocab.FID
	From uint64
}

// Code implements Message.
func (m *BlocksRequest) Code(c *Codec) {
	m.Target.code(c)
	codeFID(c, &m.FID)
	U64(c, &m.From)
}

// MaxRanges bounds the ranges in an UnsettledReply.
const MaxRanges = 4096

// Range is consecutive blocks.
type Range struct{ First, Count uint64 }

// UnsettledReply lists ranges in order; more of them follow from Next on unless that
// is 0.
type UnsettledReply struct {
	Boot   vocab.Boot
	Ranges []Range
	Next   uint64
}

// Code implements Message.
func (m *UnsettledReply) Code(c *Codec) {
	U64(c, &m.Boot)
	Slice(c, &m.Ranges, MaxRanges, 16, func(c *Codec, r *Range) {
		U64(c, &r.First)
		U64(c, &r.Count)
	})
	U64(c, &m.Next)
}

// VersionsBlocks is how many blocks one VersionsReply tells about.
const VersionsBlocks = 1024

// BlockVersion is what a storage has of a block.
type BlockVersion struct {
	Block      uint64
	Version    vocab.Version // absent: it cannot tell
	Projection uint8
}

// VersionsReply lists, in order, the blocks that are not absent.
type VersionsReply struct {
	Boot   vocab.Boot
	Final  vocab.Version // of the file, as this storage knows
	Blocks []BlockVersion
	Next   uint64 // the first block behind these that is not absent, 0: none
}

// Code implements Message.
func (m *VersionsReply) Code(c *Codec) {
	U64(c, &m.Boot)
	codeVersion(c, &m.Final)
	Slice(c, &m.Blocks, VersionsBlocks, 25, func(c *Codec, b *BlockVersion) {
		U64(c, &b.Block)
		codeVersion(c, &b.Version)
		U8(c, &b.Projection)
	})
	U64(c, &m.Next)
}

// SettleRequest has a storaged settle what the writer of a file has left: every block
// that is not final gets the newest content of which enough projections lie on the
// fenced storages, or none, and what lies beyond the size is discarded. The target's
// session and epoch are those under which it acts. Not for clients.
//
// As the request of OpRepair it has a storaged bring each final block home: every
// projection that its home lacks is rebuilt there, and what spares have is discarded.
// Fenced is not used, Final is up to which exportd knows all versions to be final: the
// storages forget what they were told. All storages must be reached.
type SettleRequest struct {
	Target
	Placement vocab.Placement
	Size      uint64
	Fenced    []uint8       // positions of the distribution
	Storages  []StorageAddr // of the distribution, by position
	Final     vocab.Version
}

// Code implements Message.
func (m *SettleRequest) Code(c *Codec) {
	m.Target.code(c)
	CodePlacement(c, &m.Placement)
	U64(c, &m.Size)
	Slice(c, &m.Fenced, vocab.MaxSafe, 1, func(c *Codec, p *uint8) { U8(c, p) })
	codeStorages(c, &m.Storages)
	codeVersion(c, &m.Final)
}

// BootReply answers requests whose only result is the boot.
type BootReply struct {
	Boot vocab.Boot
}

// Code implements Message.
func (m *BootReply) Code(c *Codec) { U64(c, &m.Boot) }

// StorageStatusRequest asks a storaged for all its roots.
type StorageStatusRequest struct{}

// Code implements Message.
func (m *StorageStatusRequest) Code(*Codec) {}

// Health of a storage root.
type Health uint8

const (
	HealthDown     Health = iota // not reachable (said by exportd only)
	HealthUp                     // serves
	HealthFailed                 // its disk returned an error; out of service until restarted
	HealthReplaced               // another incarnation than exportd knows (said by exportd only)
)

// String is one word, for logs and tables.
func (h Health) String() string {
	switch h {
	case HealthUp:
		return "up"
	case HealthFailed:
		return "failed"
	case HealthReplaced:
		return "replaced"
	}
	return "down"
}

// StorageRoot is one root of a storaged.
type StorageRoot struct {
	ID          vocab.StorageID
	Incarnation vocab.Incarnation
	Boot        vocab.Boot
	Health      Health
	TotalBytes  uint64
	FreeBytes   uint64
	Root        string
}

// Code implements Message.
func (m *StorageRoot) Code(c *Codec) {
	codeStorageID(c, &m.ID)
	U64(c, &m.Incarnation)
	U64(c, &m.Boot)
	U8(c, &m.Health)
	U64(c, &m.TotalBytes)
	U64(c, &m.FreeBytes)
	c.String(&m.Root, 4096)
}

// StorageStatusReply lists the roots.
type StorageStatusReply struct {
	Roots []StorageRoot
}

// Code implements Message.
func (m *StorageStatusReply) Code(c *Codec) {
	Slice(c, &m.Roots, 4096, 40, func(c *Codec, r *StorageRoot) { r.Code(c) })
}
