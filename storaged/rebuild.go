package storaged

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/rozofs-go/rozo/rozofs/block"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	repairAtOnce = 32       // files repaired at once
	repairBytes  = 32 << 20 // of slots read and rebuilt in memory, of all of them; a larger job waits for all of it
	repairJob    = 1 << 20  // bytes of slots that one home gets with one request
	repairAhead  = 4        // jobs of a file read and decoded ahead of the one that is written
)

// job is consecutive blocks for which the same is to be done.
type job struct {
	first   uint64
	what    []vocab.Version // the version of each
	lacking []int           // homes that get their projection
	sources []int           // positions that have enough
}

// addJob joins jobs that are alike.
func (w *repairer) addJob(all []job, n job) []job {
	if len(n.lacking) == 0 {
		return all
	}
	if k := len(all) - 1; k >= 0 {
		last := &all[k]
		if last.first+uint64(len(last.what)) == n.first && (len(last.what)+1)*w.widest() <= repairJob &&
			slices.Equal(last.lacking, n.lacking) && slices.Equal(last.sources, n.sources) {
			last.what = append(last.what, n.what...)
			return all
		}
	}
	return append(all, n)
}

// widest is the largest stride of slots.
func (w *repairer) widest() int { return wire.SlotHeaderBytes + w.coder.RoomAt(len(w.peers)) }

// do rebuilds what the homes lack. Jobs are read and decoded side by side and written one
// after the other: a storage puts in place only what lies behind all that is there. With the
// last of the file's last window it is made durable.
func (w *repairer) do(ctx context.Context, jobs []job, last bool) error {
	outer := ctx
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(repairAhead)
	turn := make(chan struct{})
	close(turn)
	for i := range jobs {
		j, mine, next := &jobs[i], turn, make(chan struct{})
		turn = next
		n := min(int64(len(j.what)*(len(j.sources)+len(j.lacking))*w.widest()), repairBytes)
		if w.s.building.Acquire(ctx, n) != nil { // in order: who has its share waits for none that has not
			break
		}
		g.Go(func() error {
			defer w.s.building.Release(n)
			runs, err := w.rebuildJob(ctx, j)
			if err != nil {
				return err
			}
			defer release(runs)
			select {
			case <-mine:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := w.write(ctx, j, runs, last && i == len(jobs)-1); err != nil {
				return err
			}
			close(next)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(outer)
}

func release(all []*wire.Buffer) {
	for _, b := range all {
		b.Release()
	}
}

// rebuildJob reads what a job needs and makes the slots for each home that lacks them.
func (w *repairer) rebuildJob(ctx context.Context, j *job) (runs []*wire.Buffer, err error) {
	found, bulk := make([][]held, len(w.peers)), make([]*wire.Buffer, len(w.peers))
	defer func() { release(bulk) }()
	err = w.each(ctx, j.sources, func(ctx context.Context, p int) (err error) {
		found[p], bulk[p], err = w.fetch(ctx, p, j.first, len(j.what), next(w.final))
		return err
	})
	if err != nil {
		return nil, err
	}
	runs = make([]*wire.Buffer, len(w.peers))
	for _, i := range j.lacking {
		runs[i] = wire.NewBuffer(len(j.what) * (wire.SlotHeaderBytes + w.coder.RoomAt(i)))
	}
	work := wire.NewBuffer(w.coder.PaddedBytes(w.coder.BlockBytes()) + w.coder.ScratchBytes())
	defer work.Release()
	data, scratch := work.B[:w.coder.PaddedBytes(w.coder.BlockBytes())], work.B[w.coder.PaddedBytes(w.coder.BlockBytes()):]
	payloads := make([][]byte, w.coder.Geometry.Layout.Forward)
	for n, v := range j.what {
		clear(payloads)
		id, used := block.Identity{FID: w.fid, Block: j.first + uint64(n), Version: v}, 0
		for _, p := range j.sources {
			if x := found[p][n]; x.state == wire.SlotPresent && x.h.Version == v {
				payloads[x.h.Projection] = x.payload
				used = int(x.h.BlockBytes)
			}
		}
		err := w.decode(data, payloads, used, scratch, id.Block, v)
		if err == nil {
			err = w.putSlots(runs, n, j, id, data, used)
		}
		if err != nil {
			release(runs)
			return nil, err
		}
	}
	return runs, nil
}

// putSlots makes the slots of the n-th block of a job.
func (w *repairer) putSlots(runs []*wire.Buffer, n int, j *job, id block.Identity, data []byte, used int) error {
	for _, i := range j.lacking {
		stride := wire.SlotHeaderBytes + w.coder.RoomAt(i)
		slot := runs[i].B[n*stride : (n+1)*stride]
		length := w.coder.SlotBytes(i, used)
		if err := w.coder.PutSlot(slot[:length], i, id, data, used); err != nil {
			return vocab.Errorf(vocab.Internal, "block %d: %v", id.Block, err)
		}
		clear(slot[length:])
		if n == len(j.what)-1 { // the last is not padded
			runs[i].B = runs[i].B[:n*stride+length]
		}
	}
	return nil
}

// write brings the slots of a job home.
func (w *repairer) write(ctx context.Context, j *job, runs []*wire.Buffer, sync bool) error {
	for _, i := range j.lacking {
		w.wrote[i] = !sync
		n := len(runs[i].B)
		w.reply.Written += uint64(n)
		w.owed += n
		if err := w.slow(ctx, n); err != nil {
			return err
		}
	}
	err := w.each(ctx, j.lacking, func(ctx context.Context, i int) error {
		slots := wire.Bulk{Parts: [][]byte{runs[i].B}, Done: runs[i].Retain().Release}
		return w.put(ctx, i, j.first, len(j.what), slots, w.final, sync)
	})
	if err != nil || w.owed < repairSync {
		return err
	}
	return w.syncWrote(ctx)
}
