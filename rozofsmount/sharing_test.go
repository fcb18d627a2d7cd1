package rozofsmount

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// What other machines do, which here is done to memFS directly.

func failWith(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

func TestChangesOfOtherMachinesShowAtOnce(t *testing.T) {
	s := mountMem(t, nil)
	_, err := os.Stat(s.path("f"))
	require.ErrorIs(t, err, syscall.ENOENT)
	s.mem.put("f", "one")
	require.Equal(t, "one", read(t, s.path("f")))
	s.mem.put("f", "other")
	require.EqualValues(t, 5, stat(t, s.path("f")).Size)
	require.Equal(t, "other", read(t, s.path("f")))
	require.NoError(t, s.mem.Unlink(t.Context(), Caller{}, memRoot, "f"))
	_, err = os.Stat(s.path("f"))
	require.ErrorIs(t, err, syscall.ENOENT)
}

func TestAppendGoesToTheTrueEnd(t *testing.T) {
	s := mountMem(t, nil)
	file, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	require.NoError(t, err)
	defer file.Close()
	for _, line := range []string{"1 here\n", "2 here\n"} {
		_, err = file.WriteString(line)
		require.NoError(t, err)
		s.mem.put("log", s.mem.content("log")+"elsewhere\n")
	}
	const want = "1 here\nelsewhere\n2 here\nelsewhere\n"
	require.Equal(t, want, s.mem.content("log"))
	require.Equal(t, want, read(t, s.path("log")))
}

func TestProcessesAppendTogether(t *testing.T) {
	s := mountMem(t, nil)
	const writers, lines = 4, 200
	done := make(chan error, writers)
	for range writers {
		go func() {
			file, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
			for i := 0; i < lines && err == nil; i++ {
				_, err = file.WriteString("0123456789\n")
			}
			done <- errors.Join(err, file.Close())
		}()
	}
	for range writers {
		require.NoError(t, <-done)
	}
	require.Len(t, read(t, s.path("log")), writers*lines*11)
}

func TestAFileMadeElsewhereMeanwhileIsOpenedWithAllChecks(t *testing.T) {
	s := mountMem(t, nil)
	var raced atomic.Bool
	s.mem.on("create:f", func(context.Context) error {
		if !raced.Swap(true) {
			s.mem.put("f", "of another machine")
		}
		return nil
	})
	fd, err := os.OpenFile(s.path("f"), os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(t, err)
	defer fd.Close()
	require.True(t, raced.Load())
	require.Equal(t, "of another machine", read(t, s.path("f")))

	raced.Store(false)
	require.NoError(t, s.mem.Unlink(t.Context(), Caller{}, memRoot, "f"))
	_, err = os.OpenFile(s.path("f"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	require.ErrorIs(t, err, syscall.EEXIST)
}

func TestAFileReplacedElsewhereMeanwhileIsFound(t *testing.T) {
	s := mountMem(t, nil)
	s.mem.put("f", "old")
	var raced atomic.Bool
	s.mem.on("open:f", func(context.Context) error {
		if raced.Swap(true) {
			return nil
		}
		if err := s.mem.Unlink(t.Context(), Caller{}, memRoot, "f"); err != nil {
			return err
		}
		s.mem.put("f", "new")
		return nil
	})
	require.Equal(t, "new", read(t, s.path("f")))
	require.True(t, raced.Load())
}

func TestLostLeasesDropPages(t *testing.T) {
	var lost func(vocab.Ino)
	mem := newMemFS()
	s := mountMem(t, func(o *Options) {
		o.Connect = func(_ context.Context, _ *Options, invalidate func(vocab.Ino)) (FileSystem, error) {
			lost = invalidate
			return mem, nil
		}
	})
	s.mem = mem
	mem.keep = true
	mem.put("f", "one")
	file, err := os.Open(s.path("f"))
	require.NoError(t, err)
	defer file.Close()
	reads := atomic.Int64{}
	mem.on("read:f", func(context.Context) error { reads.Add(1); return nil })
	require.Equal(t, "one", read(t, s.path("f")))
	before := reads.Load()
	require.Equal(t, "one", read(t, s.path("f")))
	require.Equal(t, before, reads.Load(), "the pages are kept")

	lost(vocab.Ino(stat(t, s.path("f")).Ino))
	require.Eventually(t, func() bool { return read(t, s.path("f")) == "one" && reads.Load() > before }, awaitBound, awaitTick)
	lost(99999) // unknown to the kernel
}

func TestThePagesOfAFullQueueAreLeftOut(t *testing.T) {
	log := &logBuffer{}
	v := newInvalidator(testLogger(log))
	for i := range maxInvalidations + 5 {
		v.add(vocab.Ino(i))
	}
	require.EqualValues(t, 5, v.missed.Load())
	require.Contains(t, log.String(), "too many leases lost at once")
	v.stop()
}
