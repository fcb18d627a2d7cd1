package block

import (
	"fmt"
	"sync"

	"github.com/rozofs-go/rozo/mojette"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Coder codes the blocks of files of one geometry into slots and back. It is
// immutable and safe for concurrent use.
type Coder struct {
	Geometry vocab.Geometry
	code     *mojette.Code
	padded   int   // bytes of a full block as the transform sees it
	payload  []int // bytes of each projection of a full block
	widest   int   // the largest of them: the room on a spare
}

// coders remembers every geometry seen; there are few.
var coders sync.Map // vocab.Geometry → *Coder

// NewCoder returns the coder of a geometry.
func NewCoder(g vocab.Geometry) (*Coder, error) {
	if c, ok := coders.Load(g); ok {
		return c.(*Coder), nil
	}
	if err := g.Validate(); err != nil {
		return nil, err
	}
	code, err := mojette.New(mojette.Config{
		Inverse: int(g.Layout.Inverse), Forward: int(g.Layout.Forward),
		ElementBytes: int(g.ElementBytes), Systematic: g.Systematic,
	})
	if err != nil {
		return nil, fmt.Errorf("layout %v: %w", g.Layout, err)
	}
	c := &Coder{Geometry: g, code: code, padded: code.PaddedBytes(int(g.BlockBytes))}
	for i := range int(g.Layout.Forward) {
		c.payload = append(c.payload, code.ProjectionBytes(i, c.padded))
	}
	c.widest = code.MaxProjectionBytes(c.padded)
	actual, _ := coders.LoadOrStore(g, c)
	return actual.(*Coder), nil
}

// BlockBytes is the user data in a full block.
func (c *Coder) BlockBytes() int { return int(c.Geometry.BlockBytes) }

// RoomAt is the payload room of slots on the storage at a position of the
// distribution: home storages keep one projection each, spares any.
func (c *Coder) RoomAt(position int) int {
	if position < len(c.payload) {
		return c.payload[position]
	}
	return c.widest
}

// PaddedBytes is the length that a block of used bytes is coded at; buffers given
// to PutSlot and Rebuild have room for PaddedBytes(BlockBytes()).
func (c *Coder) PaddedBytes(used int) int { return c.code.PaddedBytes(used) }

// SlotBytes is the length of the slot of a projection of used bytes of data.
func (c *Coder) SlotBytes(projection, used int) int {
	return wire.SlotHeaderBytes + c.code.ProjectionBytes(projection, c.PaddedBytes(used))
}

// Identity says which slot is meant.
type Identity struct {
	FID     vocab.FID
	Block   uint64
	Version vocab.Version
}

// PutSlot writes the slot of one projection to dst, SlotBytes long. data holds
// the block's used bytes and, after them, zeros up to PaddedBytes(used).
func (c *Coder) PutSlot(dst []byte, projection int, id Identity, data []byte, used int) error {
	payload := dst[wire.SlotHeaderBytes:]
	if err := c.code.EncodeProjection(payload, projection, data[:c.PaddedBytes(used)]); err != nil {
		return err
	}
	c.seal(dst, projection, id, used)
	return nil
}

// PutSlots writes the slots of all projections, dst[i] as for PutSlot, in one
// pass over the data. views is scratch of Forward entries.
func (c *Coder) PutSlots(dst, views [][]byte, id Identity, data []byte, used int) error {
	for i := range dst {
		views[i] = dst[i][wire.SlotHeaderBytes:]
	}
	if err := c.code.EncodeBlock(views, data[:c.PaddedBytes(used)]); err != nil {
		return err
	}
	for i := range dst {
		c.seal(dst[i], i, id, used)
	}
	return nil
}

func (c *Coder) seal(slot []byte, projection int, id Identity, used int) {
	payload := slot[wire.SlotHeaderBytes:]
	h := wire.SlotHeader{
		Projection: uint8(projection), PayloadBytes: uint32(len(payload)), PayloadCRC: wire.Checksum(payload),
		FID: id.FID, Block: id.Block, Version: id.Version, BlockBytes: uint32(used),
	}
	h.Put(slot)
}

// Valid tells whether a slot's header fits the geometry: a header is only as
// good as the client that wrote it.
func (c *Coder) Valid(h *wire.SlotHeader) bool {
	return int(h.Projection) < len(c.payload) && h.BlockBytes >= 1 && h.BlockBytes <= c.Geometry.BlockBytes &&
		int(h.PayloadBytes) == c.code.ProjectionBytes(int(h.Projection), c.PaddedBytes(int(h.BlockBytes)))
}

// Rebuild decodes a block of used bytes from payloads (one entry per projection,
// nil where missing) into dst, which has room for PaddedBytes(used). scratch has
// ScratchBytes.
func (c *Coder) Rebuild(dst []byte, payloads [][]byte, used int, scratch []byte) error {
	return c.code.DecodeBlock(dst[:c.PaddedBytes(used)], payloads, scratch)
}

// ScratchBytes is what Rebuild needs for a full block.
func (c *Coder) ScratchBytes() int { return c.code.ScratchBytes(c.padded) }
