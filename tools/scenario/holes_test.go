package scenario

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Zeros take no room, whatever program writes them, and free what lay there before.
func TestZerosTakeNoRoom(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	empty := usedOnStorages(t, c)
	size := scaled(200, 1000) * mib
	run(t, c.base, "dd", "if=/dev/zero", "of="+c.path("zeros"), "bs=1M", fmt.Sprint("count=", size/mib), "conv=fsync", "status=none")
	require.Less(t, usedOnStorages(t, c), empty+mib, "after dd")

	// An image that is mostly holes, copied by a program that knows none.
	image := filepath.Join(c.base, "image")
	f, err := os.Create(image)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(int64(size)))
	for i := range 10 {
		writeAt(t, f, bytesOf(s+uint64(i), mib/8), int64(i*size/10)+12345)
	}
	require.NoError(t, f.Close())
	run(t, c.base, "cp", "--sparse=never", image, c.path("image"))
	run(t, c.base, "sync", c.path("image"))
	require.Less(t, usedOnStorages(t, c), empty+8*mib, "after cp")
	run(t, c.base, "cmp", image, c.path("image"))
	c.remount()
	run(t, c.base, "cmp", image, c.path("image"))

	// And back, by one that asks for holes.
	require.Less(t, copyData(t, c.path("image"), image+"2"), int64(2*mib), "bytes that are not in a hole")
	run(t, c.base, "cmp", image, image+"2")

	// What zeros are written over is freed when the journal is folded, which is when
	// half of 256 MiB is to be gained.
	const old = 320 * mib
	require.NoError(t, os.WriteFile(c.path("old"), bytesOf(s, old), 0o644))
	run(t, c.base, "sync", c.path("old"))
	before := usedOnStorages(t, c)
	require.Greater(t, before, empty+old)
	run(t, c.base, "dd", "if=/dev/zero", "of="+c.path("old"), "bs=1M", fmt.Sprint("count=", old/mib), "conv=notrunc,fsync", "status=none")
	require.Eventually(t, func() bool { return usedOnStorages(t, c) < before-old }, await, tick, "no room is given back")
	run(t, c.base, "cmp", "-n", fmt.Sprint(old), "/dev/zero", c.path("old"))
}

// copyData copies what of a file is not in a hole, and tells how much that was.
func copyData(t *testing.T, from, to string) (copied int64) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.Create(to)
	require.NoError(t, err)
	defer out.Close()
	info, err := in.Stat()
	require.NoError(t, err)
	require.NoError(t, out.Truncate(info.Size()))
	for hole := int64(0); ; {
		data, err := unix.Seek(int(in.Fd()), hole, unix.SEEK_DATA)
		if err == syscall.ENXIO {
			return copied
		}
		require.NoError(t, err)
		hole, err = unix.Seek(int(in.Fd()), data, unix.SEEK_HOLE)
		require.NoError(t, err)
		require.Greater(t, hole, data)
		_, err = io.Copy(io.NewOffsetWriter(out, data), io.NewSectionReader(in, data, hole-data))
		require.NoError(t, err)
		copied += hole - data
	}
}

func TestFallocate(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	data := bytesOf(s, mib)
	name := c.path("f")
	require.NoError(t, os.WriteFile(name, data, 0o644))
	holds := func(what string) {
		t.Helper()
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got), what)
	}
	run(t, c.base, "fallocate", "--punch-hole", "--offset", "1000", "--length", "500000", name)
	clear(data[1000:501000])
	holds("punched")
	run(t, c.base, "fallocate", "--zero-range", "--offset", "900000", "--length", "300000", name)
	data = append(data, make([]byte, 1_200_000-len(data))...)
	clear(data[900000:])
	holds("zeroed")
	run(t, c.base, "fallocate", "--zero-range", "--keep-size", "--offset", "1100000", "--length", "300000", name)
	holds("zeroed, the size kept")
	run(t, c.base, "fallocate", "--length", "2000000", name)
	data = append(data, make([]byte, 2_000_000-len(data))...)
	holds("allocated")
	run(t, c.base, "fallocate", "--keep-size", "--length", "9000000", name)
	holds("reserved")
	for _, mode := range []string{"--collapse-range", "--insert-range"} {
		out, err := try(c.base, "fallocate", mode, "--offset", "8192", "--length", "8192", name)
		require.Error(t, err)
		require.Contains(t, out, "not supported")
	}
	run(t, c.base, "fallocate", "--dig-holes", name)
	holds("dug")
	c.remount()
	holds("mounted anew")
}

// twin is a file on the mount and one on the local disk to which the same is done.
type twin struct {
	t      *testing.T
	choice *rand.Rand
	name   [2]string
	files  [2]*os.File
	size   int64
}

const twinBytes = 3 * mib

func (w *twin) open() {
	for i, name := range w.name {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		require.NoError(w.t, err)
		w.files[i] = f
	}
}

func (w *twin) close() {
	for _, f := range w.files {
		require.NoError(w.t, f.Close())
	}
}

func (w *twin) both(do func(f *os.File) error) {
	w.t.Helper()
	for _, f := range w.files {
		require.NoError(w.t, do(f))
	}
	info, err := w.files[1].Stat()
	require.NoError(w.t, err)
	w.size = info.Size()
	requireSize(w.t, w.files[0], w.size)
}

// piece is a range of any length, often of whole blocks.
func (w *twin) piece() (off, n int64) {
	off, n = w.choice.Int64N(twinBytes), 1+w.choice.Int64N(1<<(3+w.choice.IntN(18)))
	if w.choice.IntN(2) == 0 {
		off, n = off&^8191, (n+8191)&^8191
	}
	return off, min(n, twinBytes-off)
}

func (w *twin) step() string {
	off, n := w.piece()
	what := ""
	allocate := func(mode uint32) {
		what = fmt.Sprintf("fallocate mode %d", mode)
		w.both(func(f *os.File) error { return unix.Fallocate(int(f.Fd()), mode, off, n) })
	}
	switch w.choice.IntN(12) {
	case 0, 1, 2:
		what = "write"
		data := bytesOf(w.choice.Uint64(), int(n))
		w.both(func(f *os.File) error { _, err := f.WriteAt(data, off); return err })
	case 3, 4:
		what = "write zeros"
		w.both(func(f *os.File) error { _, err := f.WriteAt(make([]byte, n), off); return err })
	case 5, 6:
		allocate(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE)
	case 7:
		allocate(unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE*uint32(w.choice.IntN(2)))
	case 8:
		allocate(unix.FALLOC_FL_KEEP_SIZE * uint32(w.choice.IntN(2)))
	case 9:
		what = "truncate"
		w.both(func(f *os.File) error { return f.Truncate(off) })
	case 10:
		what = "sync"
		w.both((*os.File).Sync)
	default:
		what = "seek"
		w.seek(off)
	}
	return fmt.Sprintf("%s %d at %d", what, n, off)
}

// seek checks that the mount calls nothing a hole that is not zeros.
func (w *twin) seek(off int64) {
	w.t.Helper()
	fd := int(w.files[0].Fd())
	hole, err := unix.Seek(fd, off, unix.SEEK_HOLE)
	if off >= w.size {
		require.ErrorIs(w.t, err, syscall.ENXIO)
		return
	}
	require.NoError(w.t, err)
	require.True(w.t, off <= hole && hole <= w.size, "a hole at %d from %d on, in %d bytes", hole, off, w.size)
	data, err := unix.Seek(fd, off, unix.SEEK_DATA)
	if err == syscall.ENXIO {
		data, err = w.size, nil
	}
	require.NoError(w.t, err)
	require.True(w.t, off <= data && data <= w.size)
	require.True(w.t, off == hole || off == data, "%d is neither data nor hole", off)
	zeros := func(from, to int64) {
		w.t.Helper()
		got := make([]byte, to-from)
		_, err := w.files[1].ReadAt(got, from)
		require.True(w.t, err == nil || err == io.EOF, err)
		require.True(w.t, bytes.Equal(got, make([]byte, len(got))), "bytes %d to %d are no hole", from, to)
	}
	zeros(off, data)
	zeros(hole, min(w.size, hole&^8191+8192))
}

func (w *twin) same(when string) {
	w.t.Helper()
	var got [2][]byte
	for i, name := range w.name {
		var err error
		got[i], err = os.ReadFile(name)
		require.NoError(w.t, err)
	}
	require.Equal(w.t, len(got[1]), len(got[0]), "size, %s", when)
	for i := range got[1] {
		require.Equal(w.t, got[1][i], got[0][i], "byte %d of %d, %s", i, len(got[1]), when)
	}
}

// What is written, punched, zeroed, allocated and cut at random is what a local file
// system makes of it, also while storages come and go.
func TestHolesAreThoseOfALocalFile(t *testing.T) {
	for _, layout := range []string{"0", "1"} {
		t.Run(layout, func(t *testing.T) {
			s := seed(t)
			c := start(t, options{layout: layout})
			choice := rand.New(generator(s))
			w := &twin{t: t, choice: choice, name: [2]string{c.path("f"), filepath.Join(c.base, "f")}}
			w.open()
			var story []string
			defer func() {
				if t.Failed() {
					t.Logf("%q", story)
				}
			}()
			daemons := c.status().Daemons[1:]
			storages := daemons[:0:0]
			for _, d := range daemons {
				if d.Name != "rozofsmount" {
					storages = append(storages, d)
				}
			}
			for range scaled(4, 100) {
				down := storages[choice.IntN(len(storages))].Name
				for i := range 60 {
					switch i {
					case 20:
						c.kill(down)
						story = append(story, "kill "+down)
					case 40:
						c.start(down)
						story = append(story, "start "+down)
					}
					story = append(story, w.step())
				}
				w.same("as it was written")
				w.close()
				c.remount()
				w.same("mounted anew")
				w.open()
			}
			w.close()
			for _, d := range storages {
				c.kill(d.Name)
				c.remount()
				w.same("without " + d.Name)
				c.start(d.Name)
			}
		})
	}
}
