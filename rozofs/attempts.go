package rozofs

import "context"

// attempts are the goroutines that bring to storages what was written under a lease. When
// that is given up they end: nothing may be sent, on a connection that is made later, of a
// file that others use by then.
type attempts struct {
	ctx  context.Context
	stop context.CancelCauseFunc
	n    int // guarded by the file's mu
}

func newAttempts() *attempts {
	a := &attempts{}
	a.ctx, a.stop = context.WithCancelCause(context.Background())
	return a
}

func (a *attempts) stopped() bool { return a.ctx.Err() != nil }

// attempt runs do on a goroutine of its own, with a context that ends when the attempts are
// stopped, unless they are, or the client is closed.
func (f *file) attempt(a *attempts, do func(ctx context.Context)) (started bool) {
	f.mu.Lock()
	started = !a.stopped()
	if started {
		a.n++
	}
	f.mu.Unlock()
	if !started {
		return false
	}
	started = f.c.goes(func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(a.ctx, cancel)()
		defer f.attemptEnded(a)
		do(ctx)
	})
	if !started {
		f.attemptEnded(a)
	}
	return started
}

func (f *file) attemptEnded(a *attempts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.n--; a.n == 0 && a.stopped() {
		f.broadcast()
	}
}

// stopAttempts ends them and returns when none can send anything any more.
func (f *file) stopAttempts(ctx context.Context, why error) error {
	f.mu.Lock()
	a := f.attempts
	a.stop(why)
	f.attempts = newAttempts()
	f.mu.Unlock()
	if err := f.waitFor(ctx, func() bool { return a.n == 0 }); err != nil {
		return err
	}
	f.mu.Unlock()
	return nil
}
