package rozofs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

func TestFilesLockRangesAcrossMountsAndARestart(t *testing.T) {
	c := startCluster(t, form{"0", false})
	a, b := c.mount(t).open("f", os.O_CREATE|os.O_RDWR), c.mount(t).open("f", os.O_CREATE|os.O_RDWR)
	ctx := t.Context()
	require.NoError(t, a.LockRange(ctx, 10, 10, true))
	got, err := b.TryLockRange(ctx, 15, 0, false)
	require.NoError(t, err)
	require.False(t, got)
	got, err = b.TryLockRange(ctx, 20, 0, true)
	require.NoError(t, err)
	require.True(t, got)
	_, err = b.TryLockRange(ctx, -1, 0, true)
	require.ErrorIs(t, err, vocab.Invalid)

	gone, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, b.LockRange(gone, 10, 1, true), vocab.Canceled)
	waits := make(chan error, 1)
	go func() { waits <- b.LockRange(ctx, 0, 0, true) }()
	c.restartExport()
	require.NoError(t, a.UnlockRange(ctx, 10, 5))
	got, err = a.TryLockRange(ctx, 30, 1, true)
	require.NoError(t, err)
	require.False(t, got, "b has it, or has what it waited for")
	require.NoError(t, a.Close())
	require.NoError(t, <-waits)
	require.NoError(t, b.Close())
}

// More wait than a connection serves requests at once, and the unlock gets through.
func TestManyWaitForOneLock(t *testing.T) {
	const waiters = wire.MaxServing + 100
	c := startCluster(t, form{"0", false})
	m := c.mount(t)
	m.write("f", nil)
	info, err := m.Stat(t.Context(), "f")
	require.NoError(t, err)
	h, err := m.client.OpenFile(t.Context(), rozofs.Caller{}, info.Sys().(vocab.Attr).Ino, os.O_RDWR)
	require.NoError(t, err)
	lock := func(owner int, typ wire.LockType) error {
		return h.Lock(t.Context(), wire.Lock{Owner: uint64(owner), Type: typ, End: 9}, true)
	}
	require.NoError(t, lock(0, wire.LockWrite))
	done := make(chan error, waiters)
	var inside atomic.Int32
	for i := range waiters {
		go func() {
			err := lock(i+1, wire.LockWrite)
			if n := inside.Add(1); n != 1 {
				err = fmt.Errorf("%d inside", n)
			}
			inside.Add(-1)
			done <- errors.Join(err, lock(i+1, wire.LockNone))
		}()
	}
	for range 20 { // most wait by then
		held, err := h.TestLock(t.Context(), wire.Lock{Owner: 99999, Type: wire.LockRead, End: 9})
		require.NoError(t, err)
		require.EqualValues(t, 0, held.Owner)
	}
	require.NoError(t, lock(0, wire.LockNone))
	for range waiters {
		require.NoError(t, <-done)
	}
	require.NoError(t, h.Close(t.Context()))
}
