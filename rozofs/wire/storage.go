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
	// storages, or was replaced by one that is: older content may go. What a client writes is
	// above it, what repair writes is not.
	Final vocab.Version
	// Seen is of repair, which writes what is final: up to which the storage had said that
	// all is. It refuses with Busy when it has forgotten a newer discard since, for that
	// may have been of one of these blocks. Of a client that comes as late it leaves slots
	// out.
	Seen vocab.Version
	Sync bool // it is durable when it is answered
}

// Code implements Message.
func (m *WriteRequest) Code(c *Codec) {
	m.Target.code(c)
	m.Run.code(c)
	U32(c, &m.PayloadBytes)
	codeVersion(c, &m.Final)
	codeVersion(c, &m.Seen)
	c.Bool(&m.Sync)
}

// WriteReply tells the boot under which the slots were taken. Unless Sync was set they are not
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
	// PayloadBytes is as in WriteRequest, for a storage that has nothing of the file: what is
	// older and comes later is held back there too. 0: such a one keeps no discard.
	PayloadBytes uint32
}

// Code implements Message.
func (m *DiscardRequest) Code(c *Codec) {
	m.Target.code(c)
	m.Run.code(c)
	codeVersion(c, &m.Version)
	U32(c, &m.PayloadBytes)
}

// DeleteRequest removes files whole; files that are not there are no error. With a
// Generation, those that the storage knows under it or a later one stay: the storage has
// joined their distribution again. Only exportd sends it.
type DeleteRequest struct {
	Target
	FIDs       []vocab.FID
	Generation uint32 // 0: whatever the generation
}

// Code implements Message.
func (m *DeleteRequest) Code(c *Codec) {
	m.Target.code(c)
	Slice(c, &m.FIDs, MaxFIDs, 16, codeFID)
	U32(c, &m.Generation)
}

// FenceRequest makes the storage durably refuse epochs of the target's session
// below the target's epoch. Only exportd sends it.
type FenceRequest struct {
	Target
	// Leases are refused from now on, each alone, and until the storaged restarts: that is
	// the end of all connections on which something of theirs may still be on its way.
	Leases []LeaseID
}

// LeaseID names one write lease: no two grants have the same epoch.
type LeaseID struct {
	Session vocab.SessionID
	Epoch   vocab.Epoch
}

// Code implements Message.
func (m *FenceRequest) Code(c *Codec) {
	m.Target.code(c)
	Slice(c, &m.Leases, MaxFIDs, 16, func(c *Codec, l *LeaseID) {
		U64(c, &l.Session)
		U64(c, &l.Epoch)
	})
}

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

// BlocksRequest asks what a storage has of the blocks of a file from one on. OpUnsettled
// lists those whose newest version is not final; OpVersions tells of VersionsBlocks blocks
// what there is, by their headers alone unless Verify says that the payloads are to be
// checked too. Beside the newest version it tells the newest final one: up to Final, or up
// to what the storage knows to be final if that is more. Both are not for clients. OpExtents
// tells where there may be something, as far as that is known without reading it.
type BlocksRequest struct {
	Target
	FID    vocab.FID
	From   uint64
	Final  vocab.Version
	Verify bool
}

// Code implements Message.
func (m *BlocksRequest) Code(c *Codec) {
	m.Target.code(c)
	codeFID(c, &m.FID)
	U64(c, &m.From)
	codeVersion(c, &m.Final)
	c.Bool(&m.Verify)
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

// ExtentsReply lists, in order, ranges that all blocks lie in which are not absent; of those
// from Next on it tells nothing unless that is 0.
type ExtentsReply struct {
	Boot   vocab.Boot
	Ranges []Range
	Next   uint64
}

// Code implements Message.
func (m *ExtentsReply) Code(c *Codec) {
	r := UnsettledReply(*m)
	r.Code(c)
	*m = ExtentsReply(r)
}

// BlockVersion is what a storage has of a block.
type BlockVersion struct {
	Block      uint64
	Version    vocab.Version // absent: it cannot tell
	Projection uint8         // or Discarded
}

// Discarded in place of a projection says that the version is of a discard. One that is
// final is not told of.
const Discarded = 255

// FileCondition is what a storage can tell of a whole file.
type FileCondition uint8

const (
	FileAbsent  FileCondition = iota // there is none: all its blocks are absent
	FileWhole                        // what is not listed is absent
	FilePartial                      // of what is not listed the storage cannot tell
	FileBroken                       // it cannot tell of any block, and takes none until the file is marked
)

// VersionsReply lists, in order, the blocks that are not absent, and where the newest
// version is not final the newest final one behind it.
type VersionsReply struct {
	Boot      vocab.Boot
	Final     vocab.Version // of the file, as this storage knows
	Blocks    []BlockVersion
	Next      uint64 // the first block behind these that is not absent, 0: none
	Condition FileCondition
	Marked    bool // the file itself is partial here, and not the whole root alone
}

// Code implements Message.
func (m *VersionsReply) Code(c *Codec) {
	U64(c, &m.Boot)
	codeVersion(c, &m.Final)
	Slice(c, &m.Blocks, 2*VersionsBlocks, 25, func(c *Codec, b *BlockVersion) {
		U64(c, &b.Block)
		codeVersion(c, &b.Version)
		U8(c, &b.Projection)
	})
	U64(c, &m.Next)
	U8(c, &m.Condition)
	c.Bool(&m.Marked)
}

// SettleRequest has a storaged settle what the writer of a file has left: every block
// that is not final gets the newest content of which enough projections lie on the
// fenced storages, or none, and what lies beyond the size is discarded. The target's
// session and epoch are those under which it acts. Not for clients.
type SettleRequest struct {
	Target
	Placement vocab.Placement
	Size      uint64
	Fenced    []uint8       // positions of the distribution
	Storages  []StorageAddr // of the distribution, by position
	Final     vocab.Version
	// Torn says that a storage has remains of a write that count as final there (RepairReply):
	// all blocks are looked at, and these settled too.
	Torn bool
}

// Code implements Message.
func (m *SettleRequest) Code(c *Codec) {
	m.Target.code(c)
	CodePlacement(c, &m.Placement)
	U64(c, &m.Size)
	Slice(c, &m.Fenced, vocab.MaxSafe, 1, func(c *Codec, p *uint8) { U8(c, p) })
	codeStorages(c, &m.Storages)
	codeVersion(c, &m.Final)
	c.Bool(&m.Torn)
}

// RepairRequest has a storaged bring each final block of a file home, from block From on:
// every projection that its home lacks is rebuilt there, and when all storages can be
// reached what the spares have is discarded. Fenced and Torn are not used; Final is up to which
// exportd knows all versions to be final: the storages forget what they were told.
//
// The storages that are to be added to the distribution are named in Joining: what they
// have of the file from below Generation goes first, and they cannot tell of its blocks
// until they have all. They alone take part under Generation; the others under that of the
// placement, which clients may still be using.
type RepairRequest struct {
	SettleRequest
	From       uint64
	Rate       uint64      // bytes per second of slots that it may write, and with Verify check; 0: any
	Verify     bool        // check payloads, not headers alone
	Joining    []uint8     // positions
	Generation uint32      // of the distribution, if they join
	SoFar      RepairReply // of the request that this one goes on with
}

// Code implements Message.
func (m *RepairRequest) Code(c *Codec) {
	m.SettleRequest.Code(c)
	U64(c, &m.From)
	U64(c, &m.Rate)
	c.Bool(&m.Verify)
	Slice(c, &m.Joining, vocab.MaxSafe, 1, func(c *Codec, p *uint8) { U8(c, p) })
	U32(c, &m.Generation)
	m.SoFar.Code(c)
}

// RepairReply tells what was done, by this request and those that it goes on with. A storaged
// ends a request after some time; Next is then where to go on.
type RepairReply struct {
	Boot    vocab.Boot
	Next    uint64 // 0: all was done
	Checked uint64 // bytes of slots that the storages have of the blocks
	Written uint64 // bytes of slots written
	Lacking uint64 // projections that were not at home, without the broken ones
	Broken  uint64 // projections that failed a check
	Lost    uint64 // blocks of which too few projections are left, or can be reached
	Busy    uint64 // blocks that are being written, and have not reached all homes
	Torn    uint64 // blocks of which a home has a newer version than all, that was never complete: to be settled
	Missing uint32 // bits of the positions that could not be reached
	Marked  uint32 // bits of the positions where the file was partial from the first block on, and, when all was done, still is
}

// Code implements Message.
func (m *RepairReply) Code(c *Codec) {
	U64(c, &m.Boot)
	U64(c, &m.Next)
	U64(c, &m.Checked)
	U64(c, &m.Written)
	U64(c, &m.Lacking)
	U64(c, &m.Broken)
	U64(c, &m.Lost)
	U64(c, &m.Busy)
	U64(c, &m.Torn)
	U32(c, &m.Missing)
	U32(c, &m.Marked)
}

// MarkRequest notes durably whether a storage has all that it should have of a file, or,
// with FID zero, of any: as long as it is partial, blocks of which it has nothing read as
// unknown. A file whose header is broken gets a new one, so that it can be written again;
// what a file has from below Generation goes if Join is set. Only for exportd and storaged.
type MarkRequest struct {
	Target
	FID          vocab.FID
	PayloadBytes uint32 // as in a WriteRequest; for files
	Generation   uint32 // of the distribution; for files
	Partial      bool
	Join         bool
}

// Code implements Message.
func (m *MarkRequest) Code(c *Codec) {
	m.Target.code(c)
	codeFID(c, &m.FID)
	U32(c, &m.PayloadBytes)
	U32(c, &m.Generation)
	c.Bool(&m.Partial)
	c.Bool(&m.Join)
}

// FilesRequest asks which files a storage has in place, from a directory of them on. Only
// exportd sends it.
type FilesRequest struct {
	Target
	Bucket uint32
}

// Code implements Message.
func (m *FilesRequest) Code(c *Codec) {
	m.Target.code(c)
	U32(c, &m.Bucket)
}

// MaxListedFiles bounds the files in a FilesReply.
const MaxListedFiles = 48 << 10

// FilesReply lists files of whole directories, the rest of which begins at Next unless that
// is 0.
type FilesReply struct {
	FIDs []vocab.FID
	Next uint32
}

// Code implements Message.
func (m *FilesReply) Code(c *Codec) {
	Slice(c, &m.FIDs, MaxListedFiles, 16, codeFID)
	U32(c, &m.Next)
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
	HealthNew                    // serves, and never had anything (said by storaged only)
	HealthPartial                // serves, but lacks what its predecessor had until it is rebuilt
)

// Serves tells whether a storaged says that it serves the root.
func (h Health) Serves() bool { return h == HealthUp || h == HealthNew || h == HealthPartial }

// String is one word, for logs and tables.
func (h Health) String() string {
	switch h {
	case HealthUp:
		return "up"
	case HealthFailed:
		return "failed"
	case HealthReplaced:
		return "replaced"
	case HealthNew:
		return "new"
	case HealthPartial:
		return "rebuilding"
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
