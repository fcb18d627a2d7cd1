package rozofs

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// runOf is a run of n blocks under a counter, of a file whose last counter it raises.
func runOf(f *file, first uint64, n int) *run {
	f.counter++
	f.finality.begun(f.counter)
	return &run{first: first, pages: make([]*page, n), version: vocab.Version{Epoch: f.lease.Epoch, Counter: f.counter}}
}

func TestFinalIsWhatIsDurableOrReplaced(t *testing.T) {
	f := &file{lease: wire.Lease{Kind: wire.LeaseWrite, Epoch: 5}}
	bound := func(counter uint64) {
		t.Helper()
		require.Equal(t, vocab.Version{Epoch: 5, Counter: counter}, f.final())
	}
	never := func(uint64) bool { return false }
	bound(0) // what earlier leases wrote
	one, two, three := runOf(f, 0, 4), runOf(f, 4, 4), runOf(f, 8, 4)
	bound(0)
	f.finality.durable(two)
	bound(0)
	f.finality.durable(one)
	bound(2)

	// One that failed is final when every block of it is durable under another version.
	f.finality.failed(three, never)
	bound(2)
	four, five := runOf(f, 6, 4), runOf(f, 10, 9)
	f.finality.durable(five)
	bound(2)
	f.finality.durable(four)
	bound(5)

	// So is one that failed twice, and one that was cut off.
	six, seven := runOf(f, 0, 2), runOf(f, 1, 2)
	f.finality.failed(seven, never)
	f.finality.failed(six, never)
	bound(5)
	f.finality.durable(runOf(f, 1, 2))
	bound(5)
	f.counter++
	f.finality.begun(f.counter)
	bound(5)
	f.finality.discarded(&discarding{version: vocab.Version{Counter: f.counter}, ranges: []wire.Range{{First: 0}}})
	bound(9)

	// Of two that failed on a block the older holds the bound, in whichever order; and
	// one that failed after a newer one became durable there holds nothing.
	ten, eleven := runOf(f, 0, 1), runOf(f, 0, 1)
	f.finality.failed(eleven, never)
	f.finality.failed(ten, never)
	bound(9)
	f.finality.durable(runOf(f, 0, 1))
	bound(12)
	thirteen, fourteen := runOf(f, 0, 2), runOf(f, 1, 1)
	f.finality.durable(fourteen)
	f.finality.failed(thirteen, func(b uint64) bool { return b == 1 })
	bound(12)
	f.finality.durable(runOf(f, 0, 1))
	bound(15)
	f.finality.lost = true
	require.Equal(t, vocab.Version{}, f.final())
}

// A run of an earlier lease, whose outcome comes late, is none of this one's.
func TestARunOfAnEarlierLeaseSaysNothingOfThisOne(t *testing.T) {
	for _, durable := range []bool{true, false} {
		f := newFile(&Client{}, 5)
		f.lease = wire.Lease{Kind: wire.LeaseWrite, Epoch: 5}
		old := runOf(f, 0, 1)
		f.lease, f.counter, f.finality = wire.Lease{Kind: wire.LeaseWrite, Epoch: 6}, 0, finality{}
		f.ended(old, durable)
		require.Equal(t, vocab.Version{Epoch: 6}, f.final())
		runOf(f, 0, 1)
		f.ended(old, durable)
		require.Equal(t, vocab.Version{Epoch: 6}, f.final(), "of the same counter, and not durable")
	}
}
