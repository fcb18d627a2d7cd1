package rozofs

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// While this client holds a write lease exportd does not know the size. What it answers then
// counts for nothing if the lease is gone, or going, when the answer is read.
func TestAnAnswerFromUnderALeaseThatIsGoneDoesNotCount(t *testing.T) {
	old := vocab.Attr{Ino: 5, Mode: vocab.ModeRegular}
	for _, tc := range []struct {
		name string
		then func(c *Client, f *file)
		size uint64
		ok   bool
	}{
		{"held", func(*Client, *file) {}, 100, true},
		{"going", func(_ *Client, f *file) { f.giving = true }, 0, false},
		{"given up", func(_ *Client, f *file) { f.setLease(wire.Lease{}) }, 0, false},
		{"given up and had again", func(_ *Client, f *file) { f.setLease(wire.Lease{Kind: wire.LeaseWrite, Epoch: 8}) }, 0, false},
		{"forgotten", func(c *Client, f *file) { f.setLease(wire.Lease{}); delete(c.files, 5) }, 0, false},
		{"nothing of a read lease", func(_ *Client, f *file) { f.lease.Kind = wire.LeaseRead; f.setLease(wire.Lease{}) }, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &Client{files: map[vocab.Ino]*file{}}
			f := newFile(c, 5)
			c.files[5] = f
			f.lease, f.attr = wire.Lease{Kind: wire.LeaseWrite, Epoch: 3}, vocab.Attr{Ino: 5, Size: 100}
			given := c.given.now()
			tc.then(c, f)
			a, ok := c.overlay(old, 0, given)
			require.Equal(t, tc.ok, ok)
			if ok {
				require.Equal(t, tc.size, a.Size)
			}
		})
	}
}

// A release that exportd has got, and whose answer is lost with the connection, is no loss of
// what was written.
func TestAReclaimDuringAReleaseLosesNothing(t *testing.T) {
	for _, giving := range []bool{true, false} {
		c := &Client{files: map[vocab.Ino]*file{}, recalled: map[vocab.Ino]vocab.Epoch{}}
		f := newFile(c, 5)
		f.lease, f.uncommitted, f.giving = wire.Lease{Kind: wire.LeaseWrite, Epoch: 3}, true, giving
		f.reclaimed(f.heldNow(), wire.Lease{})
		require.Equal(t, wire.LeaseNone, f.lease.Kind)
		if giving {
			require.NoError(t, f.takeFailure())
		} else {
			require.ErrorIs(t, f.takeFailure(), vocab.Stale)
		}
	}
}
