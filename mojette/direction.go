package mojette

// Limits on what New and NewTransform accept.
const (
	MaxForward    = 64      // projections of a Code
	MaxSlope      = 1 << 12 // |p| and q of a direction
	MaxGridPixels = 1 << 28 // pixels of a Transform
)

// Direction is a direction of projection (p, q) with q >= 1 and gcd(p, q) = 1: pixel (row l, column c) falls in
// bin c·q + l·p − off, where off = (rows−1)·p if p < 0 and 0 otherwise, so that bins count from 0.
type Direction struct{ P, Q int }

// Bins is the number of bins of the direction over a grid: (cols−1)·q + (rows−1)·|p| + 1, and 0 for an empty grid.
func (d Direction) Bins(rows, cols int) int {
	if rows <= 0 || cols <= 0 {
		return 0
	}
	return (cols-1)*d.Q + (rows-1)*abs(d.P) + 1
}

// bin is the bin of column 0 of the row; column c is c·q further on.
func (d Direction) bin(row, rows int) int {
	if d.P < 0 {
		return (rows - 1 - row) * -d.P
	}
	return row * d.P
}

func (d Direction) valid() bool {
	return d.Q >= 1 && d.Q <= MaxSlope && abs(d.P) <= MaxSlope && gcd(abs(d.P), d.Q) == 1
}

// Katz reports whether the projections in these directions determine every grid of rows × cols pixels: whether the sum of
// |p| reaches cols, or the sum of q reaches rows (M. Katz, Questions of Uniqueness and Resolution in Reconstruction from
// Projections, 1978). A direction that is given twice, or that is no direction, adds nothing.
func Katz(rows, cols int, directions []Direction) bool {
	sumP, sumQ := slopes(directions)
	return sumP >= cols || sumQ >= rows
}

// slopes sums |p| and q over the distinct valid directions.
func slopes(directions []Direction) (sumP, sumQ int) {
	seen := make(map[Direction]bool, len(directions))
	for _, d := range directions {
		if seen[d] || !d.valid() {
			continue
		}
		seen[d] = true
		sumP += abs(d.P)
		sumQ += d.Q
	}
	return sumP, sumQ
}

// checkDirections refuses what is no direction or is there twice.
func checkDirections(directions []Direction) []error {
	var problems []error
	first := make(map[Direction]int, len(directions))
	for i, d := range directions {
		if !d.valid() {
			problems = append(problems, refuse("Directions",
				"number %d is (%d, %d); want |p| <= %d, 1 <= q <= %d, without a common divisor", i, d.P, d.Q, MaxSlope, MaxSlope))
		}
		if j, ok := first[d]; ok {
			problems = append(problems, refuse("Directions", "number %d is (%d, %d), the same as number %d", i, d.P, d.Q, j))
			continue
		}
		first[d] = i
	}
	return problems
}

func checkElementBytes(elementBytes int) error {
	switch elementBytes {
	case 8, 16, 32, 64:
		return nil
	}
	return refuse("ElementBytes", "%d; want 8, 16, 32 or 64", elementBytes)
}

func abs(x int) int { return max(x, -x) }

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
