package rozofsmount

import (
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func TestFilesAreKnownToBeBareForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bareFiles{term: bareTerm}
		bare, rich := vocab.Attr{Ino: 5}, vocab.Attr{Ino: 5, Mode: vocab.ModeXattr}
		require.False(t, b.has(5))
		b.told(&bare, b.asking())
		require.True(t, b.has(5))
		require.False(t, b.has(6))
		time.Sleep(bareTerm)
		require.True(t, b.has(5))
		time.Sleep(bareTerm)
		require.False(t, b.has(5), "it was long ago")

		b.told(&bare, b.asking())
		time.Sleep(2 * bareTerm)
		require.False(t, b.has(5), "nobody asked in between")

		b.told(&bare, b.asking())
		b.told(&rich, b.asking())
		require.False(t, b.has(5))

		asked := b.asking()
		b.told(&bare, asked)
		b.changed(5)
		require.False(t, b.has(5))
		b.told(&bare, asked)
		require.False(t, b.has(5), "the answer may be from before the change")

		for i := range maxBare + 1 {
			b.told(&vocab.Attr{Ino: vocab.Ino(10 + i)}, b.asking())
		}
		require.Len(t, b.young, maxBare)
	})
}

// The kernel asks for the ACL of each directory that is not the caller's. It is not passed on.
func TestAPathOfOthersCostsNoQuestionForACLs(t *testing.T) {
	s := mountMem(t, nil)
	s.face.bare.mu.Lock()
	s.face.bare.term = time.Hour
	s.face.bare.mu.Unlock()
	require.NoError(t, unix.Chmod(filepath.Dir(s.dir), 0o755)) // for the others
	require.NoError(t, unix.Mkdir(s.path("d"), 0o755))
	write(t, s.path("d/f"), "content")
	asked := func() (n int) {
		before := s.mem.xattrsAsked()
		require.NoError(t, asNobody(func() error { return unix.Access(s.path("d/f"), unix.R_OK) }))
		return s.mem.xattrsAsked() - before
	}
	require.Zero(t, asked())
	require.NoError(t, unix.Setxattr(s.path("d"), "user.x", nil, 0))
	require.NotZero(t, asked(), "there may be one now")
	require.NoError(t, unix.Setxattr(s.path("d/f"), "user.x", nil, 0))
	require.ErrorIs(t, unix.Removexattr(s.path("d/f"), "user.y"), syscall.ENODATA)
	_, err := unix.Getxattr(s.path("d/f"), "user.x", nil)
	require.NoError(t, err)
}
