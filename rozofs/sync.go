package rozofs

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// sync is fsync: it returns when all that was written is durable on forward
// storages, and size and time of writing on exportd.
func (f *file) sync(ctx context.Context) error {
	committed := make(chan error, 1)
	go func() { committed <- f.commit(ctx) }()
	err := f.save(ctx)
	return errors.Join(err, <-committed)
}

// persist is sync for a lease that is about to be given up: the size goes with
// the release.
func (f *file) persist(ctx context.Context) error { return f.save(ctx) }

// save makes the content durable on forward storages. It reports, once, what a write
// could not do.
func (f *file) save(ctx context.Context) error {
	err := f.drain(ctx)
	if err == nil {
		err = f.c.saveRuns(ctx, []*file{f})
	}
	if failure := f.takeFailure(); failure != nil {
		return failure
	}
	return err
}

// unsaved is the runs of one file that a saving round is about. They stay in the
// file's list until they are durable.
type unsaved struct {
	f    *file
	runs []*run
}

// saveRuns makes the complete runs of the files durable and drops their pages. What only
// a new version can save is written again. Failures of writes are left for the callers
// of the files.
func (c *Client) saveRuns(ctx context.Context, files []*file) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StorageTimeout)
	defer cancel()
	began := time.Now()
	for len(files) > 0 {
		var todo []unsaved
		for _, f := range files {
			f.mu.Lock()
			if len(f.runs) > 0 {
				todo = append(todo, unsaved{f, slices.Clone(f.runs)})
			}
			f.mu.Unlock()
		}
		c.saveRound(ctx, todo)
		files = files[:0:0]
		for _, u := range todo {
			if u.f.countNot(u.runs, runDurable) > 0 {
				files = append(files, u.f)
			}
		}
		if len(files) > 0 && ctx.Err() != nil {
			return c.notDurable(ctx, files, time.Since(began))
		}
		for _, f := range files {
			if err := f.drain(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Client) notDurable(ctx context.Context, files []*file, took time.Duration) error {
	switch {
	case c.ctx.Err() != nil:
		return errClosed
	case !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return context.Cause(ctx)
	}
	f := files[0]
	return vocab.Errorf(vocab.Unavailable, "%v, and %d more files: fewer than %d storages made it durable within %v (%s)",
		f.place.FID, len(files)-1, f.coder.Geometry.Layout.Forward, took.Round(time.Second), c.pool.missing(f.distribution()))
}

// runEnd is what became of a run that was complete.
type runEnd int

const (
	runOpen    runEnd = iota // some of it is not durable yet
	runDurable               // all of it is, on storages of their own
	runLost                  // its pages are dirty again
)

// madeDurable takes note that a projection of a run is, and tells whether all of it
// has ended.
func (f *file) madeDurable(r *run, projection int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.safe[projection] = true
	if r.end == runOpen && !slices.Contains(r.safe, false) {
		r.end = runDurable
		f.ended(r, true)
	}
	return r.end != runOpen
}

func (f *file) hasEnded(r *run) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return r.end != runOpen
}

// liesAt takes note that a projection has come to another storage.
func (f *file) liesAt(r *run, projection int, at place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.at[projection] = at
}

func (f *file) countNot(runs []*run, end runEnd) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range runs {
		if r.end != end {
			n++
		}
	}
	return n
}

// sweep forgets the runs that are durable, and their pages. Those that are lost are
// forgotten too, and their pages are dirty again.
func (f *file) sweep(lost map[*run]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs = slices.DeleteFunc(f.runs, func(r *run) bool {
		if r.end == runOpen && lost[r] {
			r.end = runLost
			f.ended(r, false)
		}
		for j, pg := range r.pages {
			b := r.first + uint64(j)
			switch {
			case r.end == runOpen || f.pages[b] != pg || pg.run != r: // or overwritten or cut off since
			case r.end == runDurable:
				f.dropPage(b)
			default:
				pg.dirty, pg.run = true, nil
				f.dirty++
			}
		}
		return r.end != runOpen
	})
	f.broadcast()
}

// isReplaced tells whether what was last written to a block, or discarded, is durable; mu is
// held.
func (f *file) isReplaced(b uint64) bool {
	return f.pages[b] == nil && !slices.ContainsFunc(f.undone, func(d *discarding) bool { return d.covers(b) })
}
