package exportd

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Limits of a server.
const (
	MaxSessions = 8192
	MaxOutcomes = 4096 // replies kept per session until the client acknowledges them
)

var errClosing = vocab.Errorf(vocab.Unavailable, "exportd is stopping")

// Server is a metadata server. New starts its background work, Serve answers
// clients, Close ends all.
//
// Lock order: mu, then storagesMu, then the caches' own locks.
type Server struct {
	cfg   Config
	log   *slog.Logger
	store *store
	db    *pebble.DB
	wire  wire.Server
	hello wire.Hello
	hash  func(name string) uint64 // hashName; tests choose a poorer one

	ctx        context.Context // ends when Close begins
	cancel     context.CancelFunc
	background sync.WaitGroup // joined by Close; added to under mu while ctx lives
	closeOnce  sync.Once
	closeErr   error

	failed   atomic.Pointer[error] // why nothing is acknowledged any more
	durable  atomic.Uint64         // commands up to this one are on disk
	lastTime atomic.Int64          // of commands, so that time does not run backwards

	inodeCache *cache[inodeID, *inode]
	chainCache *cache[chainKey, *chain]

	// mu is the applier's lock: one command at a time, reads share it. It guards
	// everything below and is never held while waiting for network or sync.
	mu            sync.RWMutex
	count         counters
	exports       map[vocab.EID]*export
	sessions      map[vocab.SessionID]*session
	files         map[vocab.Ino]*entry     // leases and opens
	orphans       map[vocab.Ino]*export    // unlinked, perhaps still open
	recovery      map[vocab.Ino]*export    // a write lease ended uncleanly
	degraded      map[vocab.Ino]*export    // to be repaired
	degradedOften map[vocab.Ino]uint64     // how often that was said, of these
	settleKick    chan struct{}            // capacity 1: a file needs recovery
	unsettled     failures                 // of recovery
	unrepaired    failures                 // of degraded
	torn          map[vocab.Ino]bool       // of recovery: to be settled with wire.SettleRequest.Torn
	moving        map[vocab.Ino]bool       // to another storage; true: no lease is granted meanwhile
	locks         locks                    // of all files (locks.go)
	graceIno      vocab.Ino                // inodes above it are newer than this run
	graceEnd      time.Time                // when sessions of an earlier run must have reclaimed
	grace         map[*session]struct{}    // those that have not
	sweepDue      bool                     // a session has left grace since orphans were last looked at
	fenced        map[*session]*fenceState // ended, not yet fenced everywhere

	tasksMu sync.Mutex // guards the next and the tasks that it holds; taken after mu
	tasks   map[taskID]*task

	fenceKick   chan struct{} // capacity 1
	volumes     map[vocab.VID]*Volume
	volumeViews views
	daemons     []*daemon
	storages    map[place]*storage
	storagesMu  sync.Mutex    // guards the fields of storages that say so, and marks
	marks       uint64        // how often a root was marked as partial or whole
	polled      chan struct{} // closed when every storage has been asked once
	unpolled    atomic.Int64
}

type inodeID struct {
	eid vocab.EID
	ino vocab.Ino
}

// export is a configured export and its state.
type export struct {
	Export
	vol          *Volume
	exportRecord // guarded by Server.mu
}

// New opens the metadata directory, or makes it, and starts polling storages.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("exportd: configuration: %w", err)
	}
	st, err := openStore(cfg.Dir, cfg.FS, cfg.Cluster, cfg.CacheBytes, cfg.Log, false)
	if err != nil {
		return nil, fmt.Errorf("exportd: %w", err)
	}
	s := &Server{
		cfg: cfg, log: cfg.Log, store: st, db: st.db, hash: hashName,
		inodeCache: newCache[inodeID, *inode](cfg.CacheInodes),
		chainCache: newCache[chainKey, *chain](cfg.CacheInodes),
		exports:    map[vocab.EID]*export{},
		sessions:   map[vocab.SessionID]*session{},
		files:      map[vocab.Ino]*entry{},
		orphans:    map[vocab.Ino]*export{},
		recovery:   map[vocab.Ino]*export{},
		degraded:   map[vocab.Ino]*export{}, degradedOften: map[vocab.Ino]uint64{},
		settleKick: make(chan struct{}, 1), unsettled: failures{}, unrepaired: failures{},
		torn:      map[vocab.Ino]bool{},
		moving:    map[vocab.Ino]bool{},
		locks:     newLocks(),
		tasks:     map[taskID]*task{},
		grace:     map[*session]struct{}{},
		fenced:    map[*session]*fenceState{},
		fenceKick: make(chan struct{}, 1),
		volumes:   map[vocab.VID]*Volume{},
		storages:  map[place]*storage{},
		polled:    make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.hello = wire.Hello{Role: wire.RoleExportd, Cluster: st.cluster, Boot: vocab.Boot(random64()), Name: hostName()}
	s.wire = wire.Server{Hello: s.hello, Handler: s.handle, Log: s.log, Closed: s.disconnected}
	if err := s.load(); err != nil {
		s.cancel()
		return nil, errors.Join(fmt.Errorf("exportd: metadata directory %s: %w", cfg.Dir, err), st.close())
	}
	s.startPolling()
	s.background.Go(s.watchSessions)
	s.background.Go(s.fenceSessions)
	s.background.Go(s.settleFiles)
	s.background.Go(s.repairFiles)
	s.startTasks()
	return s, nil
}

func random64() uint64 {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // crypto/rand does not fail
	}
	return binary.LittleEndian.Uint64(b[:])
}

func hostName() string {
	h, err := os.Hostname()
	if err != nil {
		return "exportd"
	}
	return h + " exportd"
}

// Cluster is the identity of the installation.
func (s *Server) Cluster() vocab.ClusterID { return s.store.cluster }

// Serve answers clients that connect to l until Close, which makes it return nil, or until
// the metadata store fails, which it returns.
func (s *Server) Serve(l net.Listener) error { return errors.Join(s.wire.Serve(l), s.failure()) }

// Close ends all connections and background work and flushes the metadata.
// Sessions stay: clients resume them with the next run.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock() // no recall starts after this
		s.cancel()
		s.mu.Unlock()
		err := s.wire.Close()
		s.background.Wait()
		if s.failure() == nil {
			err = errors.Join(err, s.store.flush())
		}
		s.closeErr = errors.Join(err, s.store.close())
	})
	return s.closeErr
}

// sleep waits, less when the server closes.
func (s *Server) sleep(d time.Duration) { pause(s.ctx, d) }

// pause waits, less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// every calls do again and again, at each kick too, until the server closes. A nil kick
// never comes.
func (s *Server) every(d time.Duration, kick <-chan struct{}, do func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-kick:
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		do()
	}
}

// now is the time of a command. It never runs backwards.
func (s *Server) now() vocab.Time {
	now := s.cfg.Clock().UnixNano()
	for {
		last := s.lastTime.Load()
		if now <= last {
			return vocab.Time(last)
		}
		if s.lastTime.CompareAndSwap(last, now) {
			return vocab.Time(now)
		}
	}
}
