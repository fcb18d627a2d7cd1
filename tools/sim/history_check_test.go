package sim

import (
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// The checker tells right histories from wrong ones.
func TestTheCheckerFindsWrongHistories(t *testing.T) {
	w := func(client int, a, b value) op { return op{client: client, kind: opWrite, mask: 3, cells: cells{a, b}} }
	r := func(client int, a, b value) op { return op{client: client, kind: opRead, mask: 3, cells: cells{a, b}} }
	of := func(client int, k kind) op { return op{client: client, kind: k} }
	perhaps := func(o op) op { o.maybe = true; return o }
	later := func(o op) op { o.after = 1 << 1; return o }
	type timed struct {
		op
		call, ret int64
	}
	for _, tc := range []struct {
		name string
		ops  []timed
		ok   bool
	}{
		{"a read sees what was written elsewhere", []timed{{w(1, 1, 2), 1, 2}, {r(2, 1, 2), 3, 4}}, true},
		{"a stale read", []timed{{w(1, 1, 2), 1, 2}, {r(2, 0, 0), 3, 4}}, false},
		{"a read beside the write", []timed{{w(1, 1, 2), 1, 5}, {r(2, 0, 0), 3, 4}}, true},
		{"back in time", []timed{{w(1, 1, 2), 1, 9}, {r(2, 1, 2), 2, 3}, {r(3, 0, 0), 4, 5}}, false},
		{"a mix", []timed{{w(1, 1, 2), 1, 2}, {w(1, 3, 4), 3, 9}, {r(2, 1, 4), 4, 5}}, false},
		{"half a block", []timed{{w(1, 1, 2), 1, 2}, {op{client: 1, kind: opWrite, mask: 2, cells: cells{0, 4}}, 3, 4}, {r(2, 1, 4), 5, 6}}, true},
		{"lost with its client", []timed{{w(1, 1, 2), 1, 2}, {of(1, opCrash), 3, forever}, {r(2, 0, 0), 4, 5}}, true},
		{"kept although its client is gone", []timed{{w(1, 1, 2), 1, 2}, {of(1, opCrash), 3, forever}, {r(2, 1, 2), 4, 5}}, true},
		{"lost although it was synced", []timed{{w(1, 1, 2), 1, 2}, {of(1, opSync), 3, 4}, {of(1, opCrash), 5, forever}, {r(2, 0, 0), 6, 7}}, false},
		{"lost although another has seen it", []timed{{w(1, 1, 2), 1, 2}, {r(2, 1, 2), 3, 4}, {of(1, opCrash), 5, forever}, {r(3, 0, 0), 6, 7}}, false},
		{"lost, seen by its writer alone", []timed{{w(1, 1, 2), 1, 2}, {r(1, 1, 2), 3, 4}, {of(1, opCrash), 5, forever}, {r(3, 0, 0), 6, 7}}, true},
		{"an older one is left", []timed{{w(1, 1, 2), 1, 2}, {w(1, 3, 4), 3, 4}, {of(1, opCrash), 5, forever}, {r(3, 1, 2), 6, 7}}, true},
		{"lost, and there again", []timed{{w(1, 1, 2), 1, 2}, {of(1, opCrash), 3, forever}, {r(2, 0, 0), 4, 5}, {r(2, 1, 2), 6, 7}}, false},
		{"back after another has written", []timed{{w(1, 1, 2), 1, 2}, {of(1, opCrash), 3, forever}, {w(2, 5, 6), 4, 5}, {r(2, 1, 2), 6, 7}}, false},
		{"what a crashed client was doing was done", []timed{{perhaps(w(1, 1, 2)), 1, forever}, {of(1, opCrash), 2, forever}, {r(2, 1, 2), 4, 5}}, true},
		{"or was not", []timed{{perhaps(w(1, 1, 2)), 1, forever}, {of(1, opCrash), 2, forever}, {r(2, 0, 0), 4, 5}}, true},
		{"but not later", []timed{{perhaps(w(1, 1, 2)), 1, forever}, {of(1, opCrash), 2, forever}, {later(w(2, 5, 6)), 4, 5}, {later(r(2, 1, 2)), 6, 7}}, false},
		{"a loss that was told", []timed{{w(1, 1, 2), 1, 2}, {r(2, 0, 0), 4, 5}, {of(1, opLose), 2, 9}}, true},
		{"a size", []timed{{op{client: 1, kind: opGrow, cells: cells{5}}, 1, 2}, {op{client: 2, kind: opGrow, cells: cells{3}}, 3, 4}, {r(1, 5, 0), 5, 6}}, true},
		{"a size that shrank by itself", []timed{{op{client: 1, kind: opGrow, cells: cells{5}}, 1, 2}, {r(2, 3, 0), 5, 6}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var all []porcupine.Operation
			for _, o := range tc.ops {
				all = append(all, porcupine.Operation{ClientId: o.client, Input: o.op, Call: o.call, Return: o.ret})
			}
			want := porcupine.Illegal
			if tc.ok {
				want = porcupine.Ok
			}
			require.Equal(t, want, porcupine.CheckOperationsTimeout(model.ToModel(), all, checkTimeout))
		})
	}
}

func TestSeeds(t *testing.T) {
	for text, want := range map[string][2]uint64{"": {1, seedsOfTest}, "7": {1, 7}, "17..17": {17, 17}, "3..900": {3, 900}} {
		first, last, err := seeds(text)
		require.NoError(t, err)
		require.Equal(t, want, [2]uint64{first, last}, text)
	}
	for _, text := range []string{"x", "0", "5..3", "1..", "-4"} {
		_, _, err := seeds(text)
		require.Error(t, err, text)
	}
}
