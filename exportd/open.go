package exportd

import (
	"context"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

func (s *Server) open(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.OpenRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if m.Want > wire.LeaseWrite {
		return nil, vocab.Errorf(vocab.Invalid, "lease kind %d", m.Want)
	}
	ctx, cancel := patient(ctx, m.Patience)
	defer cancel()
	return s.call(ctx, r, &m.Head, repeated, func(t *tx) (wire.Message, error) { return t.openFile(m.Ino, m.Want) })
}

// patient is ctx for a request that may wait for leases for so many milliseconds.
func patient(ctx context.Context, millis uint32) (context.Context, context.CancelFunc) {
	if millis == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(millis)*time.Millisecond)
}

// openFile registers the file as open and takes a lease. A session that holds as
// much already gets that at once, whoever waits.
func (t *tx) openFile(ino vocab.Ino, want wire.LeaseKind) (wire.Message, error) {
	n, err := t.inode(ino)
	if err != nil {
		return nil, err
	}
	var held wire.LeaseKind
	if e := t.sess.files[ino]; e != nil {
		held = e.of(t.sess).lease.Kind
	}
	if want > held {
		err = t.claim(n, want, true)
	} else {
		err = t.protect(n, wire.LeaseRead)
	}
	if err != nil {
		return nil, err
	}
	lease, err := t.grant(n, want)
	if err != nil {
		return nil, err
	}
	return &wire.OpenReply{Attr: n.attr, Placement: n.placement, Lease: lease}, nil
}

// writeLease checks that the session holds the file's write lease under the epoch.
func (t *tx) writeLease(ino vocab.Ino, epoch vocab.Epoch) error {
	if e := t.sess.files[ino]; e != nil {
		if h := e.of(t.sess); h.lease.Kind == wire.LeaseWrite && h.lease.Epoch == epoch {
			return nil
		}
	}
	return vocab.Errorf(vocab.Fenced, "epoch %d is not that of a write lease which the session holds on inode %d", uint64(epoch), uint64(ino))
}

func (s *Server) commit(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.CommitRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, repeated, func(t *tx) (wire.Message, error) {
		if _, err := t.inode(m.Ino); err != nil {
			return nil, err
		}
		if err := t.writeLease(m.Ino, m.Epoch); err != nil {
			return nil, err
		}
		n, err := t.record(&m.Commit)
		if err != nil {
			return nil, err
		}
		t.noteDegraded(&m.Commit)
		return &wire.AttrReply{Attr: n.attr}, nil
	})
}

// record takes over what the holder of the write lease has changed. No quota
// refuses it: the content is on the storages already.
func (t *tx) record(m *wire.Commit) (*inode, error) {
	if m.Size > vocab.MaxFileBytes {
		return nil, vocab.Errorf(vocab.TooLarge, "a size of %d bytes, at most %d", m.Size, uint64(vocab.MaxFileBytes))
	}
	n, err := t.edit(m.Ino)
	if err != nil {
		return nil, err
	}
	t.resize(n, m.Size)
	if m.Mtime != 0 {
		n.attr.Mtime = m.Mtime
	}
	n.attr.Ctime = max(n.attr.Ctime, t.now)
	return n, nil
}

func (t *tx) resize(n *inode, size uint64) {
	t.bytes += int64(size) - int64(n.attr.Size)
	n.attr.Size = size
}

func (s *Server) release(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.ReleaseRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, repeated, func(t *tx) (wire.Message, error) {
		for i := range m.Items {
			if err := t.releaseItem(&m.Items[i]); err != nil {
				return nil, err
			}
		}
		return &wire.Empty{}, nil
	})
}

// overtaken reports a size that comes with a lease which is gone: a client
// commits before it gives up, so this is a fault of one or the other.
func (t *tx) overtaken(m *wire.ReleaseItem) {
	if m.Changed {
		t.s.log.Error("a release carries the size of a file whose write lease is gone; it is not recorded",
			"session", uint64(t.sess.id), "name", t.sess.name, "ino", uint64(m.Ino), "epoch", uint64(m.Epoch))
	}
}

// releaseItem gives up one lease, one open, or both. What names a lease that is
// gone already is passed over, but for the close.
func (t *tx) releaseItem(m *wire.ReleaseItem) error {
	e := t.sess.files[m.Ino]
	if e == nil {
		t.overtaken(m)
		return nil
	}
	h := e.of(t.sess)
	current := h.lease.Kind != wire.LeaseNone && h.lease.Epoch == m.Epoch
	if m.Changed && !(current && h.lease.Kind == wire.LeaseWrite) {
		t.overtaken(m)
	}
	if current {
		if m.Changed && h.lease.Kind == wire.LeaseWrite {
			if _, err := t.record(&m.Commit); err != nil {
				return err
			}
		}
		if m.Keep < h.lease.Kind {
			t.lower(e, h, m.Keep)
		}
	}
	if m.Close && h.open {
		if err := t.closeFile(m.Ino); err != nil {
			return err
		}
		t.hook(func() {
			h.open = false
			t.s.settle(e, h)
		})
	}
	if !current {
		return nil
	}
	_, err := t.inode(m.Ino)
	switch {
	case isKind(err, vocab.Stale): // it was unlinked, and this was the last to have it open
		return nil
	case err != nil:
		return err
	}
	t.noteDegraded(&m.Commit)
	if m.Torn {
		t.recover(m.Ino, leaseRecord{t.sess.id, m.Epoch})
	}
	return nil
}
