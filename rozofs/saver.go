package rozofs

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rozofs-go/rozo/rozofs/block"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	// A storage that syncs for twice as long as is usual, within these bounds, is asked
	// for a sign of life. One that gives none within signOfLife hangs.
	askMin     = 25 * time.Millisecond
	askMax     = 100 * time.Millisecond
	signOfLife = 100 * time.Millisecond

	// One that lives is slow after slowSync, and slowFactor times what the others of the
	// round took: disks that are busy all alike are waited for.
	slowSync   = 200 * time.Millisecond
	slowFactor = 2

	lookInterval = 25 * time.Millisecond // between two looks at what is late
	maxMoving    = 16                    // projections on their way to another storage, of one round
)

// saver is one round of making runs durable: a sync of each storage that holds some of
// them. The projections on a storage that fails, hangs or is slow are also brought to
// another, under the same version, and whichever is durable first counts
// (docs/design/0003-stalls.md). Only its goroutine touches its fields; requests
// report on events.
type saver struct {
	c      *Client
	ctx    context.Context
	events chan func()
	done   chan struct{} // closed when nobody takes events any more

	open    map[*run]bool // neither durable nor lost
	lost    map[*run]bool // to be written again under a new version
	jobs    []*syncJob    // under way
	slowest time.Duration // of those that have succeeded
	waiting []*piece      // there is only a storage that is late for them

	moves   chan struct{}        // semaphore of maxMoving
	moving  int                  // moves under way that are not late
	arrived map[*storage][]*move // to be synced when nothing is moving
}

// piece is one projection of a run that is not known to be durable.
type piece struct {
	f          *file
	r          *run
	projection int
	tried      uint32 // positions that have failed or are late, as bits
	hopes      int    // syncs and moves under way that may make it durable
	moved      bool   // it is on its way to another storage, or that syncs
}

// syncJob is one sync of a storage.
type syncJob struct {
	st     *storage
	boot   vocab.Boot
	epoch  vocab.Epoch
	fids   map[vocab.FID]bool
	pieces []*piece
	at     []int // by piece: the position, in the file's distribution
	began  time.Time
	call   *overdue

	ask   time.Duration // how long after began it is asked for a sign of life
	asked time.Time     // when that was done last; zero: not yet
	lives bool          // it has answered since
	late  bool          // its pieces go elsewhere too
}

// saveRound makes durable what it can of the runs and ends when each is durable, or
// lost: on too few storages, and to be written again. Runs that are neither when ctx
// ends stay as they are.
func (c *Client) saveRound(ctx context.Context, todo []unsaved) {
	s := &saver{
		c: c, ctx: ctx, events: make(chan func()), done: make(chan struct{}),
		open: map[*run]bool{}, lost: map[*run]bool{},
		moves: make(chan struct{}, maxMoving), arrived: map[*storage][]*move{},
	}
	defer close(s.done)
	s.begin(todo)
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for len(s.open) > 0 {
		select {
		case happened := <-s.events:
			happened()
		case now := <-look.C:
			for _, j := range slices.Clone(s.jobs) {
				s.look(j, now)
			}
			waiting := s.waiting
			s.waiting = nil
			for _, p := range waiting {
				s.move(p)
			}
		case <-ctx.Done():
			clear(s.open)
		}
	}
	for _, u := range todo {
		u.f.sweep(s.lost)
	}
}

// report has the saver's goroutine run f; nobody does when the round has ended.
func (s *saver) report(f func()) {
	select {
	case s.events <- f:
	case <-s.done:
	}
}

// begin starts a sync of each storage for all that lies there.
func (s *saver) begin(todo []unsaved) {
	type key struct {
		id   vocab.StorageID
		boot vocab.Boot
	}
	jobs := map[key]*syncJob{}
	var full, homeless []*syncJob
	for _, u := range todo {
		dist := u.f.distribution()
		u.f.mu.Lock()
		for _, r := range u.runs {
			if r.end == runOpen {
				s.open[r] = true
			}
			for i, at := range r.at {
				if r.end != runOpen || r.safe[i] {
					continue
				}
				p := &piece{f: u.f, r: r, projection: i}
				st, err := s.c.pool.at(dist, at.position)
				if err != nil {
					homeless = append(homeless, &syncJob{pieces: []*piece{p}, at: []int{at.position}})
					continue
				}
				k := key{st.id, at.boot}
				j := jobs[k]
				if j != nil && len(j.fids) == wire.MaxFIDs && !j.fids[u.f.place.FID] {
					full, j = append(full, j), nil
				}
				if j == nil {
					j = newJob(st, at.boot)
					jobs[k] = j
				}
				j.add(p, at.position)
			}
		}
		u.f.mu.Unlock()
	}
	for _, j := range jobs {
		s.start(j)
	}
	for _, j := range full {
		s.start(j)
	}
	for _, j := range homeless {
		s.failed(j, vocab.Unavailable)
	}
}

func newJob(st *storage, boot vocab.Boot) *syncJob {
	return &syncJob{st: st, boot: boot, fids: map[vocab.FID]bool{}}
}

func (j *syncJob) add(p *piece, position int) {
	j.epoch = max(j.epoch, p.r.version.Epoch)
	j.fids[p.f.place.FID] = true
	j.pieces, j.at = append(j.pieces, p), append(j.at, position)
	p.hopes++
}

// start sends the sync. It goes on when the round has ended without it: how long it took
// is of interest, and while it is under way the storage is not well.
func (s *saver) start(j *syncJob) {
	j.began, j.call = time.Now(), &overdue{st: j.st}
	if j.st.state() == nodeUp {
		j.ask = j.st.node.askAfter()
	}
	s.jobs = append(s.jobs, j)
	req := wire.SyncRequest{Target: j.st.target(s.c.session.id(), j.epoch), Boot: j.boot}
	for fid := range j.fids {
		req.FIDs = append(req.FIDs, fid)
	}
	call := j.call
	started := s.c.goes(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 2*s.c.cfg.StorageTimeout) // longer than any round
		defer cancel()
		buf, err := j.st.call(ctx, syncing, wire.OpSync, &req, wire.Bulk{}, &wire.BootReply{})
		buf.Release()
		call.end()
		if err == nil {
			j.succeeded()
		}
		s.report(func() { s.ended(j, err) })
	})
	if !started {
		s.ended(j, errClosed)
	}
}

func (s *saver) ended(j *syncJob, err error) {
	s.jobs = slices.DeleteFunc(s.jobs, func(o *syncJob) bool { return o == j })
	if err != nil {
		s.c.log.Warn("a storage did not sync; what it holds unsynced is brought to another", "storage", j.st.id.String(), "err", err)
		s.failed(j, err)
		return
	}
	s.slowest = max(s.slowest, time.Since(j.began))
	for _, p := range j.pieces {
		p.hopes--
		if p.f.hasEnded(p.r) {
			delete(s.open, p.r)
		}
	}
}

// succeeded takes note of what is durable, also when the round has ended without it.
func (j *syncJob) succeeded() {
	files := map[*file]bool{}
	for _, p := range j.pieces {
		if p.f.madeDurable(p.r, p.projection) {
			files[p.f] = true
		}
	}
	for f := range files {
		f.sweep(nil)
	}
}

// failed has the pieces of a sync brought elsewhere: home again if the storage has
// only lost its memory.
func (s *saver) failed(j *syncJob, err error) {
	for i, p := range j.pieces {
		if p.hopes > 0 { // 0: there was no storage to ask
			p.hopes--
		}
		if !errors.Is(err, vocab.Unavailable) || j.st == nil {
			p.tried |= 1 << j.at[i]
		}
		p.moved = false
		s.move(p)
	}
}

// look judges a sync that is under way.
func (s *saver) look(j *syncJob, now time.Time) {
	if j.late { // what could not be moved perhaps can now
		for _, p := range j.pieces {
			s.move(p)
		}
		return
	}
	waited := now.Sub(j.began)
	switch {
	case j.asked.IsZero() && waited < j.ask:
		return
	case j.asked.IsZero(), j.lives && now.Sub(j.asked) >= s.c.cfg.delays.signOfLife:
		s.askLife(j, now)
	case !j.lives && now.Sub(j.asked) >= s.c.cfg.delays.signOfLife:
		j.st.node.setLate(true)
		s.late(j, "it gives no sign of life", waited)
		return
	}
	if s.slowest > 0 && waited >= max(s.c.cfg.delays.slowSync, slowFactor*s.slowest) {
		j.call.mark()
		s.late(j, "it is slow", waited)
	}
}

// askLife asks the storaged for any answer at all.
func (s *saver) askLife(j *syncJob, now time.Time) {
	j.asked, j.lives = now, false
	s.c.goes(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, s.c.cfg.StorageTimeout)
		defer cancel()
		if j.st.node.isAlive(ctx) {
			s.report(func() {
				if j.asked == now {
					j.lives = true
				}
			})
		}
	})
}

func (s *saver) late(j *syncJob, why string, waited time.Duration) {
	s.c.log.Warn("a storage is late to sync; what it holds unsynced is also brought to another",
		"storage", j.st.id.String(), "why", why, "waited", waited)
	j.late = true
	for i, p := range j.pieces {
		p.tried |= 1 << j.at[i]
		p.moved = false
		s.move(p)
	}
}

// move brings a projection of a run to another storage.
type move struct {
	p        *piece
	tried    uint32 // as of its begin
	position int
	st       *storage
	boot     vocab.Boot
	late     bool // another has been begun
	ended    bool
}

// moveResult is what prepare has found.
type moveResult int

const (
	moveReady    moveResult = iota // there is a storage for it
	moveNeedless                   // not at all: it is durable, or its run has ended
	moveLater                      // no storage can take it now
	moveSoon                       // one can as soon as it is well again
	moveAnew                       // only under a new version
)

// move starts a move of a piece unless one is under way.
func (s *saver) move(p *piece) {
	if p.moved || !s.open[p.r] {
		return
	}
	p.moved = true
	p.hopes++
	s.moving++
	m := &move{p: p, tried: p.tried}
	if !p.f.attempt(p.r.by, func(ctx context.Context) { s.run(ctx, m) }) {
		s.over(m, moveAnew, nil)
	}
}

// run is a move, on a goroutine of its own.
func (s *saver) run(ctx context.Context, m *move) {
	select {
	case s.moves <- struct{}{}:
		defer func() { <-s.moves }()
	case <-s.done:
		return
	}
	request, found := m.p.f.prepareMove(m)
	if found != moveReady {
		s.report(func() { s.over(m, found, nil) })
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.cfg.StorageTimeout)
	defer cancel()
	late := time.AfterFunc(m.st.node.hedge(writing), func() { s.report(func() { s.moveLate(m) }) })
	defer late.Stop()
	var err error
	m.boot, err = request(ctx)
	s.report(func() { s.over(m, moveReady, err) })
}

// moveLate takes note that the storage which a piece is moved to is late as well.
func (s *saver) moveLate(m *move) {
	if m.ended {
		return
	}
	m.st.node.setLate(true)
	m.late = true
	s.moving--
	m.p.tried |= 1 << m.position
	m.p.moved = false
	s.move(m.p)
	s.syncArrived()
}

// over takes note of the outcome of a move.
func (s *saver) over(m *move, found moveResult, err error) {
	p := m.p
	m.ended = true
	p.hopes--
	if !m.late {
		s.moving--
	}
	switch {
	case found == moveNeedless && p.f.hasEnded(p.r):
		delete(s.open, p.r)
	case found == moveNeedless:
		p.hopes++ // another round has made it durable: that stays
	case found == moveAnew:
		s.giveUp(p.r)
	case found == moveLater:
		p.moved = false // look tries again
	case found == moveSoon:
		p.moved = false
		s.waiting = append(s.waiting, p)
	case err == nil:
		p.moved = true
		p.hopes++ // until its sync takes over
		p.f.liesAt(p.r, p.projection, place{m.position, m.boot})
		s.arrived[m.st] = append(s.arrived[m.st], m)
	default:
		s.c.log.Debug("a projection could not be brought to another storage", "err", err)
		p.tried |= 1 << m.position
		if !m.late {
			p.moved = false
			s.move(p)
		}
	}
	if p.hopes == 0 && found != moveSoon {
		s.giveUp(p.r)
	}
	s.syncArrived()
}

func (s *saver) giveUp(r *run) {
	if s.open[r] {
		delete(s.open, r)
		s.lost[r] = true
	}
}

// syncArrived syncs what was moved once nothing is on its way: one sync for all of it.
func (s *saver) syncArrived() {
	if s.moving > 0 {
		return
	}
	for st, all := range s.arrived {
		delete(s.arrived, st)
		jobs := map[vocab.Boot]*syncJob{}
		for _, m := range all {
			m.p.hopes--
			j := jobs[m.boot]
			if j == nil || len(j.fids) == wire.MaxFIDs && !j.fids[m.p.f.place.FID] {
				if j != nil {
					s.start(j)
				}
				j = newJob(st, m.boot)
				jobs[m.boot] = j
			}
			j.add(m.p, m.position)
		}
		for _, j := range jobs {
			s.start(j)
		}
	}
}

// prepareMove finds a storage for a projection of a run and makes its slots anew, under
// the same version, if the pages still hold what the run sent.
func (f *file) prepareMove(m *move) (request func(context.Context) (vocab.Boot, error), found moveResult) {
	r, i := m.p.r, m.p.projection
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.end != runOpen || r.safe[i] {
		return nil, moveNeedless
	}
	kept := 0
	for j, pg := range r.pages {
		if f.pages[r.first+uint64(j)] == pg && pg.run == r {
			kept++
		}
	}
	position, found := f.whereTo(r, i, m.tried)
	switch {
	case kept == 0: // all of it was written anew, or cut off
		return nil, moveAnew
	case kept < len(r.pages) && found == moveReady:
		return nil, moveAnew
	case found != moveReady:
		return nil, found
	}
	st, err := f.c.pool.at(&f.place.Distribution, position)
	if err != nil {
		return nil, moveLater
	}
	var slots *wire.Buffer
	if !r.zeros {
		if slots, err = f.encodeOne(r, i, position); err != nil {
			return nil, moveAnew
		}
	}
	if position >= len(r.at) {
		r.spares[position] = i
		f.degraded = true
	}
	m.st, m.position = st, position
	return f.request(st, r, &f.place.Distribution, position, slots), moveReady
}

// whereTo finds a storage that is well and may take the projection: its home, or a spare
// that has none of the run, or this one. Where all spares have others it tells whether a
// new version would set one free. mu is held.
func (f *file) whereTo(r *run, i int, tried uint32) (position int, found moveResult) {
	dist := &f.place.Distribution
	state := func(p int) nodeState { return f.c.pool.state(dist, p) }
	if tried&(1<<i) == 0 && state(i) == nodeUp {
		return i, moveReady
	}
	found = moveLater
	if tried&(1<<i) == 0 && state(i) == nodeLate {
		found = moveSoon
	}
	spares := r.spares[len(r.at):]
	if x := slices.Index(spares, i); x >= 0 && tried&(1<<(len(r.at)+x)) == 0 && state(len(r.at)+x) == nodeUp {
		return len(r.at) + x, moveReady
	}
	for x, holder := range spares {
		p := len(r.at) + x
		free := holder == i || holder < 0 && (!slices.Contains(spares, i) || f.spareToSpare(r, i))
		switch {
		case tried&(1<<p) != 0 || state(p) == nodeDown:
		case free && state(p) == nodeUp:
			return p, moveReady
		case free:
			found = moveSoon
		case holder >= 0 && found == moveLater && state(p) == nodeUp && (state(holder) == nodeUp || slices.Contains(spares[x+1:], holder)):
			found = moveAnew
		}
	}
	return -1, found
}

// spareToSpare tells whether a projection that has a spare already can have another, and
// leave enough for those whose homes are not well. mu is held.
func (f *file) spareToSpare(r *run, i int) bool {
	free, need := 0, 0
	for _, holder := range r.spares[len(r.at):] {
		if holder < 0 {
			free++
		}
	}
	for j := range r.at {
		if j != i && !r.safe[j] && !slices.Contains(r.spares[len(r.at):], j) && f.c.pool.state(&f.place.Distribution, j) != nodeUp {
			need++
		}
	}
	return free > need
}

// encodeOne makes the slots of one projection, laid out for a position; mu is held.
func (f *file) encodeOne(r *run, i, position int) (*wire.Buffer, error) {
	stride := wire.SlotHeaderBytes + f.coder.RoomAt(position)
	b := wire.NewBuffer((len(r.pages)-1)*stride + f.coder.SlotBytes(i, r.used))
	for j, pg := range r.pages {
		used := f.coder.BlockBytes()
		if j == len(r.pages)-1 {
			used = r.used
		}
		slot := b.B[j*stride : min((j+1)*stride, len(b.B))]
		n := f.coder.SlotBytes(i, used)
		id := block.Identity{FID: f.place.FID, Block: r.first + uint64(j), Version: r.version}
		if err := f.coder.PutSlot(slot[:n], i, id, pg.buf.B, used); err != nil {
			b.Release()
			return nil, vocab.Errorf(vocab.Internal, "encode block %d of %v: %v", id.Block, f.place.FID, err)
		}
		clear(slot[n:])
	}
	return b, nil
}
