package mojette

// grid is a view of pixels as rows of equal length: one flat block, or one slice per row.
type grid struct {
	rows     int
	rowBytes int
	elem     int // bytes of a pixel
	flat     []byte
	parts    [][]byte // used when not nil
}

func flatGrid(block []byte, rows, elem int) grid {
	return grid{rows: rows, rowBytes: len(block) / rows, elem: elem, flat: block}
}

func rowGrid(parts [][]byte, rowBytes, elem int) grid {
	return grid{rows: len(parts), rowBytes: rowBytes, elem: elem, parts: parts}
}

func (g *grid) cols() int { return g.rowBytes / g.elem }

func (g *grid) row(l int) []byte {
	if g.parts != nil {
		return g.parts[l]
	}
	return g.flat[l*g.rowBytes : (l+1)*g.rowBytes]
}
