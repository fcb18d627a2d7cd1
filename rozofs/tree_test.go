package rozofs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func TestErrorsOfPathsMatchThoseOfPackageOS(t *testing.T) {
	standard := []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, errors.ErrUnsupported, fs.ErrInvalid, fs.ErrClosed}
	want := map[vocab.Kind]error{
		vocab.NotFound: fs.ErrNotExist, vocab.Exists: fs.ErrExist, vocab.NotEmpty: fs.ErrExist,
		vocab.AccessDenied: fs.ErrPermission, vocab.NotPermitted: fs.ErrPermission, vocab.NotSupported: errors.ErrUnsupported,
	}
	for _, k := range vocab.Kinds() {
		err := pathError("open", "a/b", vocab.Errorf(k, "because"))
		require.ErrorIs(t, err, k)
		require.EqualError(t, err, "open a/b: "+k.Error()+": because")
		for _, s := range standard {
			require.Equal(t, want[k] == s, errors.Is(err, s), "%v is %v", k, s)
		}
	}
	require.ErrorIs(t, pathError("read", "a", context.Canceled), context.Canceled)
	require.ErrorIs(t, pathError("read", "a", fs.ErrClosed), fs.ErrClosed)
	require.NoError(t, pathError("open", "a", nil))
	require.Equal(t, io.EOF, pathError("read", "a", io.EOF))
	inner := pathError("link", "new", vocab.Exists)
	require.Equal(t, inner, pathError("link", "old", inner), "the path to blame stays")
}

func TestModesAreTranslatedBothWays(t *testing.T) {
	for mode, want := range map[uint32]fs.FileMode{
		vocab.ModeRegular | 0o644:                                       0o644,
		vocab.ModeDir | vocab.ModeSticky | 0o777:                        fs.ModeDir | fs.ModeSticky | 0o777,
		vocab.ModeRegular | vocab.ModeSetUID | vocab.ModeSetGID | 0o755: fs.ModeSetuid | fs.ModeSetgid | 0o755,
		vocab.ModeSymlink | 0o777:                                       fs.ModeSymlink | 0o777,
		vocab.ModeFIFO:                                                  fs.ModeNamedPipe,
		vocab.ModeSocket | 0o600:                                        fs.ModeSocket | 0o600,
		vocab.ModeChar | 0o600:                                          fs.ModeDevice | fs.ModeCharDevice | 0o600,
		vocab.ModeBlock | 0o660:                                         fs.ModeDevice | 0o660,
	} {
		require.Equal(t, want, fileMode(mode), "%#o", mode)
		require.Equal(t, mode&vocab.ModePerm, modeBits(want), "%v", want)
	}
}

func TestFileInfoTellsTheAttributes(t *testing.T) {
	a := vocab.Attr{Ino: 7, Mode: vocab.ModeDir | 0o750, Size: 4096, Mtime: 1_500_000_000_123_456_789}
	i := fileInfo{"d", a}
	require.Equal(t, "d", i.Name())
	require.True(t, i.IsDir())
	require.Equal(t, int64(4096), i.Size())
	require.True(t, i.ModTime().Equal(time.Unix(1_500_000_000, 123_456_789)))
	require.Equal(t, a, i.Sys())
}

func TestAPathIsTakenApart(t *testing.T) {
	type step struct {
		name        string
		last, slash bool
	}
	for path, want := range map[string][]step{
		"a":         {{"a", true, false}},
		"/a":        {{"a", true, false}},
		"a/":        {{"a", true, true}},
		"//a//b///": {{"a", false, true}, {"b", true, true}},
		"a/../b":    {{"a", false, true}, {"..", false, true}, {"b", true, false}},
		"/":         {{"", true, false}},
		"///":       {{"", true, false}},
	} {
		w := &walk{rest: path, own: len(path)}
		var got []step
		for len(got) == 0 || !got[len(got)-1].last {
			var s step
			s.name, s.last, s.slash = w.next()
			got = append(got, s)
		}
		require.Equal(t, want, got, "%q", path)
	}
}

func TestTrailingSlashesAreTrimmed(t *testing.T) {
	for name, want := range map[string]string{"": "", "/": "/", "//": "/", "a": "a", "a/b//": "a/b", "/a/": "/a"} {
		require.Equal(t, want, trimSlashes(name), "%q", name)
	}
}
