package block

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func v(n uint64) vocab.Version { return vocab.Version{Epoch: 1, Counter: n} }

func has(projection uint8, n uint64) Answer {
	return Answer{State: Present, Projection: projection, Version: v(n)}
}

func TestChooseByLayoutZero(t *testing.T) {
	none, gone := Answer{}, Answer{State: Absent}
	for name, tc := range map[string]struct {
		answers []Answer
		want    Choice
	}{
		"two of one version answer":                  {[]Answer{has(0, 1), has(1, 1), none, none}, Choice{Readable, v(1), false}},
		"one alone does not":                         {[]Answer{has(0, 1), none, none, none}, Choice{}},
		"two copies of one projection count once":    {[]Answer{has(0, 1), none, none, has(0, 1)}, Choice{}},
		"two absent are not sure to be zeros":        {[]Answer{gone, gone, none, none}, Choice{Zeros, v(0), true}},
		"nor are a home and a spare":                 {[]Answer{none, none, gone, gone}, Choice{Zeros, v(0), true}},
		"two homes and another are":                  {[]Answer{gone, gone, none, gone}, Choice{Zeros, v(0), false}},
		"disagreement needs three":                   {[]Answer{has(0, 1), has(1, 2), none, none}, Choice{}},
		"a stale home is outvoted by home and spare": {[]Answer{has(0, 1), has(1, 2), none, has(0, 2)}, Choice{Readable, v(2), false}},
		"a returning empty home is outvoted":         {[]Answer{gone, none, has(2, 5), has(0, 5)}, Choice{Readable, v(5), false}},
		"a newer one in sight needs three answers":   {[]Answer{has(0, 1), has(1, 1), has(2, 2), none}, Choice{Readable, v(1), true}},
		"an unacknowledged first write is zeros":     {[]Answer{has(0, 1), gone, gone, none}, Choice{Zeros, vocab.Version{}, true}},
		"an overwrite cut short is never zeros":      {[]Answer{has(0, 1), has(1, 2), gone, none}, Choice{Torn, vocab.Version{}, true}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.want.Decision == Zeros {
				tc.want.Version = vocab.Version{}
			}
			l, _ := vocab.LayoutByNumber(0)
			require.Equal(t, tc.want, Choose(l, tc.answers))
		})
	}
}

// Any schedule of complete writes, each missing at most s − n storages, followed
// by an answer from any sufficient set, yields the last acknowledged version or a
// newer one that can be rebuilt.
func TestEveryReadQuorumSeesTheLastAcknowledgedVersion(t *testing.T) {
	for _, l := range layouts(t, "0", "1", "2", "2,4,5", "8,12,12", "1,2,2", "1,3,3") {

		rng := rand.New(rand.NewPCG(7, uint64(l.Forward)))
		s, n, k := int(l.Safe), int(l.Forward), int(l.Inverse)
		for range 3000 {
			slots := make([]Answer, s)
			for i := range slots {
				slots[i].State = Absent
			}
			var acked uint64
			for w := uint64(1); w <= uint64(rng.IntN(4)); w++ {
				places := rng.Perm(s)[:n]
				torn := w == 1 && rng.IntN(3) == 0 // in place, only a first write can be cut short unharmed
				for i, p := range places {
					if torn && rng.IntN(2) == 0 {
						continue
					}
					slots[p] = has(uint8(i), w)
				}
				if torn {
					break // its writer died: the last write of the file
				}
				acked = w
			}
			heard := make([]Answer, s)
			for _, p := range rng.Perm(s)[:s-n+k+rng.IntN(n-k+1)] {
				heard[p] = slots[p]
			}
			c := Choose(l, heard)
			require.NotEqual(t, Undecided, c.Decision, "layout %v: %v", l, heard)
			require.GreaterOrEqual(t, c.Version.Counter, acked, "layout %v: %v", l, heard)
			if c.Decision == Readable {
				require.GreaterOrEqual(t, Different(heard, c.Version), k)
			}
		}
	}
}

// k answers that agree may be shown at once: whatever the others hold, nothing
// acknowledged is newer.
func TestAgreeingAnswersAreNeverStale(t *testing.T) {
	l := vocab.Layout{Inverse: 4, Forward: 6, Safe: 8}
	rng := rand.New(rand.NewPCG(1, 2))
	decided := 0
	for range 20000 {
		slots := make([]Answer, l.Safe)
		for i := range slots {
			slots[i].State = Absent
		}
		var acked uint64
		for w := uint64(1); w <= uint64(rng.IntN(3)); w++ {
			for i, p := range rng.Perm(int(l.Safe))[:l.Forward] {
				slots[p] = has(uint8(i), w)
			}
			acked = w
		}
		heard := make([]Answer, l.Safe)
		for _, p := range rng.Perm(int(l.Safe))[:l.Inverse] {
			heard[p] = slots[p]
		}
		if c := Choose(l, heard); c.Decision != Undecided {
			decided++
			require.Equal(t, acked, c.Version.Counter, "%v", heard)
		}
	}
	require.Positive(t, decided)
}

func layouts(t *testing.T, texts ...string) []vocab.Layout {
	var all []vocab.Layout
	for _, s := range texts {
		l, err := vocab.ParseLayout(s)
		require.NoError(t, err)
		all = append(all, l)
	}
	return all
}
