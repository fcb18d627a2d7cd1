package rozofs

import (
	"context"
	"errors"
	"slices"

	"github.com/rozofs-go/rozo/rozofs/block"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// hold makes sure that a lease of at least the kind is held and stays until
// letGo: a recall waits for it.
func (f *file) hold(ctx context.Context, who Caller, want wire.LeaseKind) error {
	for {
		if err := f.c.session.awaitLease(ctx); err != nil {
			return err
		}
		if err := f.waitFor(ctx, func() bool { return !f.recalling && !f.acquiring && f.lost == nil }); err != nil {
			return err
		}
		if f.lease.Kind >= want && f.known && f.c.session.good() {
			f.holders++
			f.mu.Unlock()
			return nil
		}
		f.acquiring = true
		f.mu.Unlock()
		if err := f.ask(ctx, who, want); err != nil {
			return err
		}
	}
}

// ask acquires a lease, and ends acquiring. The request goes on when its caller has given up:
// what exportd registers the client has to know of, or it would not give it back.
func (f *file) ask(ctx context.Context, who Caller, want wire.LeaseKind) error {
	done := make(chan error, 1)
	if !f.c.goes(func(ctx context.Context) {
		err := f.acquire(ctx, who, want)
		f.endAcquire()
		done <- err
	}) {
		f.endAcquire()
		return errClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *file) endAcquire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acquiring = false
	f.broadcast()
}

func (f *file) letGo() {
	f.mu.Lock()
	f.holders--
	lost := f.holders == 0 && f.lost != nil
	if lost {
		f.endLost()
	}
	if f.holders == 0 {
		f.broadcast()
	}
	f.mu.Unlock()
	if lost { // what a read brings to the cache now is old; its pages are locked until the read returns
		f.c.goes(func(context.Context) { f.c.invalidate(f.ino) })
	}
}

// endLost drops what calls have written after their lease was lost; mu is held. Part of it was
// made of what they had read before.
func (f *file) endLost() {
	if f.isUnsaved() {
		f.giveUpContent(f.lost)
	}
	f.attempts, f.lost = newAttempts(), nil
}

// acquire asks until the answer counts.
func (f *file) acquire(ctx context.Context, who Caller, want wire.LeaseKind) error {
	for {
		if err := f.waitFor(ctx, func() bool { return f.lost == nil }); err != nil {
			return err
		}
		f.mu.Unlock()
		round, conn := f.c.nameChanges.now(), f.c.connections.now()
		req := wire.OpenRequest{Ino: f.ino, Want: want, Patience: f.c.session.patience()}
		var reply wire.OpenReply
		if err := f.c.session.register(ctx, who, wire.OpOpen, &req, &reply); err != nil {
			return err
		}
		if counts, err := f.granted(&reply, round, conn); err != nil || counts {
			return err
		}
	}
}

// granted takes note of a lease and of the attributes that come with it. round and conn are
// the client's counters from before it asked. What was asked on an earlier connection counts
// for nothing: exportd may have answered before a restart, in which it forgot the open and a
// read lease, and the client did not claim them when it connected again. So the caller asks
// once more; so it does when a lease was lost on which others rely still.
func (f *file) granted(reply *wire.OpenReply, round, conn uint64) (counts bool, err error) {
	var coder *block.Coder
	if reply.Attr.IsRegular() {
		if coder, err = block.NewCoder(reply.Placement.Geometry); err != nil {
			return false, vocab.Errorf(vocab.Protocol, "file %d: %v", f.ino, err)
		}
		if n := len(reply.Placement.Distribution.SIDs); n != int(coder.Geometry.Layout.Safe) {
			return false, vocab.Errorf(vocab.Protocol, "file %d: distribution of %d storages, layout %v", f.ino, n, coder.Geometry.Layout)
		}
	}
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if conn != f.c.connections.now() || f.lost != nil {
		return false, nil
	}
	overtaken := f.c.overtaken(f.ino, reply.Lease.Epoch)
	// Another request has brought the same lease, and it was given up before this one was
	// answered.
	overtaken = overtaken || reply.Lease.Kind == wire.LeaseWrite && reply.Lease.Epoch <= f.gone
	f.known = true
	attr := reply.Attr
	still := f.uncommitted && f.lease.Kind == wire.LeaseWrite && reply.Lease.Epoch == f.lease.Epoch
	if still { // the lease was held all the while: size and times are ours
		attr.Size, attr.Mtime, attr.Ctime = f.attr.Size, f.attr.Mtime, max(attr.Ctime, f.attr.Ctime)
	}
	f.attr, f.attrRound, f.uncommitted = attr, round, still
	f.serverCtime = reply.Attr.Ctime
	if f.coder == nil || !samePlacement(&f.place, &reply.Placement) { // else readers under the old lease are using them
		f.place, f.coder = reply.Placement, coder
	}
	if reply.Lease.Epoch != f.lease.Epoch {
		f.counter, f.finality, f.degraded, f.torn, f.undone = 0, finality{}, false, false, nil
		if coder != nil {
			f.fresh = f.blocks(attr.Size)
		}
	}
	lease := reply.Lease
	if overtaken {
		lease.Kind = wire.LeaseNone
	}
	f.setLease(lease)
	return true, nil
}

func samePlacement(a, b *vocab.Placement) bool {
	x, y := &a.Distribution, &b.Distribution
	return a.FID == b.FID && a.Geometry == b.Geometry && x.CID == y.CID && x.Generation == y.Generation && slices.Equal(x.SIDs, y.SIDs)
}

// setLease takes note of the lease that is held from now on; mu is held.
func (f *file) setLease(l wire.Lease) {
	if f.lease.Kind == wire.LeaseWrite && (l.Kind < wire.LeaseWrite || l.Epoch != f.lease.Epoch) {
		f.c.given.add()
		f.given = f.c.given.now()
		f.gone = max(f.gone, f.lease.Epoch)
	}
	f.lease = l
}

// overtaken tells whether the lease was recalled before its grant was read; mu is
// held until the grant is entered, so that tryRecall sees one or the other. More
// than one reply may name the same lease, so the recall is remembered until a
// newer lease comes.
func (c *Client) overtaken(ino vocab.Ino, epoch vocab.Epoch) bool {
	if c.recalled[ino] >= epoch {
		return true
	}
	delete(c.recalled, ino)
	return false
}

// connecting is called when the handlers of the last connection have ended and before anything
// is asked on the next. Grants of the last are void from here on, so its recalls are forgotten:
// exportd may not have had the answer, and then has the lease still, for this client to use or
// to be recalled again.
func (c *Client) connecting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connections.add()
	clear(c.recalled)
}

// maxRecalled bounds the recalls that are remembered.
const maxRecalled = 1 << 16

// rememberRecall is called with mu held. Of too many, those of grants long past
// are forgotten: each grant has an epoch of its own, so that is half of them.
func (c *Client) rememberRecall(ino vocab.Ino, epoch vocab.Epoch) {
	if len(c.recalled) >= maxRecalled {
		for old, e := range c.recalled {
			if e+maxRecalled/2 < epoch {
				delete(c.recalled, old)
			}
		}
	}
	c.recalled[ino] = max(c.recalled[ino], epoch)
}

// recall gives up a lease because another session needs the file.
func (c *Client) recall(ctx context.Context, m wire.RecallRequest) error {
	f, err := c.beginRecall(ctx, m.Ino, m.Epoch)
	if err != nil {
		return err
	}
	if f == nil {
		item := wire.ReleaseItem{Commit: wire.Commit{Ino: m.Ino, Epoch: m.Epoch}}
		return c.release(ctx, item)
	}
	if err := f.saveForRecall(ctx); err != nil {
		f.endRecall()
		return err // the connection ended: exportd asks again
	}
	f.mu.Lock()
	item := f.releaseItem(min(m.Keep, f.lease.Kind))
	if f.lease.Epoch < m.Epoch { // nothing is kept: the grant is void here, so it must be there
		item.Epoch, item.Keep = m.Epoch, wire.LeaseNone
	}
	f.giving = true
	f.mu.Unlock()
	done := make(chan error, 1)
	if !c.goes(func(ctx context.Context) { done <- c.giveUp(ctx, f, item) }) {
		f.endRecall()
		return errClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// saveForRecall waits until nobody uses the lease and makes durable what was written under it.
func (f *file) saveForRecall(ctx context.Context) error {
	if err := f.waitFor(ctx, func() bool { return f.holders == 0 }); err != nil {
		return err
	}
	kind := f.lease.Kind
	f.mu.Unlock()
	if kind != wire.LeaseWrite {
		return nil
	}
	if err := f.persist(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		f.c.log.Error("a file's data could not be saved before its lease was recalled", "ino", uint64(f.ino), "err", err)
		if err := f.abandonAll(ctx, err); err != nil {
			return err
		}
	}
	f.c.tellFinal([]*file{f})
	return nil
}

// giveUp releases the lease and ends the recall. It outlives the connection on which the
// recall came: until exportd has answered nobody knows whether the lease is still there, so
// it is not used.
func (c *Client) giveUp(ctx context.Context, f *file, item wire.ReleaseItem) error {
	err := c.release(ctx, item)
	if err == nil {
		f.mu.Lock()
		if f.lease.Epoch <= item.Epoch { // no newer grant has come in meanwhile
			f.setLease(wire.Lease{Kind: min(item.Keep, f.lease.Kind), Epoch: item.Epoch})
			f.uncommitted = false
		}
		f.mu.Unlock()
		c.invalidate(f.ino)
	}
	f.endRelease(err)
	return err
}

// endRelease ends the recall whose release has ended. If exportd has not answered it may have
// given the lease to another mount, or may yet: the recall ends when exportd has said so, on
// another connection, where nothing of this one arrives any more.
func (f *file) endRelease(err error) {
	f.mu.Lock()
	f.unsure = f.giving && errors.Is(err, vocab.Unavailable)
	unsure := f.unsure
	if !unsure {
		f.giving = false
	}
	f.mu.Unlock()
	if unsure {
		f.c.session.reconnect()
	} else {
		f.endRecall()
	}
}

// endUnsure ends a recall whose release was not answered.
func (f *file) endUnsure() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unsure {
		f.unsure, f.giving, f.recalling = false, false, false
		f.broadcast()
	}
}

// beginRecall blocks new use of the file and returns it. It returns nil if no lease
// is held here: the one named was given up already, or its grant is still on
// its way, which then finds it recalled. It waits no longer than the connection lasts: who
// is giving up the file now may wait for the next one, which is not there before this
// recall has ended.
func (c *Client) beginRecall(ctx context.Context, ino vocab.Ino, epoch vocab.Epoch) (*file, error) {
	for {
		f, changed := c.tryRecall(ino, epoch)
		if changed == nil {
			return f, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryRecall is one attempt of beginRecall. The channel, if any, tells when to try
// again: one recall at a time, the other ends by its own context. A newer lease than the one
// held has taken its place at exportd, so its recall is that of both.
func (c *Client) tryRecall(ino vocab.Ino, epoch vocab.Epoch) (*file, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.files[ino]
	if f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.recalling {
			return nil, f.changed
		}
	}
	if f == nil || f.lease.Kind == wire.LeaseNone || f.lease.Epoch < epoch {
		c.rememberRecall(ino, epoch)
	}
	if f == nil || f.lease.Kind == wire.LeaseNone {
		return nil, nil
	}
	f.recalling = true
	return f, nil
}

func (f *file) endRecall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recalling = false
	f.broadcast()
}

// releaseItem is called with mu held.
func (f *file) releaseItem(keep wire.LeaseKind) wire.ReleaseItem {
	torn := f.torn && f.lease.Kind == wire.LeaseWrite
	if torn {
		keep = wire.LeaseNone
	}
	return wire.ReleaseItem{
		Commit:  wire.Commit{Ino: f.ino, Epoch: f.lease.Epoch, Size: f.attr.Size, Mtime: f.attr.Mtime, Degraded: f.degraded},
		Changed: f.uncommitted && f.lease.Kind == wire.LeaseWrite,
		Torn:    torn,
		Keep:    keep,
	}
}

func (c *Client) release(ctx context.Context, items ...wire.ReleaseItem) error {
	req := wire.ReleaseRequest{Items: items}
	return c.session.change(ctx, Caller{}, wire.OpRelease, &req, &wire.Empty{})
}

// reclaimed takes what exportd says of what this file held. A read lease is granted anew by
// one that was restarted, and its recall may have overtaken that, as in granted. A lease that
// is more than was held comes from a grant whose answer was lost: it is not entered, since the
// attributes that this client knows are older.
func (f *file) reclaimed(held wire.Held, granted wire.Lease) {
	defer f.endUnsure()
	if held.Lease.Kind == wire.LeaseWrite && granted.Kind < wire.LeaseWrite && !f.gave() {
		f.lose(vocab.Errorf(vocab.Stale, "exportd gave the write lease to another mount"))
		return
	}
	if granted.Kind > held.Lease.Kind {
		return
	}
	f.c.mu.Lock()
	f.mu.Lock()
	if granted.Kind != wire.LeaseNone && f.c.overtaken(f.ino, granted.Epoch) {
		granted.Kind = wire.LeaseNone
	}
	f.setLease(granted)
	f.mu.Unlock()
	f.c.mu.Unlock()
	if granted.Kind < held.Lease.Kind {
		f.c.invalidate(f.ino)
	}
}

// gave tells whether a release of the lease is under way that exportd has got already:
// then it has the size too, and nothing is lost.
func (f *file) gave() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.giving {
		f.uncommitted = false
	}
	return f.giving
}

// lose forgets the lease and what was not durable under it. The calls that rely on it end
// with an error, at the latest when they make durable what they have written.
func (f *file) lose(why error) {
	defer f.endUnsure()
	f.mu.Lock()
	unsaved := f.lease.Kind == wire.LeaseWrite && f.isUnsaved()
	f.setLease(wire.Lease{})
	f.known = false
	if unsaved {
		f.giveUpContent(why)
	}
	f.attempts.stop(why)
	if f.lost = why; f.holders == 0 {
		f.endLost()
	}
	f.broadcast()
	f.mu.Unlock()
	f.c.invalidate(f.ino)
}

// isUnsaved is called with mu held.
func (f *file) isUnsaved() bool { return len(f.pages) > 0 || len(f.undone) > 0 || f.uncommitted }

// abandon drops pages that cannot be saved and leaves the error for the caller.
func (f *file) abandon(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.giveUpContent(why)
	f.broadcast()
}

// giveUpContent is abandon with mu held.
func (f *file) giveUpContent(why error) {
	for b := range f.pages {
		f.dropPage(b)
	}
	f.runs, f.undone, f.uncommitted = nil, nil, false
	f.finality.lost, f.torn = true, true
	if !errors.Is(f.failure, why) {
		f.failure = errors.Join(f.failure, why)
	}
}

// abandonAll is abandon under a lease that is there still: when it returns without an error
// nothing is on its way to a storage but what a fence of the lease stops.
func (f *file) abandonAll(ctx context.Context, why error) error {
	f.abandon(why)
	return f.stopAttempts(ctx, why)
}

// beginSizing waits for its turn to tell exportd the size, until endSizing: what tells an
// older one must not come later.
func (f *file) beginSizing(ctx context.Context) error {
	if err := f.waitFor(ctx, func() bool { return !f.sizing }); err != nil {
		return err
	}
	f.sizing = true
	f.mu.Unlock()
	return nil
}

func (f *file) endSizing() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sizing = false
	f.broadcast()
}

// commit tells exportd the size and time of writing, if they changed.
func (f *file) commit(ctx context.Context) error {
	if err := f.beginSizing(ctx); err != nil {
		return err
	}
	defer f.endSizing()
	f.mu.Lock()
	if err := f.lost; err != nil {
		f.mu.Unlock()
		return err
	}
	if !f.uncommitted || f.lease.Kind != wire.LeaseWrite {
		f.mu.Unlock()
		return nil
	}
	req := wire.CommitRequest{Commit: wire.Commit{Ino: f.ino, Epoch: f.lease.Epoch, Size: f.attr.Size, Mtime: f.attr.Mtime, Degraded: f.degraded}}
	f.mu.Unlock()
	var reply wire.AttrReply
	if err := f.c.session.change(ctx, Caller{}, wire.OpCommit, &req, &reply); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attr.Size == req.Size && f.attr.Mtime == req.Mtime {
		f.uncommitted = false
		f.attr.Ctime = max(f.attr.Ctime, reply.Attr.Ctime)
		f.serverCtime = max(f.serverCtime, reply.Attr.Ctime)
	}
	return nil
}
