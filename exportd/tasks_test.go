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
