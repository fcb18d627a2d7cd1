package storaged

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged/disk"
)

// MaxFences bounds the sessions that a root keeps a fence for. A fence for one
// more is refused with TooManyOpen.
const MaxFences = 1 << 18

const (
	fencesFile       = "fences"
	fencesTemp       = "fences.tmp"
	fencesMagic      = 0x4e465a52 // "RZFN"
	fencesVersion    = 1
	fencesHeader     = 16
	fenceBytes       = 24
	fencesSlack      = 4096 // records beyond twice the live ones that make the log be compacted
	maxFencesRecords = 2*MaxFences + fencesSlack + 1
)

// fenceLog is the durable record of the epochs that a root refuses. The file is
// a header and fixed records, little endian; the highest epoch of a session
// counts.
//
//	header: u32 magic "RZFN", u32 format version, 1, [8] 0
//	record: u64 session, u64 epoch, u32 0, u32 CRC32C of the 20 bytes before
//
// A record is appended by one pwrite and one fdatasync. What follows the last
// record that checks was never acknowledged and is cut off at start.
//
// BUG: decay of the last record alone looks like a torn append, and its fence is
// lost; decay before the last record is seen and refused.
type fenceLog struct {
	disk disk.Disk

	appending diskLock // serializes appends, held during I/O; guards the next two
	f         disk.File
	records   int

	mu     sync.RWMutex // guards epochs; taken after appending
	epochs map[vocab.SessionID]vocab.Epoch
}

func appendFence(b []byte, s vocab.SessionID, e vocab.Epoch) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(s))
	b = binary.LittleEndian.AppendUint64(b, uint64(e))
	b = binary.LittleEndian.AppendUint32(b, 0)
	return binary.LittleEndian.AppendUint32(b, wire.Checksum(b[start:]))
}

func parseFence(b []byte) (s vocab.SessionID, e vocab.Epoch, ok bool) {
	le := binary.LittleEndian
	ok = wire.Checksum(b[:20]) == le.Uint32(b[20:]) && le.Uint32(b[16:]) == 0
	return vocab.SessionID(le.Uint64(b)), vocab.Epoch(le.Uint64(b[8:])), ok
}

func fencesHead() []byte {
	b := make([]byte, fencesHeader)
	binary.LittleEndian.PutUint32(b, fencesMagic)
	binary.LittleEndian.PutUint32(b[4:], fencesVersion)
	return b
}

// decodeFences reads a log. A torn tail is left out; a record that does not
// check with a good one after it is an error of kind Corrupt.
func decodeFences(b []byte) (map[vocab.SessionID]vocab.Epoch, error) {
	epochs := map[vocab.SessionID]vocab.Epoch{}
	if len(b) < fencesHeader || binary.LittleEndian.Uint32(b) != fencesMagic {
		return nil, vocab.Errorf(vocab.Corrupt, "%s does not begin as a log of fences", fencesFile)
	}
	if v := binary.LittleEndian.Uint32(b[4:]); v != fencesVersion {
		return nil, vocab.Errorf(vocab.NotSupported, "%s has format version %d, this program knows %d", fencesFile, v, fencesVersion)
	}
	bad := -1
	for i, rest := 0, b[fencesHeader:]; len(rest) >= fenceBytes; i, rest = i+1, rest[fenceBytes:] {
		s, e, ok := parseFence(rest[:fenceBytes])
		switch {
		case !ok && bad < 0:
			bad = i
		case ok && bad >= 0:
			return nil, vocab.Errorf(vocab.Corrupt, "%s: record %d fails its checksum and is not the last one", fencesFile, bad)
		case ok:
			epochs[s] = max(epochs[s], e)
		}
	}
	return epochs, nil
}

// openFences reads the log, makes it if the root has none yet, and compacts it.
func openFences(d disk.Disk) (*fenceLog, error) {
	l := &fenceLog{disk: d, appending: newDiskLock(), epochs: map[vocab.SessionID]vocab.Epoch{}}
	f, err := d.Open(fencesFile, os.O_RDONLY)
	if err == nil {
		b, rerr := readAll(f, fencesHeader+maxFencesRecords*fenceBytes)
		_ = f.Close() // opened to read: closing loses nothing
		if rerr != nil {
			return nil, fmt.Errorf("%s: %w", fencesFile, rerr)
		}
		if l.epochs, err = decodeFences(b); err != nil {
			return nil, err
		}
	} else if !isNotExist(err) {
		return nil, err
	}
	if err := l.compact(); err != nil {
		return nil, fmt.Errorf("compact %s: %w", fencesFile, err)
	}
	return l, nil
}

// readAll reads a file of at most limit bytes.
func readAll(f disk.File, limit int64) ([]byte, error) {
	size, _, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, vocab.Errorf(vocab.Corrupt, "%d bytes, the limit being %d", size, limit)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	} else if int64(n) < size {
		return nil, io.ErrUnexpectedEOF
	}
	return b, nil
}

// compact writes the live records to a new file, fdatasyncs it, renames it over
// the old one and fsyncs the directory.
func (l *fenceLog) compact() error {
	f, err := l.disk.Open(fencesTemp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	b := fencesHead()
	for s, e := range l.epochs {
		b = appendFence(b, s, e)
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Datasync()
	}
	if err == nil {
		err = l.disk.Rename(fencesTemp, fencesFile)
	}
	if err == nil {
		err = l.disk.SyncDir(".")
	}
	if err != nil {
		_ = f.Close() // the first error is the one to tell
		return err
	}
	if l.f != nil {
		_ = l.f.Close() // every record of it was synced
	}
	l.f, l.records = f, len(l.epochs)
	return nil
}

// epoch is the lowest one that the session may act under.
func (l *fenceLog) epoch(s vocab.SessionID) vocab.Epoch {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.epochs[s]
}

// raise records a fence durably, then lets epoch return it. The log keeps the
// highest epoch of each session.
func (l *fenceLog) raise(s vocab.SessionID, e vocab.Epoch) error {
	l.appending.Lock()
	defer l.appending.Unlock()
	old, known := l.epochs[s] // only changed under appending
	if known && e <= old {
		return nil
	}
	if !known && len(l.epochs) >= MaxFences {
		return vocab.Errorf(vocab.TooManyOpen, "the root keeps fences for %d sessions, its limit", MaxFences)
	}
	rec := appendFence(make([]byte, 0, fenceBytes), s, e)
	if _, err := l.f.WriteAt(rec, fencesHeader+int64(l.records)*fenceBytes); err != nil {
		return err
	}
	if err := l.f.Datasync(); err != nil {
		return err
	}
	l.records++
	l.mu.Lock()
	l.epochs[s] = e
	l.mu.Unlock()
	if l.records > 2*len(l.epochs)+fencesSlack {
		return l.compact()
	}
	return nil
}

// maxLeaseFences bounds the leases that a root refuses one by one. Of more the oldest is
// forgotten: what was on its way when that was ended has arrived long since.
const maxLeaseFences = 1 << 16

// leaseFences are the leases that a root refuses, each alone.
type leaseFences struct {
	mu    sync.RWMutex
	all   map[wire.LeaseID]bool
	order []wire.LeaseID // the oldest at next when it is full
	next  int
}

func (l *leaseFences) add(leases []wire.LeaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[wire.LeaseID]bool{}
	}
	for _, id := range leases {
		switch {
		case l.all[id]:
			continue
		case len(l.order) < maxLeaseFences:
			l.order = append(l.order, id)
		default:
			delete(l.all, l.order[l.next])
			l.order[l.next] = id
			l.next = (l.next + 1) % maxLeaseFences
		}
		l.all[id] = true
	}
}

func (l *leaseFences) has(id wire.LeaseID) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.all[id]
}

func (l *fenceLog) close() error {
	l.appending.Lock()
	defer l.appending.Unlock()
	return l.f.Close()
}
