package mojette_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"

	"github.com/rozofs-go/rozo/mojette"
)

// Four data shards and two parity shards: any four of the six give the data back.
func Example() {
	code, err := mojette.New(mojette.Config{Inverse: 4, Forward: 6, Systematic: true})
	if err != nil {
		log.Fatal(err)
	}
	data := []byte("whatever may be lost, up to two shards of it, comes back")
	shards, err := code.Split(data)
	if err != nil {
		log.Fatal(err)
	}
	if err := code.Encode(shards); err != nil {
		log.Fatal(err)
	}

	shards[0], shards[3] = nil, nil
	if err := code.Reconstruct(shards); err != nil {
		log.Fatal(err)
	}
	var out bytes.Buffer
	if err := code.Join(&out, shards, len(data)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(out.String())
	// Output: whatever may be lost, up to two shards of it, comes back
}

// A block in the form that RozoFS stores as layout 0: three projections, of which any two give the block back.
func ExampleCode_DecodeBlock() {
	code, err := mojette.New(mojette.Config{Inverse: 2, Forward: 3})
	if err != nil {
		log.Fatal(err)
	}
	text := "two rows of pixels, three ways to add them up"
	block := make([]byte, code.PaddedBytes(len(text)))
	copy(block, text)
	projections := make([][]byte, code.Forward())
	for i := range projections {
		projections[i] = make([]byte, code.ProjectionBytes(i, len(block)))
		fmt.Println(code.Direction(i), len(projections[i]), "bytes")
	}
	if err := code.EncodeBlock(projections, block); err != nil {
		log.Fatal(err)
	}

	projections[1] = nil
	scratch := make([]byte, code.ScratchBytes(len(block))) // reuse it: then nothing is allocated
	rebuilt := make([]byte, len(block))
	if err := code.DecodeBlock(rebuilt, projections, scratch); err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(rebuilt[:len(text)]))

	projections[0] = nil
	err = code.DecodeBlock(rebuilt, projections, scratch)
	fmt.Println(errors.Is(err, mojette.ErrInsufficient), err)
	// Output:
	// {-1 1} 32 bytes
	// {0 1} 24 bytes
	// {1 1} 32 bytes
	// two rows of pixels, three ways to add them up
	// true mojette: too few projections: found 1, need 2
}

// Two directions with q = 2 and 3 determine five rows, however long.
func ExampleTransform() {
	directions := []mojette.Direction{{P: 1, Q: 2}, {P: -1, Q: 3}}
	fmt.Println(mojette.Katz(5, 100, directions), mojette.Katz(6, 100, directions))
	transform, err := mojette.NewTransform(5, 100, 8, directions)
	if err != nil {
		log.Fatal(err)
	}
	pixels := bytes.Repeat([]byte("pixels! "), 500)
	projections := [][]byte{make([]byte, transform.ProjectionBytes(0)), make([]byte, transform.ProjectionBytes(1))}
	if err := transform.Project(projections, pixels); err != nil {
		log.Fatal(err)
	}
	rebuilt := make([]byte, transform.GridBytes())
	if err := transform.Inverse(rebuilt, projections); err != nil {
		log.Fatal(err)
	}
	fmt.Println(bytes.Equal(rebuilt, pixels))
	// Output:
	// true false
	// true
}
