package exportd

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// The walk of a rebuild whose root was replaced comes to its end late: it changes neither
// what is stored of the new one, nor the new root.
func TestALateWalkDoesNotTouchTheRebuildThatHasReplacedIt(t *testing.T) {
	w := newWorld(t)
	f := w.fakes[0]
	eventually(t, func() bool { return w.health(f) == wire.HealthUp }, "known")
	id := taskID{wire.TaskRebuild, place{1, f.roots[0].ID}}
	begin := func(incarnation vocab.Incarnation, ino vocab.Ino) *task {
		task := &task{id: id, incarnation: incarnation}
		task.rec.Kind, task.rec.VID, task.rec.ID, task.rec.State = id.kind, id.place.vid, id.place.id, wire.TaskRunning
		task.rec.ino = ino
		return task
	}
	old, now := begin(5, 77), begin(f.roots[0].Incarnation, 1)
	require.NoError(t, w.srv.saveTask(now))
	require.NoError(t, w.srv.saveTask(old)) // late
	require.ErrorIs(t, w.srv.endTask(t.Context(), old), vocab.WrongIncarnation)
	require.Same(t, now, w.srv.running(id))
	var stored []taskRecord
	require.NoError(t, each(w.srv, prefixTask, storageKeyBytes+1, func(_ []byte, r taskRecord) error {
		if r.Kind == id.kind {
			stored = append(stored, r)
		}
		return nil
	}))
	require.Equal(t, []taskRecord{now.rec}, stored)
}

// The last request for a long file decides whether it is whole: it is told what those before
// it have met.
func TestARequestToRepairIsToldWhatThoseBeforeItSaid(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	o, err := c.create(c.root(), "f", wire.LeaseNone)
	require.NoError(t, err)
	f := &someFile{exp: w.srv.exports[1], ino: o.Attr.Ino, placement: o.Placement, size: 1 << 30}
	got, err := w.srv.repair(f, 1<<40, repairOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 3, got.Lost)
	require.EqualValues(t, 1<<2, got.Missing)
	var all []wire.RepairRequest
	for _, f := range w.fakes {
		f.mu.Lock()
		all = append(all, f.repairs...)
		f.mu.Unlock()
	}
	require.Len(t, all, 2)
	require.EqualValues(t, 1024, all[1].From)
	require.EqualValues(t, 3, all[1].SoFar.Lost)
	require.EqualValues(t, 1<<2, all[1].SoFar.Missing)
}
