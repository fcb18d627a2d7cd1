package rozofs

import (
	"context"
	"errors"
	"time"

	"github.com/rozofs-go/rozo/rozofs/wire"
)

const (
	tidyInterval  = 250 * time.Millisecond
	idleRounds    = 2    // rounds that a closed file stays open at exportd
	saveRounds    = 8    // rounds between two savings of what is written
	maxIdle       = 1024 // closed files kept; more are retired at once
	maxRetireOnce = 2048
	tidyPatience  = 2 * time.Second // for files to become durable, before others have their turn
)

// tidy saves, now and then, what was written, so that little must be written
// again when a storage restarts, and gives up files that nobody uses.
func (c *Client) tidy(ctx context.Context) {
	tick := time.NewTicker(tidyInterval)
	defer tick.Stop()
	for {
		save := false
		select {
		case <-ctx.Done():
			return
		case <-c.soon:
			save = true
		case <-tick.C:
		}
		c.mu.Lock()
		c.tidyRound++
		round := c.tidyRound
		c.mu.Unlock()
		if save || round%saveRounds == 0 {
			c.saveOpen(ctx)
		}
		if err := c.retire(ctx, c.idle(round), tidyPatience); err != nil && ctx.Err() == nil {
			c.log.Warn("closed files could not be given up yet", "err", err)
		}
	}
}

// tidySoon makes tidy save now: the write buffer is filling up.
func (c *Client) tidySoon() {
	select {
	case c.soon <- struct{}{}:
	default:
	}
}

// saveOpen makes durable what complete runs there are. It holds no lease: under
// one that was lost the storages refuse.
func (c *Client) saveOpen(ctx context.Context) {
	defer func() { c.tellFinal(c.allFiles()) }()
	var files []*file
	for _, f := range c.allFiles() {
		f.mu.Lock()
		if len(f.runs) > 0 && !f.recalling {
			files = append(files, f)
		}
		f.mu.Unlock()
	}
	if len(files) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tidyPatience)
	defer cancel()
	if err := c.saveRuns(ctx, files); err != nil && c.ctx.Err() == nil {
		c.log.Warn("written data could not be made durable yet", "err", err)
	}
}

// idle lists files that were closed a while ago.
func (c *Client) idle(round int) []*file {
	c.mu.Lock()
	defer c.mu.Unlock()
	var idle []*file
	for _, f := range c.files {
		if f.refs == 0 && (round-f.used >= idleRounds || len(c.files) > maxIdle) {
			idle = append(idle, f)
			if len(idle) == maxRetireOnce {
				break
			}
		}
	}
	return idle
}

// retire makes the files durable and gives up their leases. Those that are durable
// already go first: whoever wants to use them again does not wait for the others.
func (c *Client) retire(ctx context.Context, files []*file, patience time.Duration) error {
	var clean, rest []*file
	for _, f := range files {
		switch {
		case !f.beginRetire():
		case f.isClean():
			clean = append(clean, f)
		default:
			rest = append(rest, f)
		}
	}
	err := c.giveUpAll(ctx, clean)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return errors.Join(err, c.saveAndGiveUp(ctx, rest))
}

// saveAndGiveUp gives up those of the files that can be made durable before ctx ends.
func (c *Client) saveAndGiveUp(ctx context.Context, files []*file) error {
	var (
		errs        []error
		sent, saved []*file
	)
	for _, f := range files {
		if err := f.sendDirty(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	for _, f := range files {
		if err := f.drain(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		sent = append(sent, f)
	}
	if err := c.saveRuns(ctx, sent); err != nil {
		errs = append(errs, err)
	}
	for _, f := range files {
		if !f.isClean() && c.isUnlinked(ctx, f) { // nobody can read it any more
			if err := f.abandonAll(ctx, nil); err != nil {
				errs = append(errs, err)
			}
		}
		if f.isClean() {
			saved = append(saved, f)
		} else {
			f.endRecall()
		}
	}
	if len(saved) == len(files) {
		errs = nil
	}
	return joinErrors(append(errs, c.giveUpAll(ctx, saved)))
}

// isUnlinked tells whether a file that is not open here has no name any more. While the write
// lease is held only this client can take that away, so it asks when it has changed names since
// it knew; and at the end, in case exportd has done so after a call was given up.
func (c *Client) isUnlinked(ctx context.Context, f *file) bool {
	round, given := c.nameChanges.now(), c.given.now()
	c.mu.Lock()
	open, closing := f.refs > 0, c.closing
	c.mu.Unlock()
	if open {
		return false
	}
	f.mu.Lock()
	known, links := f.lease.Kind == wire.LeaseWrite && f.attrRound == round, f.attr.Nlink
	f.mu.Unlock()
	if known && !closing {
		return links == 0
	}
	var reply wire.AttrReply
	if c.session.call(ctx, wire.OpGetAttr, &wire.InoRequest{Ino: f.ino}, &reply) != nil {
		return false
	}
	c.overlay(reply.Attr, round, given)
	return reply.Attr.Nlink == 0
}

// isClean tells whether all that was written to the file is durable.
func (f *file) isClean() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dirty == 0 && f.inFlight == 0 && len(f.runs) == 0
}

// giveUpAll gives up the leases of files that are being retired, with one request, and
// ends that.
func (c *Client) giveUpAll(ctx context.Context, files []*file) error {
	var items []wire.ReleaseItem
	c.tellFinal(files)
	for _, f := range files {
		f.mu.Lock()
		if f.known || f.lease.Kind != wire.LeaseNone {
			item := f.releaseItem(wire.LeaseNone)
			item.Close = true
			items = append(items, item)
			f.giving = true
		}
		f.mu.Unlock()
	}
	var err error
	if len(items) > 0 {
		err = c.release(ctx, items...)
	}
	for _, f := range files {
		if err == nil {
			c.retired(f)
		}
		f.endRelease(err)
	}
	return err
}

// beginRetire blocks new use of the file, if nobody uses it right now.
func (f *file) beginRetire() bool {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refs > 0 && !f.c.closing || f.holders > 0 || f.recalling || f.acquiring {
		return false
	}
	f.recalling = true
	return true
}

// retired forgets the file, or only its lease if it was opened meanwhile.
func (c *Client) retired(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setLease(wire.Lease{Epoch: f.lease.Epoch})
	f.known, f.uncommitted = false, false
	if f.refs == 0 {
		delete(c.files, f.ino)
		c.remember(f.ino, f.seen)
	}
}
