package storaged

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged/disk"
)

const (
	journalDir = "journal"
	// The journal has journalSegments when it is full, and is folded from half of that.
	journalSegments = 8
)

// journal is a root's log of what is not in place yet: slots written over others,
// small first writes, and headers of slot files. It is a sequence of segments, each a
// file that is only appended to (record.go has the format). A new segment is begun at
// every start and when one is full, which is synced first; so only the end of the last
// segment of a run may be torn.
type journal struct {
	disk  disk.Disk
	limit int64         // Config.JournalBytes: writes wait when it is longer
	wake  chan struct{} // capacity 1: it has become long
	idle  atomic.Bool   // the folder has found nothing to do
	group syncGroup     // of the syncs of the current segment

	appending diskLock // held while a record is appended; guards the next three
	current   *segment
	seq       uint64
	synced    int64 // bytes of the current segment that a sync has covered

	mu       sync.Mutex // guards the rest; taken last, never held during I/O
	segments []*segment // the oldest first, the current one last
	files    map[vocab.FID]*pending
	bytes    int64         // of all segments
	owed     int64         // what their discards will free
	room     chan struct{} // closed and replaced when bytes falls
}

// segment is one file of the journal.
type segment struct {
	seq  uint64
	f    disk.File
	size int64                  // guarded by journal.appending while it is the current one
	owed int64                  // of its records, guarded likewise
	fids map[vocab.FID]struct{} // guarded by journal.mu: files that have records here
}

func segmentName(seq uint64) string { return fmt.Sprintf("%s/%016x", journalDir, seq) }

// entry is where a version of a block's slot lies in the journal.
type entry struct {
	version vocab.Version
	seg     *segment
	off     int64
	bytes   int32 // 0: the block was discarded
}

// pending is what the journal holds of one file. It is guarded by the slotFile's mu.
type pending struct {
	blocks map[uint64][]entry // versions ascending
	end    uint64             // no block at or above it has an entry
	head   *fileHeader        // newer than the one in place; nil: there is none
	headAt *segment
	final  vocab.Version // as in the header, perhaps later
	direct uint64        // as of slotFile
}

func (p *pending) empty() bool { return p == nil || len(p.blocks) == 0 && p.head == nil }

// of gives the newest entry of a block below a bound, which is zero for none.
func (p *pending) of(block uint64, below vocab.Version) (entry, bool) {
	if p == nil {
		return entry{}, false
	}
	all := p.blocks[block]
	for i := len(all) - 1; i >= 0; i-- {
		if below.Absent() || all[i].version.Compare(below) < 0 {
			return all[i], true
		}
	}
	return entry{}, false
}

// within lists the blocks from from to to that have entries, in order.
func (p *pending) within(from, to uint64) (blocks []uint64) {
	if p == nil {
		return nil
	}
	to = min(to, p.end)
	if from < to && to-from <= uint64(len(p.blocks)) {
		for b := from; b < to; b++ {
			if len(p.blocks[b]) > 0 {
				blocks = append(blocks, b)
			}
		}
		return blocks
	}
	for b := range p.blocks {
		if from <= b && b < to {
			blocks = append(blocks, b)
		}
	}
	slices.Sort(blocks)
	return blocks
}

func (p *pending) add(block uint64, e entry) {
	all := p.blocks[block]
	i := len(all)
	for i > 0 && all[i-1].version.Compare(e.version) > 0 {
		i--
	}
	if i > 0 && all[i-1].version == e.version {
		all[i-1] = e
		return
	}
	p.blocks[block] = slices.Insert(all, i, e)
	p.end = max(p.end, block+1)
}

// openJournal replays what an earlier run has left and begins a segment.
func openJournal(d disk.Disk, limit int64) (*journal, error) {
	j := &journal{
		disk: d, limit: limit, appending: newDiskLock(), files: map[vocab.FID]*pending{},
		wake: make(chan struct{}, 1), room: make(chan struct{}),
	}
	err := d.Mkdir(journalDir)
	if err == nil {
		err = d.SyncDir(".")
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err = j.replay(); err == nil {
		err = j.begin()
	}
	if err != nil {
		_ = j.close() // nothing was changed: the first error is the one to tell
		return nil, fmt.Errorf("journal: %w", err)
	}
	return j, nil
}

// replay reads all segments.
func (j *journal) replay() error {
	names, err := j.disk.Names(journalDir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		seq, err := strconv.ParseUint(name, 16, 64)
		if err != nil || len(name) != 16 || strings.ToLower(name) != name {
			return vocab.Errorf(vocab.Corrupt, "%s/%s is none of its files", journalDir, name)
		}
		f, err := j.disk.Open(segmentName(seq), os.O_RDWR)
		if err != nil {
			return err
		}
		s := &segment{seq: seq, f: f, fids: map[vocab.FID]struct{}{}}
		j.segments = append(j.segments, s)
		j.seq = seq
		before := int64(math.MaxInt64)
		if n := len(j.segments); n > 1 && j.segments[n-2].seq+1 == seq {
			before = j.segments[n-2].size
		}
		if err := j.replaySegment(s, before); err != nil {
			return fmt.Errorf("%s: %w", segmentName(seq), err)
		}
		j.bytes += s.size
		j.owed += s.owed
		// What was read may be in the kernel's memory alone.
		if err := s.f.Datasync(); err != nil {
			return err
		}
	}
	return j.disk.SyncDir(journalDir)
}

// replaySegment reads a segment up to its first bad record. That is the torn end,
// unless a sync is known to have covered it: then the disk has lost what it had
// promised to keep. A slot that has rotted is kept, for its reader to see that.
// before is the length found of the segment before, if that is still there.
func (j *journal) replaySegment(s *segment, before int64) error {
	length, _, err := s.f.Stat()
	if err != nil {
		return err
	}
	var all []*record
	end, covered := int64(0), int64(0)
	for {
		r, err := readRecord(s.f, end, length, s.seq)
		if err != nil {
			return err
		}
		if r == nil {
			break
		}
		if len(all) == 0 && r.kind == recordStart && r.covered > before {
			return vocab.Errorf(vocab.Corrupt, "the segment before it ends at byte %d, but %d had been synced", before, r.covered)
		}
		if len(all) > 0 {
			covered = max(covered, r.covered)
		}
		all = append(all, r)
		end += r.length()
	}
	later, err := coveredBehind(s.f, end, length, s.seq)
	if err != nil {
		return err
	}
	covered = max(covered, later)
	for _, r := range all {
		if r.damaged && (s.size >= covered || !r.usable()) {
			break
		}
		j.note(s, s.size, r)
		s.size += r.length()
		s.owed += r.owed()
	}
	if covered > s.size {
		return vocab.Errorf(vocab.Corrupt, "the record at byte %d fails its checksum, but it had been synced", s.size)
	}
	return nil
}

// note enters a record that was read or written into the index.
func (j *journal) note(s *segment, off int64, r *record) {
	if r.kind == recordStart {
		return
	}
	if r.kind == recordGone {
		delete(j.files, r.fid)
		return
	}
	s.fids[r.fid] = struct{}{}
	p := j.files[r.fid]
	if p == nil {
		p = &pending{blocks: map[uint64][]entry{}}
		j.files[r.fid] = p
	}
	if r.kind == recordHead {
		p.head, p.headAt = r.head, s
		return
	}
	if r.kind == recordVoid {
		for i, v := range r.versions {
			p.add(r.first+uint64(i), entry{version: v, seg: s})
		}
		return
	}
	stride := int64(wire.SlotHeaderBytes) + int64(r.payloadBytes)
	at, end := off+recordHeader, off+recordHeader+int64(r.body)
	for i, v := range r.versions {
		p.add(r.first+uint64(i), entry{version: v, seg: s, off: at, bytes: int32(min(stride, end-at))})
		at += stride
	}
}

// begin starts a new segment. What was current is synced, so that the start of the new
// one can tell how long it is. Needs appending, or that nobody else has j.
func (j *journal) begin() error {
	covered := int64(0)
	var last *segment
	j.mu.Lock() // a segment may be removed meanwhile, but not the last
	if n := len(j.segments); n > 0 {
		last = j.segments[n-1]
	}
	j.mu.Unlock()
	if last != nil {
		if err := last.f.Datasync(); err != nil {
			return err
		}
		covered = last.size
	}
	s := &segment{seq: j.seq + 1, fids: map[vocab.FID]struct{}{}}
	f, err := j.disk.Open(segmentName(s.seq), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	s.f = f
	r := record{kind: recordStart, covered: covered}
	b := r.marshal(s.seq)
	if _, err = f.WriteAt(b, 0); err == nil {
		err = j.disk.SyncDir(journalDir)
	}
	if err != nil {
		_ = f.Close() // the first error is the one to tell
		_ = j.disk.Remove(segmentName(s.seq))
		return err
	}
	s.size = int64(len(b))
	j.current, j.seq, j.synced = s, s.seq, 0
	j.mu.Lock()
	j.segments = append(j.segments, s)
	j.bytes += s.size
	j.mu.Unlock()
	return nil
}

// append writes records with one call and enters them into the index. The caller has
// the mu of the slotFile that they are about.
func (j *journal) append(records ...*record) error {
	j.appending.Lock()
	defer j.appending.Unlock()
	if j.current.size+j.current.owed >= j.limit/journalSegments {
		if err := j.begin(); err != nil {
			return err
		}
	}
	s := j.current
	parts := make([][]byte, 0, 3*len(records))
	total, owed := int64(0), int64(0)
	for _, r := range records {
		r.covered = j.synced
		parts = append(parts, r.marshal(s.seq), r.bulk)
		if n := r.padding(); n > 0 {
			parts = append(parts, padding[:n])
		}
		total += r.length()
		owed += r.owed()
	}
	if err := s.f.WriteVec(parts, s.size); err != nil {
		_ = s.f.Truncate(s.size) // what stays is behind the end, and overwritten
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	off := s.size
	for _, r := range records {
		j.note(s, off, r)
		off += r.length()
	}
	s.size += total
	s.owed += owed
	j.bytes += total
	j.owed += owed
	return nil
}

var padding [recordAlign]byte

// sync makes all that was appended before durable.
func (j *journal) sync() error {
	return j.group.do(func() error {
		j.appending.Lock()
		s, size, synced := j.current, j.current.size, j.synced
		j.appending.Unlock()
		if size == synced {
			return nil
		}
		if err := s.f.Datasync(); err != nil {
			return err
		}
		j.appending.Lock()
		defer j.appending.Unlock()
		if j.current == s { // else begin has synced all of it
			j.synced = max(j.synced, size)
		}
		return nil
	})
}

// pendingOf is what the journal holds of a file, or nil.
func (j *journal) pendingOf(fid vocab.FID) *pending {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.files[fid]
}

// forget takes a file out of the index.
func (j *journal) forget(fid vocab.FID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.files, fid)
}

func (j *journal) length() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.bytes
}

// long tells whether the journal is to be folded.
func (j *journal) long() bool { return j.length() > j.limit/2 || j.owing() > j.limit/2 }

// heavy tells whether discards have piled up.
func (j *journal) heavy() bool { return j.owing() > j.limit }

func (j *journal) owing() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.owed
}

// full tells whether writes wait.
func (j *journal) full() bool { return j.length() > j.limit }

// foldSoon wakes the folder if there is work for it.
func (j *journal) foldSoon() {
	if !j.long() {
		return
	}
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// roomPatience is how long writes wait for a journal that is full of what is not final.
const roomPatience = 250 * time.Millisecond

// awaitRoom waits while the journal is full, as long as that may help. What is in it may
// become final only when some of those who wait are through: the bound of a file is below
// the oldest of its writes that is not complete. So when there is nothing to fold for a while
// the journal grows, as long as the disk has room.
func (j *journal) awaitRoom(ctx context.Context) error {
	patience := time.NewTimer(roomPatience)
	defer patience.Stop()
	for {
		j.mu.Lock()
		room := j.room
		j.mu.Unlock()
		if !j.full() {
			return nil
		}
		j.foldSoon()
		select {
		case <-room:
		case <-patience.C:
			if j.idle.Load() {
				return nil
			}
			patience.Reset(roomPatience)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// seal begins a new segment if the current one has records.
func (j *journal) seal() error {
	j.appending.Lock()
	defer j.appending.Unlock()
	if j.current.size <= recordHeader {
		return nil
	}
	return j.begin()
}

// sealed lists the segments that get no more records, the oldest first.
func (j *journal) sealed() []*segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.segments[:len(j.segments)-1])
}

// fidsOf lists the files that have had records in a segment.
func (j *journal) fidsOf(s *segment) []vocab.FID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Collect(maps.Keys(s.fids))
}

// remove removes a segment that nothing in the index refers to. That it is gone is made
// durable, so that an older one never comes back after a newer one was removed.
func (j *journal) remove(s *segment) error {
	if err := j.disk.Remove(segmentName(s.seq)); err != nil {
		return err
	}
	if err := j.disk.SyncDir(journalDir); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments = slices.DeleteFunc(j.segments, func(o *segment) bool { return o == s })
	j.bytes -= s.size
	j.owed -= s.owed
	close(j.room)
	j.room = make(chan struct{})
	return s.f.Close()
}

// read reads the slot of an entry into b, as far as it has room.
func (e entry) read(b []byte) (int, error) {
	n := min(len(b), int(e.bytes))
	got, err := e.seg.f.ReadAt(b[:n], e.off)
	if got == n || err == io.EOF {
		err = nil
	}
	return got, err
}

func (j *journal) close() error {
	var errs []error
	for _, s := range j.segments {
		errs = append(errs, s.f.Close())
	}
	return errors.Join(errs...)
}
