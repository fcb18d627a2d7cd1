package rozofs

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/rozofs-go/rozo/rozofs/block"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// file is what the client knows of one inode, shared by all its handles.
type file struct {
	c   *Client
	ino vocab.Ino

	refs int // handles and calls that use it; guarded by Client.mu
	used int // tidy's round of the last use; guarded by Client.mu

	// content serializes what changes the content: writes and truncations. It is
	// taken before mu, under a held lease, and kept while blocks are read, so who waits for
	// it can be interrupted.
	content *semaphore.Weighted // of 1

	mu      sync.Mutex    // guards all below; never held while blocking
	changed chan struct{} // closed and replaced when state that others wait for changes

	// The lease (lease.go).
	lease     wire.Lease
	known     bool        // exportd has the file registered as open by this session
	acquiring bool        // an open request is under way
	recalling bool        // the lease is being given up
	giving    bool        // the release is under way, all being durable: the lease may be gone already
	unsure    bool        // the release was not answered: giving and recalling last until reclaimed
	gone      vocab.Epoch // of the last write lease that was given up or lost
	given     uint64      // Client.given when a write lease was last given up or lost
	holders   int         // calls that rely on the lease right now
	lost      error       // the lease has ended while calls relied on it, and why; until they have ended

	attr        vocab.Attr
	attrRound   uint64     // Client.nameChanges when attr was fetched
	serverCtime vocab.Time // the newest that exportd told
	cuts        uint64     // counts truncations that have dropped pages
	uncommitted bool       // size or mtime differ from what exportd has
	sizing      bool       // a request that tells exportd the size is under way
	place       vocab.Placement
	coder       *block.Coder

	// The content (write.go, send.go, sync.go).
	counter  uint64           // of the last version under this lease
	pages    map[uint64]*page // by block: dirty, or sent and not yet durable
	dirty    int              // pages to be sent
	inFlight int              // runs being sent
	runs     []*run           // sent and complete, not yet durable
	fresh    uint64           // nothing lies in the blocks from this one on, nor was sent there under this lease
	undone   []*discarding    // discards that have not reached enough storages, and may have reached some
	crowded  uint64           // counts runs that must be sent once more, under a new version
	degraded bool             // some of it is not at home; told to exportd with the next commit or release
	finality finality         // of the versions under this lease (final.go)
	attempts *attempts        // what is on its way to storages
	torn     bool             // some of what was written under this lease was given up
	failure  error            // what a write could not do; reported once
	failures uint64           // counts them
	failed   error            // the last of them, also when it has been reported
	seen     stamp            // what the kernel's cached pages belong to
}

// stamp tells whether a file's content changed.
type stamp struct {
	mtime, ctime vocab.Time
	size         uint64
}

func newFile(c *Client, ino vocab.Ino) *file {
	return &file{c: c, ino: ino, content: semaphore.NewWeighted(1), changed: make(chan struct{}), pages: map[uint64]*page{}, attempts: newAttempts()}
}

// broadcast wakes all who wait for a change; mu is held.
func (f *file) broadcast() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// waitFor blocks until ok, called with mu held, is true. It returns with mu
// held, or with an error and mu not held.
func (f *file) waitFor(ctx context.Context, ok func() bool) error {
	f.mu.Lock()
	for !ok() {
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		f.mu.Lock()
	}
	return nil
}

// distribution is fixed while the lease is held.
func (f *file) distribution() *vocab.Distribution { return &f.place.Distribution }

func (f *file) isHeld() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known || f.lease.Kind != wire.LeaseNone
}

func (f *file) heldNow() wire.Held {
	f.mu.Lock()
	defer f.mu.Unlock()
	return wire.Held{Ino: f.ino, Generation: f.attr.Generation, Lease: f.lease}
}

// takeFailure returns the pending write error and forgets it.
func (f *file) takeFailure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.failure
	f.failure = nil
	return err
}

// budget counts bytes of pages over all files.
type budget struct {
	limit int64
	used  atomic.Int64

	mu      sync.Mutex // guards changed
	changed chan struct{}
}

func (b *budget) init(limit int64) { b.limit, b.changed = limit, make(chan struct{}) }
func (b *budget) take(n int)       { b.used.Add(int64(n)) }
func (b *budget) over() bool       { return b.used.Load() >= b.limit }
func (b *budget) half() bool       { return b.used.Load() >= b.limit/2 }

func (b *budget) give(n int) {
	if n == 0 {
		return
	}
	b.used.Add(int64(-n))
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *budget) watch() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// counter counts events.
type counter struct{ n atomic.Uint64 }

func (c *counter) add()        { c.n.Add(1) }
func (c *counter) now() uint64 { return c.n.Load() }
