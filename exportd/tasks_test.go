package exportd

import (
	"slices"
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

// A storage answered that its root is partial, the rebuild took the mark away, and the answer
// is read: it does not begin another rebuild, which would mark the root anew.
func TestAnAnswerFromBeforeTheMarkWentCountsForNothing(t *testing.T) {
	w := newWorld(t)
	f := w.fakes[0]
	eventually(t, func() bool { return w.health(f) == wire.HealthUp }, "known")
	id := taskID{wire.TaskRebuild, place{1, f.roots[0].ID}}
	sto := w.srv.storages[id.place]
	f.mu.Lock()
	was := f.roots[0]
	f.mu.Unlock()
	was.Health = wire.HealthPartial
	w.srv.storagesMu.Lock()
	marks := w.srv.marks
	w.srv.storagesMu.Unlock()
	lacks := func() bool { return slices.Contains(w.srv.lackingStorages(), sto) }
	eventually(t, func() bool { w.srv.judge(sto, &was, nil, marks); return lacks() }, "believed")
	task := &task{id: id, incarnation: was.Incarnation}
	task.rec.Kind, task.rec.VID, task.rec.ID, task.rec.State = id.kind, id.place.vid, id.place.id, wire.TaskRunning
	require.NoError(t, w.srv.endTask(t.Context(), task))
	w.srv.judge(sto, &was, nil, marks)
	require.False(t, lacks())
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
