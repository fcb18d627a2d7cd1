package storaged

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/rozofs-go/rozo/rozofs/block"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	repairSpan  = 20 * time.Second // after which a request ends, to be gone on with
	repairBurst = 1 << 20          // bytes that may go beyond a rate
	repairSync  = 64 << 20         // bytes written before they are synced: no sync takes long
	finalRounds = 4                // attempts to see what does not change meanwhile
)

// repair serves OpRepair (docs/design/0002-versions-journal-recovery.md).
func (s *Server) repair(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
	var req wire.RepairRequest
	if err := r.Decode(&req); err != nil {
		return nil, wire.Bulk{}, err
	}
	reply := &req.SoFar
	reply.Boot, reply.Next = s.boot, 0
	err := s.settling(ctx, r, s.repairs, &req.SettleRequest, req.Joining, func(w *settler) error {
		p := &repairer{settler: w, req: &req, reply: reply, wrote: make([]bool, len(w.peers)), final: req.Final}
		if req.Rate > 0 {
			p.pace = rate.NewLimiter(rate.Limit(req.Rate), repairBurst)
		}
		for _, at := range req.Joining {
			w.generation[at] = max(req.Generation, w.generation[at])
		}
		return p.run(ctx)
	})
	return reply, wire.Bulk{}, err
}

// repairer brings the final blocks of one file home.
type repairer struct {
	*settler
	req   *wire.RepairRequest
	reply *wire.RepairReply
	pace  *rate.Limiter // nil: as fast as it goes
	wrote []bool        // by position: to be synced
	owed  int           // bytes written since the last sync
	final vocab.Version // up to which all is known to be final

	verify bool // payloads are checked, not headers alone
}

func (w *repairer) run(ctx context.Context) error {
	layout := w.coder.Geometry.Layout
	w.at = w.at[:0]
	for i := range int(layout.Forward) {
		if w.peers[i] != nil {
			w.at = append(w.at, i)
		}
	}
	for p, c := range w.peers {
		if c == nil {
			w.reply.Missing |= 1 << p
		}
	}
	if need := layout.ReadQuorum(); len(w.reached()) < need {
		return vocab.Errorf(vocab.Unavailable, "%d of its storages can be reached, %d are needed", len(w.reached()), need)
	}
	if err := w.join(ctx); err != nil {
		return err
	}
	var last *window
	for from, began := w.req.From, time.Now(); ; {
		all, err := w.pass(ctx, from)
		if err != nil {
			return err
		}
		last = all
		if from == 0 {
			w.reply.Marked = all.marked
		}
		if all.next <= from {
			break
		}
		if from = all.next; time.Since(began) > repairSpan {
			w.reply.Next = from
			break
		}
	}
	if err := w.syncWrote(ctx); err != nil {
		return err
	}
	return w.finish(ctx, last)
}

// pass repairs the blocks from one on that are looked at together. When discards were
// forgotten after it had looked it looks again, and closer when what headers promise has
// rotted: then others may have enough.
func (w *repairer) pass(ctx context.Context, from uint64) (*window, error) {
	w.verify = w.req.Verify
	for round := 1; ; round++ {
		before := *w.reply
		all, err := w.window(ctx, from)
		if err == nil {
			err = w.repairWindow(ctx, all)
		}
		rotten := errors.Is(err, vocab.Corrupt) && !w.verify
		if !rotten && (round == finalRounds || !errors.Is(err, vocab.Busy)) {
			return all, err
		}
		w.verify = w.verify || rotten
		before.Written = w.reply.Written
		*w.reply = before
	}
}

// join has the storages that are new in the distribution forget what they have of the file
// from an earlier membership.
func (w *repairer) join(ctx context.Context) error {
	if w.req.From > 0 {
		return nil
	}
	for _, p := range w.req.Joining {
		if err := w.mark(ctx, int(p), true, true); err != nil {
			return err
		}
	}
	return nil
}

// finish tells the storages what is final and, when they have all that those who can tell
// show, that they are whole.
func (w *repairer) finish(ctx context.Context, last *window) error {
	if w.reply.Torn > 0 {
		return nil // what is torn must not pass for final
	}
	w.version = w.final
	behind := slices.DeleteFunc(w.reached(), func(p int) bool {
		return last.told[p].Compare(w.final) >= 0 || last.condition[p] == wire.FileAbsent
	})
	if err := w.each(ctx, behind, w.settler.final); err != nil {
		return err
	}
	telling, need := 0, w.excluding()
	for _, p := range w.reached() {
		if last.condition[p] != wire.FilePartial {
			telling++
		}
	}
	switch {
	case w.reply.Next > 0 || w.reply.Lost+w.reply.Busy > 0:
		return nil
	case telling < need && len(w.req.Joining) > 0:
		return fewTell(telling, need)
	case telling < need:
		return nil
	}
	// Not where it was not there for an earlier request, or was marked since: what it had of the
	// blocks that were looked at before may be gone.
	marked := w.reply.Marked & last.marked &^ w.reply.Missing
	for p := range w.peers {
		if marked>>p&1 == 0 {
			continue
		}
		if err := w.mark(ctx, p, false, false); err != nil {
			return err
		}
		w.reply.Marked &^= 1 << p
	}
	return nil
}

// syncWrote makes durable what was written.
func (w *repairer) syncWrote(ctx context.Context) error {
	var positions []int
	for p, wrote := range w.wrote {
		if wrote {
			positions = append(positions, p)
		}
	}
	w.owed = 0
	clear(w.wrote)
	return w.each(ctx, positions, w.sync)
}

// window is what the storages have of some blocks.
type window struct {
	next      uint64 // where the next one begins, or below this one's first: there is none
	told      []vocab.Version
	condition []wire.FileCondition      // by position
	marked    uint32                    // bits of positions: the file itself is partial there
	blocks    map[uint64][]block.Answer // final versions, by position; Silent: it cannot tell
	newer     map[uint64][]block.Answer // versions that are not final; Absent: a discard
	broken    map[uint64]uint32         // bits of positions: it has something that failed a check
}

// window asks all storages that can be reached, until what they list as final is up to the
// same version.
func (w *repairer) window(ctx context.Context, first uint64) (*window, error) {
	mine := vocab.Version{Epoch: w.req.Epoch, Counter: ^uint64(0)} // nothing above it can be written here
	for range finalRounds {
		replies, err := w.versions(ctx, first)
		if err != nil {
			return nil, err
		}
		final := w.final
		for _, r := range replies {
			if r.Final.Compare(final) > 0 && r.Final.Compare(mine) <= 0 {
				final = r.Final
			}
		}
		if final == w.final {
			for p, r := range replies {
				w.seen[p] = r.Final
				if r.Final.Compare(final) > 0 {
					w.seen[p] = final // the rest is not for this repair to judge
				}
			}
			return w.gather(first, replies), nil
		}
		w.final = final
	}
	return nil, vocab.Errorf(vocab.Busy, "it is written so fast that its storages do not agree on what is final")
}

func (w *repairer) versions(ctx context.Context, first uint64) ([]wire.VersionsReply, error) {
	replies := make([]wire.VersionsReply, len(w.peers))
	ask := func(ctx context.Context, p int) error {
		req := wire.BlocksRequest{Target: w.target(p), FID: w.fid, From: first, Final: w.final, Verify: w.verify}
		replies[p] = wire.VersionsReply{}
		buf, err := w.call(ctx, p, wire.OpVersions, &req, wire.Bulk{}, &replies[p])
		buf.Release()
		return w.took(p, replies[p].Boot, err)
	}
	err := w.each(ctx, w.reached(), func(ctx context.Context, p int) error {
		if err := ask(ctx, p); err != nil || replies[p].Condition != wire.FileBroken {
			return err
		}
		if err := w.formAnew(ctx, p); err != nil {
			return err
		}
		if first > 0 { // what it had of the blocks before may be gone
			return vocab.Errorf(vocab.Unavailable, "storage %v has lost the header of its slot file: the repair has to begin anew", w.req.Storages[p].ID)
		}
		return ask(ctx, p)
	})
	return replies, err
}

func (w *repairer) gather(first uint64, replies []wire.VersionsReply) *window {
	all := &window{blocks: map[uint64][]block.Answer{}, newer: map[uint64][]block.Answer{}, broken: map[uint64]uint32{}}
	for p, r := range replies {
		all.told = append(all.told, r.Final)
		all.condition = append(all.condition, r.Condition)
		if r.Marked {
			all.marked |= 1 << p
		}
		if r.Next > first && (all.next == 0 || r.Next < all.next) {
			all.next = r.Next
		}
	}
	for p, r := range replies {
		for _, b := range r.Blocks {
			into := all.blocks
			if b.Version.Compare(w.final) > 0 || b.Projection == wire.Discarded {
				into = all.newer
			}
			if all.next > 0 && b.Block >= all.next {
				continue // others come to it later
			}
			if into[b.Block] == nil {
				into[b.Block] = w.absent(all.condition)
			}
			a := block.Answer{State: block.Present, Projection: b.Projection, Version: b.Version}
			switch {
			case b.Version.Absent():
				a = block.Answer{State: block.Silent}
				all.broken[b.Block] |= 1 << p
			case b.Projection == wire.Discarded:
				a = block.Answer{State: block.Absent, Version: b.Version}
			}
			into[b.Block][p] = a
		}
	}
	return all
}

// absent is what the storages say of a block of which none has anything.
func (w *repairer) absent(condition []wire.FileCondition) []block.Answer {
	answers := make([]block.Answer, len(w.peers))
	for p, c := range condition {
		if c != wire.FilePartial && w.peers[p] != nil {
			answers[p].State = block.Absent
		}
	}
	return answers
}

// superfluous is what is to be discarded once the homes have all, durably: a home may have
// something that it took late and that nobody has synced.
type superfluous struct {
	position int
	first    uint64
	count    int
}

// repairWindow brings home what is final, and counts what is wrong.
func (w *repairer) repairWindow(ctx context.Context, all *window) error {
	var jobs []job
	var spare []superfluous
	checked := w.reply.Checked
	for _, b := range slices.Sorted(maps.Keys(all.blocks)) {
		answers, broken := all.blocks[b], all.broken[b]
		v := w.newest(answers)
		j := w.examine(b, v, answers, broken)
		if err := w.leaveUnknown(&j, answers, all); err != nil {
			return err
		}
		jobs = w.addJob(jobs, j)
		for p, a := range answers {
			if w.isSuperfluous(p, v, answers) && (a.State == block.Present || isBroken(broken, p)) {
				spare = addSuperfluous(spare, p, b)
			}
		}
	}
	if w.req.Verify {
		if err := w.slow(ctx, int(w.reply.Checked-checked)); err != nil {
			return err
		}
	}
	for b, answers := range all.newer {
		if w.isBusy(answers, all.blocks[b]) {
			w.reply.Busy++
		}
	}
	if err := w.do(ctx, jobs, all.next == 0); err != nil {
		return err
	}
	for _, j := range jobs {
		for _, i := range j.lacking {
			all.told[i] = w.final // with what it got
		}
	}
	return w.discardSpares(ctx, spare)
}

// leaveUnknown keeps a version from storages that cannot tell what they lack, as long as there
// may be a newer one which they had. With an older one they would say that they have not: k
// storages would be found that agree on it, and none of them took part in the last write.
func (w *repairer) leaveUnknown(j *job, answers []block.Answer, all *window) error {
	if len(j.what) == 0 {
		return nil
	}
	partial := func(p int) bool { return all.condition[p] == wire.FilePartial }
	older := 0
	for p, a := range answers {
		if a.State != block.Silent && !partial(p) && a.Version.Compare(j.what[0]) <= 0 {
			older++
		}
	}
	if need := w.excluding(); older < need && slices.ContainsFunc(w.reached(), partial) {
		return fewTell(older, need)
	}
	if all.newer[j.first] != nil {
		j.lacking = slices.DeleteFunc(j.lacking, partial)
	}
	return nil
}

// excluding is how many storages that have nothing newer than a version exclude that a newer one
// was acknowledged: that is on n of s.
func (w *repairer) excluding() int {
	l := w.coder.Geometry.Layout
	return int(l.Safe) - int(l.Forward) + 1
}

func fewTell(telling, need int) error {
	return vocab.Errorf(vocab.Unavailable, "%d of its storages can tell what they lack, %d are needed", telling, need)
}

// newest is the newest version of which enough different projections are there.
func (w *repairer) newest(answers []block.Answer) (v vocab.Version) {
	k := int(w.coder.Geometry.Layout.Inverse)
	for _, a := range answers {
		if a.State == block.Present && a.Version.Compare(v) > 0 && block.Different(answers, a.Version) >= k {
			v = a.Version
		}
	}
	return v
}

// examine says what is to be done about a block, and counts.
func (w *repairer) examine(b uint64, v vocab.Version, answers []block.Answer, broken uint32) job {
	for p, a := range answers {
		if a.State == block.Present {
			w.reply.Checked += uint64(wire.SlotHeaderBytes + w.coder.RoomAt(p))
		}
	}
	w.reply.Broken += uint64(bits.OnesCount32(broken))
	if v.Absent() {
		if w.mayBeAcknowledged(answers) {
			w.reply.Lost++
		}
		return job{}
	}
	j, torn := job{first: b, what: []vocab.Version{v}}, false
	for _, i := range w.at {
		a := answers[i]
		switch {
		case w.isTorn(a, v, answers):
			torn = true
			continue
		case a.State == block.Present && (a.Version.Compare(v) > 0 || a.Version == v && int(a.Projection) == i):
			continue
		case !isBroken(broken, i):
			w.reply.Lacking++
		}
		j.lacking = append(j.lacking, i)
	}
	if torn {
		w.reply.Torn++
	}
	seen := map[uint8]bool{}
	for p, a := range answers {
		if a.State == block.Present && a.Version == v && !seen[a.Projection] && len(j.sources) < int(w.coder.Geometry.Layout.Inverse) {
			seen[a.Projection] = true
			j.sources = append(j.sources, p)
		}
	}
	return j
}

func isBroken(broken uint32, position int) bool { return broken>>position&1 == 1 }

// mayBeAcknowledged tells whether so many storages have a version of a block, or cannot tell
// whether they have, that somebody may have been told it is safe. While a storage joins, the
// one whose place it takes is not asked: it may have what another has lost.
func (w *repairer) mayBeAcknowledged(answers []block.Answer) bool {
	most := 0
	for _, a := range answers {
		if a.State == block.Present {
			most = max(most, block.Different(answers, a.Version))
		}
	}
	return most+silent(answers) >= int(w.coder.Geometry.Layout.Forward) || most > 0 && len(w.req.Joining) > 0
}

// silent counts the storages that cannot tell what they have.
func silent(answers []block.Answer) (n int) {
	for _, a := range answers {
		if a.State == block.Silent {
			n++
		}
	}
	return n
}

// isTorn tells whether what a home has of a block is newer than version v, which most have, and
// was never complete: the storage was away when the file was settled, or got it later still. It
// cannot get the projection of an older version.
func (w *repairer) isTorn(a block.Answer, v vocab.Version, answers []block.Answer) bool {
	if a.State != block.Present || a.Version.Compare(v) <= 0 || w.reply.Missing != 0 {
		return false
	}
	return block.Different(answers, a.Version)+silent(answers) < int(w.coder.Geometry.Layout.Forward)
}

// isSuperfluous tells whether what a storage has of a block can go when the homes have
// version v, or if there is none. While a storage joins nothing can: the move may be given up,
// and then the one whose place it takes is a home and may lack what a spare has.
func (w *repairer) isSuperfluous(position int, v vocab.Version, answers []block.Answer) bool {
	switch {
	case w.reply.Missing != 0 || len(w.req.Joining) > 0:
		return false
	case v.Absent():
		return !w.mayBeAcknowledged(answers)
	}
	return position >= int(w.coder.Geometry.Layout.Forward)
}

// isBusy tells whether a version that is not final has yet to reach homes, or a discard also
// others that have something final, of which nil tells nothing.
func (w *repairer) isBusy(answers, final []block.Answer) bool {
	var newest block.Answer
	for _, a := range answers {
		if a.Version.Compare(newest.Version) > 0 {
			newest = a
		}
	}
	for p, a := range answers {
		switch {
		case newest.State == block.Absent && p < len(final) && final[p].State == block.Present && a.Version != newest.Version,
			p < int(w.coder.Geometry.Layout.Forward) && (a.Version != newest.Version || a.State == block.Present && int(a.Projection) != p):
			return true
		}
	}
	return false
}

func addSuperfluous(all []superfluous, position int, b uint64) []superfluous {
	for i := range all {
		if x := &all[i]; x.position == position && x.first+uint64(x.count) == b && x.count < wire.MaxRunBlocks {
			x.count++
			return all
		}
	}
	return append(all, superfluous{position, b, 1})
}

// discardSpares discards what is superfluous, after all homes have synced.
func (w *repairer) discardSpares(ctx context.Context, all []superfluous) error {
	if len(all) == 0 || w.final.Absent() {
		return nil
	}
	if err := w.each(ctx, w.at, w.sync); err != nil {
		return err
	}
	for _, x := range all {
		if err := w.discardAt(ctx, x.position, x.first, x.count, w.final); err != nil {
			return err
		}
	}
	return nil
}

// slow waits until n more bytes may be moved.
func (w *repairer) slow(ctx context.Context, n int) error {
	for ; n > 0 && w.pace != nil; n -= repairBurst {
		if err := w.pace.WaitN(ctx, min(n, repairBurst)); err != nil {
			return fmt.Errorf("wait for the rate: %w", err)
		}
	}
	return nil
}
