package mojette

import "math/bits"

// EncodeBlock writes the projections of block to dst. dst has n buffers of exactly ProjectionBytes(i, len(block)) bytes; a
// nil one is skipped. The length of block must be padded. Buffers must not overlap block or one another.
func (c *Code) EncodeBlock(dst [][]byte, block []byte) error {
	if err := c.checkBlock(len(block)); err != nil {
		return err
	}
	if _, err := c.checkProjections(dst, len(block)); err != nil {
		return err
	}
	g := flatGrid(block, c.rows, c.elem)
	for i, projection := range dst {
		if projection != nil {
			c.project(projection, &g, i)
		}
	}
	return nil
}

// EncodeProjection writes projection i of block to dst, of exactly ProjectionBytes(i, len(block)) bytes. The length of
// block must be padded.
func (c *Code) EncodeProjection(dst []byte, i int, block []byte) error {
	if err := c.checkBlock(len(block)); err != nil {
		return err
	}
	if i < 0 || i >= c.forward {
		return &SizeError{What: "projection index, against the number of projections", Got: i, Want: c.forward}
	}
	if want := c.ProjectionBytes(i, len(block)); len(dst) != want {
		return &SizeError{What: "projection", Got: len(dst), Want: want}
	}
	g := flatGrid(block, c.rows, c.elem)
	c.project(dst, &g, i)
	return nil
}

// ScratchBytes is the scratch that DecodeBlock and VerifyBlock need at most, for a block of blockBytes.
func (c *Code) ScratchBytes(blockBytes int) int {
	blockBytes = c.PaddedBytes(blockBytes)
	return c.solveBytes(blockBytes) + c.verifyBytes(blockBytes)
}

// solveBytes is the part of the scratch that decoding uses, verifyBytes that which verifying needs besides.
func (c *Code) solveBytes(blockBytes int) int {
	return solveBytes(c.rows, blockBytes/c.rows, c.elem, c.steepest)
}

func (c *Code) verifyBytes(blockBytes int) int {
	return blockBytes + c.MaxProjectionBytes(blockBytes)
}

// DecodeBlock rebuilds the block into dst, whose length is that of the block, padded. projections has n entries, nil where
// a projection is missing and otherwise of exact size. Any k suffice; of more, the cheapest k are used: rows, then sums of
// small |p|. That the others agree is VerifyBlock's business.
//
// The projections are not modified, and must not overlap dst. With a scratch of ScratchBytes nothing is allocated; a
// smaller or nil one is replaced.
//
// Fewer than k projections are an *InsufficientError, wrong sizes a *SizeError; dst is untouched then.
func (c *Code) DecodeBlock(dst []byte, projections [][]byte, scratch []byte) error {
	if err := c.checkBlock(len(dst)); err != nil {
		return err
	}
	present, err := c.checkProjections(projections, len(dst))
	if err != nil {
		return err
	}
	if found := bits.OnesCount64(present); found < c.rows {
		return &InsufficientError{Found: found, Needed: c.rows}
	}
	c.decode(dst, projections, present, scratch)
	return nil
}

// decode rebuilds the block from k or more projections of checked sizes.
func (c *Code) decode(dst []byte, projections [][]byte, present uint64, scratch []byte) {
	g := flatGrid(dst, c.rows, c.elem)
	if c.systematic {
		for i := range c.rows {
			if present&(1<<i) != 0 {
				copy(g.row(i), projections[i])
			}
		}
	}
	c.rebuildRows(&g, projections, present, scratch)
}

// rebuildRows rebuilds those rows of g that are not present themselves. k or more projections are present.
func (c *Code) rebuildRows(g *grid, projections [][]byte, present uint64, scratch []byte) {
	var buffer [MaxForward]unknown
	plan := c.plan(buffer[:0], present)
	if len(plan) > 1 {
		if need := c.solveBytes(g.rows * g.rowBytes); len(scratch) < need {
			scratch = make([]byte, need)
		}
	}
	solve(g, plan, projections, scratch)
}

// plan pairs the missing rows, ascending, with the cheapest sums present, p descending, and appends them to plan.
func (c *Code) plan(plan []unknown, present uint64) []unknown {
	for l := range c.rows {
		if !c.isRow(l) || present&(1<<l) == 0 {
			plan = append(plan, unknown{row: l})
		}
	}
	var chosen uint64
	wanted := len(plan)
	for _, i := range c.cheapest {
		if wanted > 0 && !c.isRow(i) && present&(1<<i) != 0 {
			chosen |= 1 << i
			wanted--
		}
	}
	next := 0
	for _, i := range c.descending {
		if chosen&(1<<i) != 0 {
			plan[next].projection, plan[next].p = i, c.directions[i].P
			next++
		}
	}
	return plan
}

// project writes projection i of g to dst.
func (c *Code) project(dst []byte, g *grid, i int) {
	if c.isRow(i) {
		copy(dst, g.row(i))
		return
	}
	if g.rowBytes > 0 {
		project(dst, g, c.directions[i])
	}
}

func (c *Code) checkBlock(blockBytes int) error {
	if want := c.PaddedBytes(blockBytes); blockBytes != want {
		return &SizeError{What: "block", Got: blockBytes, Want: want}
	}
	return nil
}

// checkProjections checks the number and sizes, and returns the set of those that are not nil.
func (c *Code) checkProjections(projections [][]byte, blockBytes int) (present uint64, err error) {
	if len(projections) != c.forward {
		return 0, &SizeError{What: "list of projections", Got: len(projections), Want: c.forward}
	}
	for i, projection := range projections {
		if projection == nil {
			continue
		}
		if want := c.ProjectionBytes(i, blockBytes); len(projection) != want {
			return 0, &SizeError{What: "projection", Got: len(projection), Want: want}
		}
		present |= 1 << i
	}
	return present, nil
}
