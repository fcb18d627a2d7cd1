package wire

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// withHandshake makes a Conn of nc, shaking hands by hand on peer.
func withHandshake(t testing.TB, nc, peer net.Conn) (*Conn, *bufio.Reader) {
	t.Helper()
	c := make(chan accepted, 1)
	go func() {
		conn, err := Accept(nc, serverHello, nil)
		c <- accepted{conn, err}
	}()
	hello := clientHello
	require.NoError(t, writeHello(peer, hello.fill(), 0, nil))
	r := bufio.NewReaderSize(peer, HeaderBytes)
	f, err := readFrame(r)
	require.NoError(t, err)
	f.release()
	a := <-c
	require.NoError(t, a.err)
	t.Cleanup(func() { a.conn.Close(); peer.Close() })
	return a.conn, r
}

// shake connects two ends that say these and returns both errors.
func shake(t *testing.T, client, server Hello) (cerr, serr error) {
	t.Helper()
	nc, peer := net.Pipe()
	defer nc.Close()
	defer peer.Close()
	other := make(chan error, 1)
	go func() {
		s, err := Accept(peer, server, nil)
		if err == nil {
			t.Cleanup(func() { s.Close() })
		}
		other <- err
	}()
	c, cerr := Client(t.Context(), nc, client, nil)
	if cerr == nil {
		t.Cleanup(func() { c.Close() })
	}
	return cerr, <-other
}

func TestBothEndsLearnWhoThePeerIs(t *testing.T) {
	c, s := overTCP(t, nil, nil)
	hello := clientHello
	require.Equal(t, *hello.fill(), s.Peer())
	hello = serverHello
	require.Equal(t, *hello.fill(), c.Peer())
	require.NotNil(t, c.RemoteAddr())
	require.NoError(t, c.Err())
}

func TestClustersMustMatchUnlessOneIsNotKnownYet(t *testing.T) {
	for _, c := range []struct {
		client, server vocab.ClusterID
		ok             bool
	}{
		{clusterA, clusterA, true},
		{vocab.ClusterID{}, clusterA, true},
		{clusterA, vocab.ClusterID{}, true},
		{vocab.ClusterID{}, vocab.ClusterID{}, true},
		{clusterA, clusterB, false},
	} {
		cerr, serr := shake(t, Hello{Role: RoleClient, Cluster: c.client}, Hello{Role: RoleExportd, Cluster: c.server})
		if c.ok {
			require.NoError(t, cerr)
			require.NoError(t, serr)
			continue
		}
		for _, err := range []error{cerr, serr} {
			require.ErrorIs(t, err, vocab.Protocol)
			require.ErrorContains(t, err, "the client belongs to cluster "+clusterA.String()+", this program to "+clusterB.String())
		}
	}
}

func TestVersionsThatDoNotOverlapAreRefusedAndSaidSo(t *testing.T) {
	for name, offered := range map[string]Hello{
		"newer": {Magic: helloMagic, Min: MaxVersion + 1, Max: MaxVersion + 3},
		"older": {Magic: helloMagic, Min: 0, Max: MinVersion - 1},
	} {
		t.Run(name, func(t *testing.T) {
			nc, peer := net.Pipe()
			defer nc.Close()
			defer peer.Close()
			accept := make(chan error, 1)
			go func() {
				_, err := Accept(peer, serverHello, nil)
				accept <- err
			}()
			require.NoError(t, writeHello(nc, &offered, 0, nil))
			f, err := readFrame(nc)
			require.NoError(t, err)
			_, told := finishCall(f, &Hello{})
			for _, err := range []error{told, <-accept} {
				require.ErrorIs(t, err, vocab.Protocol)
				require.ErrorContains(t, err, "upgrade the older program")
			}
		})
	}
}

func TestAVersionWithinTheOfferedOnesIsChosen(t *testing.T) {
	nc, peer := sockets(t)
	defer nc.Close()
	accept := make(chan accepted, 1)
	go func() {
		s, err := Accept(peer, serverHello, nil)
		accept <- accepted{s, err}
	}()
	require.NoError(t, writeHello(nc, &Hello{Magic: helloMagic, Min: 0, Max: MaxVersion + 5}, 0, nil))
	f, err := readFrame(nc)
	require.NoError(t, err)
	var answer Hello
	_, err = finishCall(f, &answer)
	require.NoError(t, err)
	require.EqualValues(t, MaxVersion, answer.Min)
	require.EqualValues(t, MaxVersion, answer.Max)
	a := <-accept
	require.NoError(t, a.err)
	a.conn.Close()
}

func TestAClientRefusesAnAnswerThatIsNoHello(t *testing.T) {
	strange := Hello{Magic: 1, Min: 1, Max: 1}
	for name, c := range map[string]struct {
		answer []byte
		kind   vocab.Kind
		text   string
	}{
		"other magic":   {raw(header{total: helloBytes(&strange), body: helloBytes(&strange), op: OpHello, flags: flagReply}, Marshal(nil, &strange)...), vocab.Protocol, "does not speak Rozo's protocol"},
		"a request":     {raw(header{op: OpHello}), vocab.Protocol, "not the answer to a hello"},
		"another reply": {raw(header{op: OpRead, flags: flagReply}), vocab.Protocol, "not the answer to a hello"},
		"short body":    {raw(header{total: 4, body: 4, op: OpHello, flags: flagReply}, 1, 2, 3, 4), vocab.Protocol, "handshake"},
		"HTTP":          {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), vocab.Protocol, "handshake"},
		"SSH":           {[]byte("SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), vocab.Protocol, "handshake"},
		"nothing":       {nil, vocab.Unavailable, "handshake"},
		"half a header": {raw(header{})[:7], vocab.Unavailable, "handshake"},
		"a large bulk":  {raw(header{total: MaxBulk}), vocab.Protocol, "handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			nc, peer := sockets(t)
			defer nc.Close()
			_, err := peer.Write(c.answer)
			require.NoError(t, err)
			require.NoError(t, peer.(*net.TCPConn).CloseWrite())
			defer peer.Close()
			_, err = Client(t.Context(), nc, clientHello, nil)
			require.ErrorIs(t, err, c.kind)
			require.ErrorContains(t, err, c.text)
		})
	}
}

func helloBytes(h *Hello) uint32 { return uint32(len(Marshal(nil, h))) }

func TestAServerRefusesAFirstFrameThatIsNoHello(t *testing.T) {
	hello := clientHello
	body := Marshal(nil, hello.fill())
	n := uint32(len(body))
	for name, c := range map[string]struct {
		first []byte
		text  string
	}{
		"another op":     {raw(header{total: n, body: n, op: OpRead}, body...), "first frame is not a hello"},
		"a reply":        {raw(header{total: n, body: n, op: OpHello, flags: flagReply}, body...), "first frame is not a hello"},
		"with bulk":      {raw(header{total: n, body: n - 1, op: OpHello}, body...), ""},
		"empty":          {raw(header{op: OpHello}), "ends early"},
		"TLS":            {[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on, random"), ""},
		"a large body":   {raw(header{total: MaxBody, body: MaxBody, op: OpHello}), ""},
		"a large bulk":   {raw(header{total: MaxBulk, op: OpHello}), ""},
		"over all sizes": {raw(header{total: 1 << 31, body: 1 << 30, op: OpHello}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			nc, peer := sockets(t)
			defer peer.Close()
			_, err := nc.Write(c.first)
			require.NoError(t, err)
			defer nc.Close()
			// The peer neither sends more nor leaves: a refusal must not wait for the rest.
			_, err = Accept(peer, serverHello, nil)
			require.ErrorIs(t, err, vocab.Protocol)
			require.ErrorContains(t, err, c.text)
		})
	}
}

func TestASilentPeerIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		sent []byte
		open func(net.Conn) (*Conn, error)
	}{
		"server, nothing":       {nil, acceptEnd},
		"server, half a header": {raw(header{op: OpHello})[:9], acceptEnd},
		"server, half a body":   {raw(header{total: 20, body: 20, op: OpHello}, 1, 2, 3), acceptEnd},
		"client, nothing":       {nil, clientEnd},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, peer := net.Pipe()
				defer nc.Close()
				go func() {
					_, _ = peer.Write(c.sent)
					_, _ = io.Copy(io.Discard, peer) // reads, says nothing more
				}()
				began := time.Now()
				_, err := c.open(nc)
				require.Error(t, err)
				require.Equal(t, handshakeTimeout, time.Since(began))
			})
		})
	}
}

func acceptEnd(nc net.Conn) (*Conn, error) { return Accept(nc, serverHello, nil) }

func clientEnd(nc net.Conn) (*Conn, error) {
	return Client(context.Background(), nc, clientHello, nil)
}

func TestAHandshakeEndsWithItsContext(t *testing.T) {
	for _, how := range []string{"deadline", "cancel"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, peer := net.Pipe()
				defer nc.Close()
				defer peer.Close()
				var (
					ctx    context.Context
					cancel context.CancelFunc
				)
				if how == "deadline" {
					ctx, cancel = context.WithTimeout(t.Context(), time.Second)
				} else {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(time.Second, cancel)
				}
				defer cancel()
				began := time.Now()
				_, err := Client(ctx, nc, clientHello, nil) // nobody reads
				require.ErrorIs(t, err, vocab.Unavailable)
				require.Equal(t, time.Second, time.Since(began))
			})
		})
	}
}

func TestDialReachesTCPAndUnixSockets(t *testing.T) {
	for network, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		t.Run(network, func(t *testing.T) {
			l, err := net.Listen(network, addr)
			require.NoError(t, err)
			serve(t, l, &Server{Handler: echo})
			c, err := Dial(t.Context(), l.Addr().String(), clientHello, nil)
			require.NoError(t, err)
			defer c.Close()
			var got text
			_, err = c.Call(t.Context(), opEcho, &text{"hello"}, Bulk{}, &got)
			require.NoError(t, err)
			require.Equal(t, "hello", got.S)
		})
	}
}

func TestDialSaysWhereNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	l.Close()
	_, err = Dial(t.Context(), addr, clientHello, nil)
	require.ErrorIs(t, err, vocab.Unavailable)
	require.ErrorContains(t, err, addr)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Dial(ctx, addr, clientHello, nil)
	require.ErrorIs(t, err, vocab.Unavailable)
}

func TestRolesHaveNames(t *testing.T) {
	for r, want := range map[Role]string{RoleClient: "client", RoleExportd: "exportd", RoleStoraged: "storaged", RoleAdmin: "admin", 9: "role 9"} {
		require.Equal(t, want, r.String())
	}
}
