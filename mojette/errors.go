package mojette

import (
	"errors"
	"fmt"
)

// Kinds of failure, for errors.Is. The typed errors below carry the particulars, for errors.As.
var (
	// ErrInsufficient: too few projections to rebuild the block.
	ErrInsufficient = errors.New("mojette: too few projections")
	// ErrInconsistent: the projections do not all come from one block.
	ErrInconsistent = errors.New("mojette: projections disagree")
	// ErrNotSystematic: an operation on data shards, asked of a code that has none.
	ErrNotSystematic = errors.New("mojette: the code is not systematic: it has no data shards")
)

// ConfigError is a value that New or NewTransform refuses.
type ConfigError struct {
	Field  string // name of the field of Config, or of the argument
	Reason string // what was found and what is expected
}

// Error says what is wrong.
func (e *ConfigError) Error() string { return "mojette: " + e.Field + ": " + e.Reason }

func refuse(field, format string, args ...any) *ConfigError {
	return &ConfigError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// SizeError is a buffer, a list or an index of the wrong size. Sizes are in bytes for buffers, in entries for lists.
type SizeError struct {
	What string
	Got  int
	Want int
}

// Error says what is wrong.
func (e *SizeError) Error() string {
	return fmt.Sprintf("mojette: %s: size %d, want %d", e.What, e.Got, e.Want)
}

// InsufficientError counts the projections that were given and those that are needed. It wraps ErrInsufficient.
type InsufficientError struct {
	Found  int
	Needed int
}

// Error says what is wrong.
func (e *InsufficientError) Error() string {
	return fmt.Sprintf("mojette: too few projections: found %d, need %d", e.Found, e.Needed)
}

// Unwrap makes errors.Is(err, ErrInsufficient) true.
func (e *InsufficientError) Unwrap() error { return ErrInsufficient }

// KatzError is a set of directions that does not determine the grid: SumP < Cols and SumQ < Rows. It wraps ErrInsufficient.
type KatzError struct {
	Rows, Cols int
	SumP, SumQ int // sums of |p| and |q| over the directions that were given
}

// Error says what is wrong.
func (e *KatzError) Error() string {
	return fmt.Sprintf("mojette: too few projections: sum of |p| is %d and of q %d, a grid of %d rows by %d columns needs %d or %d",
		e.SumP, e.SumQ, e.Rows, e.Cols, e.Cols, e.Rows)
}

// Unwrap makes errors.Is(err, ErrInsufficient) true.
func (e *KatzError) Unwrap() error { return ErrInsufficient }

// InconsistentError names the projections that disagree. It wraps ErrInconsistent.
type InconsistentError struct {
	// Projections holds indexes, ascending.
	Projections []int
	// Located tells how sure the names are. True: leaving out this one projection makes all the others agree, and
	// leaving out no other does. False: these differ from the block that the chosen projections give, but the fault may
	// as well lie in the chosen ones.
	Located bool
}

// Error says what is wrong.
func (e *InconsistentError) Error() string {
	if e.Located {
		return fmt.Sprintf("mojette: projections disagree: %v is at fault", e.Projections)
	}
	return fmt.Sprintf("mojette: projections disagree: %v differ from the block that the others give", e.Projections)
}

// Unwrap makes errors.Is(err, ErrInconsistent) true.
func (e *InconsistentError) Unwrap() error { return ErrInconsistent }
