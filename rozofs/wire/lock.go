package wire

import "github.com/rozofs-go/rozo/rozofs/vocab"

// MaxTurns bounds the tickets of one LockTurnRequest.
const MaxTurns = 4096

// LockKind is whose lock it is.
type LockKind uint8

// Locks of the first two kinds exclude one another; flock is for itself, and always of
// the whole file.
const (
	LockFcntl LockKind = iota // of a process; a wait that would never end is refused with Deadlock
	LockOFD                   // of an open file
	LockFlock                 // of an open file, by flock(2)
)

// LockType is what a lock does.
type LockType uint8

// The types. LockNone takes locks off.
const (
	LockNone LockType = iota
	LockRead
	LockWrite
)

// Lock is a lock on the bytes from Start to End, both included. Owner is the mount's name
// for the process or the open file, PID the process.
type Lock struct {
	Owner      uint64
	PID        uint32
	Kind       LockKind
	Type       LockType
	Start, End uint64
}

const lockBytes = 30

func (m *Lock) code(c *Codec) {
	U64(c, &m.Owner)
	U32(c, &m.PID)
	U8(c, &m.Kind)
	U8(c, &m.Type)
	U64(c, &m.Start)
	U64(c, &m.End)
	if c.decoding && (m.Kind > LockFlock || m.Type > LockWrite || m.Start > m.End) {
		c.Fail("lock of kind %d and type %d on %d to %d", m.Kind, m.Type, m.Start, m.End)
	}
}

// LockRequest sets a lock or takes it off (OpLock), or asks who would be in its way
// (OpTestLock). It takes the place of what the session has waiting under Ticket, if
// anything: so it repeats a request whose turn has come, or ends one that was given up.
// LockReply.
type LockRequest struct {
	Head
	Ino    vocab.Ino
	Lock   Lock
	Ticket uint64
	Wait   bool
}

// Code implements Message.
func (m *LockRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Ino)
	m.Lock.code(c)
	U64(c, &m.Ticket)
	c.Bool(&m.Wait)
}

// LockState is what became of a LockRequest.
type LockState uint8

// Of LockQueued and LockLater a LockTurnRequest follows, and then the client sends the
// request again. A flock that is LockHeld or LockQueued has lost what its owner had: as
// flock(2) does, it gives up the old lock before it waits for the new one.
const (
	LockGranted LockState = iota // it is set, or off, or nothing is in its way
	LockHeld                     // Holder is in its way
	LockQueued                   // so it is, and the request waits
	LockLater                    // exportd does not know yet who holds what; it will tell when it does
)

// LockReply answers a LockRequest.
type LockReply struct {
	State  LockState
	Holder Lock // PID is 0 if it is of another session
}

// Code implements Message.
func (m *LockReply) Code(c *Codec) {
	U8(c, &m.State)
	m.Holder.code(c)
	if c.decoding && m.State > LockLater {
		c.Fail("lock state %d", m.State)
	}
}

// LockTurnRequest goes from exportd to the client: what waits under the tickets is
// decided, and shall be sent again. Tickets that the client does not know it passes over.
type LockTurnRequest struct {
	Tickets []uint64
}

// Code implements Message.
func (m *LockTurnRequest) Code(c *Codec) {
	Slice(c, &m.Tickets, MaxTurns, 8, func(c *Codec, t *uint64) { U64(c, t) })
}

// HeldLock is a lock on a file.
type HeldLock struct {
	Ino vocab.Ino
	Lock
}

// ReclaimLocksRequest says which locks the session holds, before it reclaims its leases on
// a new connection: those and no others. Last ends the list, in which the locks of one
// owner on one file stand together.
type ReclaimLocksRequest struct {
	Head
	Locks []HeldLock
	Last  bool
}

// Code implements Message.
func (m *ReclaimLocksRequest) Code(c *Codec) {
	m.Head.code(c)
	Slice(c, &m.Locks, MaxHeld, 8+lockBytes, func(c *Codec, l *HeldLock) {
		U64(c, &l.Ino)
		l.Lock.code(c)
	})
	c.Bool(&m.Last)
}

// ReclaimLocksReply names, in answer to the last request, one lock of each owner and file
// whose locks are lost, by its place in the list.
type ReclaimLocksReply struct {
	Lost []uint32
}

// Code implements Message.
func (m *ReclaimLocksReply) Code(c *Codec) {
	Slice(c, &m.Lost, 1<<17, 4, func(c *Codec, i *uint32) { U32(c, i) })
}
