package storaged

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/semaphore"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// connShare is the part of MaxBulkBytes that one connection may hold: 1/4.
const connShare = 4

// maxWrites bounds the writes of one client that are served at once. Of all that it has under
// way these are half: when they wait for room in a journal there are places for the syncs,
// and for what is final, that make it.
const maxWrites = wire.MaxServing / 2

// share is what one connection has of the server.
type share struct {
	bulk   *semaphore.Weighted
	writes atomic.Int32
}

// Server serves its roots. Make one with New.
type Server struct {
	cfg   Config
	boot  vocab.Boot
	roots map[vocab.StorageID]*root
	order []*root // as configured
	wire  wire.Server
	ops   map[wire.Op]wire.Handler

	peers    peers
	settlers chan struct{}       // semaphore of settleAtAll
	repairs  chan struct{}       // semaphore of repairAtOnce
	building *semaphore.Weighted // of repairBytes
	bulk     *semaphore.Weighted // bytes of bulk in service
	conns    sync.Map            // *wire.Conn → *share

	mu      sync.Mutex // guards bound
	bound   []net.Listener
	serving sync.WaitGroup // the goroutines of Start
	failed  chan error     // capacity 1: why serving ended

	closing sync.Once
	closed  error // of closing
}

// New opens, locks and checks all roots. The error joins every problem of the
// configuration and of the roots.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, boot: vocab.Boot(randomID()), roots: map[vocab.StorageID]*root{},
		settlers: make(chan struct{}, settleAtAll), repairs: make(chan struct{}, repairAtOnce),
		building: semaphore.NewWeighted(repairBytes), bulk: semaphore.NewWeighted(cfg.MaxBulkBytes), failed: make(chan error, 1),
	}
	s.ops = map[wire.Op]wire.Handler{
		wire.OpWrite: s.write, wire.OpRead: s.read, wire.OpSync: s.sync, wire.OpDiscard: s.discard,
		wire.OpDelete: s.delete, wire.OpFence: s.fence, wire.OpFinal: s.final, wire.OpUnsettled: s.unsettled, wire.OpSettle: s.settle,
		wire.OpVersions: s.versions, wire.OpRepair: s.repair, wire.OpMark: s.mark, wire.OpFiles: s.listFiles,
		wire.OpExtents:       s.extents,
		wire.OpStorageStatus: s.status,
	}
	if err := s.openRoots(); err != nil {
		_ = s.closeRoots() // nothing was served: the first error is the one to tell
		return nil, err
	}
	s.wire.Handler = s.handle
	s.wire.Log = cfg.Log
	s.wire.Hello = wire.Hello{Role: wire.RoleStoraged, Cluster: s.cfg.Cluster, Boot: s.boot, Name: cfg.Name}
	s.peers.hello, s.peers.dial = &s.wire.Hello, cfg.Dial
	s.wire.Closed = func(c *wire.Conn) { s.conns.Delete(c) }
	return s, nil
}

func (s *Server) openRoots() error {
	var errs []error
	for _, rc := range s.cfg.Roots {
		r, err := s.openRoot(rc)
		if err != nil {
			errs = append(errs, fmt.Errorf("storage %v: root %s: %w", rc.ID(), rc.Path, err))
			continue
		}
		s.roots[rc.ID()] = r
		s.order = append(s.order, r)
		if s.cfg.Cluster == (vocab.ClusterID{}) {
			s.cfg.Cluster = r.identity.Cluster
		}
		if r.identity.Cluster != s.cfg.Cluster {
			errs = append(errs, fmt.Errorf("storage %v: root %s belongs to cluster %v, not to %v: one storaged serves one cluster",
				rc.ID(), rc.Path, r.identity.Cluster, s.cfg.Cluster))
		}
	}
	return errors.Join(errs...)
}

func (s *Server) openRoot(rc RootConfig) (*root, error) {
	d, err := s.cfg.OpenDisk(rc.Path)
	if isNotExist(err) {
		return nil, noIdentity()
	}
	if err != nil {
		return nil, err
	}
	return openRoot(rc, s.cfg, d)
}

func (s *Server) closeRoots() error {
	var errs []error
	for _, r := range s.order {
		errs = append(errs, r.close())
	}
	return errors.Join(errs...)
}

// Boot is what the server drew at its start.
func (s *Server) Boot() vocab.Boot { return s.boot }

// Serve accepts on l until Close, which makes it return nil.
func (s *Server) Serve(l net.Listener) error { return s.wire.Serve(l) }

// Start binds all addresses of Config.Listen, or none, and serves them until
// Close. Failed tells if that ends early.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	var bound []net.Listener
	for _, a := range s.cfg.Listen {
		l, err := net.Listen("tcp", a)
		if err != nil {
			errs = append(errs, listenError(a, err))
			continue
		}
		bound = append(bound, l)
	}
	if len(errs) > 0 {
		for _, l := range bound {
			_ = l.Close() // nothing was accepted
		}
		return errors.Join(errs...)
	}
	s.bound = append(s.bound, bound...)
	for _, l := range bound {
		s.serving.Go(func() {
			if err := s.Serve(l); err != nil {
				select {
				case s.failed <- fmt.Errorf("serve %v: %w", l.Addr(), err):
				default:
				}
			}
		})
	}
	return nil
}

// listenError names the address and what keeps it from being bound.
func listenError(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: %w: stop the program that has it, or choose another port", addr, syscall.EADDRINUSE)
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		err = oe.Err
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}

// Failed receives an error when a listener of Start breaks.
func (s *Server) Failed() <-chan error { return s.failed }

// Addrs are the addresses that Start has bound.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []net.Addr
	for _, l := range s.bound {
		all = append(all, l.Addr())
	}
	return all
}

// Close ends all connections, waits for the requests under way, and closes the
// roots. It does not sync: nobody was promised what no sync covered.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.peers.close()
		s.closed = s.wire.Close()
		s.serving.Wait()
		s.closed = errors.Join(s.closed, s.closeRoots())
	})
	return s.closed
}

// notForClients are the requests that only exportd and other storageds send.
var notForClients = map[wire.Op]bool{
	wire.OpDelete: true, wire.OpFence: true, wire.OpUnsettled: true, wire.OpVersions: true, wire.OpSettle: true, wire.OpRepair: true,
	wire.OpMark: true, wire.OpFiles: true,
}

// handle serves one request.
func (s *Server) handle(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	op := s.ops[r.Op]
	if op == nil {
		return nil, wire.Bulk{}, vocab.Errorf(vocab.NotSupported, "storaged does not serve %v", r.Op)
	}
	if notForClients[r.Op] && r.Conn.Peer().Role == wire.RoleClient {
		return nil, wire.Bulk{}, vocab.Errorf(vocab.NotPermitted, "%v is not for clients", r.Op)
	}
	return op(ctx, r)
}

// target finds the root of a request and checks that it may act there.
func (s *Server) target(r *wire.Request, t *wire.Target) (*root, error) {
	rt := s.roots[t.ID]
	if rt == nil {
		return nil, vocab.Errorf(vocab.NotFound, "no storage %v on this storaged", t.ID)
	}
	return rt, rt.admit(t, r.Conn.Peer().Role != wire.RoleClient)
}

// reserve waits until n bytes of bulk may be in service, of the connection and
// of all. The connection's share comes first, so that one that is slow to take
// its replies holds up no other.
func (s *Server) reserve(ctx context.Context, c *wire.Conn, n int) (release func(), err error) {
	own := s.shareOf(c).bulk
	if err := own.Acquire(ctx, int64(n)); err != nil {
		return nil, err
	}
	if err := s.bulk.Acquire(ctx, int64(n)); err != nil {
		own.Release(int64(n))
		return nil, err
	}
	return func() { s.bulk.Release(int64(n)); own.Release(int64(n)) }, nil
}

func (s *Server) shareOf(c *wire.Conn) *share {
	x, ok := s.conns.Load(c)
	if !ok {
		x, _ = s.conns.LoadOrStore(c, &share{bulk: semaphore.NewWeighted(s.cfg.MaxBulkBytes / connShare)})
	}
	return x.(*share)
}

// beginWrite takes one of the places that a connection has for writes. It does not wait: a
// client that has so many under way has given the older ones up.
func (s *Server) beginWrite(c *wire.Conn) (leave func(), err error) {
	own := s.shareOf(c)
	if own.writes.Add(1) > maxWrites {
		own.writes.Add(-1)
		return nil, vocab.Errorf(vocab.Overloaded, "%d writes of this client are under way", maxWrites)
	}
	return func() { own.writes.Add(-1) }, nil
}

// work takes one of the root's threads.
func (r *root) work(ctx context.Context) (leave func(), err error) {
	select {
	case r.threads <- struct{}{}:
		return func() { <-r.threads }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// begin decodes a request that changes something, of which target is a part, and enters
// its root.
func (s *Server) begin(ctx context.Context, r *wire.Request, req wire.Message, target *wire.Target) (rt *root, leave func(), err error) {
	if err := r.Decode(req); err != nil {
		return nil, nil, err
	}
	if rt, err = s.target(r, target); err != nil {
		return nil, nil, err
	}
	leave, err = rt.enter(ctx, target)
	return rt, leave, err
}

// enterUnder is enter for what is ordered by the epoch of the lease that it names.
func (r *root) enterUnder(ctx context.Context, t *wire.Target) (leave func(), err error) {
	if leave, err = r.enter(ctx, t); err != nil {
		return nil, err
	}
	if r.leases.has(wire.LeaseID{Session: t.Session, Epoch: t.Epoch}) {
		leave()
		return nil, vocab.Errorf(vocab.Fenced, "the lease of session %d with epoch %d has ended", uint64(t.Session), uint64(t.Epoch))
	}
	return leave, nil
}

// enter takes a thread and the gate for a change, and checks the fence again
// now that a new one would wait for the change.
func (r *root) enter(ctx context.Context, t *wire.Target) (leave func(), err error) {
	free, err := r.work(ctx)
	if err != nil {
		return nil, err
	}
	r.unused.Store(false)
	r.gate.RLock()
	leave = func() { r.gate.RUnlock(); free() }
	if err := r.admit(t, true); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

func isFenced(err error) bool { return errors.Is(err, vocab.Fenced) }
