package storaged

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rozofs-go/rozo/rozofs/block"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	settleCall  = 30 * time.Second // for one request to it
	settleRun   = 64               // blocks read at once
	settleAtAll = 4                // files settled at once
)

// settle serves OpSettle (docs/design/0002-versions-journal-recovery.md).
func (s *Server) settle(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.SettleRequest
	if err := r.Decode(&req); err != nil {
		return nil, wire.Bulk{}, err
	}
	err := s.settling(ctx, r, s.settlers, &req, nil, func(w *settler) error { return w.run(ctx) })
	return &wire.BootReply{Boot: s.boot}, wire.Bulk{}, err
}

// settling calls do with a settler for the request, when one of the places for it is free.
func (s *Server) settling(ctx context.Context, r *wire.Request, places chan struct{}, req *wire.SettleRequest, positions []uint8, do func(*settler) error) error {
	if _, err := s.target(r, &req.Target); err != nil {
		return err
	}
	coder, err := block.NewCoder(req.Placement.Geometry)
	if err != nil {
		return vocab.Errorf(vocab.Invalid, "%v %v: %v", r.Op, req.Placement.FID, err)
	}
	layout, sids := req.Placement.Geometry.Layout, req.Placement.Distribution.SIDs
	if len(sids) != int(layout.Safe) || len(req.Storages) != len(sids) ||
		slices.ContainsFunc(slices.Concat(req.Fenced, positions), func(p uint8) bool { return int(p) >= len(sids) }) {
		return vocab.Errorf(vocab.Invalid, "%v %v: %d storages, %d addresses, layout %v", r.Op, req.Placement.FID, len(sids), len(req.Storages), layout)
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	w := &settler{
		s: s, req: req, coder: coder, fid: req.Placement.FID, peers: make([]*wire.Conn, len(sids)),
		boots: make([]vocab.Boot, len(sids)), seen: make([]vocab.Version, len(sids)), at: make([]int, layout.Forward), version: vocab.Version{Epoch: req.Epoch},
		generation: slices.Repeat([]uint32{req.Placement.Distribution.Generation}, len(sids)),
	}
	w.dial(ctx)
	if err := do(w); err != nil {
		return fmt.Errorf("%v %v: %w", r.Op, w.fid, err)
	}
	return nil
}

// settler settles one file.
type settler struct {
	s       *Server
	req     *wire.SettleRequest
	coder   *block.Coder
	fid     vocab.FID
	peers   []*wire.Conn    // by position; nil: not reached
	boots   []vocab.Boot    // by position: under which what was written was taken
	seen    []vocab.Version // by position: what it said to be final when it was looked at to be repaired
	at      []int           // by projection: the position that gets it
	version vocab.Version   // the last that was given

	generation []uint32 // by position: of the distribution, under which it takes part
}

func (w *settler) run(ctx context.Context) error {
	if err := w.place(); err != nil {
		return err
	}
	blocks, err := w.unsettled(ctx)
	if err != nil {
		return err
	}
	if w.req.Torn {
		if blocks, err = w.torn(ctx, blocks); err != nil {
			return err
		}
	}
	size := uint64(w.coder.BlockBytes())
	end := (w.req.Size + size - 1) / size // blocks that stay
	if w.req.Size%size != 0 {
		blocks = with(blocks, end-1) // a truncation may have cut its tail in the writer's memory alone
	}
	within, _ := slices.BinarySearch(blocks, end)
	for run := range chunks(blocks[:within]) {
		if err := w.settleRun(ctx, run[0], len(run)); err != nil {
			return err
		}
	}
	if err := w.discard(ctx, end, 0); err != nil {
		return err
	}
	if err := w.each(ctx, w.at, w.sync); err != nil {
		return err
	}
	return w.each(ctx, w.reached(), w.final)
}

// torn adds to sorted blocks those of which a storage has a version as final that was never
// complete.
func (w *settler) torn(ctx context.Context, blocks []uint64) ([]uint64, error) {
	look := &repairer{settler: w, req: &wire.RepairRequest{SettleRequest: *w.req}, reply: &wire.RepairReply{}, final: w.req.Final}
	for from := uint64(0); ; {
		all, err := look.window(ctx, from)
		if err != nil {
			return nil, err
		}
		for b, answers := range all.blocks {
			v := look.newest(answers)
			if slices.ContainsFunc(answers, func(a block.Answer) bool { return look.isTorn(a, v, answers) }) {
				blocks = with(blocks, b)
			}
		}
		if all.next <= from {
			return blocks, nil
		}
		from = all.next
	}
}

// with inserts a block into sorted ones.
func with(blocks []uint64, b uint64) []uint64 {
	i, there := slices.BinarySearch(blocks, b)
	if there {
		return blocks
	}
	return slices.Insert(blocks, i, b)
}

// chunks splits sorted blocks into runs of consecutive ones.
func chunks(blocks []uint64) func(yield func([]uint64) bool) {
	return func(yield func([]uint64) bool) {
		for len(blocks) > 0 {
			n := 1
			for n < len(blocks) && n < settleRun && blocks[n] == blocks[0]+uint64(n) {
				n++
			}
			if !yield(blocks[:n]) {
				return
			}
			blocks = blocks[n:]
		}
	}
}

// dial connects to all storages of the file that can be reached. One that exportd says to be
// down is left alone: if it hangs each file would wait for it.
func (w *settler) dial(ctx context.Context) {
	var g errgroup.Group
	for p, a := range w.req.Storages {
		if a.Health == wire.HealthDown {
			continue
		}
		if w.peers[p] = w.s.peers.connected(a.Addr); w.peers[p] != nil {
			continue
		}
		g.Go(func() error {
			c, err := w.s.peers.connect(ctx, a.Addr)
			if err != nil {
				w.s.cfg.Log.Debug("a storage cannot be reached to settle a file", "storage", a.ID.String(), "addr", a.Addr, "err", err)
				return nil
			}
			w.peers[p] = c
			return nil
		})
	}
	_ = g.Wait() // none of them fails
}

// place gives each projection a storage: its home, or a spare.
func (w *settler) place() error {
	spare := len(w.at)
	for i := range w.at {
		w.at[i] = i
		if w.peers[i] != nil {
			continue
		}
		for spare < len(w.peers) && w.peers[spare] == nil {
			spare++
		}
		if spare == len(w.peers) {
			return vocab.Errorf(vocab.Unavailable, "fewer than %d of its storages can be reached", len(w.at))
		}
		w.at[i] = spare
		spare++
	}
	return nil
}

func (w *settler) reached() (all []int) {
	for p, c := range w.peers {
		if c != nil {
			all = append(all, p)
		}
	}
	return all
}

func (w *settler) fenced() (all []int) {
	for _, p := range w.req.Fenced {
		all = append(all, int(p))
	}
	return all
}

// each calls do for positions, side by side.
func (w *settler) each(ctx context.Context, positions []int, do func(ctx context.Context, position int) error) error {
	if len(positions) == 1 {
		return do(ctx, positions[0])
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range positions {
		g.Go(func() error { return do(ctx, p) })
	}
	return g.Wait()
}

func (w *settler) target(position int) wire.Target {
	a := &w.req.Storages[position]
	return wire.Target{ID: a.ID, Incarnation: a.Incarnation, Session: w.req.Session, Epoch: w.req.Epoch}
}

func (w *settler) runOf(position int, first uint64, count int) wire.Run {
	return wire.Run{FID: w.fid, Generation: w.generation[position], First: first, Count: uint32(count)}
}

func (w *settler) call(ctx context.Context, position int, op wire.Op, m wire.Message, bulk wire.Bulk, reply wire.Message) (*wire.Buffer, error) {
	c := w.peers[position]
	if c == nil {
		if bulk.Done != nil {
			bulk.Done()
		}
		return nil, vocab.Errorf(vocab.Unavailable, "storage %v at %s cannot be reached", w.req.Storages[position].ID, w.req.Storages[position].Addr)
	}
	ctx, cancel := context.WithTimeout(ctx, settleCall)
	defer cancel()
	buf, err := c.Call(ctx, op, m, bulk, reply)
	if err != nil {
		return nil, fmt.Errorf("storage %v: %v: %w", w.req.Storages[position].ID, op, err)
	}
	return buf, nil
}

// unsettled gathers the blocks that any fenced storage lists, sorted.
func (w *settler) unsettled(ctx context.Context) ([]uint64, error) {
	lists := make([][]uint64, len(w.peers))
	err := w.each(ctx, w.fenced(), func(ctx context.Context, p int) error {
		for from, more := uint64(0), true; more; {
			reply, err := w.unsettledAt(ctx, p, from)
			if err != nil {
				return err
			}
			for _, r := range reply.Ranges {
				for b := r.First; b < r.First+r.Count; b++ {
					lists[p] = append(lists[p], b)
				}
			}
			from, more = reply.Next, reply.Next > from
		}
		return nil
	})
	all := map[uint64]bool{}
	for _, list := range lists {
		for _, b := range list {
			all[b] = true
		}
	}
	return slices.Sorted(maps.Keys(all)), err
}

// unsettledAt asks one storage, which counts as one that cannot tell if its header is broken.
func (w *settler) unsettledAt(ctx context.Context, position int, from uint64) (reply wire.UnsettledReply, err error) {
	req := wire.BlocksRequest{Target: w.target(position), FID: w.fid, From: from}
	for formed := false; ; formed = true {
		buf, err := w.call(ctx, position, wire.OpUnsettled, &req, wire.Bulk{}, &reply)
		buf.Release()
		if formed || !errors.Is(err, vocab.Corrupt) {
			return reply, err
		}
		if err := w.formAnew(ctx, position); err != nil {
			return reply, err
		}
	}
}

// held is what a fenced storage says of a block: a version that it holds, with its slot.
type held struct {
	position int
	state    wire.SlotState
	h        wire.SlotHeader
	payload  []byte
}

// settleRun settles consecutive blocks.
func (w *settler) settleRun(ctx context.Context, first uint64, count int) error {
	found := make([][]held, len(w.peers)) // by position, then block
	err := w.each(ctx, w.fenced(), func(ctx context.Context, p int) (err error) {
		found[p], err = w.read(ctx, p, first, count, vocab.Version{})
		return err
	})
	if err != nil {
		return err
	}
	for i := range count {
		var all []held
		for _, p := range w.fenced() {
			all = append(all, found[p][i])
		}
		if err := w.settleBlock(ctx, first+uint64(i), all); err != nil {
			return err
		}
	}
	return nil
}

// read asks a storage for the newest versions of a run below a bound.
func (w *settler) read(ctx context.Context, position int, first uint64, count int, below vocab.Version) ([]held, error) {
	all, buf, err := w.fetch(ctx, position, first, count, below)
	for i := range all {
		all[i].payload = slices.Clone(all[i].payload)
	}
	buf.Release()
	return all, err
}

// fetch is read with the payloads in a buffer, which the caller releases.
func (w *settler) fetch(ctx context.Context, position int, first uint64, count int, below vocab.Version) ([]held, *wire.Buffer, error) {
	var reply wire.ReadReply
	req := wire.ReadRequest{Target: w.target(position), Run: w.runOf(position, first, count), Below: below}
	buf, err := w.call(ctx, position, wire.OpRead, &req, wire.Bulk{}, &reply)
	if err != nil {
		return nil, nil, err
	}
	all := make([]held, 0, count)
	var b []byte
	if buf != nil {
		b = buf.B
	}
	stride := wire.SlotHeaderBytes + int(reply.PayloadBytes)
	for _, piece := range reply.Pieces {
		for range piece.Count {
			x := held{position: position, state: piece.State}
			if piece.State == wire.SlotPresent {
				n := min(stride, len(b))
				x.h, x.payload, x.state = wire.ParseSlot(b[:n], w.fid, first+uint64(len(all)))
				if x.state == wire.SlotPresent && !w.coder.Valid(&x.h) {
					x.state = wire.SlotBroken
				}
				b = b[n:]
			}
			all = append(all, x)
		}
	}
	for len(all) < count {
		all = append(all, held{position: position})
	}
	return all[:count], buf, nil
}

// settleBlock chooses the newest version of which enough different projections are there,
// and writes it anew; if there is none the block was never acknowledged.
func (w *settler) settleBlock(ctx context.Context, b uint64, all []held) error {
	layout := w.req.Placement.Geometry.Layout
	k, need := int(layout.Inverse), layout.ReadQuorum()
	for {
		answers, answered := make([]block.Answer, 0, len(all)), 0
		var newest vocab.Version
		for _, x := range all {
			switch x.state {
			case wire.SlotPresent:
				answers = append(answers, block.Answer{State: block.Present, Projection: x.h.Projection, Version: x.h.Version})
				if x.h.Version.Compare(newest) > 0 {
					newest = x.h.Version
				}
				answered++
			case wire.SlotAbsent:
				answered++
			}
		}
		if answered < need {
			return vocab.Errorf(vocab.Corrupt, "block %d: only %d storages can tell what they have of it, of %d that must", b, answered, need)
		}
		if newest.Absent() {
			return w.discard(ctx, b, 1)
		}
		if block.Different(answers, newest) >= k {
			return w.write(ctx, b, newest, all)
		}
		for i, x := range all {
			if x.state != wire.SlotPresent || x.h.Version != newest {
				continue
			}
			older, err := w.read(ctx, x.position, b, 1, newest)
			if err != nil {
				return err
			}
			all[i] = older[0]
		}
	}
}

// next gives versions of the settler's own.
func (w *settler) next() vocab.Version {
	w.version.Counter++
	return w.version
}

// write writes the content of a version under a new one. What lies beyond the file's size
// is cut off.
func (w *settler) write(ctx context.Context, b uint64, v vocab.Version, all []held) error {
	payloads, used := make([][]byte, len(w.at)), 0
	for _, x := range all {
		if x.state == wire.SlotPresent && x.h.Version == v {
			payloads[x.h.Projection] = x.payload
			used = int(x.h.BlockBytes)
		}
	}
	data := make([]byte, w.coder.PaddedBytes(w.coder.BlockBytes()))
	if err := w.decode(data, payloads, used, make([]byte, w.coder.ScratchBytes()), b, v); err != nil {
		return err
	}
	if room := w.req.Size - b*uint64(w.coder.BlockBytes()); room < uint64(used) {
		clear(data[room:used])
		used = int(room)
	}
	id := block.Identity{FID: w.fid, Block: b, Version: w.next()}
	slots := make([][]byte, len(w.at))
	for i := range slots {
		slots[i] = make([]byte, w.coder.SlotBytes(i, used))
	}
	if err := w.coder.PutSlots(slots, make([][]byte, len(w.at)), id, data, used); err != nil {
		return vocab.Errorf(vocab.Internal, "block %d: %v", b, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	for i, p := range w.at {
		g.Go(func() error { return w.put(ctx, p, b, 1, wire.Bulk{Parts: slots[i : i+1]}, vocab.Version{}, false) })
	}
	return g.Wait()
}

// put writes the slots of consecutive blocks to a position, tells it what is final, and has it
// make them durable if sync is set.
func (w *settler) put(ctx context.Context, position int, first uint64, count int, slots wire.Bulk, final vocab.Version, sync bool) error {
	var reply wire.WriteReply
	req := wire.WriteRequest{
		Target: w.target(position), Run: w.runOf(position, first, count), PayloadBytes: uint32(w.coder.RoomAt(position)),
		Final: final, Seen: w.seen[position], Sync: sync,
	}
	buf, err := w.call(ctx, position, wire.OpWrite, &req, slots, &reply)
	buf.Release()
	return w.took(position, reply.Boot, err)
}

// decode rebuilds a version of a block into data.
func (w *settler) decode(data []byte, payloads [][]byte, used int, scratch []byte, b uint64, v vocab.Version) error {
	if err := w.coder.Rebuild(data, payloads, used, scratch); err != nil {
		return vocab.Errorf(vocab.Corrupt, "block %d, version %v: %v", b, v, err)
	}
	return nil
}

// took notes the boot under which a storage took something; another one later means that
// it may have lost it.
func (w *settler) took(position int, boot vocab.Boot, err error) error {
	if err != nil {
		return err
	}
	if w.boots[position] != 0 && w.boots[position] != boot {
		return vocab.Errorf(vocab.Unavailable, "storage %v has restarted", w.req.Storages[position].ID)
	}
	if w.boots[position] == 0 {
		w.boots[position] = boot
	}
	return nil
}

// discard discards blocks, or with count 0 all from first on.
func (w *settler) discard(ctx context.Context, first uint64, count int) error {
	v := w.next()
	return w.each(ctx, w.reached(), func(ctx context.Context, p int) error { return w.discardAt(ctx, p, first, count, v) })
}

func (w *settler) discardAt(ctx context.Context, position int, first uint64, count int, v vocab.Version) error {
	var reply wire.BootReply
	req := wire.DiscardRequest{Target: w.target(position), Run: w.runOf(position, first, count), Version: v}
	buf, err := w.call(ctx, position, wire.OpDiscard, &req, wire.Bulk{}, &reply)
	buf.Release()
	return w.took(position, reply.Boot, err)
}

func (w *settler) mark(ctx context.Context, position int, partial, join bool) error {
	req := wire.MarkRequest{
		Target: w.target(position), FID: w.fid, PayloadBytes: uint32(w.coder.RoomAt(position)),
		Generation: w.generation[position], Partial: partial, Join: join,
	}
	var reply wire.BootReply
	buf, err := w.call(ctx, position, wire.OpMark, &req, wire.Bulk{}, &reply)
	buf.Release()
	return w.took(position, reply.Boot, err)
}

// formAnew gives a file a header in place of one that is broken.
func (w *settler) formAnew(ctx context.Context, position int) error {
	w.s.cfg.Log.Warn("the header of a slot file is broken; it gets a new one", "storage", w.req.Storages[position].ID.String(), "fid", w.fid.String())
	return w.mark(ctx, position, true, false)
}

func (w *settler) sync(ctx context.Context, position int) error {
	req := wire.SyncRequest{Target: w.target(position), Boot: w.boots[position], FIDs: []vocab.FID{w.fid}}
	buf, err := w.call(ctx, position, wire.OpSync, &req, wire.Bulk{}, &wire.BootReply{})
	buf.Release()
	return err
}

func (w *settler) final(ctx context.Context, position int) error {
	req := wire.FinalRequest{Target: w.target(position), Files: []wire.FinalFile{{FID: w.fid, Final: w.version}}}
	buf, err := w.call(ctx, position, wire.OpFinal, &req, wire.Bulk{}, &wire.BootReply{})
	buf.Release()
	return err
}
