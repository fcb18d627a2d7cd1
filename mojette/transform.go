package mojette

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
)

// Transform is the Mojette transform of grids of one size in given directions, over GF(2): every bin is the XOR of the
// pixels on its line. Unlike a Code it takes any q and any set of directions that satisfies Katz's criterion. It is
// immutable and safe for concurrent use.
type Transform struct {
	rows, cols int
	elem       int
	directions []Direction
}

// NewTransform prepares a transform of rows × cols pixels of elementBytes (8, 16, 32 or 64; 0 means 8). The directions are
// distinct, and together determine the grid; otherwise the error is a *KatzError. Other problems are *ConfigErrors, joined
// if there are several.
func NewTransform(rows, cols, elementBytes int, directions []Direction) (*Transform, error) {
	if elementBytes == 0 {
		elementBytes = 8
	}
	problems := checkDirections(directions)
	if err := checkElementBytes(elementBytes); err != nil {
		problems = append(problems, err)
	}
	if rows < 1 || cols < 1 || rows > MaxGridPixels/cols {
		problems = append(problems, refuse("grid", "%d rows by %d columns; want at least one of each, and at most %d pixels",
			rows, cols, MaxGridPixels))
	}
	if len(problems) == 1 {
		return nil, problems[0]
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	t := &Transform{rows: rows, cols: cols, elem: elementBytes, directions: slices.Clone(directions)}
	if err := t.checkKatz(directions); err != nil {
		return nil, err
	}
	return t, nil
}

// GridBytes is the size of a grid, row after row.
func (t *Transform) GridBytes() int { return t.rows * t.cols * t.elem }

// Directions is the number of projections.
func (t *Transform) Directions() int { return len(t.directions) }

// Direction is the direction of projection i, 0 <= i < Directions().
func (t *Transform) Direction(i int) Direction { return t.directions[i] }

// ProjectionBytes is the exact size of projection i, 0 <= i < Directions().
func (t *Transform) ProjectionBytes(i int) int { return t.directions[i].Bins(t.rows, t.cols) * t.elem }

// Project writes the projections of a grid of GridBytes to dst: one buffer of ProjectionBytes(i) for each direction, or nil
// to skip it. Buffers must not overlap.
func (t *Transform) Project(dst [][]byte, pixels []byte) error {
	if err := t.check(pixels, dst); err != nil {
		return err
	}
	g := flatGrid(pixels, t.rows, t.elem)
	for i, projection := range dst {
		if projection != nil {
			project(projection, &g, t.directions[i])
		}
	}
	return nil
}

// Inverse rebuilds the grid, of GridBytes, from projections: one for each direction, nil where it is missing. They are not
// modified, and must not overlap the grid.
//
// Projections that do not determine the grid are a *KatzError, and pixels are untouched. Projections that disagree are an
// *InconsistentError, and pixels then hold no meaning.
func (t *Transform) Inverse(pixels []byte, projections [][]byte) error {
	if err := t.check(pixels, projections); err != nil {
		return err
	}
	var given []Direction
	for i, projection := range projections {
		if projection != nil {
			given = append(given, t.directions[i])
		}
	}
	if err := t.checkKatz(given); err != nil {
		return err
	}
	g := flatGrid(pixels, t.rows, t.elem)
	if plan := t.plan(projections); len(plan) == t.rows {
		rowBytes := t.cols * t.elem
		solve(&g, plan, projections, make([]byte, len(plan)*(rowBytes+2*padBytes(plan, t.elem))))
	} else {
		t.peel(&g, projections)
	}
	return t.checkAgreement(&g, projections)
}

// plan pairs each row with a projection of q = 1 for the sweep, those of small |p| first. It is short if there are too few.
func (t *Transform) plan(projections [][]byte) []unknown {
	var plan []unknown
	for i, projection := range projections {
		if d := t.directions[i]; projection != nil && d.Q == 1 {
			plan = append(plan, unknown{p: d.P, projection: i})
		}
	}
	slices.SortFunc(plan, func(a, b unknown) int { return cmp.Compare(abs(a.p), abs(b.p)) })
	plan = plan[:min(len(plan), t.rows)]
	slices.SortFunc(plan, func(a, b unknown) int { return cmp.Compare(b.p, a.p) })
	for l := range plan {
		plan[l].row = l
	}
	return plan
}

// checkAgreement projects the grid again and compares.
func (t *Transform) checkAgreement(g *grid, projections [][]byte) error {
	var differ []int
	for i, projection := range projections {
		if projection == nil {
			continue
		}
		expected := make([]byte, len(projection))
		project(expected, g, t.directions[i])
		if !bytes.Equal(expected, projection) {
			differ = append(differ, i)
		}
	}
	if differ != nil {
		return &InconsistentError{Projections: differ}
	}
	return nil
}

func (t *Transform) checkKatz(directions []Direction) error {
	if Katz(t.rows, t.cols, directions) {
		return nil
	}
	sumP, sumQ := slopes(directions)
	return &KatzError{Rows: t.rows, Cols: t.cols, SumP: sumP, SumQ: sumQ}
}

func (t *Transform) check(pixels []byte, projections [][]byte) error {
	if len(pixels) != t.GridBytes() {
		return &SizeError{What: "grid", Got: len(pixels), Want: t.GridBytes()}
	}
	if len(projections) != len(t.directions) {
		return &SizeError{What: "list of projections", Got: len(projections), Want: len(t.directions)}
	}
	for i, projection := range projections {
		if want := t.ProjectionBytes(i); projection != nil && len(projection) != want {
			return &SizeError{What: "projection", Got: len(projection), Want: want}
		}
	}
	return nil
}
