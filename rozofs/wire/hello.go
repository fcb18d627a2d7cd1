package wire

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// Protocol versions that this build speaks.
const (
	MinVersion = 1
	MaxVersion = 1

	helloMagic = 0x315a4f52 // "ROZ1"
)

// MaxPeerNameBytes bounds the name by which a program goes in logs.
const MaxPeerNameBytes = 255

// Role says what a program is.
type Role uint8

// The roles. Nothing proves them yet: a peer is believed.
const (
	RoleClient Role = iota + 1
	RoleExportd
	RoleStoraged
	RoleAdmin // asks for states
)

// String is one word, for logs and errors.
func (r Role) String() string {
	switch r {
	case RoleClient:
		return "client"
	case RoleExportd:
		return "exportd"
	case RoleStoraged:
		return "storaged"
	case RoleAdmin:
		return "admin"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// Hello opens a connection, each way. A zero Cluster means "any": a client that
// has not yet learned it from exportd.
type Hello struct {
	Magic    uint32
	Min, Max uint16 // protocol versions offered; in the answer both are the one chosen
	Role     Role
	Cluster  vocab.ClusterID
	Boot     vocab.Boot // drawn at the program's start
	Name     string     // for logs: host and program
}

// Code implements Message.
func (m *Hello) Code(c *Codec) {
	U32(c, &m.Magic)
	U16(c, &m.Min)
	U16(c, &m.Max)
	U8(c, &m.Role)
	c.Fixed(m.Cluster[:])
	U64(c, &m.Boot)
	c.String(&m.Name, MaxPeerNameBytes)
}

func (m *Hello) fill() *Hello {
	m.Magic, m.Min, m.Max = helloMagic, MinVersion, MaxVersion
	return m
}

// check compares what the two ends say and returns the version to speak.
func (m *Hello) check(mine *Hello) (uint16, error) {
	switch {
	case m.Magic != helloMagic:
		return 0, vocab.Errorf(vocab.Protocol, "the peer does not speak Rozo's protocol")
	case m.Min > MaxVersion || m.Max < MinVersion:
		return 0, vocab.Errorf(vocab.Protocol, "protocol versions %d to %d offered, %d to %d spoken here: upgrade the older program",
			m.Min, m.Max, MinVersion, MaxVersion)
	case m.Cluster != mine.Cluster && m.Cluster != vocab.ClusterID{} && mine.Cluster != vocab.ClusterID{}:
		return 0, vocab.Errorf(vocab.Protocol, "the %v belongs to cluster %v, this program to %v", m.Role, m.Cluster, mine.Cluster)
	}
	return min(m.Max, MaxVersion), nil
}

// Dial connects to a TCP address, or to a unix socket when addr starts with
// "/", and shakes hands. h serves what the peer requests; nil refuses all.
func Dial(ctx context.Context, addr string, mine Hello, h Handler) (*Conn, error) {
	network := "tcp"
	if len(addr) > 0 && addr[0] == '/' {
		network = "unix"
	}
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	nc, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, vocab.Errorf(vocab.Unavailable, "%v", err)
	}
	c, err := Client(ctx, nc, mine, h)
	if err != nil {
		nc.Close()
	}
	return c, err
}

// Client shakes hands as the end that connected. On an error nc stays open.
func Client(ctx context.Context, nc net.Conn, mine Hello, h Handler) (*Conn, error) {
	deadline := time.Now().Add(handshakeTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	_ = nc.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := writeHello(nc, mine.fill(), 0, nil); err != nil {
		return nil, asUnavailable(err)
	}
	r := bufio.NewReaderSize(nc, readerBytes)
	f, err := readHello(r)
	if err != nil {
		return nil, asUnavailable(fmt.Errorf("handshake: %w", err))
	}
	if f.op != OpHello || f.flags&flagReply == 0 {
		f.release()
		return nil, vocab.Errorf(vocab.Protocol, "handshake: the first frame is not the answer to a hello")
	}
	var peer Hello
	_, err = finishCall(f, &peer)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if _, err := peer.check(&mine); err != nil {
		return nil, err
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	_ = nc.SetDeadline(time.Time{})
	c := newConn(nc, peer, h)
	c.start(r)
	return c, nil
}

// Accept shakes hands as the end that was connected to.
func Accept(nc net.Conn, mine Hello, h Handler) (*Conn, error) {
	_ = nc.SetDeadline(time.Now().Add(handshakeTimeout))
	r := bufio.NewReaderSize(nc, readerBytes)
	f, err := readHello(r)
	if err != nil {
		return nil, err
	}
	defer f.release()
	var peer Hello
	if f.op != OpHello || f.flags != 0 {
		err = vocab.Errorf(vocab.Protocol, "the first frame is not a hello")
	} else if err = Unmarshal(f.bodyBuf.B, &peer); err == nil {
		var v uint16
		if v, err = peer.check(mine.fill()); err == nil {
			mine.Min, mine.Max = v, v
		}
	}
	if werr := writeHello(nc, &mine, flagReply, err); err == nil {
		err = werr
	}
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Time{})
	c := newConn(nc, peer, h)
	c.start(r)
	return c, nil
}

func writeHello(nc net.Conn, m *Hello, flags uint16, failure error) error {
	h := header{op: OpHello, flags: flags}
	b := make([]byte, HeaderBytes, 128)
	if failure != nil {
		h.flags |= flagError
		b = Marshal(b, errorOf(failure))
	} else {
		b = Marshal(b, m)
	}
	h.body = uint32(len(b) - HeaderBytes)
	h.total = h.body
	h.append(b[:0])
	_, err := nc.Write(b)
	return err
}
