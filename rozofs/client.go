package rozofs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

var errClosed = vocab.Errorf(vocab.Unavailable, "the client is closed")

// Caller is on whose behalf a call is made: the owner of what it creates.
type Caller struct {
	UID, GID uint32
	Umask    uint32 // of what is made where no default ACL says more
}

// mask gives the mode without the bits of the umask, and those apart.
func (who Caller) mask(mode uint32) (left, masked uint32) {
	masked = mode & who.Umask & 0o777
	return mode &^ masked, masked
}

// Client is a mounted export.
type Client struct {
	cfg     Config
	log     *slog.Logger
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	session *session
	pool    *pool
	sending chan struct{} // semaphore: runs of blocks under way
	soon    chan struct{} // capacity 1: tidy shall save now

	mu        sync.Mutex // guards all below; taken before a file's mu
	files     map[vocab.Ino]*file
	recalled  map[vocab.Ino]vocab.Epoch // recalls that overtook the reply with the grant, on this connection
	tidyRound int
	closing   bool // Close has begun: files are given up even while open
	closed    bool
	stamps    map[vocab.Ino]stamp // of files given up: what the kernel may have cached
	joined    sync.WaitGroup

	locks    locks
	buffered budget
	given    counter // counts write leases given up or lost
	// connections counts those to exportd, each before leases are claimed on it or lost;
	// changed under mu.
	connections counter
	// nameChanges counts operations of this client that may change the link
	// count of a file whose attributes it caches.
	nameChanges counter
}

const maxSending = 16 // runs under way at once

// Mount connects to exportd and opens a session on the export. Close ends it.
func Mount(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("rozofs: %w", err)
	}
	if cfg.Name == "" {
		cfg.Name, _ = os.Hostname()
	}
	cfg.Name = cfg.Name[:min(len(cfg.Name), wire.MaxPeerNameBytes)]
	c := &Client{
		cfg: cfg, log: cfg.Log,
		sending:  make(chan struct{}, maxSending),
		files:    map[vocab.Ino]*file{},
		recalled: map[vocab.Ino]vocab.Epoch{},
		stamps:   map[vocab.Ino]stamp{},
		soon:     make(chan struct{}, 1),
		locks:    newLocks(),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.buffered.init(cfg.WriteBufferBytes)
	c.session = newSession(c)
	c.pool = newPool(c)
	c.goes(c.session.run)
	c.goes(c.tidy)
	ctx, cancel := context.WithTimeout(ctx, cfg.ExportTimeout)
	defer cancel()
	if _, err := c.session.await(ctx); err != nil {
		c.cancel()
		c.joined.Wait()
		return nil, fmt.Errorf("rozofs: mount %s: %w", cfg.Export, err)
	}
	return c, nil
}

// goes runs f on a goroutine that Close waits for; false if Close has begun.
func (c *Client) goes(f func(context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.joined.Go(func() { f(c.ctx) })
	return true
}

// Close makes all that was written durable, gives up the leases and ends the
// session. The error is what could not be saved.
func (c *Client) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.StorageTimeout+c.cfg.ExportTimeout)
	defer cancel()
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	err := c.retireAll(ctx)
	if err == nil { // else exportd ends the session, and fences what was not saved
		err = c.session.close(ctx)
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.joined.Wait()
	return err
}

// Kill ends the client as kill -9 ends its process: nothing is saved or given up, so
// exportd ends the session when its term is over and others find what was durable. Close
// is for all other uses.
func (c *Client) Kill() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.joined.Wait()
}

// retireAll gives up every file, waiting for those that are in use or that a
// recall, or tidy, is giving up already.
func (c *Client) retireAll(ctx context.Context) error {
	for {
		files := c.allFiles()
		if err := c.retire(ctx, files, c.cfg.StorageTimeout); err != nil {
			return err
		}
		for _, f := range files {
			wanted := c.isOpen(f) // else whoever wants a lease has given up, and the end of the session takes that back
			if err := f.waitFor(ctx, func() bool { return !f.recalling && !(f.acquiring && wanted) && f.holders == 0 }); err != nil {
				return err
			}
			f.mu.Unlock()
		}
		if len(c.held()) == 0 {
			return nil
		}
	}
}

func (c *Client) clusterID() vocab.ClusterID {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.info.Cluster
}

// Root returns the attributes of the export's root directory as they were when
// the session began; its inode number never changes.
func (c *Client) Root() vocab.Attr {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.info.Root
}

// serve answers exportd's requests.
func (c *Client) serve(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	if r.Op == wire.OpLockTurn {
		var m wire.LockTurnRequest
		err := r.Decode(&m)
		c.lockTurns(&m)
		return &wire.Empty{}, wire.Bulk{}, err
	}
	if r.Op != wire.OpRecall {
		return nil, wire.Bulk{}, vocab.Errorf(vocab.NotSupported, "op %v", r.Op)
	}
	var m wire.RecallRequest
	if err := r.Decode(&m); err != nil {
		return nil, wire.Bulk{}, err
	}
	return &wire.Empty{}, wire.Bulk{}, c.recall(ctx, m)
}

// acquireFile returns the file object of an inode with one more reference.
func (c *Client) acquireFile(ino vocab.Ino) *file {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.files[ino]
	if f == nil {
		f = newFile(c, ino)
		f.seen = c.stamps[ino]
		c.files[ino] = f
	}
	f.refs++
	return f
}

// dropFile gives back a reference. The file stays until tidy retires it, so that
// it can be opened again without asking exportd.
func (c *Client) dropFile(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.refs--
	f.used = c.tidyRound
}

func (c *Client) isOpen(f *file) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f.refs > 0
}

// maxStamps bounds how many files' stamps are remembered.
const maxStamps = 1 << 16

// remember keeps the stamp of a file that is given up; mu is held. Which one
// makes room does not matter: its cached pages are read again.
func (c *Client) remember(ino vocab.Ino, s stamp) {
	if len(c.stamps) >= maxStamps {
		for old := range c.stamps {
			delete(c.stamps, old)
			break
		}
	}
	c.stamps[ino] = s
}

// cached returns the file object if there is one, without a reference.
func (c *Client) cached(ino vocab.Ino) *file {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.files[ino]
}

func (c *Client) allFiles() []*file {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*file, 0, len(c.files))
	for _, f := range c.files {
		all = append(all, f)
	}
	return all
}

// held lists the files that exportd knows this session to have open.
func (c *Client) held() []*file {
	var held []*file
	for _, f := range c.allFiles() {
		if f.isHeld() {
			held = append(held, f)
		}
	}
	return held
}

// loseLeases gives up everything after exportd has ended the session.
func (c *Client) loseLeases() {
	c.loseLocks()
	for _, f := range c.allFiles() {
		f.lose(vocab.Errorf(vocab.Stale, "the session was ended by exportd before this file's data were flushed"))
	}
}

func (c *Client) invalidate(ino vocab.Ino) {
	if c.cfg.Invalidate != nil {
		c.cfg.Invalidate(ino)
	}
}

// joinErrors keeps the first few of many errors.
func joinErrors(errs []error) error {
	const most = 8
	if len(errs) > most {
		errs = append(errs[:most:most], fmt.Errorf("and %d more", len(errs)-most))
	}
	return errors.Join(errs...)
}

// reasons puts errors, if any, at the end of a message.
func reasons(errs []error) string {
	err := joinErrors(errs)
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}
