package wire

import (
	"bytes"
	"io"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func TestAFrameComesBackAsItWasSent(t *testing.T) {
	for name, c := range map[string]struct{ body, bulk int }{
		"empty": {}, "body only": {body: 10}, "bulk only": {bulk: 10}, "both": {body: 3, bulk: 5},
		"largest": {body: MaxBody, bulk: MaxBulk},
	} {
		t.Run(name, func(t *testing.T) {
			want := header{total: uint32(c.body + c.bulk), body: uint32(c.body), id: 0xdeadbeef, op: OpWrite, flags: flagReply}
			content := bytes.Repeat([]byte("0123456"), (c.body+c.bulk)/7+1)[:c.body+c.bulk]
			r := bytes.NewReader(append(raw(want, content...), "next"...))
			f, err := readFrame(r)
			require.NoError(t, err)
			defer f.release()
			require.Equal(t, want, f.header)
			require.True(t, bytes.Equal(content[:c.body], f.bodyBuf.B))
			if c.bulk == 0 {
				require.Nil(t, f.bulk)
			} else {
				require.True(t, bytes.Equal(content[c.body:], f.bulk.B))
			}
			require.Equal(t, len("next"), r.Len(), "bytes of the next frame left")
		})
	}
}

func TestAHeaderHasTheBytesOfTheFormat(t *testing.T) {
	h := header{total: 0x04030201, body: 0x08070605, id: 0x0c0b0a09, op: 0x0e0d, flags: 0x100f}
	require.Equal(t, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, h.append(nil))
}

func TestATruncatedFrameIsAnUnexpectedEnd(t *testing.T) {
	whole := raw(header{total: 8, body: 4}, []byte("bodybulk")...)
	for n := range len(whole) {
		_, err := readFrame(bytes.NewReader(whole[:n]))
		if n == 0 {
			require.Equal(t, io.EOF, err, "between frames a peer may leave")
			continue
		}
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d bytes", n)
	}
}

var badHeaders = map[string]struct {
	header
	text string
}{
	"body over the whole":  {header{total: 3, body: 4}, "announces a body of 4"},
	"body over the limit":  {header{total: MaxBody + 1, body: MaxBody + 1}, "over the limit of 1048576"},
	"bulk over the limit":  {header{total: MaxBulk + 1}, "over the limit of 4194304"},
	"both over the limit":  {header{total: math.MaxUint32, body: math.MaxUint32}, "over the limit"},
	"unknown flag":         {header{flags: 1 << 2}, "unknown frame flags 0x4"},
	"all flags":            {header{flags: math.MaxUint16}, "unknown frame flags"},
	"limit plus a bulk":    {header{total: MaxBody + MaxBulk + 1, body: MaxBody}, "over the limit"},
	"greatest total alone": {header{total: math.MaxUint32}, "over the limit"},
}

func TestABadHeaderIsAProtocolError(t *testing.T) {
	for name, c := range badHeaders {
		t.Run(name, func(t *testing.T) {
			_, err := readFrame(bytes.NewReader(raw(c.header)))
			require.ErrorIs(t, err, vocab.Protocol)
			require.ErrorContains(t, err, c.text)
		})
	}
}

func TestAnOversizeFrameIsRefusedBeforeAnythingIsAllocated(t *testing.T) {
	bad := raw(header{total: MaxBody + MaxBulk + 1, body: MaxBody})
	const rounds = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		_, err := readFrame(bytes.NewReader(bad))
		require.Error(t, err)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, (after.TotalAlloc-before.TotalAlloc)/rounds, uint64(64<<10), "bytes allocated for a refused frame")
}

func TestGarbageOnAnOpenConnectionEndsIt(t *testing.T) {
	for name, garbage := range map[string][]byte{
		"text":          []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
		"ones":          bytes.Repeat([]byte{0xff}, 64),
		"error request": raw(header{flags: flagError}),
	} {
		t.Run(name, func(t *testing.T) {
			nc, peer := sockets(t)
			c, _ := withHandshake(t, nc, peer)
			_, err := peer.Write(garbage)
			require.NoError(t, err)
			<-c.Done()
			require.ErrorIs(t, c.Err(), vocab.Protocol)
			_, err = c.Call(t.Context(), opEcho, nil, Bulk{}, nil)
			require.ErrorIs(t, err, vocab.Protocol, "later calls tell why")
		})
	}
}

func TestAReplyThatNobodyWaitsForIsDropped(t *testing.T) {
	nc, peer := sockets(t)
	c, _ := withHandshake(t, nc, peer)
	_, err := peer.Write(raw(header{total: 7, body: 3, id: 77, flags: flagReply}, []byte("bodbulk")...))
	require.NoError(t, err)
	_, err = peer.Write(raw(header{id: 78, op: OpRead}))
	require.NoError(t, err)
	f, err := readFrame(peer)
	require.NoError(t, err, "the connection goes on")
	defer f.release()
	require.Equal(t, header{total: f.total, body: f.body, id: 78, op: OpRead, flags: flagReply | flagError}, f.header)
	require.NoError(t, c.Err())
}
