package bench

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"math/rand/v2"

	"github.com/klauspost/reedsolomon"

	"github.com/rozofs-go/rozo/mojette"
)

// Names of the kernels.
const (
	Systematic  = "systematic"  // mojette, rows and parities
	Projections = "projections" // mojette, projections only
	ReedSolomon = "reedsolomon" // github.com/klauspost/reedsolomon on one goroutine
	Copy        = "copy"        // the block copied
	XOR         = "xor"         // two blocks XORed into a third, by crypto/subtle
)

// Operations of a Case.
const (
	Encode  = "encode"
	Rebuild = "rebuild"
	Decode  = "decode"
)

// Case is one thing to measure.
type Case struct {
	Op         string `json:"op"`
	Lost       int    `json:"lost"` // 0 when Op is Encode
	Inverse    int    `json:"inverse"`
	Forward    int    `json:"forward"`
	BlockBytes int    `json:"block_bytes"`
}

func (c Case) String() string {
	return fmt.Sprintf("%s lost=%d (%d,%d) %s", c.Op, c.Lost, c.Inverse, c.Forward, sizeText(int64(c.BlockBytes)))
}

// kernel is one way to do what a case asks for. run does it once; check compares
// what run has made with what it should be.
type kernel struct {
	name  string
	run   func() error
	check func() error
}

func (c Case) kernels(elementBytes int) ([]kernel, error) {
	block := make([]byte, c.BlockBytes)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(block)
	var all []kernel
	for _, build := range []func([]byte, int) (kernel, error){c.systematic, c.projections, c.reedSolomon} {
		k, err := build(block, elementBytes)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", c, err)
		}
		if k.run != nil {
			all = append(all, k)
		}
	}
	return append(all, copyKernel(block), xorKernel(block)), nil
}

func copyKernel(block []byte) kernel {
	dst := make([]byte, len(block))
	return kernel{Copy, func() error { copy(dst, block); return nil }, same(dst, block)}
}

func xorKernel(block []byte) kernel {
	dst, other := make([]byte, len(block)), bytes.Repeat([]byte{0xff}, len(block))
	want := make([]byte, len(block))
	for i := range want {
		want[i] = ^block[i]
	}
	return kernel{XOR, func() error { subtle.XORBytes(dst, block, other); return nil }, same(dst, want)}
}

func same(got, want []byte) func() error {
	return func() error {
		if !bytes.Equal(got, want) {
			return fmt.Errorf("the result is wrong")
		}
		return nil
	}
}

// rows are the data shards of a block, as parts of it.
func rows(block []byte, k int) [][]byte {
	all := make([][]byte, k)
	n := len(block) / k
	for l := range all {
		all[l] = block[l*n : (l+1)*n : (l+1)*n]
	}
	return all
}

func (c Case) code(elementBytes int, systematic bool) (*mojette.Code, error) {
	return mojette.New(mojette.Config{Inverse: c.Inverse, Forward: c.Forward, ElementBytes: elementBytes, Systematic: systematic})
}

// encoded makes the projections of the block.
func encoded(code *mojette.Code, block []byte) ([][]byte, error) {
	all := make([][]byte, code.Forward())
	for i := range all {
		all[i] = make([]byte, code.ProjectionBytes(i, len(block)))
	}
	return all, code.EncodeBlock(all, block)
}

func (c Case) systematic(block []byte, elementBytes int) (kernel, error) {
	code, err := c.code(elementBytes, true)
	if err != nil {
		return kernel{}, err
	}
	pieces, err := encoded(code, block)
	if err != nil {
		return kernel{}, err
	}
	switch c.Op {
	case Encode:
		shards := append(rows(block, c.Inverse), emptied(pieces[c.Inverse:])...)
		return kernel{Systematic, func() error { return code.Encode(shards) }, sameAll(shards, pieces)}, nil
	case Rebuild:
		return c.rebuild(Systematic, block, pieces, code.ReconstructData), nil
	}
	return c.decode(Systematic, code, block, pieces), nil
}

func (c Case) projections(block []byte, elementBytes int) (kernel, error) {
	code, err := c.code(elementBytes, false)
	if err != nil {
		return kernel{}, err
	}
	pieces, err := encoded(code, block)
	if err != nil {
		return kernel{}, err
	}
	switch c.Op {
	case Encode:
		dst := emptied(pieces)
		return kernel{Projections, func() error { return code.EncodeBlock(dst, block) }, sameAll(dst, pieces)}, nil
	case Rebuild:
		return kernel{}, nil // there are no data shards
	}
	return c.decode(Projections, code, block, pieces), nil
}

func (c Case) decode(name string, code *mojette.Code, block []byte, pieces [][]byte) kernel {
	clear(pieces[:c.Lost])
	dst, scratch := make([]byte, len(block)), make([]byte, code.ScratchBytes(len(block)))
	return kernel{name, func() error { return code.DecodeBlock(dst, pieces, scratch) }, same(dst, block)}
}

func (c Case) reedSolomon(block []byte, _ int) (kernel, error) {
	enc, err := reedsolomon.New(c.Inverse, c.Forward-c.Inverse, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return kernel{}, err
	}
	pieces := rows(block, c.Inverse)
	for range c.Forward - c.Inverse {
		pieces = append(pieces, make([]byte, len(pieces[0])))
	}
	if err := enc.Encode(pieces); err != nil {
		return kernel{}, err
	}
	switch c.Op {
	case Encode:
		shards := append(rows(block, c.Inverse), emptied(pieces[c.Inverse:])...)
		return kernel{ReedSolomon, func() error { return enc.Encode(shards) }, sameAll(shards, pieces)}, nil
	case Rebuild:
		return c.rebuild(ReedSolomon, block, pieces, enc.ReconstructData), nil
	}
	dst := make([]byte, len(block))
	shards := append(rows(dst, c.Inverse), pieces[c.Inverse:]...)
	run := func() error {
		for l := range c.Inverse {
			if l < c.Lost {
				shards[l] = shards[l][:0]
				continue
			}
			copy(shards[l], pieces[l])
		}
		return enc.ReconstructData(shards)
	}
	return kernel{ReedSolomon, run, same(dst, block)}, nil
}

// rebuild takes the first data shards away and has them made again in place.
func (c Case) rebuild(name string, block []byte, pieces [][]byte, reconstruct func([][]byte) error) kernel {
	dst := bytes.Clone(block)
	shards := append(rows(dst, c.Inverse), pieces[c.Inverse:]...)
	for l := range c.Lost {
		clear(shards[l])
	}
	run := func() error {
		for l := range c.Lost {
			shards[l] = shards[l][:0]
		}
		return reconstruct(shards)
	}
	return kernel{name, run, same(dst, block)}
}

func emptied(pieces [][]byte) [][]byte {
	all := make([][]byte, len(pieces))
	for i := range all {
		all[i] = make([]byte, len(pieces[i]))
	}
	return all
}

func sameAll(got, want [][]byte) func() error {
	return func() error {
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				return fmt.Errorf("piece %d is wrong", i)
			}
		}
		return nil
	}
}
