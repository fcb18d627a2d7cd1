package wire

import (
	"encoding/binary"
	"io"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// Limits of a frame, in bytes.
const (
	HeaderBytes = 16
	MaxBody     = 1 << 20
	MaxBulk     = 4 << 20

	maxHelloBody = 4 << 10 // of the handshake, which has no bulk
)

// Flags of a frame.
const (
	flagReply uint16 = 1 << 0 // answers the request of the same number
	flagError uint16 = 1 << 1 // the body is an error: kind, text
)

// header is the first 16 bytes of a frame, little endian:
//
//	0  u32 bytes that follow the header, body and bulk
//	4  u32 bytes of body among them
//	8  u32 request number
//	12 u16 op
//	14 u16 flags
type header struct {
	total, body, id uint32
	op              Op
	flags           uint16
}

func (h header) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, h.total)
	b = binary.LittleEndian.AppendUint32(b, h.body)
	b = binary.LittleEndian.AppendUint32(b, h.id)
	b = binary.LittleEndian.AppendUint16(b, uint16(h.op))
	return binary.LittleEndian.AppendUint16(b, h.flags)
}

func parseHeader(b *[HeaderBytes]byte, maxBody, maxBulk uint32) (header, error) {
	h := header{
		total: binary.LittleEndian.Uint32(b[0:]),
		body:  binary.LittleEndian.Uint32(b[4:]),
		id:    binary.LittleEndian.Uint32(b[8:]),
		op:    Op(binary.LittleEndian.Uint16(b[12:])),
		flags: binary.LittleEndian.Uint16(b[14:]),
	}
	switch {
	case h.body > h.total:
		return h, vocab.Errorf(vocab.Protocol, "frame of %d bytes announces a body of %d", h.total, h.body)
	case h.body > maxBody:
		return h, vocab.Errorf(vocab.Protocol, "body of %d bytes is over the limit of %d", h.body, maxBody)
	case h.total-h.body > maxBulk:
		return h, vocab.Errorf(vocab.Protocol, "bulk of %d bytes is over the limit of %d", h.total-h.body, maxBulk)
	case h.flags&^(flagReply|flagError) != 0:
		return h, vocab.Errorf(vocab.Protocol, "unknown frame flags %#x", h.flags)
	}
	return h, nil
}

// frame is one that was read. bulk is nil when the frame had none.
type frame struct {
	header
	bodyBuf, bulk *Buffer
}

func (f *frame) release() {
	f.bodyBuf.Release()
	f.bulk.Release()
}

// readHello reads the first frame of a peer that may be anybody: it is small.
func readHello(r io.Reader) (frame, error) {
	h, err := readHeader(r, maxHelloBody, 0)
	if err != nil {
		return frame{}, err
	}
	return readRest(r, h)
}

func readHeader(r io.Reader, maxBody, maxBulk uint32) (header, error) {
	var raw [HeaderBytes]byte
	if _, err := io.ReadFull(r, raw[:]); err != nil {
		return header{}, err
	}
	return parseHeader(&raw, maxBody, maxBulk)
}

// readRest reads what follows a header, allocating no more than that says.
func readRest(r io.Reader, h header) (frame, error) {
	f := frame{header: h, bodyBuf: NewBuffer(int(h.body))}
	if _, err := io.ReadFull(r, f.bodyBuf.B); err != nil {
		f.release()
		return frame{}, unexpected(err)
	}
	if n := h.total - h.body; n > 0 {
		f.bulk = NewBuffer(int(n))
		if _, err := io.ReadFull(r, f.bulk.B); err != nil {
			f.release()
			return frame{}, unexpected(err)
		}
	}
	return f, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// errorBody is the body of a reply with flagError.
type errorBody struct {
	Kind vocab.Kind
	Text string
}

const maxErrorText = 1024

func (m *errorBody) Code(c *Codec) {
	if !c.decoding && len(m.Text) > maxErrorText {
		m.Text = m.Text[:maxErrorText]
	}
	U16(c, &m.Kind)
	c.String(&m.Text, maxErrorText)
}
