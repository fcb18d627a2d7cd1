package mojette

import (
	"cmp"
	"errors"
	"slices"
)

// Config describes a Code. The zero value of a field is its default where it says so.
type Config struct {
	// Inverse is k: the rows of a block, and the projections that rebuild it. 1 <= Inverse < Forward.
	Inverse int
	// Forward is n: the projections of a block, at most MaxForward.
	Forward int
	// ElementBytes is the width of a pixel and of a bin: 8, 16, 32 or 64; 0 means 8. It is part of the format: projections
	// made with one width cannot be read with another.
	ElementBytes int
	// Systematic makes projections 0 … k−1 the rows themselves, and only the n−k others sums.
	Systematic bool
	// Directions of the projections, or of the n−k parities when systematic: distinct, with q = 1. Nil means
	// p = i − n/2 for projection i, and 0, 1, −1, 2, −2, … for parities.
	Directions []Direction
}

// Code is an erasure code: it makes n projections of a block, of which any k rebuild it. It is immutable, serves blocks
// of any length, and is safe for concurrent use.
type Code struct {
	rows       int // k
	forward    int // n
	elem       int
	systematic bool
	directions []Direction // of all n; the zero Direction for a row
	steepest   int         // largest |p|
	cheapest   []int       // indexes in the order of preference for decoding
	descending []int       // indexes of the sums, p descending
}

// New checks the configuration and prepares its code. All problems are returned at once: the error is a *ConfigError, or
// several joined.
func New(config Config) (*Code, error) {
	if config.ElementBytes == 0 {
		config.ElementBytes = 8
	}
	var problems []error
	if err := checkElementBytes(config.ElementBytes); err != nil {
		problems = append(problems, err)
	}
	if config.Inverse < 1 {
		problems = append(problems, refuse("Inverse", "%d; want at least 1", config.Inverse))
	}
	if config.Forward <= config.Inverse || config.Forward > MaxForward {
		problems = append(problems, refuse("Forward", "%d; want more than Inverse, %d, and at most %d",
			config.Forward, config.Inverse, MaxForward))
	}
	if len(problems) == 0 {
		if config.Directions == nil {
			config.Directions = defaultDirections(config)
		}
		problems = checkCodeDirections(config)
	}
	if len(problems) == 1 {
		return nil, problems[0]
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return newCode(config), nil
}

func checkCodeDirections(config Config) []error {
	problems := checkDirections(config.Directions)
	want := config.Forward
	if config.Systematic {
		want -= config.Inverse
	}
	if len(config.Directions) != want {
		problems = append(problems, refuse("Directions", "there are %d; want %d", len(config.Directions), want))
	}
	for i, d := range config.Directions {
		if d.Q != 1 {
			problems = append(problems, refuse("Directions", "number %d has q = %d; a code needs q = 1", i, d.Q))
		}
	}
	return problems
}

func defaultDirections(config Config) []Direction {
	if !config.Systematic {
		directions := make([]Direction, config.Forward)
		for i := range directions {
			directions[i] = Direction{P: i - config.Forward/2, Q: 1}
		}
		return directions
	}
	directions := make([]Direction, config.Forward-config.Inverse)
	for i := range directions {
		p := (i + 1) / 2 // 0, 1, −1, 2, −2, …
		if i%2 == 0 {
			p = -p
		}
		directions[i] = Direction{P: p, Q: 1}
	}
	return directions
}

func newCode(config Config) *Code {
	c := &Code{
		rows:       config.Inverse,
		forward:    config.Forward,
		elem:       config.ElementBytes,
		systematic: config.Systematic,
		directions: make([]Direction, config.Forward),
	}
	sums := 0 // index of the first sum
	if c.systematic {
		sums = c.rows
	}
	copy(c.directions[sums:], config.Directions)
	for i := range c.forward {
		c.cheapest = append(c.cheapest, i)
		c.steepest = max(c.steepest, abs(c.directions[i].P))
	}
	c.descending = slices.Clone(c.cheapest[sums:])
	slices.SortFunc(c.descending, func(a, b int) int { return cmp.Compare(c.directions[b].P, c.directions[a].P) })
	slices.SortStableFunc(c.cheapest[sums:], func(a, b int) int {
		return cmp.Compare(abs(c.directions[a].P), abs(c.directions[b].P))
	})
	return c
}

// Inverse is k: the projections that rebuild a block, and its rows.
func (c *Code) Inverse() int { return c.rows }

// Forward is n: the projections of a block.
func (c *Code) Forward() int { return c.forward }

// Systematic reports whether projections 0 … k−1 are the rows of the block.
func (c *Code) Systematic() bool { return c.systematic }

// ElementBytes is the width of a pixel and of a bin.
func (c *Code) ElementBytes() int { return c.elem }

// Direction is the direction of projection i, 0 <= i < n. The rows of a systematic code are no projections in Mojette's
// sense: they have the zero Direction, which is not valid anywhere else.
func (c *Code) Direction(i int) Direction { return c.directions[i] }

// isRow reports whether projection i is a row verbatim.
func (c *Code) isRow(i int) bool { return c.systematic && i < c.rows }

// PaddedBytes is the smallest length of a block that holds length bytes: a multiple of Inverse × ElementBytes. It is 0
// for 0. Whoever encodes pads with zeros.
func (c *Code) PaddedBytes(length int) int {
	unit := c.rows * c.elem
	return (max(length, 0) + unit - 1) / unit * unit
}

// ProjectionBytes is the exact size of projection i, 0 <= i < n, of a block of blockBytes. A length that is not padded
// counts as padded.
func (c *Code) ProjectionBytes(i, blockBytes int) int {
	return c.ShardBytes(i, c.PaddedBytes(blockBytes)/c.rows)
}

// MaxProjectionBytes is the size of the largest projection of a block of blockBytes.
func (c *Code) MaxProjectionBytes(blockBytes int) int {
	largest := 0
	for i := range c.forward {
		largest = max(largest, c.ProjectionBytes(i, blockBytes))
	}
	return largest
}

// Overhead is the size of all n projections over blockBytes, as stored: 1.5 is half as much again. It is 0 for an empty
// block. An ideal code has n/k; a Mojette code has a little more, which shrinks as blocks grow.
func (c *Code) Overhead(blockBytes int) float64 {
	if blockBytes <= 0 {
		return 0
	}
	stored := 0
	for i := range c.forward {
		stored += c.ProjectionBytes(i, blockBytes)
	}
	return float64(stored) / float64(blockBytes)
}
