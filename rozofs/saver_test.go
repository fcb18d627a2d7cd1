package rozofs

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Where a projection of a run may be brought that lies at home and is not durable there.
// Layout 4,6,8: homes 0 to 5, spares 6 and 7.
func TestWhereAProjectionMayGo(t *testing.T) {
	const none = -1
	for _, x := range []struct {
		name       string
		states     string // by position: u up, l late, d down
		spares     [2]int // the projections that they were given
		projection int
		tried      []int
		position   int
		found      moveResult
	}{
		{"home, which has only forgotten it", "uuuuuuuu", [2]int{none, none}, 0, nil, 0, moveReady},
		{"a spare", "luuuuuuu", [2]int{none, none}, 0, []int{0}, 6, moveReady},
		{"the spare that has it already", "luuuuuuu", [2]int{none, 0}, 0, []int{0}, 7, moveReady},
		{"the only spare that is well", "luuuuuld", [2]int{none, none}, 0, []int{0}, none, moveSoon},
		{"none", "luuuuudd", [2]int{none, none}, 0, []int{0}, none, moveLater},
		{"home, when it is well again", "luuuuudd", [2]int{none, none}, 0, nil, none, moveSoon},
		{"a second spare, which nobody needs", "luuuuuuu", [2]int{0, none}, 0, []int{0, 6}, 7, moveReady},
		{"not the spare that another needs", "lluuuuuu", [2]int{0, none}, 0, []int{0, 6}, none, moveLater},
		{"a spare that has another, whose home is well, under a new version", "luuuuuud", [2]int{3, none}, 0, []int{0}, none, moveAnew},
		{"not a spare that has another, whose home is not", "luuluuud", [2]int{3, none}, 0, []int{0}, none, moveLater},
		{"one of two spares that have the same, under a new version", "luuluuuu", [2]int{3, 3}, 0, []int{0}, none, moveAnew},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := fileOn(x.states)
			r := &run{at: make([]place, 6), safe: make([]bool, 6), spares: []int{none, none, none, none, none, none, x.spares[0], x.spares[1]}}
			tried := uint32(0)
			for _, p := range x.tried {
				tried |= 1 << p
			}
			position, found := f.whereTo(r, x.projection, tried)
			require.Equal(t, x.found, found)
			require.Equal(t, x.position, position)
		})
	}
}

// fileOn is a file on storages that are in the states given.
func fileOn(states string) *file {
	c := &Client{}
	c.pool = newPool(c)
	f := &file{c: c}
	f.place.Distribution.CID = 1
	for p, state := range states {
		id := vocab.StorageID{CID: 1, SID: vocab.SID(p + 1)}
		n := &node{pool: c.pool, started: true, late: state == 'l'}
		if state == 'd' {
			n.err = errors.New("away")
		}
		f.place.Distribution.SIDs = append(f.place.Distribution.SIDs, id.SID)
		c.pool.byID[id] = &storage{id: id, node: n, incarnation: 1, overdue: new(atomic.Int32)}
	}
	return f
}

// A write fails while a recall waits for all that is under way, and its writer is told before
// the rest has ended: what failed is not saved, so the recall must know.
func TestAFailureThatWasToldMeanwhileIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{files: map[vocab.Ino]*file{}, recalled: map[vocab.Ino]vocab.Epoch{}}
		f := newFile(c, 5)
		require.True(t, grant(t, f, wire.Lease{Kind: wire.LeaseWrite, Epoch: 3}, 0))
		f.inFlight = 2
		drained := make(chan error, 1)
		go func() { drained <- f.drain(t.Context()) }()
		synctest.Wait()
		full := vocab.Errorf(vocab.NoSpace, "all is full")
		f.sent(&run{by: f.attempts}, full)
		require.ErrorIs(t, f.takeFailure(), full)
		f.sent(&run{by: f.attempts}, nil)
		require.ErrorIs(t, <-drained, full)
		require.NoError(t, f.takeFailure(), "it is told once")
	})
}
