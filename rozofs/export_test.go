package rozofs

import (
	"context"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// HoldSaves keeps the client from making the file durable on its own, as long as
// on is true. Calls that need the file's lease wait meanwhile.
func (h *Handle) HoldSaves(on bool) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.f.recalling = on
	h.f.broadcast()
}

// Handle gives tests the handle below a file.
func (f *File) Handle() *Handle { return f.h }

// Files is the number of files that the client knows: those it has given up are
// not among them.
func (c *Client) Files() int { return len(c.allFiles()) }

// SIDs lists the storages of the file, by position.
func (h *Handle) SIDs() []vocab.SID {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	return h.f.place.Distribution.SIDs
}

// Placement is where the file lies.
func (h *Handle) Placement() vocab.Placement {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	return h.f.place
}

// SetLate marks the storage at a position of the file as late.
func (h *Handle) SetLate(position int) {
	h.f.mu.Lock()
	dist := h.f.place.Distribution
	h.f.mu.Unlock()
	st, err := h.f.c.pool.at(&dist, position)
	if err != nil {
		panic(err)
	}
	st.node.setLate(true)
}

// Overdue marks the storage at a position of the file as slow, until end.
func (h *Handle) Overdue(position int) (end func()) {
	h.f.mu.Lock()
	dist := h.f.place.Distribution
	h.f.mu.Unlock()
	st, err := h.f.c.pool.at(&dist, position)
	if err != nil {
		panic(err)
	}
	o := &overdue{st: st}
	o.mark()
	return o.end
}

// Patient is a Config with which a client waits long for storages to write and sync,
// since the machine may be busy.
func (c Config) Patient() Config {
	const long = 2 * time.Second
	c.delays = delays{long, long, long, long}
	return c
}

// SendSome sends the dirty blocks from first on to their homes at some positions only, as
// a discard if they are zeros.
func (h *Handle) SendSome(ctx context.Context, first uint64, blocks int, positions []int) error {
	r, slots, err := h.f.encode(stretch{first, blocks, true})
	if err != nil {
		return err
	}
	defer slots.release()
	w := h.f.newSender(ctx, r, slots)
	defer close(w.done)
	for _, p := range positions {
		w.try(p, p)
	}
	for range positions {
		if a := <-w.results; a.err != nil {
			return a.err
		}
	}
	return nil
}

// IsWell tells whether the storage at a position of the file is used like any other.
func (h *Handle) IsWell(position int) bool {
	h.f.mu.Lock()
	dist := h.f.place.Distribution
	h.f.mu.Unlock()
	return h.f.c.pool.state(&dist, position) == nodeUp
}

// Session is the session that the client has at exportd.
func (c *Client) Session() vocab.SessionID { return c.session.id() }
