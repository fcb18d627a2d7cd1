package mojette

import (
	"bytes"
	"io"
	"math/bits"
)

// ShardBytes is the size of shard i, 0 <= i < n, when a data shard, that is a row, has dataShardBytes: as much for a row,
// |p|·(k−1) elements more for a sum. It is 0 for 0.
func (c *Code) ShardBytes(i, dataShardBytes int) int {
	if dataShardBytes <= 0 {
		return 0
	}
	return dataShardBytes + c.extraBytes(i)
}

// extraBytes is what shard i has more than a row.
func (c *Code) extraBytes(i int) int { return abs(c.directions[i].P) * (c.rows - 1) * c.elem }

// Encode computes the parity shards, k … n−1, of a systematic code from the data shards, 0 … k−1. Data shards have one
// size, a multiple of ElementBytes, and parity shard i has ShardBytes(i, size), more than a data shard.
// A code that is not systematic has no data shards: use EncodeBlock.
func (c *Code) Encode(shards [][]byte) error {
	if !c.systematic {
		return ErrNotSystematic
	}
	if len(shards) != c.forward {
		return &SizeError{What: "list of shards", Got: len(shards), Want: c.forward}
	}
	rowBytes := len(shards[0])
	if err := c.checkShardBytes(rowBytes); err != nil {
		return err
	}
	for i, shard := range shards {
		if want := c.ShardBytes(i, rowBytes); len(shard) != want {
			return &SizeError{What: "shard", Got: len(shard), Want: want}
		}
	}
	g := rowGrid(shards[:c.rows], rowBytes, c.elem)
	for i := c.rows; i < c.forward; i++ {
		c.project(shards[i], &g, i)
	}
	return nil
}

// Reconstruct rebuilds all missing shards from k or more. A shard of length zero is missing; it is replaced by a slice of
// the same array if that is large enough, by a new one otherwise. It works for codes of both forms. Shards present are
// not checked against one another: see Verify.
//
// Fewer than k shards are an *InsufficientError, sizes that do not fit together a *SizeError; shards are untouched then.
func (c *Code) Reconstruct(shards [][]byte) error { return c.reconstruct(shards, c.forward) }

// ReconstructData is Reconstruct for the data shards of a systematic code only; parity shards stay missing.
func (c *Code) ReconstructData(shards [][]byte) error {
	if !c.systematic {
		return ErrNotSystematic
	}
	return c.reconstruct(shards, c.rows)
}

// reconstruct rebuilds what is missing of the first `limit` shards.
func (c *Code) reconstruct(shards [][]byte, limit int) error {
	present, rowBytes, err := c.checkShards(shards)
	if err != nil {
		return err
	}
	if bits.TrailingZeros64(^present) >= limit {
		return nil
	}
	var g grid
	if c.systematic {
		for i := range c.rows {
			if present&(1<<i) == 0 {
				shards[i] = resize(shards[i], rowBytes)
			}
		}
		g = rowGrid(shards[:c.rows], rowBytes, c.elem)
		c.rebuildRows(&g, shards, present, nil)
	} else {
		g = flatGrid(make([]byte, c.rows*rowBytes), c.rows, c.elem)
		c.decode(g.flat, shards, present, nil)
	}
	for i := range limit {
		if present&(1<<i) == 0 && !c.isRow(i) {
			shards[i] = resize(shards[i], c.ShardBytes(i, rowBytes))
			c.project(shards[i], &g, i)
		}
	}
	return nil
}

// Verify reports whether the shards, k or more, all come from the same data. A shard of length zero is missing.
func (c *Code) Verify(shards [][]byte) (bool, error) {
	present, rowBytes, err := c.checkShards(shards)
	if err != nil {
		return false, err
	}
	blockBytes := c.rows * rowBytes
	scratch := make([]byte, c.ScratchBytes(blockBytes))
	return c.differing(blockBytes, shards, present, scratch) == 0, nil
}

// Split cuts data into the k data shards of a systematic code, padded with zeros, and adds n−k parity shards for Encode
// to fill. Data shards are views of data as far as it reaches. Empty data give an *InsufficientError.
func (c *Code) Split(data []byte) ([][]byte, error) {
	if !c.systematic {
		return nil, ErrNotSystematic
	}
	if len(data) == 0 {
		return nil, &InsufficientError{Found: 0, Needed: c.rows}
	}
	rowBytes := c.PaddedBytes(len(data)) / c.rows
	shards := make([][]byte, c.forward)
	for i := range shards {
		if i < c.rows && len(data) >= rowBytes {
			shards[i], data = data[:rowBytes:rowBytes], data[rowBytes:]
			continue
		}
		shards[i] = make([]byte, c.ShardBytes(i, rowBytes))
		data = data[copy(shards[i], data):]
	}
	return shards, nil
}

// Join writes the first size bytes of the data that the shards hold to dst. All data shards that size reaches must be
// there: call ReconstructData before.
func (c *Code) Join(dst io.Writer, shards [][]byte, size int) error {
	if !c.systematic {
		return ErrNotSystematic
	}
	if len(shards) < c.rows {
		return &InsufficientError{Found: len(shards), Needed: c.rows}
	}
	rowBytes := 0
	for _, shard := range shards[:c.rows] {
		rowBytes = max(rowBytes, len(shard))
	}
	if size < 0 || size > c.rows*rowBytes {
		return &SizeError{What: "data shards, against the size of the data", Got: c.rows * rowBytes, Want: size}
	}
	for i, shard := range shards[:c.rows] {
		if i*rowBytes < size && len(shard) != rowBytes {
			return &SizeError{What: "data shard", Got: len(shard), Want: rowBytes}
		}
	}
	for _, shard := range shards[:c.rows] {
		part := shard[:min(len(shard), size)]
		if _, err := io.Copy(dst, bytes.NewReader(part)); err != nil {
			return err
		}
		size -= len(part)
	}
	return nil
}

// checkShards returns the set of shards that are there and the size of a row, in which all must agree.
func (c *Code) checkShards(shards [][]byte) (present uint64, rowBytes int, err error) {
	if len(shards) != c.forward {
		return 0, 0, &SizeError{What: "list of shards", Got: len(shards), Want: c.forward}
	}
	for i, shard := range shards {
		if len(shard) == 0 {
			continue
		}
		if present == 0 {
			rowBytes = len(shard) - c.extraBytes(i)
			if err := c.checkShardBytes(rowBytes); err != nil {
				return 0, 0, err
			}
		}
		present |= 1 << i
		if want := c.ShardBytes(i, rowBytes); len(shard) != want {
			return 0, 0, &SizeError{What: "shard", Got: len(shard), Want: want}
		}
	}
	if found := bits.OnesCount64(present); found < c.rows {
		return 0, 0, &InsufficientError{Found: found, Needed: c.rows}
	}
	return present, rowBytes, nil
}

func (c *Code) checkShardBytes(rowBytes int) error {
	want := (max(rowBytes, 1) + c.elem - 1) / c.elem * c.elem
	if rowBytes != want {
		return &SizeError{What: "data shard", Got: rowBytes, Want: want}
	}
	return nil
}

// resize returns a slice of length size in the array of buffer, or in a new one.
func resize(buffer []byte, size int) []byte {
	if cap(buffer) >= size {
		return buffer[:size]
	}
	return make([]byte, size)
}
