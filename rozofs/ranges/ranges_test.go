package ranges

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	modelBytes  = 24
	modelOwners = 4
)

// model says of each byte what each owner has there: 0 nothing, 1 read, 2 write.
type model [modelOwners][modelBytes]int

func (m *model) blocked(l Lock[int]) bool {
	for o := range m {
		for b := l.Start; b <= l.End; b++ {
			if o != l.Owner && (m[o][b] == 2 || l.Write && m[o][b] == 1) {
				return true
			}
		}
	}
	return false
}

func (m *model) set(owner int, start, end uint64, to int) {
	for b := start; b <= end; b++ {
		m[owner][b] = to
	}
}

// locks are those that fcntl would have: each owner's runs of equal bytes.
func (m *model) locks() (all []string) {
	for o := range m {
		for b := 0; b < modelBytes; b++ {
			first := b
			for b+1 < modelBytes && m[o][b+1] == m[o][first] {
				b++
			}
			if m[o][first] != 0 {
				all = append(all, fmt.Sprint(o, m[o][first] == 2, first, b))
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestTheTableAgreesWithAModel(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		var table Table[int]
		var m model
		for range 40 {
			a, b := r.Uint64N(modelBytes), r.Uint64N(modelBytes)
			l := Lock[int]{Owner: r.IntN(modelOwners), Write: r.IntN(2) == 0, Start: min(a, b), End: max(a, b)}
			require.Equal(t, m.blocked(l), table.Blocked(l), "seed %d", seed)
			before := table.Len()
			switch {
			case r.IntN(3) == 0:
				table.Clear(l.Owner, l.Start, l.End)
				m.set(l.Owner, l.Start, l.End, 0)
				require.LessOrEqual(t, table.Len(), before+1)
			case !m.blocked(l):
				table.Set(l)
				m.set(l.Owner, l.Start, l.End, map[bool]int{false: 1, true: 2}[l.Write])
				require.LessOrEqual(t, table.Len(), before+2)
				require.True(t, table.Covers(l))
			}
			var got []string
			last := uint64(0)
			for x := range table.All() {
				got = append(got, fmt.Sprint(x.Owner, x.Write, x.Start, x.End))
				require.LessOrEqual(t, last, x.Start, "in order")
				last = x.Start
			}
			slices.Sort(got)
			require.Equal(t, m.locks(), got, "seed %d", seed)
		}
	}
}

func TestCoversAgreesWithAModel(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	yes := 0
	for range 3000 {
		var table Table[int]
		var m model
		for range 4 {
			a, b := r.Uint64N(modelBytes), r.Uint64N(modelBytes)
			l := Lock[int]{Write: r.IntN(2) == 0, Start: min(a, b), End: max(a, b)}
			table.Set(l)
			m.set(0, l.Start, l.End, map[bool]int{false: 1, true: 2}[l.Write])
		}
		a, b := r.Uint64N(modelBytes), r.Uint64N(modelBytes)
		l := Lock[int]{Write: r.IntN(2) == 0, Start: min(a, b), End: max(a, b)}
		want := true
		for x := l.Start; x <= l.End; x++ {
			want = want && m[0][x] > 0 && (!l.Write || m[0][x] == 2)
		}
		require.Equal(t, want, table.Covers(l), "seed %d: %v in %v", seed, l, table.locks)
		if want {
			yes++
		}
	}
	require.Positive(t, yes)
}

func TestTheEndsOfTheNumbersAreBytesToo(t *testing.T) {
	var table Table[string]
	whole := Lock[string]{Owner: "a", Write: true, End: math.MaxUint64}
	table.Set(whole)
	table.Clear("a", 0, 0)
	table.Clear("a", math.MaxUint64, math.MaxUint64)
	require.Equal(t, []Lock[string]{{Owner: "a", Write: true, Start: 1, End: math.MaxUint64 - 1}}, slices.Collect(table.All()))
	table.Set(Lock[string]{Owner: "a", Write: true})
	table.Set(Lock[string]{Owner: "a", Write: true, Start: math.MaxUint64, End: math.MaxUint64})
	require.Equal(t, []Lock[string]{whole}, slices.Collect(table.All()))
	require.True(t, table.Covers(whole))
	require.True(t, table.Blocked(Lock[string]{Owner: "b", Start: math.MaxUint64, End: math.MaxUint64}))
	table.Remove(func(o string) bool { return o == "a" })
	require.Zero(t, table.Len())
}
