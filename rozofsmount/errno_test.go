package rozofsmount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func TestEveryKindOfErrorHasAnErrno(t *testing.T) {
	for _, kind := range vocab.Kinds() {
		want, ok := errnoByKind[kind]
		require.True(t, ok, "kind %q is not in the table", kind)
		require.NotZero(t, want)
		require.Equal(t, want, errno(kind))
		require.Equal(t, want, errno(fmt.Errorf("reading: %w", vocab.Errorf(kind, "for a test"))))
	}
	require.Len(t, errnoByKind, len(vocab.Kinds()))
}

func TestErrno(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{vocab.NotFound, syscall.ENOENT},
		{vocab.NotEmpty, syscall.ENOTEMPTY},
		{vocab.OverQuota, syscall.EDQUOT},
		{vocab.Unavailable, syscall.EIO},
		{vocab.Canceled, syscall.EINTR},
		{context.Canceled, syscall.EINTR},
		{fmt.Errorf("asking: %w", context.Canceled), syscall.EINTR},
		{context.DeadlineExceeded, syscall.EIO},
		{errors.New("something else"), syscall.EIO},
		{vocab.Kind(60000), syscall.EIO}, // of a newer exportd
	} {
		require.Equal(t, c.want, errno(c.err), "%v", c.err)
	}
}

func TestEIOLeavesALogLine(t *testing.T) {
	log := &logBuffer{}
	f := newFace(newMemFS(), slog.New(slog.NewTextHandler(log, nil)), 0, 0)
	defer f.close()
	require.EqualValues(t, syscall.ENOENT, f.fail("lookup", 3, vocab.NotFound))
	require.Empty(t, log.String())
	require.EqualValues(t, syscall.EIO, f.fail("read", 42, vocab.Errorf(vocab.Unavailable, "storage 1/2 does not answer")))
	require.Contains(t, log.String(), `op=read ino=42 err="unavailable: storage 1/2 does not answer"`)
	require.EqualValues(t, syscall.ESTALE, f.failInode("open", 3, vocab.NotFound))
}
