package rozofs_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
)

var forms = []form{
	{"0", false},
	{"0", true},
	{"1", false},
	{"1", true},
	{"2", false},
	{"2", true},
	{"2,4,5", false},
	{"2,4,5", true},
	{"8,12,12", false},
	{"8,12,12", true},
}

const block = vocab.DefaultBlockBytes

// modelFile is a file, open on several mounts, and what it must contain.
type modelFile struct {
	t     *testing.T
	rnd   *rand.Rand
	name  string
	files []*rozofs.File
	mount []*mount
	want  []byte
}

// maxModelBytes bounds the file; blocks, runs and their edges all occur below it.
const maxModelBytes = 5 << 19

func (f *modelFile) any() *rozofs.File { return f.files[f.rnd.IntN(len(f.files))] }

// length is mostly short, sometimes several runs, often of whole blocks.
func (f *modelFile) length() int {
	n := 1 + f.rnd.IntN(1<<(4+f.rnd.IntN(18)))
	if f.rnd.IntN(3) == 0 {
		n = max(block, n/block*block)
	}
	return n
}

func (f *modelFile) offset(below int) int {
	off := f.rnd.IntN(below + 1)
	if f.rnd.IntN(3) == 0 {
		off = off / block * block
	}
	return off
}

func (f *modelFile) write() string {
	off := f.offset(maxModelBytes - 1)
	n := min(f.length(), maxModelBytes-off)
	p := random(f.rnd.Uint64(), n)
	k, err := f.any().WriteAt(p, int64(off))
	require.NoError(f.t, err)
	require.Equal(f.t, n, k)
	f.resize(max(len(f.want), off+n))
	copy(f.want[off:], p)
	return fmt.Sprintf("write %d at %d", n, off)
}

func (f *modelFile) resize(n int) {
	if n <= len(f.want) {
		f.want = f.want[:n]
		return
	}
	f.want = append(f.want, make([]byte, n-len(f.want))...)
}

func (f *modelFile) truncate() string {
	n := f.offset(min(maxModelBytes, len(f.want)+len(f.want)/2+10))
	require.NoError(f.t, f.any().Truncate(int64(n)))
	clear(f.want[min(n, len(f.want)):])
	f.resize(n)
	return fmt.Sprintf("truncate to %d", n)
}

func (f *modelFile) append() string {
	p := random(f.rnd.Uint64(), min(f.length(), maxModelBytes-len(f.want)))
	a := f.mount[f.rnd.IntN(len(f.mount))].open(f.name, os.O_WRONLY|os.O_APPEND)
	_, err := a.Write(p)
	require.NoError(f.t, err)
	require.NoError(f.t, a.Close())
	f.want = append(f.want, p...)
	return fmt.Sprintf("append %d", len(p))
}

// change is a range and what the file is with it zeroed, longer if grown.
func (f *modelFile) change(grown bool) (off, n int) {
	off = f.offset(min(maxModelBytes, len(f.want)+len(f.want)/2+10) - 1)
	n = min(f.length(), maxModelBytes-off)
	if grown {
		f.resize(max(len(f.want), off+n))
	}
	clear(f.want[min(off, len(f.want)):min(off+n, len(f.want))])
	return off, n
}

func (f *modelFile) writeZeros() string {
	off, n := f.change(true)
	_, err := f.any().WriteAt(make([]byte, n), int64(off))
	require.NoError(f.t, err)
	return fmt.Sprintf("write %d zeros at %d", n, off)
}

func (f *modelFile) punch() string {
	off, n := f.change(false)
	require.NoError(f.t, f.any().Handle().Punch(f.t.Context(), int64(off), int64(n)))
	return fmt.Sprintf("punch %d at %d", n, off)
}

func (f *modelFile) zero() string {
	keep := f.rnd.IntN(2) == 0
	off, n := f.change(!keep)
	require.NoError(f.t, f.any().Handle().Zero(f.t.Context(), int64(off), int64(n), keep))
	return fmt.Sprintf("zero %d at %d, keep size: %v", n, off, keep)
}

func (f *modelFile) allocate() string {
	off := f.offset(min(maxModelBytes, len(f.want)+10) - 1)
	n := min(f.length(), maxModelBytes-off)
	require.NoError(f.t, f.any().Handle().Allocate(f.t.Context(), int64(off), int64(n)))
	f.resize(max(len(f.want), off+n))
	return fmt.Sprintf("allocate %d at %d", n, off)
}

// seek checks that what is told to be a hole is zeros, and that neither kind ends before
// it begins.
func (f *modelFile) seek() string {
	off := f.offset(len(f.want) + 10)
	h := f.any().Handle()
	at, found, err := h.SeekData(f.t.Context(), int64(off))
	require.NoError(f.t, err)
	if !found {
		at = int64(max(off, len(f.want)))
	}
	require.GreaterOrEqual(f.t, at, int64(off))
	requireZeros(f.t, f.want[min(off, len(f.want)):min(int(at), len(f.want))])
	hole, found, err := h.SeekHole(f.t.Context(), int64(off))
	require.NoError(f.t, err)
	require.Equal(f.t, off < len(f.want), found)
	if found {
		require.GreaterOrEqual(f.t, hole, int64(off))
		require.LessOrEqual(f.t, hole, int64(len(f.want)))
		requireZeros(f.t, f.want[hole:min(int(hole)/block*block+block, len(f.want))])
	}
	return fmt.Sprintf("seek from %d", off)
}

func requireZeros(t *testing.T, p []byte) {
	t.Helper()
	requireBytes(t, make([]byte, len(p)), p)
}

func (f *modelFile) sync() string {
	require.NoError(f.t, f.any().Sync())
	return "sync"
}

func (f *modelFile) read() string {
	off := f.offset(len(f.want) + 10)
	p := make([]byte, f.length())
	n, err := f.any().ReadAt(p, int64(off))
	want := f.want[min(off, len(f.want)):min(off+len(p), len(f.want))]
	if len(want) < len(p) {
		require.Equal(f.t, io.EOF, err)
	} else {
		require.NoError(f.t, err)
	}
	requireBytes(f.t, want, p[:n])
	return fmt.Sprintf("read %d at %d", len(p), off)
}

// step does something, and then says what it was.
func (f *modelFile) step() string {
	switch f.rnd.IntN(26) {
	case 0:
		return f.truncate()
	case 1:
		return f.append()
	case 2:
		return f.sync()
	case 3, 4, 5, 6, 7, 8:
		return f.write()
	case 9, 10, 11:
		return f.writeZeros()
	case 12, 13:
		return f.punch()
	case 14:
		return f.zero()
	case 15:
		return f.allocate()
	case 16, 17:
		return f.seek()
	default:
		return f.read()
	}
}

func (f *modelFile) check() {
	f.t.Helper()
	for i, file := range f.files {
		info, err := file.Stat()
		require.NoError(f.t, err)
		require.Equal(f.t, int64(len(f.want)), info.Size(), "size seen by mount %d", i)
		p := make([]byte, len(f.want)+1)
		n, err := file.ReadAt(p, 0)
		require.Equal(f.t, io.EOF, err)
		requireBytes(f.t, f.want, p[:n])
	}
}

// newModelFile opens a new file on all mounts.
func newModelFile(t *testing.T, seed uint64, name string, mounts ...*mount) *modelFile {
	f := &modelFile{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), name: name, mount: mounts}
	for _, m := range mounts {
		f.files = append(f.files, m.open(name, os.O_RDWR|os.O_CREATE))
	}
	return f
}

func (f *modelFile) close() {
	for _, file := range f.files {
		require.NoError(f.t, file.Close())
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for i, form := range forms {
		t.Run(form.String(), func(t *testing.T) {
			seed := uint64(i + 1)
			c := startCluster(t, form)
			m := c.mount(t)
			var story []string
			defer func() {
				if t.Failed() {
					t.Logf("seed %d: %q", seed, story)
				}
			}()
			f := newModelFile(t, seed, "f", m)
			for range 120 {
				story = append(story, f.step())
			}
			f.check()
			f.close()
			m.close()
			c.mount(t).holds("f", f.want)
		})
	}
}

func TestTwoMountsSeeWhatEachOtherWrites(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	a, b := c.mount(t), c.mount(t)
	var story []string
	defer func() {
		if t.Failed() {
			t.Logf("%q", story)
		}
	}()
	f := newModelFile(t, 42, "shared", a, b)
	for range 150 {
		story = append(story, f.step())
	}
	f.check()
	f.close()
	a.holds("shared", f.want)
	b.holds("shared", f.want)
}

func TestAHoleReadsAsZerosAndCostsNothing(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	m := c.mount(t)
	const size = 1 << 40
	f, err := m.Create(t.Context(), "sparse")
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("begin"), 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("end"), size-3)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	for off, want := range map[int64]string{0: "begin\x00", size / 2: "\x00\x00\x00", size - 5: "\x00\x00end"} {
		p := make([]byte, len(want))
		_, err = f.ReadAt(p, off)
		require.NoError(t, err)
		require.Equal(t, want, string(p))
	}
	require.NoError(t, f.Truncate(10))
	require.NoError(t, f.Truncate(size))
	p := make([]byte, 5)
	_, err = f.ReadAt(p, size-5)
	require.NoError(t, err)
	require.Equal(t, make([]byte, 5), p, "what was cut off stays away")
	require.NoError(t, f.Close())
}

func TestAppendsOfSeveralMountsDoNotOverwriteEachOther(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	const writers, records, bytes = 3, 30, 1000
	var all sync.WaitGroup
	for w := range writers {
		m := c.mount(t)
		f := m.open("log", os.O_WRONLY|os.O_APPEND|os.O_CREATE)
		all.Go(func() {
			p := make([]byte, bytes)
			for i := range p {
				p[i] = byte(w)
			}
			for range records {
				if _, err := f.Write(p); err != nil {
					t.Error(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	data, err := c.mount(t).ReadFile(t.Context(), "log")
	require.NoError(t, err)
	require.Equal(t, writers*records*bytes, len(data))
	var count [writers]int
	for i := 0; i < len(data); i += bytes {
		for j := range bytes {
			require.Equal(t, data[i], data[i+j], "record %d is whole", i/bytes)
		}
		count[data[i]]++
	}
	require.Equal(t, [writers]int{records, records, records}, count)
}

func TestAReaderHasTheLastContentAtOnce(t *testing.T) {
	c := startCluster(t, form{layout: "0"})
	a, b := c.mount(t), c.mount(t)
	for i := range 20 {
		data := random(uint64(i), 1+i*7919)
		a.write("f", data)
		b.holds("f", data)
		info, err := b.Stat(t.Context(), "f")
		require.NoError(t, err)
		require.Equal(t, int64(len(data)), info.Size())
		require.NoError(t, b.Rename(t.Context(), "f", "g"))
		a.holds("g", data)
		require.NoError(t, a.Remove(t.Context(), "g"))
		_, err = b.Stat(t.Context(), "g")
		require.ErrorIs(t, err, os.ErrNotExist)
	}
}

// O_TRUNC is a change, of an empty file too.
func TestTruncationByOpenChangesTheTimes(t *testing.T) {
	m := startCluster(t, form{layout: "0"}).mount(t)
	times := func() (attr vocab.Attr) {
		info, err := m.Stat(t.Context(), "f")
		require.NoError(t, err)
		return info.Sys().(vocab.Attr)
	}
	m.write("f", nil)
	before := times()
	require.NoError(t, m.open("f", os.O_WRONLY|os.O_TRUNC).Close())
	require.Greater(t, times().Mtime, before.Mtime)
	require.Greater(t, times().Ctime, before.Ctime)
}
