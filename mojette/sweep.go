package mojette

// unknown is one row to rebuild and the projection (p, 1) that it is read off.
type unknown struct {
	row        int
	p          int
	projection int // index among the projections that were given
	gap        int // rows to the next unknown row; 0 for the last
	shift      int // sweep: the pixel read at time t is in column t + shift
	origin     int // interpolation: where byte 0 of the polynomial lies in its row of the work space
}

// schedule orders the sweep. Rows must ascend and p must descend, both strictly: that pairing makes the elimination
// triangular, whichever rows are missing.
//
// Pixel (l_i, c) is read off the bin of p_i that it falls in. In that bin, row l_j has column c + (l_i − l_j)·p_i, and that
// pixel must have been read before. With shift_{i+1} − shift_i = −(l_{i+1} − l_i)·p_i, its time minus ours is
//
//	for j > i:  −Σ (l_{k+1} − l_k)·(p_i − p_k), k = i … j−1:  never after us; at the same time, later rows go first
//	for j < i:  −Σ (l_{k+1} − l_k)·(p_k − p_i), k = j … i−1:  always before us
//
// With rows 0, 1, 2, … this is the geometry-driven order of Normand, Kingston and Évenou.
func schedule(plan []unknown) {
	for i := range plan[:len(plan)-1] {
		u, next := &plan[i], &plan[i+1]
		u.gap = next.row - u.row
		next.shift = u.shift - u.gap*u.p
	}
}

// sweepTimes is the range of times at which some row has a pixel to read.
func sweepTimes(plan []unknown, cols int) (first, last int) {
	first, last = -plan[0].shift, cols-plan[0].shift
	for _, u := range plan[1:] {
		first = min(first, -u.shift)
		last = max(last, cols-u.shift)
	}
	return first, last
}

// solve rebuilds the unknown rows of g from their projections; all other rows of g are known. In the plan rows ascend and
// p descends, both strictly. scratch holds solveBytes.
func solve(g *grid, plan []unknown, projections [][]byte, scratch []byte) {
	if len(plan) == 0 || g.rowBytes == 0 {
		return
	}
	if len(plan) == 1 {
		seed(g.row(plan[0].row), g, plan, 0, projections)
		return
	}
	if gap, even := spacing(plan); even {
		interpolate(g, plan, gap, projections, scratch)
		return
	}
	sweep(g, plan, projections, scratch)
}

// sweep is solve for any two or more rows.
func sweep(g *grid, plan []unknown, projections [][]byte, scratch []byte) {
	schedule(plan)
	pad := padBytes(plan, g.elem)
	stride := g.rowBytes + 2*pad
	work := scratch[:len(plan)*stride]
	for i := range plan {
		row := work[i*stride : (i+1)*stride]
		clear(row[:pad])
		clear(row[pad+g.rowBytes:])
		seed(row[pad:pad+g.rowBytes], g, plan, i, projections)
	}
	sweepWords(work, plan, g.cols(), g.elem, stride, pad)
	for i, u := range plan {
		copy(g.row(u.row), work[i*stride+pad:])
	}
}

// seed writes to dst the bins that the pixels of unknown row i fall in, less what known rows add to them.
func seed(dst []byte, g *grid, plan []unknown, i int, projections [][]byte) {
	u := plan[i]
	from := Direction{P: u.p, Q: 1}.bin(u.row, g.rows) * g.elem
	copy(dst, projections[u.projection][from:from+g.rowBytes])
	lost := 0
	for l := range g.rows {
		if lost < len(plan) && plan[lost].row == l {
			lost++
			continue
		}
		addShifted(dst, g.row(l), (u.row-l)*u.p*g.elem)
	}
}

// padBytes is how far beyond a row the sums of the sweep may reach.
func padBytes(plan []unknown, elem int) int {
	steepest := 0
	for _, u := range plan {
		steepest = max(steepest, abs(u.p))
	}
	return (plan[len(plan)-1].row - plan[0].row) * steepest * elem
}

// solveBytes is the scratch that solve needs at most, for a grid with slopes up to steepest.
func solveBytes(rows, rowBytes, elem, steepest int) int {
	return rows * (rowBytes + 2*(rows-1)*steepest*elem)
}
