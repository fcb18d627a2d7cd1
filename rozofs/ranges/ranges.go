// Package ranges is the table of the byte-range locks on one file, with the rules of
// fcntl(2): an owner's lock takes the place of what that owner had there, splits what
// it covers in part, and grows together with its neighbours of the same type. exportd
// keeps one for each file, and a mount one for each of its owners.
package ranges

import (
	"cmp"
	"iter"
	"slices"
)

// Lock is a lock on the bytes Start to End, both included.
type Lock[O comparable] struct {
	Owner      O
	PID        uint32 // who set it, for F_GETLK
	Write      bool   // excludes all locks of others; else only those that write
	Start, End uint64
}

// Table is the locks on one file. The zero value has none. It is not safe for
// concurrent use.
type Table[O comparable] struct {
	// locks are in order of Start. Those of one owner are disjoint, and two of them of
	// the same type do not touch.
	locks []Lock[O]
}

func (l *Lock[O]) overlaps(start, end uint64) bool { return l.Start <= end && start <= l.End }

// touches tells whether the lock overlaps the range or is next to it.
func (l *Lock[O]) touches(start, end uint64) bool {
	return l.overlaps(start, end) || start > l.End && start-1 == l.End || l.Start > end && l.Start-1 == end
}

// Len is the number of locks.
func (t *Table[O]) Len() int { return len(t.locks) }

// All yields the locks in order of Start. The table must not change meanwhile.
func (t *Table[O]) All() iter.Seq[Lock[O]] { return slices.Values(t.locks) }

// Conflicts yields the locks of others that exclude l, in order of Start. The table must
// not change meanwhile.
func (t *Table[O]) Conflicts(l Lock[O]) iter.Seq[Lock[O]] {
	return func(yield func(Lock[O]) bool) {
		for _, x := range t.locks {
			if x.Start > l.End {
				return
			}
			if x.Owner != l.Owner && (x.Write || l.Write) && x.overlaps(l.Start, l.End) && !yield(x) {
				return
			}
		}
	}
}

// Blocked tells whether there is a lock that excludes l.
func (t *Table[O]) Blocked(l Lock[O]) bool {
	for range t.Conflicts(l) {
		return true
	}
	return false
}

// Set puts l in the place of what its owner has there. The caller has made sure that
// nothing excludes it. The table grows by two locks at most.
func (t *Table[O]) Set(l Lock[O]) {
	start, end := l.Start, l.End
	t.replace(l.Owner, func(x Lock[O]) bool { return x.overlaps(start, end) || x.Write == l.Write && x.touches(start, end) },
		func(x Lock[O]) []Lock[O] {
			if x.Write != l.Write {
				return rest(x, start, end)
			}
			l.Start, l.End = min(l.Start, x.Start), max(l.End, x.End)
			return nil
		})
	t.insert(l)
}

// Clear takes the owner's locks off the range. The table grows by one lock at most.
func (t *Table[O]) Clear(owner O, start, end uint64) {
	t.replace(owner, func(x Lock[O]) bool { return x.overlaps(start, end) },
		func(x Lock[O]) []Lock[O] { return rest(x, start, end) })
}

// Remove takes out all locks of the owners that match says.
func (t *Table[O]) Remove(match func(O) bool) {
	t.locks = slices.DeleteFunc(t.locks, func(l Lock[O]) bool { return match(l.Owner) })
}

// Covers tells whether the owner of l has all that l would give: a lock for writing does
// for one for reading.
func (t *Table[O]) Covers(l Lock[O]) bool {
	next := l.Start
	for _, x := range t.locks {
		if x.Owner != l.Owner || x.End < next || l.Write && !x.Write {
			continue
		}
		if x.Start > next {
			return false
		}
		if x.End >= l.End {
			return true
		}
		next = x.End + 1
	}
	return false
}

// replace puts others in the place of the owner's locks that are meant.
func (t *Table[O]) replace(owner O, meant func(Lock[O]) bool, by func(Lock[O]) []Lock[O]) {
	var added []Lock[O]
	t.locks = slices.DeleteFunc(t.locks, func(x Lock[O]) bool {
		if x.Owner != owner || !meant(x) {
			return false
		}
		added = append(added, by(x)...)
		return true
	})
	for _, l := range added {
		t.insert(l)
	}
}

// rest is what is left of a lock outside of a range that overlaps it.
func rest[O comparable](x Lock[O], start, end uint64) (left []Lock[O]) {
	if x.Start < start {
		before := x
		before.End = start - 1
		left = append(left, before)
	}
	if x.End > end {
		after := x
		after.Start = end + 1
		left = append(left, after)
	}
	return left
}

func (t *Table[O]) insert(l Lock[O]) {
	at, _ := slices.BinarySearchFunc(t.locks, l, func(a, b Lock[O]) int { return cmp.Compare(a.Start, b.Start) })
	t.locks = slices.Insert(t.locks, at, l)
}
