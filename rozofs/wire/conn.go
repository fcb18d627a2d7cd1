package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// Limits of a connection.
const (
	MaxServing       = 256      // requests being served at once; more wait unread
	maxQueuedBytes   = 32 << 20 // bytes queued towards the peer; more make callers wait
	maxWritevFrames  = 64       // frames in one writev
	handshakeTimeout = 5 * time.Second
	frameTimeout     = time.Minute // from the header of a frame to its end
	readerBytes      = 64 << 10
)

// Bulk is the trailing part of a frame. Done, if not nil, is called exactly
// once, when the connection no longer needs Parts; it must not block.
type Bulk struct {
	Parts [][]byte
	Done  func()
}

func (b *Bulk) done() {
	if b.Done != nil {
		b.Done()
	}
}

func (b *Bulk) bytes() int {
	n := 0
	for _, p := range b.Parts {
		n += len(p)
	}
	return n
}

// Request is an incoming request. Body and Bulk are valid until the handler
// returns, unless it calls Bulk.Retain.
type Request struct {
	Op   Op
	Body []byte
	Bulk *Buffer // nil when the request has none
	Conn *Conn
}

// Decode decodes the body into m.
func (r *Request) Decode(m Message) error { return Unmarshal(r.Body, m) }

// Handler serves one request on a goroutine of its own. ctx ends with the
// connection. An error is sent to the peer as its vocab.Kind and text.
type Handler func(ctx context.Context, r *Request) (Message, Bulk, error)

// ErrClosed is what calls on a closed connection end with. It is of kind
// vocab.Unavailable.
var ErrClosed = vocab.Errorf(vocab.Unavailable, "connection closed")

// outFrame is one frame in the writer's queue.
type outFrame struct {
	head []byte // header and body
	bulk Bulk
	size int
}

// call is a request that waits for its reply. reply is closed over by one
// frame at most.
type call struct {
	reply chan frame // capacity 1
}

// Conn is a connection after the handshake.
type Conn struct {
	nc      net.Conn
	raw     *rawWriter // nil: all is written by the writer
	peer    Hello
	handler Handler
	ctx     context.Context // ends when the connection does
	cancel  context.CancelCauseFunc
	serving chan struct{} // semaphore of MaxServing
	joined  sync.WaitGroup

	mu      sync.Mutex // guards all below; never held while blocking
	calls   map[uint32]*call
	nextID  uint32
	queue   []outFrame
	queued  int           // bytes in queue
	wake    chan struct{} // capacity 1: queue is not empty
	room    chan struct{} // closed and replaced when queued falls and short is set
	short   bool          // somebody waits for room
	writing bool          // somebody writes: the writer, or a caller
	closed  bool
}

func newConn(nc net.Conn, peer Hello, h Handler) *Conn {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &Conn{
		nc: nc, peer: peer, handler: h, ctx: ctx, cancel: cancel,
		serving: make(chan struct{}, MaxServing),
		calls:   map[uint32]*call{},
		wake:    make(chan struct{}, 1),
		room:    make(chan struct{}),
		raw:     newRawWriter(nc),
	}
	return c
}

func (c *Conn) start(r *bufio.Reader) {
	c.joined.Go(func() { c.fail(c.readLoop(r)) })
	c.joined.Go(func() { c.fail(c.writeLoop()) })
}

// Peer is what the other end said of itself.
func (c *Conn) Peer() Hello { return c.peer }

// Done is closed when the connection has ended; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.ctx.Done() }

// Err is nil while the connection lives.
func (c *Conn) Err() error {
	if c.ctx.Err() == nil {
		return nil
	}
	return context.Cause(c.ctx)
}

// RemoteAddr names the peer in logs.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Close ends the connection, fails the calls under way, and waits for the
// requests being served.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.joined.Wait()
	return nil
}

// fail ends the connection once; later calls do nothing.
func (c *Conn) fail(err error) {
	cause := fmt.Errorf("connection to %v: %w", c.nc.RemoteAddr(), asUnavailable(err))
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.cancel(cause) // under mu: whoever finds closed also finds the reason in Err
	queue := c.queue
	c.queue, c.queued = nil, 0
	c.mu.Unlock()
	c.nc.Close()
	for i := range queue {
		queue[i].bulk.done()
	}
}

func asUnavailable(err error) error {
	var ve *vocab.Error
	if errors.As(err, &ve) {
		return err
	}
	return vocab.Errorf(vocab.Unavailable, "%v", err)
}

// Call sends a request and waits for its reply, which it decodes into reply
// (nil: the body is ignored). The returned buffer is the reply's bulk part, nil
// when it has none; the caller releases it. When ctx ends first the reply is
// dropped on arrival. bulk.Done is called in every case.
func (c *Conn) Call(ctx context.Context, op Op, req Message, bulk Bulk, reply Message) (*Buffer, error) {
	pending := &call{reply: make(chan frame, 1)}
	id, err := c.register(pending)
	if err != nil {
		bulk.done()
		return nil, err
	}
	if err := c.send(ctx, header{id: id, op: op}, req, bulk); err != nil {
		c.forget(id)
		return nil, err
	}
	select {
	case f := <-pending.reply:
		return finishCall(f, reply)
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	if c.forget(id) { // the reader can no longer deliver
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, c.Err()
	}
	return finishCall(<-pending.reply, reply)
}

func finishCall(f frame, reply Message) (*Buffer, error) {
	defer f.bodyBuf.Release()
	if f.flags&flagError != 0 {
		f.bulk.Release()
		var e errorBody
		if err := Unmarshal(f.bodyBuf.B, &e); err != nil {
			return nil, err
		}
		return nil, &vocab.Error{Kind: e.Kind, Text: e.Text}
	}
	if err := Unmarshal(f.bodyBuf.B, reply); err != nil {
		f.bulk.Release()
		return nil, err
	}
	return f.bulk, nil
}

func (c *Conn) register(p *call) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, c.Err()
	}
	for {
		c.nextID++
		if _, taken := c.calls[c.nextID]; !taken {
			c.calls[c.nextID] = p
			return c.nextID, nil
		}
	}
}

// forget tells whether the call was still waiting.
func (c *Conn) forget(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, waiting := c.calls[id]
	delete(c.calls, id)
	return waiting
}

// send queues a frame, waiting for room under ctx. It takes charge of bulk.
func (c *Conn) send(ctx context.Context, h header, m Message, bulk Bulk) error {
	head := make([]byte, HeaderBytes, HeaderBytes+128)
	head = Marshal(head, m)
	body, bulkBytes := len(head)-HeaderBytes, bulk.bytes()
	if body > MaxBody || bulkBytes > MaxBulk {
		bulk.done()
		return vocab.Errorf(vocab.TooLarge, "frame with a body of %d and a bulk of %d bytes", body, bulkBytes)
	}
	h.body, h.total = uint32(body), uint32(body+bulkBytes)
	h.append(head[:0])
	f := outFrame{head: head, bulk: bulk, size: len(head) + bulkBytes}
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			bulk.done()
			return c.Err()
		}
		if c.queued == 0 || c.queued+f.size <= maxQueuedBytes {
			c.queued += f.size
			if c.raw != nil && !c.writing && len(c.queue) == 0 {
				c.writing = true
				c.mu.Unlock()
				c.writeNow(f)
				return nil
			}
			c.queue = append(c.queue, f)
			if !c.writing {
				c.wakeWriter()
			}
			c.mu.Unlock()
			return nil
		}
		c.short = true
		room := c.room
		c.mu.Unlock()
		select {
		case <-room:
		case <-c.ctx.Done():
		case <-ctx.Done():
			bulk.done()
			return context.Cause(ctx)
		}
	}
}

func (c *Conn) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// writeNow writes a frame from the caller's goroutine as far as the socket takes
// it without waiting; the writer goroutine does the rest. Most frames are small
// and sockets mostly empty, so this saves waking a thread for each. The caller
// has set writing.
func (c *Conn) writeNow(f outFrame) {
	n, err := c.raw.writev(f.head, f.bulk.Parts)
	if err != nil {
		n = 0 // the writer meets the error too, and ends the connection
	}
	done := n == f.size
	if done {
		f.bulk.done()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	switch {
	case done:
		c.queued -= f.size
		c.tellRoom()
	case c.closed:
		f.bulk.done()
	default:
		c.queued -= n
		c.queue = append([]outFrame{f.after(n)}, c.queue...)
	}
	if len(c.queue) > 0 {
		c.wakeWriter()
	}
}

// after is the frame without its first n bytes.
func (f outFrame) after(n int) outFrame {
	f.size -= n
	if n < len(f.head) {
		f.head = f.head[n:]
		return f
	}
	n -= len(f.head)
	f.head = nil
	parts := f.bulk.Parts
	for len(parts) > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	f.bulk.Parts = append([][]byte(nil), parts...)
	if n > 0 {
		f.bulk.Parts[0] = parts[0][n:]
	}
	return f
}

// writeLoop writes all that is queued with one writev at a time.
func (c *Conn) writeLoop() error {
	var vec net.Buffers
	for {
		select {
		case <-c.wake:
		case <-c.ctx.Done():
			return ErrClosed
		}
		for {
			batch := c.dequeue()
			if len(batch) == 0 {
				break
			}
			vec = vec[:0]
			size := 0
			for i := range batch {
				vec = append(vec, batch[i].head)
				vec = append(vec, batch[i].bulk.Parts...)
				size += batch[i].size
			}
			sending := vec
			_, err := sending.WriteTo(c.nc)
			for i := range batch {
				batch[i].bulk.done()
			}
			clear(vec)
			clear(batch) // the queue's array must not keep what was written
			if err != nil {
				return err
			}
			c.makeRoom(size)
		}
	}
}

// dequeue takes up to maxWritevFrames frames, and with them the right to write
// until makeRoom. Their bytes stay counted until then, so that a peer that does
// not read bounds what is held for it.
func (c *Conn) dequeue() []outFrame {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing || len(c.queue) == 0 {
		return nil // who writes now wakes the writer
	}
	c.writing = true
	n := min(len(c.queue), maxWritevFrames)
	batch := c.queue[:n:n]
	c.queue = c.queue[n:]
	return batch
}

// tellRoom wakes those who wait for room; mu is held.
func (c *Conn) tellRoom() {
	if c.short {
		c.short = false
		close(c.room)
		c.room = make(chan struct{})
	}
}

func (c *Conn) makeRoom(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	c.queued -= size
	c.tellRoom()
}

func (c *Conn) readLoop(r *bufio.Reader) error {
	for {
		f, err := c.readFrame(r)
		if err != nil {
			return err
		}
		if f.flags&flagReply != 0 {
			c.deliver(f)
			continue
		}
		if f.flags&flagError != 0 {
			f.release()
			return vocab.Errorf(vocab.Protocol, "request with the error flag")
		}
		select {
		case c.serving <- struct{}{}:
		case <-c.ctx.Done():
			f.release()
			return ErrClosed
		}
		c.joined.Go(func() {
			defer func() { <-c.serving }()
			c.serve(f)
		})
	}
}

// readFrame waits for a frame as long as it takes, and for the rest of one that has
// begun for frameTimeout, since its buffers are held meanwhile.
func (c *Conn) readFrame(r *bufio.Reader) (frame, error) {
	h, err := readHeader(r, MaxBody, MaxBulk)
	if err != nil {
		return frame{}, err
	}
	if r.Buffered() >= int(h.total) {
		return readRest(r, h)
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(frameTimeout)); err != nil {
		return frame{}, err
	}
	f, err := readRest(r, h)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return frame{}, vocab.Errorf(vocab.Unavailable, "the peer began a frame of %d bytes and did not end it within %v", h.total, frameTimeout)
	}
	if err == nil {
		err = c.nc.SetReadDeadline(time.Time{})
	}
	return f, err
}

// deliver hands a reply to its call. A call that has given up has removed
// itself under mu, so every registered call receives at most one frame.
func (c *Conn) deliver(f frame) {
	c.mu.Lock()
	p, ok := c.calls[f.id]
	delete(c.calls, f.id)
	c.mu.Unlock()
	if !ok {
		f.release()
		return
	}
	p.reply <- f
}

func (c *Conn) serve(f frame) {
	defer f.release()
	var (
		m    Message
		bulk Bulk
		err  error
	)
	if c.handler == nil {
		err = vocab.Errorf(vocab.NotSupported, "op %v", f.op)
	} else {
		m, bulk, err = c.handler(c.ctx, &Request{Op: f.op, Body: f.bodyBuf.B, Bulk: f.bulk, Conn: c})
	}
	h := header{id: f.id, op: f.op, flags: flagReply}
	if err != nil {
		bulk.done()
		h.flags |= flagError
		_ = c.send(c.ctx, h, errorOf(err), Bulk{})
		return
	}
	if err := c.send(c.ctx, h, m, bulk); err != nil && errors.Is(err, vocab.TooLarge) {
		h.flags |= flagError
		_ = c.send(c.ctx, h, errorOf(err), Bulk{})
	}
}

func errorOf(err error) *errorBody {
	e := &errorBody{Kind: vocab.Internal, Text: err.Error()}
	var ve *vocab.Error
	switch {
	case errors.As(err, &ve):
		e.Kind = ve.Kind
		if err == error(ve) {
			e.Text = ve.Text
		}
	case errors.As(err, &e.Kind):
		if err == error(e.Kind) {
			e.Text = "" // the kind says it all
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Kind = vocab.Canceled
	}
	return e
}
