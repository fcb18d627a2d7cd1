package mojette

import (
	"bytes"
	"math/bits"
)

// VerifyBlock checks that the projections given, k or more of a block of blockBytes, all come from one block. Lists, sizes
// and scratch are as for DecodeBlock. Sums have more bins than a row has pixels, so that even k of them can disagree; k
// rows cannot.
//
// Disagreement is an *InconsistentError. It locates a single wrong projection where that is possible, which takes two
// more than k.
func (c *Code) VerifyBlock(blockBytes int, projections [][]byte, scratch []byte) error {
	if err := c.checkBlock(blockBytes); err != nil {
		return err
	}
	present, err := c.checkProjections(projections, blockBytes)
	if err != nil {
		return err
	}
	if found := bits.OnesCount64(present); found < c.rows {
		return &InsufficientError{Found: found, Needed: c.rows}
	}
	if need := c.ScratchBytes(blockBytes); len(scratch) < need {
		scratch = make([]byte, need)
	}
	differ := c.differing(blockBytes, projections, present, scratch)
	if differ == 0 {
		return nil
	}
	return c.locate(blockBytes, projections, present, differ, scratch)
}

// differing is the set of projections that differ from those of the block that the cheapest k of them give.
func (c *Code) differing(blockBytes int, projections [][]byte, present uint64, scratch []byte) (differ uint64) {
	block, rest := scratch[:blockBytes], scratch[blockBytes:]
	c.decode(block, projections, present, rest[:c.solveBytes(blockBytes)])
	g := flatGrid(block, c.rows, c.elem)
	for i, projection := range projections {
		if present&(1<<i) == 0 {
			continue
		}
		expected := rest[:len(projection)]
		c.project(expected, &g, i)
		if !bytes.Equal(expected, projection) {
			differ |= 1 << i
		}
	}
	return differ
}

// locate looks for the one projection without which all others agree.
func (c *Code) locate(blockBytes int, projections [][]byte, present, differ uint64, scratch []byte) error {
	var culprits uint64
	if bits.OnesCount64(present) > c.rows+1 {
		for i := range c.forward {
			without := present &^ (1 << i)
			if without != present && c.differing(blockBytes, projections, without, scratch) == 0 {
				culprits |= 1 << i
			}
		}
	}
	if bits.OnesCount64(culprits) == 1 {
		return &InconsistentError{Projections: indexes(culprits), Located: true}
	}
	return &InconsistentError{Projections: indexes(differ)}
}

func indexes(set uint64) []int {
	list := make([]int, 0, bits.OnesCount64(set))
	for ; set != 0; set &= set - 1 {
		list = append(list, bits.TrailingZeros64(set))
	}
	return list
}
