package scenario

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	// hostileMemoryMax bounds what a daemon may ever have held in memory.
	hostileMemoryMax = 512 * mib

	halfOpenConns = 200 // that say nothing, at each port
	idleConns     = 100 // that have announced the largest frame and don't send it, at each port
	mutateBytes   = 4   // at most, of a valid frame
)

// What anybody may send to the ports of a cluster harms nobody: each connection
// is answered with an error or closed, no daemon ends or takes much memory, and
// who works in the file system meanwhile notices nothing.
func TestHostileFramesHarmNobody(t *testing.T) {
	choice := rand.New(generator(seed(t)))
	c := start(t, options{})
	before := c.pids()
	require.NoError(t, os.Mkdir(c.path("victims"), 0o755))
	require.NoError(t, os.WriteFile(c.path("victims", "file"), bytesOf(1, mib), 0o644))
	done := workMeanwhile(c)
	daemons := c.status().Daemons
	var silent []*net.TCPConn
	for _, d := range daemons {
		silent = append(silent, hold(t, d.Address, halfOpenConns, nil)...)
	}
	for _, d := range daemons {
		large := append(helloFrame(nil), header(wire.MaxBody+wire.MaxBulk, wire.MaxBody, 1, wire.OpWrite, 0)...)
		idle := hold(t, d.Address, idleConns, large)
		for _, h := range hostileBytes(choice) {
			t.Run(d.Name+"/"+h.name, func(t *testing.T) { h.send(t, d.Address) })
		}
		t.Run(d.Name+"/truncated requests", func(t *testing.T) { sendTruncated(t, d, c) })
		t.Run(d.Name+"/mutated requests", func(t *testing.T) { sendMutated(t, d, c, choice) })
		closeAll(idle)
	}
	for _, nc := range silent {
		requireClosed(t, nc) // the daemon has lost patience
	}
	require.NoError(t, done())
	content := bytesOf(2, mib)
	require.NoError(t, os.WriteFile(c.path("after"), content, 0o644))
	c.remount()
	got, err := os.ReadFile(c.path("after"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got))
	after := c.pids()
	for name, pid := range before {
		if name != "rozofsmount" { // which was mounted again
			require.Equal(t, pid, after[name], name)
			peak := peakMemory(t, pid)
			t.Logf("%s has held %d MiB at most", name, peak/mib)
			require.Less(t, peak, int64(hostileMemoryMax), name)
		}
	}
	require.True(t, c.status().Healthy)
}

// workMeanwhile writes and reads files until the returned function is called,
// which gives the first error. That function may be called once.
func workMeanwhile(c *cluster) func() error {
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- func() error {
			for n := uint64(0); ; n++ {
				select {
				case <-stop:
					return nil
				default:
				}
				if err := writeAndRead(c.path("meanwhile"), bytesOf(n, 100*kib)); err != nil {
					return err
				}
			}
		}()
	}()
	end := sync.OnceValue(func() error { close(stop); return <-ended })
	c.t.Cleanup(func() { _ = end() }) // before the cluster goes down
	return end
}

func writeAndRead(path string, content []byte) error {
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := dropCache(f); err != nil {
		return err
	}
	got, err := io.ReadAll(f)
	if err == nil && !bytes.Equal(content, got) {
		err = errors.New(path + " reads otherwise than it was written")
	}
	return errors.Join(err, os.Remove(path))
}

// hostile is something to send, and what must come of it: the connection ends,
// with an error answered before if refusal is given.
type hostile struct {
	name    string
	bytes   []byte
	end     bool   // send the end of the stream too; else the daemon must close by itself
	refusal string // part of the error's text
}

func (h *hostile) send(t *testing.T, addr string) {
	nc := connect(t, addr)
	defer nc.Close()
	_, _ = nc.Write(h.bytes) // the daemon may have closed in the middle
	if h.end {
		_ = nc.CloseWrite()
	}
	answer := requireClosed(t, nc)
	if h.refusal == "" {
		return
	}
	require.GreaterOrEqual(t, len(answer), wire.HeaderBytes)
	require.NotZero(t, binary.LittleEndian.Uint16(answer[14:])&flagError, "an error is answered")
	require.Contains(t, string(answer), h.refusal)
}

// hostileBytes are the frames that no program of ours sends.
func hostileBytes(choice *rand.Rand) []hostile {
	random := make([]byte, 64*kib)
	for i := range random {
		random[i] = byte(choice.Uint32())
	}
	hello := helloFrame(nil)
	after := func(b ...byte) []byte { return append(bytes.Clone(hello), b...) }
	return []hostile{
		{name: "nothing", end: true},
		{name: "half a header", bytes: hello[:wire.HeaderBytes/2], end: true},
		{name: "a header alone", bytes: hello[:wire.HeaderBytes], end: true},
		{name: "half a hello", bytes: hello[:len(hello)-5], end: true},
		{name: "random bytes", bytes: append([]byte{0, 0, 0, 0x7f}, random...)},
		{name: "another protocol", bytes: []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")},
		{name: "4 GiB announced at once", bytes: header(1<<32-1, 1<<32-1, 0, wire.OpHello, 0)},
		{name: "a hello over 4 KiB", bytes: header(4097, 4097, 0, wire.OpHello, 0)},
		{name: "a hello with bulk", bytes: header(100, 50, 0, wire.OpHello, 0)},
		{name: "a body longer than its frame", bytes: header(10, 11, 0, wire.OpHello, 0)},
		{name: "a hello with unknown flags", bytes: withFlags(hello, 0x8000)},
		{name: "an answer to no hello", bytes: withFlags(hello, flagReply), refusal: "the first frame is not a hello"},
		{name: "no hello", bytes: frame(1, wire.OpStorageStatus, &wire.StorageStatusRequest{}, nil), refusal: "the first frame is not a hello"},
		{name: "a wrong magic", bytes: helloFrame(func(h *wire.Hello) { h.Magic++ }), refusal: "does not speak Rozo's protocol"},
		{name: "a version to come", bytes: helloFrame(func(h *wire.Hello) { h.Min, h.Max = 900, 901 }), refusal: "900 to 901 offered"},
		{name: "another cluster", bytes: helloFrame(func(h *wire.Hello) { h.Cluster = vocab.ClusterID{1, 2, 3} }), refusal: "belongs to cluster 010203"},
		{name: "random bytes after a hello", bytes: after(append([]byte{0, 0, 0, 0x7f}, random...)...)},
		{name: "4 GiB announced", bytes: after(header(1<<32-1, 1<<32-1, 1, wire.OpWrite, 0)...)},
		{name: "4 GiB of bulk announced", bytes: after(header(1<<32-1, 8, 1, wire.OpWrite, 0)...)},
		{name: "a body over its limit", bytes: after(header(wire.MaxBody+1, wire.MaxBody+1, 1, wire.OpWrite, 0)...)},
		{name: "bulk over its limit", bytes: after(header(wire.MaxBulk+1, 0, 1, wire.OpWrite, 0)...)},
		{name: "unknown flags", bytes: after(header(0, 0, 1, wire.OpRead, 0x40)...)},
		{name: "a request that is an error", bytes: after(header(0, 0, 1, wire.OpRead, flagError)...)},
		{name: "the largest frame cut short", bytes: after(append(header(wire.MaxBody+wire.MaxBulk, wire.MaxBody, 1, wire.OpWrite, 0), random...)...), end: true},
		{name: "answers to nothing", bytes: after(bytes.Repeat(header(0, 0, 7, wire.OpRecall, flagReply), 1000)...), end: true},
	}
}

// Flags of a frame, as docs/format.md has them.
const (
	flagReply uint16 = 1
	flagError uint16 = 2
)

func header(total, body, id uint32, op wire.Op, flags uint16) []byte {
	b := binary.LittleEndian.AppendUint32(nil, total)
	b = binary.LittleEndian.AppendUint32(b, body)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint16(b, uint16(op))
	return binary.LittleEndian.AppendUint16(b, flags)
}

func frame(id uint32, op wire.Op, m wire.Message, bulk []byte) []byte {
	body := wire.Marshal(nil, m)
	b := header(uint32(len(body)+len(bulk)), uint32(len(body)), id, op, 0)
	return append(append(b, body...), bulk...)
}

func withFlags(f []byte, flags uint16) []byte {
	f = bytes.Clone(f)
	binary.LittleEndian.PutUint16(f[14:], flags)
	return f
}

const helloMagic = 0x315a4f52 // "ROZ1"

// helloFrame is a valid hello, unless spoil makes it another.
func helloFrame(spoil func(*wire.Hello)) []byte {
	h := &wire.Hello{Magic: helloMagic, Min: wire.MinVersion, Max: wire.MaxVersion, Role: wire.RoleClient, Boot: 1, Name: "hostile"}
	if spoil != nil {
		spoil(h)
	}
	return frame(0, wire.OpHello, h, nil)
}

func connect(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	return nc.(*net.TCPConn)
}

// hold opens connections, sends the same on each and leaves them open.
func hold(t *testing.T, addr string, n int, say []byte) []*net.TCPConn {
	t.Helper()
	var all []*net.TCPConn
	t.Cleanup(func() { closeAll(all) })
	for range n {
		nc := connect(t, addr)
		all = append(all, nc)
		_, err := nc.Write(say)
		require.NoError(t, err)
	}
	return all
}

func closeAll(conns []*net.TCPConn) {
	for _, nc := range conns {
		nc.Close()
	}
}

// requireClosed reads until the daemon closes, within await, and gives what it
// said before.
func requireClosed(t *testing.T, nc *net.TCPConn) []byte {
	t.Helper()
	require.NoError(t, nc.SetDeadline(time.Now().Add(await)))
	said, err := io.ReadAll(nc)
	if !errors.Is(err, syscall.ECONNRESET) { // it had not read all that we sent
		require.NoError(t, err, "the daemon does not close the connection")
	}
	return said
}

// isExportd tells the two kinds of ports apart.
func isExportd(name string) bool { return strings.HasPrefix(name, "exportd") }
