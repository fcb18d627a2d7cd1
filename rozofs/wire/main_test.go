package wire

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	soon = 20 * time.Second // bound of a wait for a condition
	tick = time.Millisecond

	opEcho Op = 0x7001 // answers with the body and bulk of the request
)

var (
	clusterA = vocab.ClusterID{0xa}
	clusterB = vocab.ClusterID{0xb}

	clientHello = Hello{Role: RoleClient, Cluster: clusterA, Boot: 1, Name: "client.test"}
	serverHello = Hello{Role: RoleStoraged, Cluster: clusterA, Boot: 2, Name: "storaged.test"}
)

// text is a message of one string.
type text struct{ S string }

func (m *text) Code(c *Codec) { c.String(&m.S, MaxBody) }

// echo answers opEcho with what the request holds.
func echo(_ context.Context, r *Request) (Message, Bulk, error) {
	if r.Op != opEcho {
		return nil, Bulk{}, vocab.Errorf(vocab.NotSupported, "%v", r.Op)
	}
	var m text
	if err := r.Decode(&m); err != nil {
		return nil, Bulk{}, err
	}
	if r.Bulk == nil {
		return &m, Bulk{}, nil
	}
	b := r.Bulk.Retain()
	return &m, Bulk{Parts: [][]byte{b.B}, Done: b.Release}, nil
}

type accepted struct {
	conn *Conn
	err  error
}

// connect shakes hands over nc and peer, and closes both ends with the test.
func connect(t testing.TB, nc, peer net.Conn, client, server Handler) (c, s *Conn) {
	t.Helper()
	other := make(chan accepted, 1)
	go func() {
		s, err := Accept(peer, serverHello, server)
		other <- accepted{s, err}
	}()
	c, err := Client(t.Context(), nc, clientHello, client)
	a := <-other
	require.NoError(t, err)
	require.NoError(t, a.err)
	t.Cleanup(func() { c.Close(); a.conn.Close() })
	return c, a.conn
}

func overPipe(t testing.TB, client, server Handler) (c, s *Conn) {
	t.Helper()
	nc, peer := net.Pipe()
	return connect(t, nc, peer, client, server)
}

// sockets are the two ends of a TCP connection.
func sockets(t testing.TB) (nc, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	nc, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	peer, err = l.Accept()
	require.NoError(t, err)
	return nc, peer
}

func overTCP(t testing.TB, client, server Handler) (c, s *Conn) {
	t.Helper()
	nc, peer := sockets(t)
	return connect(t, nc, peer, client, server)
}

// eachTransport runs the test over a pipe in memory and over loopback.
func eachTransport(t *testing.T, run func(t *testing.T, connect func(t testing.TB, client, server Handler) (c, s *Conn))) {
	t.Run("pipe", func(t *testing.T) { run(t, overPipe) })
	t.Run("tcp", func(t *testing.T) { run(t, overTCP) })
}

// readFrame reads a frame without a deadline.
func readFrame(r io.Reader) (frame, error) {
	h, err := readHeader(r, MaxBody, MaxBulk)
	if err != nil {
		return frame{}, err
	}
	return readRest(r, h)
}

// withMute is a connection whose peer shakes hands and then reads nothing by
// itself; the test reads and writes its end.
func withMute(t testing.TB, h Handler) (*Conn, net.Conn, *bufio.Reader) {
	t.Helper()
	nc, peer := net.Pipe()
	r := bufio.NewReaderSize(peer, HeaderBytes)
	shaken := make(chan error, 1)
	go func() {
		f, err := readFrame(r)
		f.release()
		if err == nil {
			hello := serverHello
			err = writeHello(peer, hello.fill(), flagReply, nil)
		}
		shaken <- err
	}()
	c, err := Client(t.Context(), nc, clientHello, h)
	require.NoError(t, err)
	require.NoError(t, <-shaken)
	t.Cleanup(func() { c.Close(); peer.Close() })
	return c, peer, r
}

// counter counts the calls of a Bulk's Done.
type counter struct{ n atomic.Int32 }

func (d *counter) bulk(parts ...[]byte) Bulk {
	return Bulk{Parts: parts, Done: func() { d.n.Add(1) }}
}

func (d *counter) requireOnce(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return d.n.Load() > 0 }, soon, tick)
	require.EqualValues(t, 1, d.n.Load(), "calls of Done")
}

// queuedBytes counts what is queued or being written.
func (c *Conn) queuedBytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// raw is a frame as bytes, whatever its header says.
func raw(h header, rest ...byte) []byte { return append(h.append(nil), rest...) }
