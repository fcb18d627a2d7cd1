package mojette

// project writes the projection of g in direction d to dst, which has exactly the bytes of its bins.
func project(dst []byte, g *grid, d Direction) {
	if d.Q == 1 {
		projectRows(dst, g, d)
		return
	}
	projectPixels(dst, g, d)
}

// projectRows is the case q = 1: each row lands in one piece. Rows are taken in the order of their place in dst, so that
// each is added where it meets the rows before it and copied where it goes beyond them.
func projectRows(dst []byte, g *grid, d Direction) {
	covered := 0 // bytes of dst that hold a sum already
	for i := range g.rows {
		l := i
		if d.P < 0 {
			l = g.rows - 1 - i
		}
		row, at := g.row(l), d.bin(l, g.rows)*g.elem
		shared := max(covered-at, 0)
		if at > covered {
			clear(dst[covered:at])
		}
		xorInto(dst[at:at+shared], row[:shared])
		copy(dst[at+shared:], row[shared:])
		covered = at + g.rowBytes
	}
}

// projectPixels is the definition, for any q.
func projectPixels(dst []byte, g *grid, d Direction) {
	clear(dst)
	step := d.Q * g.elem
	for l := range g.rows {
		at := d.bin(l, g.rows) * g.elem
		for pixels := g.row(l); len(pixels) > 0; pixels = pixels[g.elem:] {
			xorInto(dst[at:at+g.elem], pixels[:g.elem])
			at += step
		}
	}
}

// addShifted adds to dst[c] the pixel src[c+delta] wherever there is one; delta is in bytes, and both are one row long.
func addShifted(dst, src []byte, delta int) {
	if abs(delta) >= len(src) {
		return
	}
	if delta >= 0 {
		xorInto(dst[:len(dst)-delta], src[delta:])
		return
	}
	xorInto(dst[-delta:], src[:len(src)+delta])
}
