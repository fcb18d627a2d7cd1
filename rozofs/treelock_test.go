package rozofs_test

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
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
