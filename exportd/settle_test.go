package exportd

import (
	"bytes"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// lines is what was logged.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.text.Bytes(), []byte(text))
}

// A file that cannot be settled is tried again, without a new warning each time; and not at
// all while too few of its storages are up.
func TestAFileThatCannotBeSettledMakesNoNoise(t *testing.T) {
	log := &lines{}
	w := newWorld(t, func(c *Config) { c.LeaseTerm, c.Log = 2*time.Second, slog.New(slog.NewTextHandler(log, nil)) })
	for _, f := range w.fakes {
		f.unsettling.Store(true)
	}
	a := w.client("one")
	f, err := a.create(a.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	w.clock.Store(int64(time.Hour))
	asked := func() (n int) {
		for _, f := range w.fakes {
			f.mu.Lock()
			n += len(f.settle)
			f.mu.Unlock()
		}
		return n
	}
	eventually(t, func() bool { return asked() >= 5 }, "it is tried again and again")
	require.Equal(t, 1, log.count("has to wait"))

	for _, f := range w.fakes[:2] {
		f.stop()
		eventually(t, func() bool { return w.health(f) == wire.HealthDown }, "down")
	}
	files, err := w.srv.listed(w.srv.recovery, failures{}, w.srv.enoughUp)
	require.NoError(t, err)
	require.Empty(t, files)
	w.srv.mu.RLock()
	defer w.srv.mu.RUnlock()
	require.Contains(t, w.srv.recovery, f.Attr.Ino)
}

func TestWhatFailsIsPutOffForLongerEachTime(t *testing.T) {
	all, pause := failures{}, time.Duration(0)
	for i := range 12 {
		require.Equal(t, i == 0, all.add(1, errors.New("down"), 20*time.Millisecond))
		require.GreaterOrEqual(t, all[1].pause, min(2*pause, failurePause))
		require.WithinRange(t, all[1].until, time.Now(), time.Now().Add(failurePause))
		pause = all[1].pause
	}
	require.Equal(t, failurePause, pause)
	require.True(t, all.add(1, errors.New("full"), 20*time.Millisecond))
	require.True(t, all.add(2, errors.New("full"), 20*time.Millisecond))
	require.NotContains(t, all, vocab.Ino(3))
}
