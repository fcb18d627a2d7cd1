package rozofs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rozofs-go/rozo/rozofs/block"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// doubtPatience is how long storages that do not answer are waited for when those that do
// disagree about a block. It is long, since this happens only if something else is wrong
// besides, and believing the wrong ones would give wrong content.
const doubtPatience = 5 * time.Second

// answer is what one storage said of a run of blocks.
type answer struct {
	position int
	err      error
	reply    wire.ReadReply
	bulk     *wire.Buffer
}

// fetcher reads one run of blocks of a file: it asks inverse storages, others
// when one is late, fails or disagrees, until every block is decided. Only its
// goroutine touches its fields; requests report on answers.
type fetcher struct {
	f       *file
	first   uint64
	n       int
	dist    vocab.Distribution
	answers chan answer
	done    chan struct{}
	ctx     context.Context

	order   []int    // positions in the order in which they are asked
	asked   []bool   // by position
	waiting int      // requests under way
	errs    []error  // by position
	bulks   []answer // kept until the blocks are decoded

	// By block, then by position.
	said     [][]block.Answer
	payloads [][][]byte
	used     [][]uint32
	choices  []block.Choice
	decided  []bool
	open     int  // blocks not yet decided
	again    bool // all were asked a second time
}

// fetchInto reads n blocks from first on. part says, for the block at an index,
// where its bytes go and from which byte of the block on.
func (f *file) fetchInto(ctx context.Context, first uint64, n int, part func(int) ([]byte, uint64)) error {
	ctx, cancel := context.WithTimeout(ctx, f.c.cfg.StorageTimeout)
	defer cancel()
	r := newFetcher(ctx, f, first, n)
	defer r.close()
	if err := r.collect(); err != nil {
		return err
	}
	return r.decode(part)
}

func newFetcher(ctx context.Context, f *file, first uint64, n int) *fetcher {
	f.mu.Lock()
	dist := f.place.Distribution
	f.mu.Unlock()
	s := len(dist.SIDs)
	r := &fetcher{
		f: f, first: first, n: n, dist: dist, ctx: ctx,
		answers: make(chan answer, 2*s), done: make(chan struct{}),
		asked: make([]bool, s), errs: make([]error, s),
		said: make([][]block.Answer, n), payloads: make([][][]byte, n), used: make([][]uint32, n),
		choices: make([]block.Choice, n), decided: make([]bool, n), open: n,
	}
	said, payloads, used := make([]block.Answer, n*s), make([][]byte, n*s), make([]uint32, n*s)
	for i := range n {
		r.said[i], r.payloads[i], r.used[i] = said[i*s:][:s], payloads[i*s:][:s], used[i*s:][:s]
	}
	r.order = f.c.readOrder(&dist, int(f.coder.Geometry.Layout.Forward), first, f.coder.Geometry.Systematic)
	return r
}

// readOrder ranks the positions of a distribution for reading: usable ones
// first; home before spares; then, rotating from run to run so that all share
// the load (in systematic form the rows come first, which need no decoding).
func (c *Client) readOrder(d *vocab.Distribution, forward int, first uint64, systematic bool) []int {
	s := len(d.SIDs)
	rank := make([]int, s)
	for p := range s {
		if c.pool.state(d, p) != nodeUp {
			rank[p] += 4 * s
		}
		switch {
		case p >= forward:
			rank[p] += 2 * s
		case systematic:
			rank[p] += p
		default:
			rank[p] += (p + int(first/128)) % forward
		}
	}
	order := make([]int, s)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(rank[a], rank[b]) })
	return order
}

// close lets go of the buffers and of requests still under way.
func (r *fetcher) close() {
	close(r.done)
	for _, a := range r.bulks {
		a.bulk.Release()
	}
}

// collect returns when every block is decided.
func (r *fetcher) collect() error {
	layout := r.f.coder.Geometry.Layout
	changed := r.f.c.pool.watch()
	r.askMore(int(layout.Inverse))
	began := time.Now()
	timer := time.NewTimer(r.hedgeDelay())
	defer timer.Stop()
	for r.open > 0 {
		if r.waiting == 0 && !r.askMore(int(layout.Safe)) {
			if r.lookAgain() {
				continue
			}
			if r.settleFor(); r.open == 0 {
				break
			}
			// All that could be asked have answered: wait for a storage to return.
			if err := r.torn(); err != nil {
				return err
			}
			select {
			case <-changed:
			case <-r.ctx.Done():
				return r.timedOut()
			}
			changed = r.f.c.pool.watch()
			r.askAgain()
			continue
		}
		select {
		case a := <-r.answers:
			r.take(a)
		case <-timer.C:
			r.markLate()
			if !r.askMore(r.waiting) && time.Since(began) > doubtPatience && !r.lookAgain() {
				r.settleFor()
			}
			timer.Reset(lateReadMax)
		case <-r.ctx.Done():
			return r.timedOut()
		}
	}
	return nil
}

func (r *fetcher) hedgeDelay() time.Duration {
	d := lateReadMin
	for _, p := range r.order {
		if !r.asked[p] {
			continue
		}
		if st, err := r.f.c.pool.at(&r.dist, p); err == nil {
			d = max(d, st.node.hedge(reading))
		}
	}
	return d
}

// askMore asks up to n more storages; false if there is none left to ask.
func (r *fetcher) askMore(n int) bool {
	any := false
	for _, p := range r.order {
		if n == 0 {
			break
		}
		if !r.asked[p] {
			r.asked[p] = true
			r.ask(p)
			n--
			any = true
		}
	}
	return any
}

// askAgain forgets which storages failed, so that they are asked once more.
func (r *fetcher) askAgain() {
	for p, err := range r.errs {
		if err != nil {
			r.asked[p], r.errs[p] = false, nil
		}
	}
}

func (r *fetcher) ask(position int) {
	st, err := r.f.c.pool.at(&r.dist, position)
	if err != nil {
		r.errs[position] = err
		return
	}
	r.f.mu.Lock()
	req := wire.ReadRequest{
		Target: st.target(r.f.c.session.id(), r.f.lease.Epoch),
		Run:    wire.Run{FID: r.f.place.FID, Generation: r.dist.Generation, First: r.first, Count: uint32(r.n)},
	}
	r.f.mu.Unlock()
	r.waiting++
	started := r.f.c.goes(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, r.f.c.cfg.StorageTimeout)
		defer cancel()
		a := answer{position: position}
		a.bulk, a.err = st.call(ctx, reading, wire.OpRead, &req, wire.Bulk{}, &a.reply)
		select {
		case r.answers <- a:
		case <-r.done:
			a.bulk.Release()
		}
	})
	if !started {
		r.waiting--
		r.errs[position] = errClosed
	}
}

// markLate tells the pool which of the storages asked have not answered, so that
// later requests try others first.
func (r *fetcher) markLate() {
	for p, asked := range r.asked {
		if !asked || r.errs[p] != nil || r.said[0][p].State != block.Silent {
			continue
		}
		if st, err := r.f.c.pool.at(&r.dist, p); err == nil && !r.answered(p) {
			st.node.setLate(true)
		}
	}
}

func (r *fetcher) answered(position int) bool {
	return slices.ContainsFunc(r.bulks, func(a answer) bool { return a.position == position })
}

// take adds a storage's answer and decides the blocks that it completes.
func (r *fetcher) take(a answer) {
	r.waiting--
	r.errs[a.position] = a.err
	if a.err == nil {
		r.bulks = append(r.bulks, a)
		r.errs[a.position] = r.spread(a)
	}
	layout := r.f.coder.Geometry.Layout
	for i := range r.n {
		if r.decided[i] {
			continue
		}
		r.choices[i] = block.Choose(layout, r.said[i])
		if c := r.choices[i]; isAnswer(c) && !c.Doubt {
			r.decided[i] = true
			r.open--
		}
	}
}

func isAnswer(c block.Choice) bool { return c.Decision == block.Readable || c.Decision == block.Zeros }

// lookAgain asks all once more, once, if a block is in doubt: what one of them had may have
// come home, to another that had been asked before. It tells whether it did.
func (r *fetcher) lookAgain() bool {
	doubt := false
	for i, c := range r.choices {
		doubt = doubt || !r.decided[i] && c.Decision != block.Undecided
	}
	if !doubt || r.again {
		return false
	}
	r.again = true
	for i, said := range r.said {
		if !r.decided[i] {
			clear(said)
			r.choices[i] = block.Choice{}
		}
	}
	for _, a := range r.bulks {
		r.asked[a.position] = false
	}
	return r.askMore(len(r.asked))
}

// settleFor takes what enough storages say although it is in doubt. It is
// called when nobody else is expected to answer: a storage that has lost a file says that
// its blocks are absent, and then one more answer makes the difference.
func (r *fetcher) settleFor() {
	for i := range r.n {
		if !r.decided[i] && isAnswer(r.choices[i]) {
			r.decided[i] = true
			r.open--
		}
	}
}

// spread enters what an answer says into said, block by block. A broken answer,
// or slot, says nothing.
func (r *fetcher) spread(a answer) error {
	coder := r.f.coder
	stride := wire.SlotHeaderBytes + int(a.reply.PayloadBytes)
	var bulk []byte
	if a.bulk != nil {
		bulk = a.bulk.B
	}
	i := 0
	say := func(x block.Answer, payload []byte, used uint32) {
		if !r.decided[i] { // else it was asked again for others
			r.said[i][a.position], r.payloads[i][a.position], r.used[i][a.position] = x, payload, used
		}
	}
	var broken error
	for _, piece := range a.reply.Pieces {
		for range piece.Count {
			if i >= r.n {
				return vocab.Errorf(vocab.Protocol, "answer for more than %d blocks", r.n)
			}
			switch piece.State {
			case wire.SlotAbsent:
				say(block.Answer{State: block.Absent}, nil, 0)
			case wire.SlotBroken:
				broken = vocab.Errorf(vocab.Corrupt, "block %d", r.first+uint64(i))
			case wire.SlotPresent:
				slot := bulk[:min(stride, len(bulk))]
				bulk = bulk[len(slot):]
				h, payload, state := wire.ParseSlot(slot, r.f.place.FID, r.first+uint64(i))
				if state != wire.SlotPresent || !coder.Valid(&h) {
					broken = vocab.Errorf(vocab.Corrupt, "block %d", r.first+uint64(i))
					break
				}
				say(block.Answer{State: block.Present, Projection: h.Projection, Version: h.Version}, payload, h.BlockBytes)
			}
			i++
		}
	}
	for ; i < r.n; i++ {
		say(block.Answer{State: block.Absent}, nil, 0)
	}
	return broken
}

// decode rebuilds the blocks into their parts.
func (r *fetcher) decode(part func(int) ([]byte, uint64)) error {
	coder := r.f.coder
	scratch := wire.NewBuffer(coder.ScratchBytes())
	defer scratch.Release()
	whole := wire.NewBuffer(coder.PaddedBytes(coder.BlockBytes()))
	defer whole.Release()
	projections := make([][]byte, coder.Geometry.Layout.Forward)
	for i := range r.n {
		dst, at := part(i)
		if r.choices[i].Decision == block.Zeros {
			clear(dst)
			continue
		}
		clear(projections)
		used := 0
		for p, said := range r.said[i] {
			if said.State == block.Present && said.Version == r.choices[i].Version {
				projections[said.Projection] = r.payloads[i][p]
				used = int(r.used[i][p])
			}
		}
		padded := coder.PaddedBytes(used)
		if at == 0 && len(dst) >= padded {
			if err := coder.Rebuild(dst, projections, used, scratch.B); err != nil {
				return r.undecodable(i, err)
			}
			clear(dst[used:])
			continue
		}
		if err := coder.Rebuild(whole.B, projections, used, scratch.B); err != nil {
			return r.undecodable(i, err)
		}
		clear(whole.B[used:])
		copy(dst, whole.B[at:])
	}
	return nil
}

func (r *fetcher) undecodable(i int, err error) error {
	return vocab.Errorf(vocab.Corrupt, "block %d of %v cannot be rebuilt: %v", r.first+uint64(i), r.f.place.FID, err)
}

// torn is the error for a block of which no version can be rebuilt although
// enough storages have answered.
func (r *fetcher) torn() error {
	for i, c := range r.choices {
		if c.Decision == block.Torn {
			return vocab.Errorf(vocab.Corrupt, "block %d of %v: an overwrite was cut short and no version has %d projections: %s",
				r.first+uint64(i), r.f.place.FID, r.f.coder.Geometry.Layout.Inverse, r.describe(i))
		}
	}
	return nil
}

// describe says what each storage answered for a block.
func (r *fetcher) describe(i int) string {
	text := ""
	for p, said := range r.said[i] {
		text += fmt.Sprintf(" sid %d: ", r.dist.SIDs[p])
		switch {
		case said.State == block.Present:
			text += fmt.Sprintf("projection %d of %v;", said.Projection, said.Version)
		case said.State == block.Absent:
			text += "absent;"
		case r.errs[p] != nil:
			text += r.errs[p].Error() + ";"
		default:
			text += "no answer;"
		}
	}
	return text
}

func (r *fetcher) timedOut() error {
	if r.f.c.ctx.Err() != nil {
		return errClosed
	}
	if context.Cause(r.ctx) != context.DeadlineExceeded {
		return context.Cause(r.ctx)
	}
	for i, c := range r.choices {
		if c.Decision == block.Undecided {
			return vocab.Errorf(vocab.Unavailable, "block %d of %v: too few storages answered within %v:%s (%s)",
				r.first+uint64(i), r.f.place.FID, r.f.c.cfg.StorageTimeout, r.describe(i), r.f.c.pool.missing(&r.dist))
		}
	}
	return vocab.Errorf(vocab.Unavailable, "read of %v timed out", r.f.place.FID)
}
