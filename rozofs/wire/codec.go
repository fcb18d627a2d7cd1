package wire

import (
	"encoding/binary"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// Message is a body that can be coded. Code visits the fields in wire order.
type Message interface {
	Code(c *Codec)
}

// Codec encodes to, or decodes from, a byte slice. After the first error
// further decoding yields zero values.
type Codec struct {
	buf      []byte
	decoding bool
	err      error
}

// Marshal appends the encoded message to dst.
func Marshal(dst []byte, m Message) []byte {
	if m == nil {
		return dst
	}
	c := Codec{buf: dst}
	m.Code(&c)
	return c.buf
}

// Unmarshal decodes data into m. Slices in m do not alias data.
func Unmarshal(data []byte, m Message) error {
	if m == nil {
		return nil
	}
	c := Codec{buf: data, decoding: true}
	m.Code(&c)
	return c.err
}

// Decoding tells the direction, for the few messages whose fields depend on it.
func (c *Codec) Decoding() bool { return c.decoding }

// More tells whether there is something left to decode, for fields that were added to what
// is stored; it is true when encoding.
func (c *Codec) More() bool { return !c.decoding || c.err == nil && len(c.buf) > 0 }

// Fail marks the input as malformed.
func (c *Codec) Fail(format string, args ...any) {
	if c.err == nil {
		c.err = vocab.Errorf(vocab.Protocol, format, args...)
	}
}

func (c *Codec) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if len(c.buf) < n {
		c.Fail("message ends early")
		return nil
	}
	b := c.buf[:n]
	c.buf = c.buf[n:]
	return b
}

// U8 codes one byte.
func U8[T ~uint8](c *Codec, p *T) {
	if !c.decoding {
		c.buf = append(c.buf, byte(*p))
		return
	}
	*p = 0
	if b := c.take(1); b != nil {
		*p = T(b[0])
	}
}

// U16 codes two bytes, little endian like all numbers.
func U16[T ~uint16](c *Codec, p *T) {
	if !c.decoding {
		c.buf = binary.LittleEndian.AppendUint16(c.buf, uint16(*p))
		return
	}
	*p = 0
	if b := c.take(2); b != nil {
		*p = T(binary.LittleEndian.Uint16(b))
	}
}

// U32 codes four bytes.
func U32[T ~uint32](c *Codec, p *T) {
	if !c.decoding {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, uint32(*p))
		return
	}
	*p = 0
	if b := c.take(4); b != nil {
		*p = T(binary.LittleEndian.Uint32(b))
	}
}

// U64 codes eight bytes.
func U64[T ~uint64 | ~int64](c *Codec, p *T) {
	if !c.decoding {
		c.buf = binary.LittleEndian.AppendUint64(c.buf, uint64(*p))
		return
	}
	*p = 0
	if b := c.take(8); b != nil {
		*p = T(binary.LittleEndian.Uint64(b))
	}
}

// Bool codes one byte, 0 or 1.
func (c *Codec) Bool(p *bool) {
	var b uint8
	if *p {
		b = 1
	}
	U8(c, &b)
	if c.decoding {
		if b > 1 {
			c.Fail("bool is %d", b)
		}
		*p = b == 1
	}
}

// String codes a length (4 bytes) and that many bytes, at most max.
func (c *Codec) String(p *string, max int) {
	if !c.decoding {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, uint32(len(*p)))
		c.buf = append(c.buf, *p...)
		return
	}
	*p = string(c.takeCounted(max))
}

// Bytes codes like String; a decoded slice is a copy.
func (c *Codec) Bytes(p *[]byte, max int) {
	if !c.decoding {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, uint32(len(*p)))
		c.buf = append(c.buf, *p...)
		return
	}
	*p = append([]byte(nil), c.takeCounted(max)...)
}

func (c *Codec) takeCounted(max int) []byte {
	var n uint32
	U32(c, &n)
	if int64(n) > int64(max) {
		c.Fail("length %d is over the limit of %d", n, max)
		return nil
	}
	return c.take(int(n))
}

// Fixed codes exactly len(p) bytes.
func (c *Codec) Fixed(p []byte) {
	if !c.decoding {
		c.buf = append(c.buf, p...)
		return
	}
	if b := c.take(len(p)); b != nil {
		copy(p, b)
		return
	}
	clear(p)
}

// Slice codes a count (4 bytes), at most max, and each element by code, which
// takes at least minBytes on the wire: a count that the input cannot hold is
// refused before anything is allocated.
func Slice[T any](c *Codec, p *[]T, max, minBytes int, code func(*Codec, *T)) {
	n := uint32(len(*p))
	U32(c, &n)
	if c.decoding {
		*p = nil
		if c.err != nil {
			return
		}
		if int64(n) > int64(max) || int64(n)*int64(minBytes) > int64(len(c.buf)) {
			c.Fail("count %d is over the limit of %d, or over what the message holds", n, max)
			return
		}
		if n > 0 {
			*p = make([]T, n)
		}
	}
	for i := range *p {
		code(c, &(*p)[i])
	}
}
