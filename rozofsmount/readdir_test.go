package rozofsmount

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// listing reads a directory with getdents64, as readdir(3) does.
type listing struct {
	t    *testing.T
	fd   int
	buf  []byte
	rest []byte
}

type listed struct {
	name string
	off  int64 // of telldir after it
	kind byte
	ino  uint64
}

func list(t *testing.T, dir string, bufBytes int) *listing {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return &listing{t: t, fd: fd, buf: make([]byte, bufBytes)}
}

func (l *listing) next() (e listed, ok bool) {
	l.t.Helper()
	if len(l.rest) == 0 {
		n, err := unix.Getdents(l.fd, l.buf)
		require.NoError(l.t, err)
		if n == 0 {
			return e, false
		}
		l.rest = l.buf[:n]
	}
	d := l.rest
	e.ino, e.off, e.kind = le64(d), int64(le64(d[8:])), d[18]
	size := int(d[16]) | int(d[17])<<8
	e.name = unix.ByteSliceToString(d[19:size])
	l.rest = d[size:]
	return e, true
}

func le64(b []byte) (n uint64) {
	for i := range 8 {
		n |= uint64(b[i]) << (8 * i)
	}
	return n
}

func (l *listing) all() (entries []listed) {
	for {
		e, ok := l.next()
		if !ok {
			return entries
		}
		entries = append(entries, e)
	}
}

func (l *listing) seek(off int64) {
	l.t.Helper()
	_, err := unix.Seek(l.fd, off, unix.SEEK_SET)
	require.NoError(l.t, err)
	l.rest = nil
}

func fill(s *stage, n int) {
	for i := range n {
		s.mem.put(fmt.Sprintf("file-%05d", i), "")
	}
}

func TestListingATenThousandEntries(t *testing.T) {
	const n = 10_000
	s := mountMem(t, nil)
	fill(s, n)
	l := list(t, s.dir, 4096)
	entries := l.all()
	require.Len(t, entries, n+2)
	require.Equal(t, listed{".", offsetDot, unix.DT_DIR, uint64(memRoot)}, entries[0])
	require.Equal(t, listed{"..", offsetDotDot, unix.DT_DIR, uint64(memRoot)}, entries[1])
	for i, e := range entries[2:] {
		require.Equal(t, fmt.Sprintf("file-%05d", i), e.name)
		require.EqualValues(t, unix.DT_REG, e.kind)
	}
	_, pages, _ := s.mem.counts()
	require.LessOrEqual(t, pages, n/pageEntries+2, "a page is fetched once, not for each getdents")

	for _, i := range []int{9999, 5000, 0, 1, 2, 3, 10_000, 7777} { // seekdir
		l.seek(entries[i].off)
		e, ok := l.next()
		require.True(t, ok)
		require.Equal(t, entries[i+1].name, e.name)
	}
	l.seek(entries[n+1].off)
	_, ok := l.next()
	require.False(t, ok)
}

func TestListingWhileOthersDelete(t *testing.T) {
	const n = 10_000
	s := mountMem(t, nil)
	fill(s, n)
	l := list(t, s.dir, 4096)
	seen := map[string]int{}
	for i := 0; ; i++ {
		e, ok := l.next()
		if !ok {
			break
		}
		seen[e.name]++
		if i%100 == 50 { // one behind, one ahead
			for _, at := range []int{i - 20, min(i+3000, n-1)} {
				s.mem.Unlink(t.Context(), Caller{}, memRoot, fmt.Sprintf("file-%05d", at))
			}
		}
	}
	left, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Less(t, len(left), n)
	for _, e := range left {
		require.Equal(t, 1, seen[e.Name()], "an entry that was there all the while is listed once: %s", e.Name())
	}
	for name, times := range seen {
		require.Equal(t, 1, times, name)
	}
}

func TestRemovingWhileListing(t *testing.T) {
	s := mountMem(t, nil)
	fill(s, 1100)
	require.NoError(t, os.Mkdir(s.path("d"), 0o755))
	require.NoError(t, os.WriteFile(s.path("d", "f"), nil, 0o644))
	list, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, list, 1101)
	for _, e := range list {
		require.NoError(t, os.RemoveAll(s.path(e.Name())))
	}
	list, err = os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestRewindShowsWhatChanged(t *testing.T) {
	s := mountMem(t, nil)
	s.mem.put("a", "")
	l := list(t, s.dir, 4096)
	require.Len(t, l.all(), 3)
	s.mem.put("b", "")
	l.seek(0)
	require.Len(t, l.all(), 4)
}

func TestListingWithAttributes(t *testing.T) {
	s := mountMem(t, func(o *Options) { o.AttrTimeout, o.EntryTimeout = time.Hour, time.Hour })
	s.mem.put("big", "12345") // early: the kernel asks for attributes at the start, then if they are used
	fill(s, 3000)
	require.Len(t, list(t, s.dir, 32<<10).all(), 3003)
	s.mem.on("lookup:big", failWith(vocab.Errorf(vocab.Internal, "the kernel should know it by the listing")))
	require.EqualValues(t, 5, stat(t, s.path("big")).Size)
}

func TestSubdirectoriesKnowTheirParent(t *testing.T) {
	s := mountMem(t, nil)
	require.NoError(t, os.MkdirAll(s.path("d", "e"), 0o755))
	entries := list(t, s.path("d", "e"), 4096).all()
	require.Equal(t, stat(t, s.path("d", "e")).Ino, entries[0].ino)
	require.Equal(t, stat(t, s.path("d")).Ino, entries[1].ino)
}

func TestOffsetsSurviveTinyBuffers(t *testing.T) {
	s := mountMem(t, nil)
	fill(s, 50)
	got := list(t, s.dir, 64).all() // one or two entries at a time
	require.Len(t, got, 52)
	for i, e := range got[2:] {
		n, err := strconv.Atoi(e.name[len("file-"):])
		require.NoError(t, err)
		require.Equal(t, i, n)
	}
}
