package mojette

// peeling is the state of an inversion by univocal bins, for directions of any slope: a bin that holds one unknown pixel
// gives that pixel, which is then taken out of its bins in all other projections, which makes new bins univocal. Under
// Katz's criterion this ends with every pixel known.
type peeling struct {
	grid        *grid
	projections []peeled
	univocal    []binRef
}

// peeled is one projection, bin by bin, of the pixels still unknown.
type peeled struct {
	direction Direction
	sums      []byte   // XOR of the pixels
	count     []int32  // how many they are
	pixels    []uint32 // XOR of their indexes: the index, when count is 1
}

type binRef struct{ projection, bin int }

// peel rebuilds the grid from projections that satisfy Katz's criterion; nil ones are missing.
func (t *Transform) peel(g *grid, projections [][]byte) {
	p := peeling{grid: g}
	for i, projection := range projections {
		if projection != nil {
			p.add(t.directions[i], projection)
		}
	}
	for len(p.univocal) > 0 {
		ref := p.univocal[len(p.univocal)-1]
		p.univocal = p.univocal[:len(p.univocal)-1]
		from := &p.projections[ref.projection]
		if from.count[ref.bin] == 1 {
			p.take(int(from.pixels[ref.bin]), from.sums[ref.bin*g.elem:])
		}
	}
}

func (p *peeling) add(d Direction, projection []byte) {
	rows, cols := p.grid.rows, p.grid.cols()
	bins := d.Bins(rows, cols)
	state := peeled{
		direction: d,
		sums:      append([]byte(nil), projection...),
		count:     make([]int32, bins),
		pixels:    make([]uint32, bins),
	}
	for l := range rows {
		bin := d.bin(l, rows)
		for c := range cols {
			state.count[bin]++
			state.pixels[bin] ^= uint32(l*cols + c)
			bin += d.Q
		}
	}
	for bin, count := range state.count {
		if count == 1 {
			p.univocal = append(p.univocal, binRef{len(p.projections), bin})
		}
	}
	p.projections = append(p.projections, state)
}

// take sets a pixel and removes it from all bins. value may lie in one of them.
func (p *peeling) take(pixel int, value []byte) {
	elem, cols := p.grid.elem, p.grid.cols()
	l, c := pixel/cols, pixel%cols
	known := p.grid.row(l)[c*elem : (c+1)*elem]
	copy(known, value)
	for i := range p.projections {
		state := &p.projections[i]
		bin := state.direction.bin(l, p.grid.rows) + c*state.direction.Q
		xorInto(state.sums[bin*elem:(bin+1)*elem], known)
		state.pixels[bin] ^= uint32(pixel)
		state.count[bin]--
		if state.count[bin] == 1 {
			p.univocal = append(p.univocal, binRef{i, bin})
		}
	}
}
