package mojette

// Evenly spaced rows, all rows of a block among them, are rebuilt by Newton's interpolation instead of the sweep: the
// same elimination done on whole rows, several times as fast.
//
// Read a row as a polynomial in x whose coefficients are its pixels. With the known rows taken out, and rows `gap` apart
// starting at l_0, the projection p is
//
//	S(y) = f_0 + f_1·y + … + f_{m−1}·y^{m−1} at the node y = x^{gap·p}
//
// Divided differences at the m nodes give Newton's coefficients of S, and Horner's scheme turns them into the rows f_i.
// The divisor y_j + y_i = x^a·(1 + x^b) divides exactly: one running XOR over the row. A shift by x^a moves no byte, it
// only moves where the row is taken to begin.
type differences struct {
	grid  *grid
	plan  []unknown // p descends; node j is plan[m−1−j], so that nodes ascend
	work  []byte    // one row per node
	width int       // bytes of a row of work
}

// spacing is the distance between rows of the plan, two at least, if it is the same everywhere.
func spacing(plan []unknown) (gap int, even bool) {
	gap = plan[1].row - plan[0].row
	for i := 2; i < len(plan); i++ {
		if plan[i].row-plan[i-1].row != gap {
			return 0, false
		}
	}
	return gap, true
}

// interpolate is solve for rows that are `gap` apart.
func interpolate(g *grid, plan []unknown, gap int, projections [][]byte, scratch []byte) {
	for i := range plan {
		plan[i].gap = gap
	}
	d := differences{grid: g, plan: plan}
	d.width = d.end(0) - d.start(0)
	d.work = scratch[:len(plan)*d.width]
	for j := range plan {
		d.load(j, projections)
	}
	for level := 1; level < len(plan); level++ {
		for j := len(plan) - 1; j >= level; j-- {
			d.divide(j, level)
		}
	}
	for level := len(plan) - 2; level > 0; level-- {
		for j := level; j < len(plan)-1; j++ {
			start, end, shift := d.start(j+1), d.end(j+1), d.exponent(level)
			xorInto(d.row(j, start+shift, end+shift), d.row(j+1, start, end))
		}
	}
	d.store()
}

func (d *differences) node(j int) *unknown { return &d.plan[len(d.plan)-1-j] }

// exponent is that of x in node j, in bytes.
func (d *differences) exponent(j int) int {
	u := d.node(j)
	return u.gap * u.p * d.grid.elem
}

// start and end bound the bytes that divided differences of a level may occupy; a row of the grid is [0, rowBytes).
func (d *differences) start(level int) int {
	return min(0, (len(d.plan)-1-level)*d.exponent(0))
}

func (d *differences) end(level int) int {
	return d.grid.rowBytes + max(0, (len(d.plan)-1-level)*d.exponent(len(d.plan)-1))
}

// row is the bytes [start, end) of the polynomial of node j.
func (d *differences) row(j, start, end int) []byte {
	origin := j*d.width + d.node(j).origin
	return d.work[origin+start : origin+end]
}

// load fills row j with the projection of node j less the known rows.
func (d *differences) load(j int, projections [][]byte) {
	g, u := d.grid, d.node(j)
	u.origin = -d.start(0)
	reach := (len(d.plan) - 1) * d.exponent(j)
	start, end := min(0, reach), g.rowBytes+max(0, reach)
	clear(d.row(j, d.start(0), start))
	clear(d.row(j, end, d.end(0)))
	sums := d.row(j, start, end)
	first := d.plan[0].row
	copy(sums, projections[u.projection][Direction{P: u.p, Q: 1}.bin(first, g.rows)*g.elem+start:])
	for l := range g.rows {
		if past := l - first; past >= 0 && past%u.gap == 0 && past/u.gap < len(d.plan) {
			continue
		}
		at := (l-first)*u.p*g.elem - start // of the row in sums; either end may lie outside
		from, to := max(at, 0), min(at+g.rowBytes, len(sums))
		if from < to {
			xorInto(sums[from:to], g.row(l)[from-at:to-at])
		}
	}
}

// divide turns row j from the divided difference of level−1 into that of level.
func (d *differences) divide(j, level int) {
	low := d.exponent(j - level)
	start, end := d.start(level)+low, d.end(level)+low
	accumulate(d.row(j, start, end), d.row(j-1, start, end), d.exponent(j)-low)
	d.node(j).origin += low
}

// store does the last round of Horner's scheme into the grid: row j plus node 0 times row j+1.
func (d *differences) store() {
	g, n := d.grid, d.grid.rowBytes
	for j := range d.plan {
		dst := g.row(d.plan[j].row)
		copy(dst, d.row(j, 0, n))
		if j == len(d.plan)-1 {
			return
		}
		shift := d.exponent(0)
		start, end := max(d.start(j+1)+shift, 0), min(d.end(j+1)+shift, n)
		if start < end {
			xorInto(dst[start:end], d.row(j+1, start-shift, end-shift))
		}
	}
}
