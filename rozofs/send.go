package rozofs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// attempt is the outcome of sending one projection of a run to one position.
type attempt struct {
	projection, position int
	boot                 vocab.Boot
	err                  error
}

// underWay is an attempt that has not ended.
type underWay struct {
	projection, position int
	began                time.Time
	call                 *overdue
}

// sender brings the projections of one run to storages of their own: projection
// i to its home at position i, or to a spare when the home fails or is late. Only
// its goroutine touches its fields; the attempts report on results.
type sender struct {
	f       *file
	run     *run
	slots   slotSet // as they lie at home; a spare's are laid out anew
	dist    vocab.Distribution
	results chan attempt
	done    chan struct{} // closed when nobody takes results any more
	ctx     context.Context

	spares  []int // by position: the projection it was given, -1 none
	pending []int // by projection: attempts under way
	hedged  []bool
	errs    []error // by position: the last error

	underWay []underWay
	stuck    int // how often one had nowhere to go when the timer last fired
}

// send returns when the run is complete. The slots are released once no attempt
// needs them.
func (f *file) send(ctx context.Context, r *run, slots slotSet) error {
	defer slots.release()
	w := f.newSender(ctx, r, slots)
	defer close(w.done)
	all := make([]int, len(slots))
	for i := range all {
		all[i] = i
	}
	return w.placeAll(all)
}

func (f *file) newSender(ctx context.Context, r *run, slots slotSet) *sender {
	f.mu.Lock()
	dist := f.place.Distribution
	f.mu.Unlock()
	n, s := len(slots), len(dist.SIDs)
	r.at, r.spares, r.safe = make([]place, n), make([]int, s), make([]bool, n)
	for i := range r.at {
		r.at[i].position = -1
	}
	w := &sender{
		f: f, run: r, slots: slots, dist: dist, ctx: ctx,
		results: make(chan attempt, 2*s), done: make(chan struct{}),
		spares: r.spares, pending: make([]int, n), hedged: make([]bool, n), errs: make([]error, s),
	}
	for i := range w.spares {
		w.spares[i] = -1
	}
	return w
}

// errCrowded ends a write whose last spares went to projections that were only
// late and have arrived at home since: under a new version they are free again.
var errCrowded = errors.New("no spare is left for a projection whose home is down")

// relieve acts when a projection is stuck, its home down and no spare left, and
// others hold spares although their homes are only late: those are sent home too,
// and once one has arrived there its spare is held needlessly.
func (w *sender) relieve(projections []int) error {
	stuck := func(i int) bool { return w.run.at[i].position < 0 && w.pending[i] == 0 }
	if !slices.ContainsFunc(projections, stuck) {
		return nil
	}
	for p := len(w.slots); p < len(w.spares); p++ {
		i := w.spares[p]
		switch {
		case i < 0:
		case w.run.at[i].position == i:
			return errCrowded
		case !w.isUnderWay(i, i) && w.errs[i] == nil && w.state(i) != nodeDown:
			w.try(i, i)
		}
	}
	return nil
}

// isStuck tells whether, for a while, a projection has had nowhere to go but
// others hold spares whose homes are not down; or whether its home has been late
// and others hold spares whose homes are well. A new version gives the spares out
// anew, those first that need them most.
func (w *sender) isStuck(projections []int) bool {
	held, needless := false, false
	for p := len(w.slots); p < len(w.spares); p++ {
		if w.spares[p] >= 0 {
			state := w.state(w.spares[p])
			held, needless = held || state != nodeDown, needless || state == nodeUp
		}
	}
	w.stuck++
	if !slices.ContainsFunc(projections, func(i int) bool {
		return w.run.at[i].position < 0 && (held && w.pending[i] == 0 || needless && w.state(i) == nodeLate)
	}) {
		w.stuck = 0
	}
	return w.stuck >= stuckRounds
}

// stuckRounds is how often the timer fires before a run is begun anew.
const stuckRounds = 3

func (w *sender) isUnderWay(projection, position int) bool {
	return slices.ContainsFunc(w.underWay, func(u underWay) bool { return u.projection == projection && u.position == position })
}

// spareToSpare tells whether a projection whose home is late can have a spare
// without taking it from another that has nowhere to go.
func (w *sender) spareToSpare(late int) bool {
	free, need := 0, 0
	for p := len(w.slots); p < len(w.spares); p++ {
		if w.spares[p] == -1 && w.state(p) == nodeUp {
			free++
		}
	}
	for i := range w.slots {
		if i != late && w.run.at[i].position < 0 && w.pending[i] == 0 {
			need++
		}
	}
	return free > need
}

func (w *sender) state(position int) nodeState { return w.f.c.pool.state(&w.dist, position) }

// placeAll returns when every projection listed lies somewhere. Those whose home
// is down are the first to take a spare.
func (w *sender) placeAll(projections []int) error {
	ctx, cancel := context.WithTimeout(w.ctx, w.f.c.cfg.StorageTimeout)
	defer cancel()
	w.ctx = ctx
	changed := w.f.c.pool.watch()
	slices.SortStableFunc(projections, func(a, b int) int { return int(w.state(a)) - int(w.state(b)) })
	for _, i := range projections {
		w.advance(i)
	}
	timer := time.NewTimer(w.hedgeDelay())
	defer timer.Stop()
	for !w.placed(projections) {
		if err := w.relieve(projections); err != nil {
			return err
		}
		select {
		case a := <-w.results:
			if err := w.take(a); err != nil {
				return err
			}
		case <-timer.C:
			if w.isStuck(projections) {
				return errCrowded
			}
			for _, i := range projections {
				w.hedge(i)
			}
			w.advanceIdle(projections)
			timer.Reset(w.f.c.cfg.delays.lateWriteMin)
		case <-changed:
			changed = w.f.c.pool.watch()
			for _, i := range projections {
				if w.hedged[i] {
					w.tryElsewhere(i)
				}
			}
			w.advanceIdle(projections)
		case <-ctx.Done():
			return w.timedOut()
		}
	}
	return nil
}

func (w *sender) advanceIdle(projections []int) {
	for _, i := range projections {
		if w.pending[i] == 0 {
			w.advance(i)
		}
	}
}

func (w *sender) placed(projections []int) bool {
	for _, i := range projections {
		if w.run.at[i].position < 0 {
			return false
		}
	}
	return true
}

// ended takes an attempt from those that are under way.
func (w *sender) ended(projection, position int) {
	i := slices.IndexFunc(w.underWay, func(u underWay) bool { return u.projection == projection && u.position == position })
	w.underWay = slices.Delete(w.underWay, i, i+1)
}

func (w *sender) countPlaced() (n int) {
	for _, at := range w.run.at {
		if at.position >= 0 {
			n++
		}
	}
	return n
}

// take processes the outcome of an attempt. An error ends the write: storages
// that are full, or refuse this session, are no reason to try others for ever.
func (w *sender) take(a attempt) error {
	w.pending[a.projection]--
	home := a.position == a.projection
	w.ended(a.projection, a.position)
	if a.err == nil {
		w.errs[a.position] = nil
		if w.run.at[a.projection].position < 0 || home {
			w.run.at[a.projection] = place{a.position, a.boot}
		}
		return nil
	}
	w.errs[a.position] = a.err
	if isRefusal(a.err) {
		return a.err
	}
	if w.run.at[a.projection].position < 0 && w.pending[a.projection] == 0 &&
		!w.trySpare(a.projection) && errors.Is(a.err, vocab.NoSpace) && !w.isSpareLate() {
		return w.failed(vocab.NoSpace, "fewer than %d storages have room for it (%s)", len(w.slots), w.f.c.pool.missing(&w.dist))
	}
	return nil // if nothing is under way: until a storage comes back
}

// isRefusal tells whether another attempt is no use.
func isRefusal(err error) bool {
	return errors.Is(err, vocab.Fenced) || errors.Is(err, vocab.Invalid) || errors.Is(err, vocab.Protocol)
}

// advance starts an attempt for a projection: at home if that is well and has not
// failed, else at a spare, else at home after all.
func (w *sender) advance(i int) {
	if w.run.at[i].position >= 0 {
		return
	}
	state := w.state(i)
	switch {
	case state == nodeUp && w.errs[i] == nil:
		w.try(i, i)
	case (state != nodeLate || w.spareToSpare(i)) && w.trySpare(i):
	case state != nodeDown || w.errs[i] == nil:
		w.try(i, i)
	}
}

// trySpare gives the projection to a spare that has none of this run yet: a
// storage holds one projection of a version.
func (w *sender) trySpare(i int) bool {
	for p := len(w.slots); p < len(w.spares); p++ {
		if w.spares[p] == -1 && w.state(p) == nodeUp {
			w.spares[p] = i
			w.try(i, p)
			return true
		}
	}
	return false
}

// isSpareLate tells whether there is a spare that has none of the run only because it is
// late.
func (w *sender) isSpareLate() bool {
	for p := len(w.slots); p < len(w.spares); p++ {
		if w.spares[p] == -1 && w.state(p) == nodeLate {
			return true
		}
	}
	return false
}

// hedge marks as late who has not answered for a projection, and sends it elsewhere too: home
// again if that is well by now, else to a spare, as soon as one is.
func (w *sender) hedge(i int) {
	if w.run.at[i].position >= 0 {
		return
	}
	w.hedged[i] = true
	enough := w.countPlaced() >= int(w.f.coder.Geometry.Layout.Inverse)
	for _, u := range w.underWay {
		if u.projection == i && time.Since(u.began) >= w.f.c.cfg.delays.lateWriteMin {
			u.call.st.node.setLate(true)
			if enough {
				u.call.mark() // it lives, perhaps; but others are faster
			}
		}
	}
	w.tryElsewhere(i)
}

// tryElsewhere starts another attempt for a projection unless one is on its way to a storage
// that is well.
func (w *sender) tryElsewhere(i int) {
	home := false
	for _, u := range w.underWay {
		if u.projection != i {
			continue
		}
		if w.state(u.position) == nodeUp {
			return
		}
		home = home || u.position == i
	}
	switch {
	case w.run.at[i].position >= 0:
	case !home && w.errs[i] == nil && w.state(i) == nodeUp:
		w.try(i, i)
	case w.spareToSpare(i):
		w.trySpare(i)
	}
}

func (w *sender) hedgeDelay() time.Duration {
	d := w.f.c.cfg.delays.lateWriteMin
	for i := range w.slots {
		if st, err := w.f.c.pool.at(&w.dist, i); err == nil {
			d = max(d, st.node.hedge(writing))
		}
	}
	return d
}

// try sends a projection to a position on a goroutine of its own.
func (w *sender) try(i, position int) {
	st, err := w.f.c.pool.at(&w.dist, position)
	if err != nil {
		w.errs[position] = err
		return
	}
	var slots *wire.Buffer
	if !w.run.zeros {
		slots = w.slotsFor(i, position)
	}
	request := w.f.request(st, w.run, &w.dist, position, slots)
	w.pending[i]++
	call := &overdue{st: st}
	w.underWay = append(w.underWay, underWay{i, position, time.Now(), call})
	report := func(a attempt) {
		select {
		case w.results <- a:
		case <-w.done:
		}
	}
	started := w.f.attempt(w.run.by, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, w.f.c.cfg.StorageTimeout)
		defer cancel()
		boot, err := request(ctx)
		call.end()
		report(attempt{projection: i, position: position, boot: boot, err: err})
	})
	if !started {
		slots.Release()
		w.pending[i]--
		w.ended(i, position)
		w.errs[position] = errClosed
	}
}

// request prepares what brings a run to a position: the slots of a projection, which it
// releases when it is made, or of zeros the discard, which is the same for all.
func (f *file) request(st *storage, r *run, dist *vocab.Distribution, position int, slots *wire.Buffer) func(context.Context) (vocab.Boot, error) {
	target := st.target(f.c.session.id(), r.version.Epoch)
	run := wire.Run{FID: f.place.FID, Generation: dist.Generation, First: r.first, Count: uint32(len(r.pages))}
	room := uint32(f.coder.RoomAt(position))
	if r.zeros {
		req := wire.DiscardRequest{Target: target, Run: run, Version: r.version, PayloadBytes: room}
		return func(ctx context.Context) (vocab.Boot, error) {
			var reply wire.BootReply
			buf, err := st.call(ctx, writing, wire.OpDiscard, &req, wire.Bulk{}, &reply)
			buf.Release()
			return reply.Boot, err
		}
	}
	req := wire.WriteRequest{Target: target, Run: run, PayloadBytes: room, Final: r.final}
	return func(ctx context.Context) (vocab.Boot, error) {
		var reply wire.WriteReply
		bulk := wire.Bulk{Parts: [][]byte{slots.B}, Done: slots.Release}
		buf, err := st.call(ctx, writing, wire.OpWrite, &req, bulk, &reply)
		buf.Release()
		return reply.Boot, err
	}
}

// slotsFor returns the slots of a projection laid out for a position, with a
// reference for the caller.
func (w *sender) slotsFor(i, position int) *wire.Buffer {
	home := w.slots[i]
	if position == i {
		return home.Retain()
	}
	from := wire.SlotHeaderBytes + w.f.coder.RoomAt(i)
	to := wire.SlotHeaderBytes + w.f.coder.RoomAt(position)
	n := len(w.run.pages)
	last := len(home.B) - (n-1)*from
	b := wire.NewBuffer((n-1)*to + last)
	for j := range n {
		slot := home.B[j*from : min((j+1)*from, len(home.B))]
		clear(b.B[j*to+copy(b.B[j*to:], slot) : min((j+1)*to, len(b.B))])
	}
	return b
}

func (w *sender) timedOut() error {
	switch {
	case w.f.c.ctx.Err() != nil:
		return errClosed
	case w.run.by.stopped():
		return context.Cause(w.run.by.ctx)
	}
	return w.failed(vocab.Unavailable, "fewer than %d storages took it within %v (%s)", len(w.slots),
		w.f.c.cfg.StorageTimeout, w.f.c.pool.missing(&w.dist))
}

// failed makes the error of a write, with what the storages said.
func (w *sender) failed(kind vocab.Kind, format string, args ...any) error {
	var errs []error
	for p, err := range w.errs {
		if err != nil {
			errs = append(errs, fmt.Errorf("sid %d: %w", w.dist.SIDs[p], err))
		}
	}
	return vocab.Errorf(kind, "write of blocks %d to %d of %v: %s%s", w.run.first, w.run.first+uint64(len(w.run.pages))-1,
		w.f.place.FID, fmt.Sprintf(format, args...), reasons(errs))
}
