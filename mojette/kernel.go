package mojette

import (
	"crypto/subtle"
	"encoding/binary"
)

// The inner loops. Everything above them works on whole rows or on a sweep plan, so faster versions replace this file only.

// xorInto adds src to dst. Both have the same length and either coincide or do not overlap.
func xorInto(dst, src []byte) { subtle.XORBytes(dst, dst, src) }

// sweepWords solves the rows of work in place, pixel by pixel in the order of the plan. Row i begins at byte
// i·stride + pad; what lies around its cols elements is zero, so sums run over the edge without a test.
//
// The sum over all rows includes the pixel's own place, which still holds the bin that it is read off.
func sweepWords(work []byte, plan []unknown, cols, elem, stride, pad int) {
	first, last := sweepTimes(plan, cols)
	for t := first; t < last; t++ {
		for i := len(plan) - 1; i >= 0; i-- {
			u := &plan[i]
			c := t + u.shift
			if uint(c) >= uint(cols) {
				continue
			}
			at := i*stride + pad + c*elem
			from := pad + (c+(u.row-plan[0].row)*u.p)*elem
			slope := u.p * elem
			for w := 0; w < elem; w += 8 {
				var v uint64
				s := from + w
				for j := range plan {
					v ^= binary.LittleEndian.Uint64(work[s:])
					s += stride - plan[j].gap*slope
				}
				binary.LittleEndian.PutUint64(work[at+w:], v)
			}
		}
	}
}

// accumulate adds src to dst, and then to each byte of dst the one stride before it, from the left: division by 1 + x^b.
// Both have one length, a multiple of 8 like stride.
func accumulate(dst, src []byte, stride int) {
	if stride == 8 {
		accumulate8(dst, src)
		return
	}
	if stride < 256 {
		accumulateLanes(dst, src, stride)
		return
	}
	xorInto(dst, src)
	for at := stride; at < len(dst); at += stride {
		n := min(stride, len(dst)-at)
		xorInto(dst[at:at+n], dst[at-stride:at-stride+n])
	}
}

// accumulateLanes follows the words that are one stride apart, so that each running sum stays in a register.
func accumulateLanes(dst, src []byte, stride int) {
	src = src[:len(dst)]
	for lane := 0; lane < min(stride, len(dst)); lane += 8 {
		var v uint64
		for at := lane; at <= len(dst)-8; at += stride {
			v ^= binary.LittleEndian.Uint64(dst[at:at+8]) ^ binary.LittleEndian.Uint64(src[at:at+8])
			binary.LittleEndian.PutUint64(dst[at:at+8], v)
		}
	}
}

// accumulate8 keeps the running sum in a register.
func accumulate8(dst, src []byte) {
	var v uint64
	for len(dst) >= 32 && len(src) >= 32 {
		a := v ^ binary.LittleEndian.Uint64(dst) ^ binary.LittleEndian.Uint64(src)
		b := a ^ binary.LittleEndian.Uint64(dst[8:]) ^ binary.LittleEndian.Uint64(src[8:])
		c := b ^ binary.LittleEndian.Uint64(dst[16:]) ^ binary.LittleEndian.Uint64(src[16:])
		v = c ^ binary.LittleEndian.Uint64(dst[24:]) ^ binary.LittleEndian.Uint64(src[24:])
		binary.LittleEndian.PutUint64(dst, a)
		binary.LittleEndian.PutUint64(dst[8:], b)
		binary.LittleEndian.PutUint64(dst[16:], c)
		binary.LittleEndian.PutUint64(dst[24:], v)
		dst, src = dst[32:], src[32:]
	}
	for len(dst) >= 8 && len(src) >= 8 {
		v ^= binary.LittleEndian.Uint64(dst) ^ binary.LittleEndian.Uint64(src)
		binary.LittleEndian.PutUint64(dst, v)
		dst, src = dst[8:], src[8:]
	}
}
