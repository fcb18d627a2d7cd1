package storaged

import (
	"sync/atomic"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/storaged/disk"
)

const (
	// A journal is at most this part of its disk: one that runs full can be folded still.
	journalPart = 32
	// roomLooks is how often the disk is asked how full it is while what is kept is written.
	roomLooks = 8
)

// room is what may be written to a root's disk. As much as a journal stays free for what makes
// room: folding, deletions, fences and the start of a storaged. Twice as much is not for
// clients, so that files can be settled and repaired.
type room struct {
	disk disk.Disk
	kept int64 // bytes that stay free
	// left is what storageds, and clients, may write before the disk is asked again how full
	// it is: others may use it too, so that is soon.
	left [2]atomic.Int64
}

// roomOf makes room for a root, and says how long its journal may be.
func roomOf(d disk.Disk, journal int64) (r *room, limit int64, err error) {
	total, _, err := d.Space()
	limit = min(journal, max(MinJournalBytes, int64(total/journalPart)))
	return &room{disk: d, kept: limit}, limit, err
}

// take is asked before n bytes are written.
func (r *room) take(n int, client bool) error {
	budget, kept := &r.left[0], r.kept
	if client {
		budget, kept = &r.left[1], 2*r.kept
	}
	if budget.Add(-int64(n)) >= 0 {
		return nil
	}
	_, free, err := r.disk.Space()
	if err != nil {
		return err
	}
	left := int64(min(free, 1<<62)) - kept - int64(n)
	if left < 0 {
		budget.Store(0)
		return vocab.Errorf(vocab.NoSpace, "%d bytes are free, and %d are kept for deletions and repair", free, kept)
	}
	budget.Store(min(left, r.kept/roomLooks))
	return nil
}

// usable is how much of so many bytes clients may use.
func (r *room) usable(bytes uint64) uint64 { return bytes - min(bytes, uint64(2*r.kept)) }
