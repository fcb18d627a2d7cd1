package mojette

import (
	"fmt"
	"testing"
)

const benchBlockBytes = 8192

func eachLayout(b *testing.B, run func(b *testing.B, c *Code)) {
	for _, systematic := range []bool{false, true} {
		for _, s := range []shape{{2, 3}, {4, 6}, {8, 12}} {
			b.Run(fmt.Sprintf("systematic=%t/layout=%d_%d", systematic, s.k, s.n), func(b *testing.B) {
				run(b, newTestCode(b, Config{Inverse: s.k, Forward: s.n, Systematic: systematic}))
			})
		}
	}
}

func BenchmarkEncodeBlock(b *testing.B) {
	eachLayout(b, func(b *testing.B, c *Code) {
		block := randomBytes(1, benchBlockBytes)
		projections := buffers(c, len(block))
		b.SetBytes(benchBlockBytes)
		b.ReportAllocs()
		for b.Loop() {
			if err := c.EncodeBlock(projections, block); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDecodeBlock loses the first n−k projections: with a systematic code, rows.
func BenchmarkDecodeBlock(b *testing.B) {
	eachLayout(b, func(b *testing.B, c *Code) {
		lost := uint64(1)<<(c.Forward()-c.Inverse()) - 1
		benchmarkDecode(b, c, ^lost)
	})
}

// BenchmarkDecodeBlockScattered loses rows that are not evenly spaced.
func BenchmarkDecodeBlockScattered(b *testing.B) {
	c := newTestCode(b, Config{Inverse: 8, Forward: 12, Systematic: true})
	benchmarkDecode(b, c, ^uint64(0b10011001))
}

// BenchmarkDecodeBlockHealthy reads all rows of a systematic code.
func BenchmarkDecodeBlockHealthy(b *testing.B) {
	c := newTestCode(b, Config{Inverse: 4, Forward: 6, Systematic: true})
	benchmarkDecode(b, c, ^uint64(0))
}

func benchmarkDecode(b *testing.B, c *Code, present uint64) {
	block := randomBytes(1, benchBlockBytes)
	projections := only(encode(b, c, block), present)
	scratch := make([]byte, c.ScratchBytes(len(block)))
	b.SetBytes(benchBlockBytes)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.DecodeBlock(block, projections, scratch); err != nil {
			b.Fatal(err)
		}
	}
}
